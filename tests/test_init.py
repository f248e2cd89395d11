"""`cellsearch init`: folders as people have them, and manifests that a run takes."""

from __future__ import annotations

import json
import os
import shlex
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellsearch.data.manifest import load_manifest
from cellsearch.data.rare import apply_rare
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.errors import CellsearchError, ConfigError
from cellsearch.scan import FirstLook, first_look, write
from cellsearch.scan.choices import choose_run, choose_size
from cellsearch.scan.facts import facts, lines
from cellsearch.util.json_text import json_text

from command_cases import cellsearch

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda *words: cellsearch(capsys, monkeypatch, *words)


def cell(rng: np.random.Generator, side: tuple[int, int] = (16, 16), top: int = 255) -> Any:
    dtype = np.uint8 if top < 256 else np.uint16
    return rng.integers(0, top + 1, side).astype(dtype)


def folders(root: Path, counts: dict[str, int], **picture: Any) -> Path:
    """``root/<class>/cell 1.png`` ..."""
    rng = np.random.default_rng(zlib.crc32(f"{root.name}{sorted(counts)}".encode()))
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(1, count + 1):
            Image.fromarray(cell(rng, **picture)).save(root / name / f"cell {number}.png")
    return root


def runnable(look: FirstLook, written: list[Path]) -> Splits:
    """Cells and splits as ``cellsearch run`` with the proposed command would have them."""
    assert look.problems == []
    assert look.run is not None
    load_manifest(written[-1])
    cells = load_dataset(written[-1])
    assert len(cells) == len(look.kept)
    rare = look.run.rare or "refuse"
    return draw_splits(apply_rare(cells, rare=rare, folds=5), folds=look.run.folds, rare=rare)


def test_a_folder_per_class(command: Call, tmp_path: Path) -> None:
    root = folders(tmp_path / "My cells (é)", {"live": 40, "dead cells": 12, "βeta": 8})
    (root / "live" / "Thumbs.db").write_bytes(b"x")
    (root / "live" / ".DS_Store").write_bytes(b"x")
    (root / "live" / "notes.txt").write_text("x")
    (root / "left").mkdir()
    code, out, error = command("init", root, "--no-estimate")
    assert code == 0, error
    assert "60 in 3 classes, imbalance 5 to 1" in out
    assert "dead cells 12, live 40, βeta 8" in out
    assert "size: 16 x 16 px, all alike" in out
    assert "hidden and system files ignored: 2" in out
    assert "1 .txt" in out
    assert "folders without images, ignored: left" in out
    manifest = Path("my-cells.yaml")
    assert "FILL IN" in manifest.read_text()
    assert shlex.join(["cellsearch", "run", "--dataset", "my-cells.yaml"]) in out
    assert load_dataset(manifest).counts.tolist() == [12, 40, 8]
    # What is written is never replaced unasked.
    code, _, error = command("init", root, "--no-estimate")
    assert code == 2
    assert "--force" in error
    assert command("init", root, "--no-estimate", "--force")[0] == 0


@pytest.mark.slow
def test_one_json_document(command: Call, tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"a": 20, "b": 8})
    code, out, _ = command("init", root, "--no-estimate", "--json", "-o", "mine.yaml")
    assert code == 0
    said = json.loads(out)
    assert said["layout"] == "folders"
    assert said["classes"] == {"a": 20, "b": 8}
    assert said["written"] == ["mine.yaml"]
    assert said["command"][:4] == ["cellsearch", "run", "--dataset", "mine.yaml"]


def test_nested_batches_become_groups_in_a_table(tmp_path: Path) -> None:
    for donor in range(1, 8):
        folders(tmp_path / "cells" / f"donor {donor}", {"live": 6, "dead": 4})
    look = first_look(tmp_path / "cells")
    written = write(look, tmp_path / "cells.yaml")
    assert [path.name for path in written] == ["cells-cells.csv", "cells.yaml"]
    splits = runnable(look, written)
    groups = load_dataset(written[-1]).groups
    assert groups is not None
    held = set(groups[splits.holdout].tolist())
    assert held
    assert not held & set(groups[splits.development].tolist())


def test_few_donors_ask_for_fewer_folds(tmp_path: Path) -> None:
    for donor in "ABCD":
        folders(tmp_path / "cells" / f"donor_{donor}", {"live": 9, "dead": 5})
    look = first_look(tmp_path / "cells")
    assert look.run is not None
    assert look.run.folds == 3
    assert "--folds" in look.run.words("x")
    runnable(look, write(look, tmp_path / "cells.yaml"))


