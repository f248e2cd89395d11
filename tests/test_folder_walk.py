"""One walk of a user's folder: links, pipes, hidden and locked folders, in every command."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellsearch.data.dataset import CellDataset
from cellsearch.data.folder_walk import images_below, visible, walk
from cellsearch.data.natural_order import natural
from cellsearch.data.passed_over import is_system, is_visible
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import read_unlabelled
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.scan import first_look
from cellsearch.serve.limits import Limits
from cellsearch.serve.unpack import members

from card_cases import Made, made
from command_cases import cellsearch

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def card(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda *words: cellsearch(capsys, monkeypatch, *words)


RNG = np.random.default_rng(5)


def fill(folder: Path, count: int, name: str = "c{}.tif") -> None:
    """Crops as the card takes them: 2 pages of 16 x 16, uint8."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pages = RNG.integers(0, 255, (2, 16, 16), np.uint8)
        tifffile.imwrite(folder / name.format(number), pages, photometric="minisblack")


def classes(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        fill(root / name, count)
    return root


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two classes of 6 cells."""
    return classes(tmp_path / "cells", live=6, dead=6)


def every_command(root: Path, card: Made, out: Path) -> dict[str, tuple[object, ...]]:
    """Each command that reads a folder; ``run`` goes as far as drawing too many folds."""
    return {
        "describe": ("datasets", "describe", root),
        "check": ("datasets", "check", root, "--folds", "2"),
        "init": ("init", root, "--no-estimate"),
        "convert": ("convert", root, "-o", out / "cells.npz"),
        "predict": ("predict", card.card.folder, root),
        "run": ("run", "--dataset", root, "--space", "quick", "--budget", "1", "--folds", "40"),
    }


COMMANDS = ("describe", "check", "init", "convert", "predict", "run")


def link_up(root: Path) -> str:
    (root / "live" / "up").symlink_to("..", target_is_directory=True)
    return "1 link to a folder above, live/up"


def link_to_grandparent(root: Path) -> str:
    fill(root.parent / "others", 3)
    (root / "live" / "out").symlink_to(root.parent, target_is_directory=True)
    return "1 link to a folder above, live/out"


def link_to_itself(root: Path) -> str:
    (root / "all").symlink_to(".", target_is_directory=True)
    return "1 link to a folder above, all"


def link_to_the_root_of_the_disk(root: Path) -> str:
    (root / "live" / "disk").symlink_to("/", target_is_directory=True)
    return "1 link to a folder above, live/disk"


def link_that_loops(root: Path) -> str:
    (root / "live" / "a").symlink_to("b")
    (root / "live" / "b").symlink_to("a")
    return "2 links to nothing, live/a -> b, live/b -> a"


def link_beside(root: Path) -> str:
    (root / "alias").symlink_to("live", target_is_directory=True)
    (root / "dead" / "more").symlink_to(root / "live", target_is_directory=True)
    return "2 links to what is read already, alias -> live, dead/more -> live"


def links_around(root: Path) -> str:
    # Two folders outside that hold links to each other.
    for one, other in (("x", "y"), ("y", "x")):
        fill(root.parent / "pool" / one, 0)
        (root.parent / "pool" / one / "next").symlink_to(f"../{other}")
    (root / "live" / "pool").symlink_to(root.parent / "pool" / "x")
    return "1 link to what is read already, live/pool/next/next -> live/pool"


def hidden_folders(root: Path) -> str:
    fill(root / ".unsure", 6)
    fill(root / "live" / ".old" / "deep", 2)
    return "8 images in 2 hidden folders, .unsure (6), live/.old (2)"


def hidden_link(root: Path) -> str:
    fill(root.parent / "pool", 3)
    (root / ".pool").symlink_to(root.parent / "pool")
    return "3 images in 1 hidden folder, .pool (3)"


def system_folder(root: Path) -> str:
    fill(root / "live" / "@eaDir", 4)
    return "4 images in 1 system folder, live/@eaDir (4)"


def hidden_image(root: Path) -> str:
    fill(root / "dead", 2, ".h{}.tif")
    return "2 hidden images, dead/.h0.tif, dead/.h1.tif"


@pytest.mark.parametrize("command_name", COMMANDS)
@pytest.mark.parametrize(
    "spoil",
    [
        link_up,
        link_to_grandparent,
        link_to_itself,
        link_to_the_root_of_the_disk,
        link_that_loops,
        link_beside,
        links_around,
        hidden_folders,
        hidden_link,
        system_folder,
        hidden_image,
    ],
)
def test_what_is_passed_over_is_told_by_every_command(
    command: Call, card: Made, cells: Path, spoil: Callable[[Path], str], command_name: str
) -> None:
    said = spoil(cells)
    code, out, error = command(*every_command(cells, card, Path.cwd())[command_name])
    if command_name == "run":
        assert code == 2
        assert "40 folds and a hold-out need 41 cells" in error
        return
    assert (code, "Traceback" in error) == (0, False), error
    told = " ".join((out + error).split())
    if command_name == "check":
        # The table breaks long lines; words are what is compared.
        assert "ignored-files" in told
        out = command("datasets", "check", cells, "--folds", "2", "--json")[1]
        told = " ".join(each["message"] for each in json.loads(out)["findings"])
    assert f"ignored: {said}" in told
    assert len(images_below(cells)) == 12


def test_the_cells_read_are_the_same_with_and_without_the_links(cells: Path) -> None:
    before = load_dataset(cells)
    for spoil in (link_up, link_to_itself, link_that_loops, link_beside, hidden_folders):
        spoil(cells)
    after = load_dataset(cells)
    assert after.ids.tolist() == before.ids.tolist()
    assert after.classes == ("dead", "live")
    assert len(after.notes_of("ignored-files")) == 4
    assert read_unlabelled(cells, channels=2).ids.tolist() == before.ids.tolist()


def test_folders_linked_from_elsewhere_are_read_once(tmp_path: Path) -> None:
    classes(tmp_path / "pool", a=3, b=4)
    root = tmp_path / "cells"
    root.mkdir()
    (root / "A").symlink_to("../pool/a")
    (root / "B").symlink_to(tmp_path / "pool" / "b")
    (root / "C").symlink_to("../pool/b")
    fill(root / "D", 2)
    cells = load_dataset(root)
    assert dict(zip(cells.classes, cells.counts.tolist(), strict=True)) == {"A": 3, "B": 4, "D": 2}
    assert "1 link to what is read already, C -> B" in cells.provenance.notes
    with pytest.raises(ConfigError, match=r"no class folder 'C'; .*C -> B"):
        load_dataset(root, classes="A,C")
    assert load_dataset(root, classes="A,D").classes == ("A", "D")


def test_a_link_into_a_hidden_store_is_read(tmp_path: Path) -> None:
    root = classes(tmp_path / "cells", dead=2)
    fill(root / ".store" / "ab12", 3)
    (root / "live").symlink_to(".store/ab12")
    cells = load_dataset(root)
    assert cells.counts.tolist() == [2, 3]
    assert cells.provenance.notes == ""


@pytest.mark.parametrize("name", ["__unsure__", "_", "__", "__init__", "~old", "#1", "lost"])
def test_a_folder_is_a_class_whatever_signs_its_name_begins_with(cells: Path, name: str) -> None:
    fill(cells / name, 6)
    found = load_dataset(cells)
    assert found.counts[found.classes.index(name)] == 6
    assert first_look(cells).layout.counts[name] == 6
    assert len(read_unlabelled(cells, channels=2)) == 18


def test_system_names_are_no_classes_and_need_no_note(cells: Path) -> None:
    for name in ("__MACOSX", "__pycache__", ".git", "$RECYCLE.BIN", "System Volume Information"):
        (cells / name).mkdir()
        (cells / name / "._c0.tif").write_bytes(b"\0\5\x16\7")
        (cells / name / "notes.txt").write_bytes(b"x")
    for name in (".DS_Store", "Thumbs.db", "._c0.tif", "desktop.ini", "THUMBS.DB"):
        (cells / "live" / name).write_bytes(b"x")
    found = load_dataset(cells)
    assert found.counts.tolist() == [6, 6]
    assert found.provenance.notes == ""
    assert is_system("@EADIR")
    assert not is_visible(".x")
    assert is_visible("__x__")


def test_images_that_no_class_folder_holds_are_counted(cells: Path) -> None:
    fill(cells, 3, "loose{}.tif")
    fill(cells / "third", 5)
    notes = load_dataset(cells, classes="live,dead").provenance.notes
    assert "3 images beside the class folders, loose0.tif, loose1.tif, loose2.tif" in notes
    assert "5 images in folders that are not among the classes, third (5)" in notes


def test_what_is_passed_over_is_noticed_after_the_cells_are_cached(cells: Path) -> None:
    assert load_dataset(cells).provenance.notes == ""
    fill(cells / ".later", 2)
    assert ".later (2)" in load_dataset(cells).provenance.notes
    fill(cells / ".later", 3)
    assert ".later (3)" in load_dataset(cells).provenance.notes


def test_a_manifest_says_which_folders_are_not_its_classes(cells: Path, command: Call) -> None:
    assert command("init", cells, "--no-estimate")[0] == 0
    fill(cells / "__unsure__", 6)
    _, out, _ = command("datasets", "describe", "cells.yaml")
    assert "6 images in folders that are not among the classes, __unsure__ (6)" in out


def test_a_class_of_hidden_images_alone_says_so(cells: Path) -> None:
    fill(cells / "blank", 2, ".b{}.tif")
    with pytest.raises(DataError, match=r"class folder blank; .*2 hidden images, blank/\.b0\.tif"):
        load_dataset(cells)
    shutil.rmtree(cells)
    fill(cells / ".live", 2)
    with pytest.raises(DataError, match=r"no class folders"):
        load_dataset(cells)


def test_splits_beside_another_folder_are_no_classes(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for part in ("train", "test"):
        classes(root / part, live=3, dead=3)
    fill(root / "__unsure__", 6)
    with pytest.raises(DataError, match="the folders test, train are splits, not classes"):
        load_dataset(root)
    assert "are splits, not classes" in first_look(root).problems[0]
    assert load_dataset(root, classes="train,test").classes == ("train", "test")


def test_one_channel_a_file_follows_the_same_walk(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for name in ("live", "__unsure__"):
        (root / name).mkdir(parents=True)
        for code in ("Ch1", "Ch2"):
            for cell in range(3):
                tifffile.imwrite(
                    root / name / f"{cell}_{code}.ome.tif", RNG.integers(0, 9, (8, 8), np.uint8)
                )
    (root / "live" / "up").symlink_to("..")
    shutil.copytree(root / "__unsure__", root / ".hidden")
    cells = load_dataset(root)
    assert cells.counts.tolist() == [3, 3]
    assert "6 images in 1 hidden folder, .hidden (6)" in cells.provenance.notes
    assert len(read_unlabelled(root, channels=2)) == 6


def test_files_of_many_cells_in_class_folders_follow_the_same_walk(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for name in ("__unsure__", "live", ".hidden"):
        (root / name).mkdir(parents=True)
        stack = RNG.integers(0, 9, (4, 8, 8), np.uint8)
        tifffile.imwrite(root / name / "m.ome.tif", stack, metadata={"axes": "TYX"})
    (root / "live" / "up").symlink_to("..")
    cells = load_dataset(root, layout="ome_tiff")
    assert (cells.classes, cells.counts.tolist()) == (("__unsure__", "live"), [4, 4])
    assert "1 image in 1 hidden folder, .hidden (1)" in cells.provenance.notes


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return "a named pipe"


def bound_socket(path: Path) -> str:
    own = socket.socket(socket.AF_UNIX)
    # The name of a socket may have no more than 108 bytes.
    there = Path.cwd()
    os.chdir(path.parent)
    try:
        own.bind(path.name)
    finally:
        os.chdir(there)
        own.close()
    return "a socket"


def device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "a device"


@pytest.mark.parametrize("command_name", COMMANDS)
@pytest.mark.parametrize("make", [pipe, bound_socket, device])
def test_what_would_hang_a_reader_is_refused(
    command: Call,
    card: Made,
    cells: Path,
    make: Callable[[Path], str],
    command_name: str,
) -> None:
    kind = make(cells / "live" / "x.tif")
    code, out, error = command(*every_command(cells, card, Path.cwd())[command_name])
    assert code == (1 if command_name == "init" else 2)
    assert f"live/x.tif is {kind}, not an image: remove it" in out + error


@pytest.mark.parametrize("name", ["x.png", "x.csv", "x.npz", "x.yaml", "x"])
@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_pipe_in_the_place_of_a_folder_is_refused(
    command: Call, card: Made, tmp_path: Path, name: str, command_name: str
) -> None:
    os.mkfifo(tmp_path / name)
    code, _, error = command(*every_command(tmp_path / name, card, Path.cwd())[command_name])
    assert code == 2
    assert "a named pipe" in error


def test_a_pipe_named_by_a_table_or_a_manifest_is_refused(cells: Path) -> None:
    os.mkfifo(cells / "p.tif")
    (cells / "t.csv").write_text("path,label\np.tif,a\nlive/c0.tif,b\n")
    with pytest.raises(ReadError, match=r"p\.tif is a named pipe"):
        load_dataset(cells / "t.csv")
    os.mkfifo(cells / "q.csv")
    with pytest.raises(ReadError, match=r"q\.csv: a named pipe"):
        load_dataset(cells / "q.csv", layout="table")


@pytest.mark.parametrize("command_name", COMMANDS)
@pytest.mark.parametrize("name", ["live/x.tif", "third"])
def test_a_link_to_nothing_that_may_hold_cells_is_refused(
    command: Call, card: Made, cells: Path, name: str, command_name: str
) -> None:
    (cells / name).symlink_to("/nowhere/at all")
    code, out, error = command(*every_command(cells, card, Path.cwd())[command_name])
    if command_name == "init" and name.endswith(".tif"):
        # As damaged images are, it is left out by a table.
        assert "1 images cannot be read (live/x.tif: no such file); the table leaves them" in out
        return
    assert code == (1 if command_name == "init" else 2)
    assert f"{name} is a link to /nowhere/at all, which is not there" in out + error


def test_a_link_to_nothing_of_another_kind_is_told(cells: Path) -> None:
    (cells / "readme.txt").symlink_to("/nowhere/readme.txt")
    notes = load_dataset(cells).provenance.notes
    assert notes == "ignored: 1 link to nothing, readme.txt -> /nowhere/readme.txt"


@pytest.fixture
def locked(cells: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be opened; whoever runs the tests may open everything."""
    fill(cells / "live" / "locked", 3)
    opened = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return cells


@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_locked_folder_is_refused_by_name(
    command: Call, card: Made, locked: Path, command_name: str
) -> None:
    code, out, error = command(*every_command(locked, card, Path.cwd())[command_name])
    assert code == (1 if command_name == "init" else 2)
    assert "live/locked cannot be opened (permission denied)" in out + error


def test_a_locked_folder_that_is_no_class_is_no_concern(locked: Path) -> None:
    (locked / "third").mkdir()
    (locked / "live" / "locked").rename(locked / "third" / "locked")
    assert load_dataset(locked, classes="live,dead").counts.tolist() == [6, 6]


@pytest.fixture
def deep(cells: Path) -> Iterator[Path]:
    """A cell 1,500 folders down: more levels than Python calls functions."""
    below = "/".join(["d"] * 1500)
    subprocess.run(["mkdir", "-p", cells / "live" / below], check=True)
    shutil.copy(cells / "live" / "c0.tif", cells / "live" / below / "deep.tif")
    yield cells
    subprocess.run(["rm", "-rf", cells / "live" / "d"], check=True)


@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_tree_may_be_deep(command: Call, card: Made, deep: Path, command_name: str) -> None:
    code, out, error = command(*every_command(deep, card, Path.cwd())[command_name])
    assert code == {"run": 2, "check": 0}.get(command_name, 0), error
    assert "Traceback" not in error
    if command_name == "describe":
        assert "dead 6, live 7" in out


def test_a_tree_deeper_than_any_path_is_refused(cells: Path) -> None:
    # Each name has 200 bytes; a path may have 4,096.
    down = "; ".join([f"mkdir {'d' * 200} && cd {'d' * 200}"] * 25)
    subprocess.run(["bash", "-c", f"cd '{cells}/live' && {down}"], check=True)
    try:
        with pytest.raises(ReadError, match=r"cannot be opened \(file name too long\)"):
            load_dataset(cells)
    finally:
        subprocess.run(["rm", "-rf", cells / "live" / ("d" * 200)], check=True)


@pytest.mark.parametrize("command_name", COMMANDS)
def test_names_may_have_255_bytes(
    command: Call, card: Made, cells: Path, command_name: str
) -> None:
    fill(cells / ("c" * 255), 6)
    fill(cells / "live", 1, "n" * 251 + ".tif")
    code, _, error = command(*every_command(cells, card, Path.cwd())[command_name])
    assert code == (2 if command_name == "run" else 0), error
    assert "Traceback" not in error


@pytest.mark.parametrize("command_name", COMMANDS)
def test_names_that_no_file_can_have_are_refused(
    command: Call, card: Made, command_name: str
) -> None:
    path = Path("b" * 300)
    code, _, error = command(*every_command(path, card, Path.cwd())[command_name])
    assert code == 2
    assert "file name too long" in error


def test_the_order_is_that_of_the_tree_whatever_is_linked(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for name in ("a10", "a2", "a2/x1", "a2/x10"):
        fill(root / name, 1)
    fill(tmp_path / "pool", 1)
    (root / "a2" / "x2").symlink_to(tmp_path / "pool")
    found = [file.relative_to(root).as_posix() for file in walk(root).files]
    assert found == ["a2/c0.tif", "a2/x1/c0.tif", "a2/x2/c0.tif", "a2/x10/c0.tif", "a10/c0.tif"]
    assert [path.name for path in visible(root)] == ["a2", "a10"]


@pytest.mark.parametrize("command_name", COMMANDS)
@pytest.mark.parametrize(
    "names",
    [("10⁵", "10⁶"), ("①", "②"), ("CO₂", "O₂"), ("٣", "١٢"), ("x½", "x¾"), ("9" * 250, "1")],
)
def test_classes_may_hold_digits_of_any_kind(
    command: Call, card: Made, tmp_path: Path, names: tuple[str, str], command_name: str
) -> None:
    root = classes(tmp_path / "cells", **dict.fromkeys(names, 6))
    code, out, error = command(*every_command(root, card, Path.cwd())[command_name])
    assert code == (2 if command_name == "run" else 0), error
    assert "Traceback" not in error
    if command_name == "describe":
        first, second = sorted(names, key=natural)
        assert f"classes: {first} 6, {second} 6" in out


def test_numbers_in_names_count_by_their_value() -> None:
    names = [
        "c10",
        "c2",
        "c1",
        "c02",
        "c",
        "a1b10",
        "a1b9",
        "٣",
        "١٢",
        "10⁵",
        "9",
        "d" + "9" * 5000,
    ]
    expected = ["9", "10⁵", "٣", "١٢"]
    found = sorted(names, key=natural)
    assert [name for name in found if name in expected] == ["٣", "9", "10⁵", "١٢"]
    assert found[4:] == ["a1b9", "a1b10", "c", "c1", "c02", "c2", "c10", "d" + "9" * 5000]
    # Two spellings of a number do not change places with the order of a disk.
    assert sorted(["c2", "c02"], key=natural) == sorted(["c02", "c2"], key=natural)


def test_a_zip_keeps_what_only_looks_like_a_system_file(tmp_path: Path) -> None:
    path = tmp_path / "cells.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "not__MACOSX/a.png",
            "my.DS_Store_cells.png",
            "__unsure__/b.png",
            ".hidden/c.png",
            "__MACOSX/._a.png",
            "live/.DS_Store",
            "live/@eaDir/thumb.jpg",
        ):
            archive.writestr(name, b"x")
    found = list(members(path, tmp_path / "scratch", Limits()))
    assert [each.name for each in found if each.path is not None] == [
        "not__MACOSX/a.png",
        "my.DS_Store_cells.png",
        "__unsure__/b.png",
        ".hidden/c.png",
    ]
    assert [(each.name, each.reason) for each in found if each.path is None] == [
        ("live/@eaDir/thumb.jpg", "it lies in a folder of the system's own")
    ]


def test_a_class_of_any_visible_name_is_written_and_read_again(
    command: Call, cells: Path, tmp_path: Path
) -> None:
    fill(cells / "__unsure__", 6)
    code, _, error = command("convert", cells, "-o", tmp_path / "again", "--to", "folder")
    assert code == 0, error
    found = load_dataset(tmp_path / "again")
    assert found.classes == ("__unsure__", "dead", "live")
    assert found.counts.tolist() == [6, 6, 6]
