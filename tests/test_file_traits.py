"""How files were saved: each trait is read, files that differ are named, and told classes too."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from cellsearch.cli import app
from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import CellDataset
from cellsearch.data.file_findings import file_findings, trait_findings
from cellsearch.data.file_traits import FileTraits, as_table, read_traits, texts, traits_of
from cellsearch.data.findings import Finding
from cellsearch.data.source import load_dataset
from cellsearch.data.told_classes import told_classes
from cellsearch.scan import first_look
from cellsearch.scan.facts import lines

REAL = Path(__file__).parents[2] / "shared" / "data"
CLASSES = {"A": 40, "B": 30, "C": 8}
RARE = "C"

Save = Callable[[Path, np.ndarray], Path]


def cell(seed: int, side: int = 20) -> np.ndarray:
    """(side, side) uint8: a disc whose size and light are any cell's, of no class."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    disc = np.hypot(y, x) < rng.uniform(0.2, 0.4) * side
    return (60 + 100 * disc + rng.normal(0, 8, (side, side))).clip(0, 255).astype(np.uint8)


def tif(path: Path, image: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path.with_suffix(".tif"), image, **options)
    return path.with_suffix(".tif")


def pil(path: Path, image: np.ndarray, suffix: str, **options: object) -> Path:
    Image.fromarray(image).save(path.with_suffix(suffix), **options)
    return path.with_suffix(suffix)


def planted(root: Path, of_rare: Save, of_others: Save = tif) -> Path:
    """A folder per class; the files of the rare one are saved otherwise, dates are one."""
    seed = 0
    for name, count in CLASSES.items():
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            save = of_rare if name == RARE else of_others
            file = save(folder / str(number), cell(seed))
            if file.stat().st_mtime > 1.75e9:
                os.utime(file, (1.75e9 + seed, 1.75e9 + seed))
            seed += 1
    return root


def of_kind(findings: tuple[Finding, ...] | list[Finding], kind: str) -> list[Finding]:
    return [each for each in findings if each.kind == kind]


def checked(root: Path, **options: object) -> tuple[Finding, ...]:
    return check_dataset(CellDataset.from_folder(root, **options)).findings


def jpeg(quality: int) -> Save:
    return lambda path, image: pil(path, image, ".jpg", quality=quality)


def oriented(value: int) -> Save:
    exif = Image.Exif()
    exif[274] = value
    return lambda path, image: pil(path, image, ".jpg", quality=90, exif=exif)


def named_as(suffix: str) -> Save:
    return lambda path, image: tif(path, image).rename(path.with_suffix(suffix))


def coloured(path: Path, image: np.ndarray) -> Path:
    return pil(path, np.stack([image] * 3, axis=2), ".bmp")