def test_class_folders_that_hold_batches_stay_classes(tmp_path: Path) -> None:
    for kind in ("live", "dead"):
        folders(tmp_path / "cells" / kind, {f"plate{k}": 3 for k in range(1, 8)})
    look = first_look(tmp_path / "cells")
    assert look.layout.kind == "folders"
    assert set(look.layout.counts) == {"live", "dead"}
    assert look.group is not None
    assert look.group.what == "plate"
    written = write(look, tmp_path / "cells.yaml")
    assert "group_pattern" in written[-1].read_text()
    runnable(look, written)


def test_splits_are_not_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        folders(tmp_path / "cells" / part, {"live": 12, "dead": 8})
    look = first_look(tmp_path / "cells")
    assert look.layout.counts == {"dead": 16, "live": 24}
    assert look.layout.groups is None
    runnable(look, write(look, tmp_path / "cells.yaml"))


def test_unreadable_files_are_left_out_by_a_table(tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"live": 20, "dead": 10})
    (root / "live" / "cell 3.png").write_bytes(b"no image")
    (root / "dead" / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    look = first_look(root)
    assert len(look.crops.bad) == 2
    assert any("cell 3.png" in note and "leaves them out" in note for note in look.layout.notes)
    splits = runnable(look, write(look, tmp_path / "cells.yaml"))
    assert splits.k == 5


def test_several_sizes_are_padded_and_the_larger_ones_shrunk(tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"live": 20})
    folders(root, {"dead": 10}, side=(20, 18))
    look = first_look(root)
    assert look.size is not None
    assert (look.size.size, look.size.fit) == ((24, 24), "shrink")
    written = write(look, tmp_path / "cells.yaml")
    assert "fit: shrink" in written[-1].read_text()
    runnable(look, written)
    wide = choose_size({(20, 20): 99, (64, 64): 1})
    assert wide is not None
    assert (wide.size, wide.fit) == ((24, 24), "shrink")
    assert "holds 99 of 100" in wide.why
    few = choose_size({(20, 20): 90, (64, 64): 1})
    assert few is not None
    assert few.size == (64, 64)
    of_class = {"common": {(20, 20): 990}, "rare": {(60, 50): 10}}
    kept = choose_size({(20, 20): 990, (60, 50): 10}, classes=of_class)
    assert kept is not None
    assert kept.size == (64, 64), "how large the rare class is must not be lost"


def test_deep_and_coloured_and_grey_in_colour(tmp_path: Path) -> None:
    deep = folders(tmp_path / "deep", {"a": 8, "b": 8}, top=4095)
    assert any("12 of 16 bits used" in str(line) for line in lines(first_look(deep)))
    rng = np.random.default_rng(0)
    for name in ("colour", "grey"):
        for kind in "ab":
            (tmp_path / name / kind).mkdir(parents=True)
            for k in range(8):
                plane = cell(rng)
                rgb = np.stack([plane, plane if name == "grey" else cell(rng), plane], axis=2)
                Image.fromarray(rgb).save(tmp_path / name / kind / f"{k}.png")
    assert first_look(tmp_path / "colour").channels == ("red", "green", "blue")
    grey = first_look(tmp_path / "grey")
    assert grey.crops.grey_in_colour
    written = write(grey, tmp_path / "grey.yaml")
    assert load_dataset(written[-1]).channels == ("red",)


def test_channel_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, count in (("G1", 20), ("M", 8)):
        (tmp_path / "cells" / kind).mkdir(parents=True)
        for k in range(count):
            for code in ("Ch1", "Ch9"):
                tifffile.imwrite(tmp_path / "cells" / kind / f"{k}_{code}.ome.tif", cell(rng))
    look = first_look(tmp_path / "cells")
    assert look.layout.codes == ("Ch1", "Ch9")
    written = write(look, tmp_path / "cells.yaml")
    assert "code: Ch9" in written[-1].read_text()
    runnable(look, written)
    (tmp_path / "cells" / "M" / "3_Ch9.ome.tif").unlink()
    assert "3 has no Ch9" in str(first_look(tmp_path / "cells").problems[0])