PLANTED: dict[str, tuple[Save, Save, str, str]] = {
    "MinIsWhite": (
        lambda path, image: tif(path, 255 - image, photometric="miniswhite"),
        tif,
        "photometric interpretation",
        "MinIsWhite",
    ),
    "PNG": (lambda path, image: pil(path, image, ".png"), tif, "format", "format PNG"),
    "LZW": (
        lambda path, image: tif(path, image, compression="lzw"),
        tif,
        "compression",
        "compression LZW",
    ),
    "predictor": (
        lambda path, image: tif(path, image, compression="zlib", predictor=True),
        lambda path, image: tif(path, image, compression="zlib"),
        "compression",
        "compression deflate with predictor",
    ),
    "JPEG 60": (jpeg(60), jpeg(95), "JPEG quality", "JPEG quality 60"),
    "orientation": (oriented(3), oriented(1), "EXIF orientation", "EXIF orientation 3"),
    "byte order": (
        lambda path, image: tif(path, image, byteorder=">"),
        lambda path, image: tif(path, image, byteorder="<"),
        "byte order",
        "big-endian",
    ),
    "software": (
        lambda path, image: tif(path, image, software="ScopePro 2"),
        lambda path, image: tif(path, image, software="ScopePro 1"),
        "software",
        "software ScopePro 2",
    ),
    "camera": (
        lambda path, image: tif(path, image, extratags=[(272, "s", 0, "Cam 9", True)]),
        lambda path, image: tif(path, image, extratags=[(272, "s", 0, "Cam 8", True)]),
        "camera",
        "camera Cam 9",
    ),
    "resolution": (
        lambda path, image: tif(path, image, resolution=(300, 300), resolutionunit=2),
        lambda path, image: tif(path, image, resolution=(72, 72), resolutionunit=2),
        "resolution",
        "resolution 300 x 300 per inch",
    ),
    "suffix": (named_as(".tiff"), tif, "suffix", "suffix .tiff"),
    "BigTIFF": (
        lambda path, image: tif(path, image, bigtiff=True),
        tif,
        "format",
        "format BigTIFF",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_class_that_was_saved_otherwise_is_named(name: str, tmp_path: Path) -> None:
    of_rare, of_others, title, value = PLANTED[name]
    findings = checked(planted(tmp_path / "cells", of_rare, of_others))
    (told,) = of_kind(findings, "class-revealed-by-files")
    assert told.severity == "error"
    assert str(told.message).startswith(f"{RARE} can be recognised by the {title}")
    assert f"8 of 8 files of {RARE} have" in str(told.message)
    assert "0 of 70 others" in str(told.message)
    assert value in str(told.message)
    assert set(told.cells) == {f"{RARE}/{k}" for k in range(8)}
    (differ,) = of_kind(findings, "files-differ")
    assert f"differ in {title}" in str(differ.message)
    assert "8 have" in str(differ.message)
    assert "70 have" in str(differ.message)


@pytest.mark.parametrize("save", [tif, jpeg(90), coloured], ids=["tif", "jpg", "bmp"])
def test_files_that_were_saved_alike_give_nothing(save: Save, tmp_path: Path) -> None:
    findings = checked(planted(tmp_path / "cells", save, save))
    assert not [each for each in findings if "file" in each.kind]


def test_two_classes_saved_alike_are_told_from_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for k, name in enumerate("ABCDEF"):
        (root / name).mkdir(parents=True)
        for number in range(12):
            compression = "lzw" if name in "AB" else None
            tif(root / name / str(number), cell(100 * k + number), compression=compression)
    (told,) = of_kind(checked(root), "class-revealed-by-files")
    assert str(told.message).startswith("A and B can be recognised by the compression")
    assert "24 of 24 files of A and B have compression LZW" in str(told.message)


def test_a_class_told_alone_is_named_beside_the_two_that_are_told_together() -> None:
    labels = np.repeat([0, 1, 2, 3], 12)
    traits = records(
        48,
        compression=["LZW"] * 24 + ["none"] * 24,
        software=["odd"] * 12 + ["usual"] * 36,
    )
    together, alone = found(traits, labels)
    both = {str(together.message).split(" can be")[0], str(alone.message).split(" can be")[0]}
    assert "class 0" in both
    assert both & {"class 0 and class 1", "class 2 and class 3"}


def test_every_class_saved_in_its_own_way_is_told(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for k, (name, compression) in enumerate({"A": None, "B": "lzw", "C": "zlib"}.items()):
        (root / name).mkdir(parents=True)
        for number in range(12):
            tif(root / name / str(number), cell(100 * k + number), compression=compression)
    told = of_kind(checked(root), "class-revealed-by-files")
    assert sorted(str(each.message)[0] for each in told) == ["A", "B", "C"]


def test_some_files_that_differ_are_named_and_tell_no_class(tmp_path: Path) -> None:
    def save(path: Path, image: np.ndarray) -> Path:
        white = path.name in ("3", "5")
        return tif(path, image, photometric="miniswhite" if white else "minisblack")

    findings = checked(planted(tmp_path / "cells", save, save))
    assert not of_kind(findings, "class-revealed-by-files")
    (differ,) = of_kind(findings, "files-differ")
    assert differ.severity == "warning"
    assert "72 have photometric interpretation MinIsBlack, such as A/0.tif" in str(differ.message)
    assert "6 have photometric interpretation MinIsWhite, such as A/3.tif" in str(differ.message)


def test_larger_crops_of_a_class_are_a_warning_that_says_what_may_cause_it(tmp_path: Path) -> None:
    def any_size(path: Path, image: np.ndarray) -> Path:
        return tif(path, image[: 14 + int(path.name) % 5, : 14 + int(path.name) % 6])

    root = planted(tmp_path / "cells", tif, any_size)
    findings = checked(root, size="20x20", fit="pad")
    (told,) = of_kind(findings, "class-revealed-by-files")
    assert told.severity == "warning"
    assert str(told.message).startswith(f"{RARE} can be recognised by the crop size")
    assert "20 x 20 px" in str(told.message)
    assert "the cells themselves may cause this" in str(told.message)
    (sizes,) = of_kind(findings, "crop-sizes")
    assert sizes.severity == "note"
    assert "78 crops of 31 sizes" in str(sizes.message)


def test_crop_sizes_that_tell_several_classes_are_one_finding() -> None:
    labels = np.repeat(np.arange(4), 25)
    sides = (20 + 5 * labels + np.arange(100) % 4).tolist()
    (told,) = found(records(100, height=sides, width=[30] * 100), labels)
    assert told.severity == "warning"
    assert "(balanced accuracy 1.00), and likewise class " in str(told.message)
    assert all(f"class {k}" in str(told.message) for k in range(4))


def test_files_of_another_day_are_a_warning_and_copies_of_one_hour_nothing(tmp_path: Path) -> None:
    def another_day(path: Path, image: np.ndarray) -> Path:
        file = tif(path, image)
        os.utime(file, (1.7e9, 1.7e9))
        return file

    (told,) = of_kind(checked(planted(tmp_path / "days", another_day)), "class-revealed-by-files")
    assert told.severity == "warning"
    assert "file date 2023-11-14" in str(told.message)
    assert "a copy or an archive renews file dates" in str(told.message)

    # One class copied after the other, 30 s a file, an hour between classes.
    root = planted(tmp_path / "copied", tif)
    moment = 1.7e9
    for name in CLASSES:
        for file in sorted((root / name).iterdir()):
            moment += 30
            os.utime(file, (moment, moment))
        moment += 3600
    assert not of_kind(checked(root), "class-revealed-by-files")


def test_a_date_in_the_header_is_one_that_a_copy_keeps(tmp_path: Path) -> None:
    root = planted(
        tmp_path / "cells",
        lambda path, image: tif(path, image, datetime="2021:03:04 10:00:00"),
        lambda path, image: tif(path, image, datetime="2021:05:04 10:00:00"),
    )
    (told,) = of_kind(checked(root), "class-revealed-by-files")
    assert str(told.message).startswith(f"{RARE} can be recognised by the date in the file")
    assert "2021-03-04" in str(told.message)
    assert told.severity == "warning"


def test_file_size_that_tells_a_class_is_a_warning(tmp_path: Path) -> None:
    def flat(path: Path, image: np.ndarray) -> Path:
        return pil(path, image // 40, ".png")

    root = planted(tmp_path / "cells", flat, lambda path, image: pil(path, image, ".png"))
    (told,) = of_kind(checked(root), "class-revealed-by-files")
    assert told.severity == "warning"
    assert str(told.message).startswith(f"{RARE} can be recognised by the file size")
    assert "texture" in str(told.message)


def test_a_class_of_another_depth_is_named_by_init_though_it_cannot_be_read(tmp_path: Path) -> None:
    root = planted(tmp_path / "cells", lambda path, image: tif(path, image.astype(np.uint16) * 257))
    look = first_look(root)
    (told,) = of_kind(look.findings, "class-revealed-by-files")
    assert str(told.message).startswith(f"{RARE} can be recognised by the bit depth")
    assert "16-bit samples" in str(told.message)
    assert any("several dtypes" in problem for problem in look.problems)


@pytest.mark.parametrize("name", ["MinIsWhite", "PNG", "LZW", "JPEG 60"])
def test_init_names_it_in_its_summary(name: str, tmp_path: Path) -> None:
    of_rare, of_others, title, value = PLANTED[name]
    found = lines(first_look(planted(tmp_path / "cells", of_rare, of_others)))
    told = [str(line) for line in found if str(line).startswith("error: ")]
    assert len(told) == 1
    assert f"{RARE} can be recognised by the {title}" in told[0]
    assert value in told[0]


def test_init_says_nothing_of_files_that_were_saved_alike(tmp_path: Path) -> None:
    look = first_look(planted(tmp_path / "cells", tif))
    assert look.findings == ()


def test_the_command_gives_the_finding_and_exit_code_1(tmp_path: Path) -> None:
    of_rare, of_others, *_ = PLANTED["LZW"]
    root = planted(tmp_path / "cells", of_rare, of_others)
    result = CliRunner().invoke(app, ["datasets", "check", str(root), "--json"])
    kinds = {each["kind"]: each for each in json.loads(result.stdout)["findings"]}
    assert kinds["class-revealed-by-files"]["severity"] == "error"
    assert result.exit_code == 1


def test_a_table_and_channel_files_are_asked_too(tmp_path: Path) -> None:
    of_rare, of_others, *_ = PLANTED["LZW"]
    root = planted(tmp_path / "cells", of_rare, of_others)
    files = sorted(root.rglob("*.tif"))
    rows = [f"{file.relative_to(root).as_posix()},{file.parent.name}" for file in files]
    (root / "labels.csv").write_text("\n".join(["path,label", *rows]))
    cells = CellDataset.from_table(root / "labels.csv")
    assert len(of_kind(file_findings(cells), "class-revealed-by-files")) == 1

    channels = tmp_path / "channels"
    for file in files:
        folder = channels / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        image = tifffile.imread(file)
        tif(folder / f"{file.stem}_Ch1", image)
        odd = file.parent.name == RARE
        tif(folder / f"{file.stem}_Ch2", image, compression="lzw" if odd else None)
    (told,) = of_kind(file_findings(CellDataset.from_folder(channels)), "class-revealed-by-files")
    assert "compression none and LZW" in str(told.message)


def test_traits_travel_with_the_cache_and_change_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_rare, of_others, *_ = PLANTED["PNG"]
    root = planted(tmp_path / "cells", of_rare, of_others)
    first = load_dataset(root, cache=tmp_path / "cache")
    again = load_dataset(root, cache=tmp_path / "cache")
    assert again.file_traits is not None
    assert again.file_traits.dtype == first.file_traits.dtype
    assert (again.file_traits == first.file_traits).all()
    assert len(of_kind(file_findings(again), "class-revealed-by-files")) == 1

    plain = CellDataset.from_arrays(
        np.asarray(again.images),
        np.asarray(again.labels),
        classes=again.classes,
        channels=again.channels,
        ids=np.asarray(again.ids),
    )
    assert plain.file_traits is None
    assert plain.sha256 == again.sha256
    assert file_findings(plain) == []

    # A cache of before has no traits, and opens.
    (again.folder / "file_traits.npy").unlink()
    assert CellDataset.open(again.folder).file_traits is None


def test_traits_follow_the_cells_that_are_picked(tmp_path: Path) -> None:
    of_rare, of_others, *_ = PLANTED["PNG"]
    cells = load_dataset(planted(tmp_path / "cells", of_rare, of_others), cache=tmp_path / "cache")
    last = cells.subset([len(cells) - 1, 0])
    assert texts(last.file_traits, "format").tolist() == ["PNG", "TIFF"]
    assert set(texts(cells.drop_classes(["A", "B"]).file_traits, "format")) == {"PNG"}
    merged = cells.merge_classes({"AC": ["A", "C"]})
    assert not of_kind(file_findings(merged), "class-revealed-by-files")
    assert len(of_kind(file_findings(merged), "files-differ")) == 1


def records(count: int, **columns: list[object]) -> np.ndarray:
    rows = [{name: values[k] for name, values in columns.items()} for k in range(count)]
    return as_table([FileTraits(**row) for row in rows])


def found(
    traits: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> list[Finding]:
    names = [f"{k}.tif" for k in range(len(labels))]
    classes = [f"class {k}" for k in range(labels.max() + 1)]
    findings = trait_findings(
        traits, labels=labels, classes=classes, ids=names, files=names, groups=groups
    )
    return of_kind(findings, "class-revealed-by-files")


@pytest.mark.slow
def test_files_that_tell_nothing_give_a_finding_in_at_most_one_in_a_hundred() -> None:
    sizes = (70, 35, 12, 5)
    labels, count = np.repeat(np.arange(4), sizes), sum(sizes)
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)

        def drawn(*values: str, rng: np.random.Generator = rng) -> list[object]:
            return rng.choice(values, count, p=rng.dirichlet(np.ones(len(values)))).tolist()

        days = rng.integers(0, 5, count)
        traits = records(
            count,
            format=drawn("TIFF", "PNG"),
            photometric=drawn("MinIsBlack", "MinIsWhite"),
            compression=drawn("none", "LZW", "deflate"),
            jpeg=drawn(*(f"quality {quality}" for quality in range(60, 100, 4))),
            software=drawn(*"abcdef"),
            height=rng.lognormal(3.4, 0.3, count).astype(int).tolist(),
            width=rng.lognormal(3.4, 0.3, count).astype(int).tolist(),
            bytes=rng.lognormal(8, 0.5, count).astype(int).tolist(),
            modified=(1.7e9 + 86_400.0 * days).tolist(),
        )
        alarms += bool(found(traits, labels))
    assert alarms <= 4, "99 % of the time 1 % of 200 gives no more"


def test_one_mistake_in_ten_is_told_as_a_share_and_four_in_ten_not_at_all() -> None:
    labels = np.repeat([0, 1], 100)
    of_class = ["none"] * 100 + ["LZW"] * 100

    def swapped(share: int) -> np.ndarray:
        values: list[object] = list(of_class)
        for k in [*range(share), *range(100, 100 + share)]:
            values[k] = "none" if values[k] == "LZW" else "LZW"
        return records(200, compression=values)

    (well,) = found(swapped(5), labels)
    assert well.severity == "error"
    assert "(balanced accuracy 0.95)" in str(well.message)
    (somewhat,) = found(swapped(20), labels)
    assert somewhat.severity == "warning"
    assert "(balanced accuracy 0.80)" in str(somewhat.message)
    assert not found(swapped(40), labels)


def test_a_value_of_each_file_tells_nothing() -> None:
    labels = np.repeat([0, 1], 30)
    traits = records(60, software=[f"run {k}" for k in range(60)])
    assert not found(traits, labels)
    assert not trait_findings(traits, labels=labels, classes="ab", ids=[""] * 60, files=[""] * 60)


def test_cells_of_a_group_do_not_judge_each_other() -> None:
    # Each donor has one class and one program of its own: of a new donor nothing is told.
    groups = np.repeat([f"donor {k}" for k in range(8)], 20)
    labels = np.repeat([0, 1, 0, 1, 0, 1, 0, 1], 20)
    own = records(160, software=[f"program {k // 20}" for k in range(160)])
    assert found(own, labels)
    assert not found(own, labels, groups)
    # One program for each class is told from donor to donor, but donors are few.
    shared = records(160, software=[f"program {k}" for k in labels.tolist()])
    (told,) = found(shared, labels, groups)
    assert told.severity == "warning"
    assert "of too few groups to exclude chance" in str(told.message)
    (told,) = found(shared, labels, np.repeat([f"donor {k}" for k in range(32)], 5))
    assert told.severity == "error"
    assert "too few groups" not in str(told.message)
    # A mistake in one of so few donors may be chance.
    values = [f"program {k}" for k in labels.tolist()]
    values[:20] = ["program 1"] * 20
    assert not found(records(160, software=values), labels, groups)
    # Within each donor, cells of both classes are saved by their class.
    within = np.tile([0, 1], 80)
    (told,) = found(records(160, compression=[("none", "LZW")[k] for k in within]), within, groups)
    assert told.severity == "error"
    assert "too few groups" not in str(told.message)


def test_cells_without_a_label_are_no_class() -> None:
    labels = np.concatenate([np.repeat([0, 1], 20), np.full(10, -1)])
    traits = records(50, compression=["none"] * 40 + ["LZW"] * 10)
    assert not found(traits, labels)
    findings = trait_findings(traits, labels=labels, classes="ab", ids=[""] * 50, files=[""] * 50)
    assert len(of_kind(findings, "files-differ")) == 1


def test_the_rule_is_judged_by_other_cells() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    # As many values as cells: in the cells themselves all is told, in others nothing.
    assert told_classes(np.arange(100), labels, None, least=0.6, level=0.01) == []
    codes = rng.integers(0, 40, 100)
    assert told_classes(codes, labels, None, least=0.75, level=0.01) == []
    (told,) = told_classes(labels, labels, None, least=0.75, level=0.01)
    assert told.balanced_accuracy == 1
    assert told.p <= 0.01
    assert told_classes(np.zeros(100, np.int64), labels, None, least=0.5, level=0.01) == []


def test_headers_are_read_as_they_are(tmp_path: Path) -> None:
    image = cell(0)
    one = read_traits(tif(tmp_path / "plain", image))
    assert (one.format, one.suffix, one.colour, one.photometric) == (
        "TIFF", ".tif", "grey", "MinIsBlack",
    )  # fmt: skip
    assert (one.depth, one.compression, one.pages, one.software) == (
        "8-bit", "none", 1, "tifffile.py",
    )  # fmt: skip
    assert (one.height, one.width, one.resolution) == (20, 20, "")
    pages = read_traits(tif(tmp_path / "pages", np.stack([image] * 3), photometric="minisblack"))
    assert pages.pages == 3
    for dtype, depth in {"int16": "16-bit signed", "float32": "32-bit float"}.items():
        assert read_traits(tif(tmp_path / dtype, image.astype(dtype))).depth == depth
    tiles = read_traits(tif(tmp_path / "tiles", np.tile(image, (2, 2)), tile=(16, 16)))
    assert tiles.storage == "little-endian, tiles"
    squeezed = tif(tmp_path / "jpeg", image, compression="jpeg", compressionargs={"level": 60})
    assert read_traits(squeezed).jpeg == "quality 60"
    assert read_traits(named_as(".png")(tmp_path / "lie", image)).format == "TIFF"


@pytest.mark.parametrize("quality", [1, 30, 50, 60, 75, 90, 95])
def test_jpeg_quality_is_that_which_the_file_was_saved_with(quality: int, tmp_path: Path) -> None:
    assert read_traits(jpeg(quality)(tmp_path / "a", cell(0))).jpeg == f"quality {quality}"
    colour = np.stack([cell(0)] * 3, axis=2)
    file = pil(tmp_path / "b", colour, ".jpg", quality=quality, subsampling=0)
    assert read_traits(file).jpeg == f"quality {quality}, 4:4:4"


def test_other_formats_say_what_they_hold(tmp_path: Path) -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", "Scope\n3")
    png = read_traits(pil(tmp_path / "a", cell(0), ".png", pnginfo=note, dpi=(96, 96)))
    assert (png.format, png.depth, png.software) == ("PNG", "8-bit", "Scope 3")
    assert png.resolution.endswith("per inch")
    deep = read_traits(pil(tmp_path / "b", cell(0).astype(np.uint16), ".png"))
    assert deep.depth == "16-bit"
    flat = Image.fromarray(cell(0)).convert("P")
    flat.save(tmp_path / "c.png")
    assert read_traits(tmp_path / "c.png").colour == "palette"
    one_bit = Image.fromarray(cell(0) > 90)
    one_bit.save(tmp_path / "d.png")
    assert read_traits(tmp_path / "d.png").depth == "1-bit"
    (tmp_path / "e.pgm").write_bytes(b"P5\n# 12 bits\n4 2\n4095\n" + struct.pack(">8H", *range(8)))
    pgm = read_traits(tmp_path / "e.pgm")
    assert (pgm.format, pgm.depth, pgm.height, pgm.width) == ("PGM", "12-bit", 2, 4)
    lossy = read_traits(pil(tmp_path / "f", cell(0), ".webp", quality=50))
    lossless = read_traits(pil(tmp_path / "g", cell(0), ".webp", lossless=True))
    assert (lossy.compression, lossless.compression) == ("WebP lossy", "WebP lossless")


def test_a_turned_image_has_the_size_that_is_shown(tmp_path: Path) -> None:
    file = oriented(6)(tmp_path / "a", cell(0)[:12])
    traits = read_traits(file)
    assert (traits.orientation, traits.height, traits.width) == (6, 20, 12)


def test_bytes_that_are_no_image_raise_nothing(tmp_path: Path) -> None:
    whole = tif(tmp_path / "whole", cell(0)).read_bytes()
    bad = tmp_path / "bad.tif"
    for data in (b"", b"II*\0", whole[:40], whole[:-200], b"\x89PNG\r\n\x1a\n", bytes(600)):
        bad.write_bytes(data)
        assert read_traits(bad).bytes == len(data)
    assert read_traits(tmp_path / "nothing.tif") == FileTraits(suffix=".tif")


def test_records_hold_what_values_hold() -> None:
    odd = FileTraits(format="TIFF", camera="Zeiß µ", bytes=5, modified=1.5, height=7)
    table = as_table([FileTraits(), odd])
    assert texts(table, "camera").tolist() == ["", "Zeiß µ"]
    assert table["bytes"].tolist() == [0, 5]
    assert table["modified"].tolist() == [0.0, 1.5]


REAL_SETS: dict[str, tuple[str, dict[str, str], int]] = {
    "bbbc021": ("bbbc021-moa/labels.csv", {}, 0),
    "bbbc021 by dose": ("bbbc021-moa/labels.csv", {"label_column": "label4"}, 0),
    "herlev": ("herlev-pap/labels.csv", {"size": "224x224"}, 1),
    "hep2": ("hep2-icpr2014/labels.csv", {}, 0),
    "chula": ("chula-rbc/labels.csv", {}, 0),
    "sperm": ("mhsma-sperm/labels.csv", {"label_column": "acrosome"}, 0),
    "sperm tail": ("mhsma-sperm/labels.csv", {"label_column": "tail"}, 0),
    "wbc": ("wbc/labels.csv", {"path_format": "images/{:03d}.bmp", "size": "136x136"}, 1),
}


@pytest.mark.parametrize("name", REAL_SETS)
def test_real_sets_give_no_false_alarm(name: str) -> None:
    table, options, sizes = REAL_SETS[name]
    path = REAL / table
    if not path.is_file():
        pytest.skip(f"{path.parent} is not here")
    from cellsearch.data.readers.registry import layout

    reader = layout("table", options)
    files = reader.files(path)[1:]
    rows = path.read_text(encoding="utf-8-sig").splitlines()
    header = rows[0].split(",")
    column = options.get("label_column", "class label" if name == "wbc" else "label")
    labels = np.array([row.split(",")[header.index(column)] for row in rows[1:] if row])
    classes, codes = np.unique(labels, return_inverse=True)
    group = next((k for k, title in enumerate(header) if title.startswith("group_i")), None)
    groups = None if group is None else np.array([row.split(",")[group] for row in rows[1:] if row])
    traits = traits_of([(file,) for file in files])
    names = [file.name for file in files]
    for parted in (None, groups):
        findings = trait_findings(
            traits, labels=codes, classes=classes.tolist(), ids=names, files=names, groups=parted
        )
        assert findings == []
    assert (len(np.unique(traits[["height", "width"]])) > 1) == bool(sizes)