def test_a_flat_folder_gets_a_table_to_fill_in(command: Call, tmp_path: Path) -> None:
    folders(tmp_path, {"flat": 5})
    (tmp_path / "flat").rename(tmp_path / "images here")
    root = tmp_path / "images here"
    code, out, _ = command("init", root, "--no-estimate")
    assert code == 1
    assert "folder per class" in out
    assert "-o labels.csv" in out
    assert list(Path().iterdir()) == []
    assert command("init", root, "--no-estimate", "-o", "labels.csv")[0] == 1
    rows = Path("labels.csv").read_text().splitlines()
    assert rows[0] == "path,label"
    assert rows[1] == "../images here/cell 1.png,"
    # Names that tell the class fill it in, to be looked at.
    for k, kind in enumerate(["live", "dead"] * 6):
        Image.fromarray(cell(np.random.default_rng(k))).save(root / f"{kind}_{k}.png")
    for path in root.glob("cell *"):
        path.unlink()
    command("init", root, "--no-estimate", "-o", "labels.csv", "--force")
    look = first_look(Path("labels.csv"))
    assert look.layout.counts == {"dead": 6, "live": 6}
    runnable(look, write(look, Path("cells.yaml")))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "an empty folder"),
        ({"a": 8}, "a classifier needs two"),
        ({"a": 2, "b": 2}, "too few cells"),
    ],
)
def test_what_cannot_be_learnt_from(
    command: Call, tmp_path: Path, counts: dict[str, int], said: str
) -> None:
    root = tmp_path / "cells"
    root.mkdir()
    folders(root, counts)
    code, out, error = command("init", root, "--no-estimate")
    assert code == (1 if counts else 2)
    assert said in out + error
    assert list(Path().iterdir()) == []


def test_a_tiny_class_is_kept_without_a_figure(tmp_path: Path) -> None:
    look = first_look(folders(tmp_path / "cells", {"a": 30, "b": 20, "c": 3}))
    assert look.run is not None
    assert look.run.rare == "keep"
    assert "c (3)" in " ".join(map(str, lines(look)))
    splits = runnable(look, write(look, tmp_path / "cells.yaml"))
    assert list(splits.not_estimable) == ["c"]


def test_a_link_that_leads_back_is_named(tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"a": 8, "b": 8})
    (root / "a" / "again").symlink_to(root, target_is_directory=True)
    look = first_look(root)
    assert len(look.layout.cells) == 16
    assert not look.problems
    assert "ignored: 1 link to a folder above, a/again" in look.layout.notes


def test_masks_and_fields_of_view_are_said(tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"a": 8, "b": 8})
    for path in list(root.rglob("*.png")):
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(path.with_name(f"{path.stem}_mask.png"))
    assert "16 of 32 images are named as masks" in first_look(root).problems[0]
    wide = folders(tmp_path / "wide", {"a": 1, "b": 1}, side=(1200, 1100))
    assert "fields of view or montages" in str(first_look(wide).problems[0])


def test_mixed_depths_are_said(tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"a": 8})
    folders(root, {"b": 8}, top=4095)
    assert "several dtypes" in first_look(root).problems[0]


def test_time_is_bounded_and_a_sample_is_said(tmp_path: Path) -> None:
    root = folders(tmp_path / "cells", {"a": 60, "b": 60})
    seen: list[tuple[str, int, int]] = []
    look = first_look(root, None, lambda *told: seen.append(told), most_seconds=0.0)
    assert look.crops.looked_at <= 1
    assert seen
    look = first_look(root)
    look.crops.looked_at = 50
    assert "50 of 120 images looked at" in " ".join(map(str, lines(look)))


def test_arrays_and_manifests(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", images=cell(rng, (30, 16, 16)), labels=np.arange(30) % 3)
    look = first_look(tmp_path / "x.npz")
    written = write(look, tmp_path / "x.yaml")
    runnable(look, written)
    json.loads(json_text(facts(look, written, None)))
    with pytest.raises(ConfigError, match="manifest already"):
        first_look(written[0])
    with pytest.raises(CellsearchError, match="no such file"):
        first_look(tmp_path / "nowhere")


def test_folds_follow_groups_and_budget_follows_cells() -> None:
    many = choose_run({"a": 40_000, "b": 900}, {"a": 40_000, "b": 900}, (40, 40), grouped=False)
    assert (many.space, many.budget, many.folds) == ("default", 20, 5)
    few = choose_run({"a": 40, "b": 9}, {"a": 40, "b": 9}, (40, 40), grouped=False)
    assert few.space == "quick"
    grouped = choose_run({"a": 400, "b": 90}, {"a": 8, "b": 4}, (40, 40), grouped=True)
    assert grouped.folds == 3


def test_white_blood_cells(wbc_root: Path, tmp_path: Path) -> None:
    look = first_look(wbc_root)
    assert look.layout.counts == {"1": 176, "2": 53, "3": 48, "4": 22, "5": 1}
    assert any(each.kind == "exact-duplicate" for each in look.findings)
    written = write(look, tmp_path / "wbc.yaml")
    assert "class_names" in written[0].read_text()
    runnable(look, written)


def test_jurkat_montages_are_known(command: Call, mlcp_root: Path) -> None:
    code, out, _ = command("init", mlcp_root)
    assert code == 0
    assert f"--dataset jurkat --from {os.fspath(mlcp_root)}" in out
