"""Cells written in each format, read again: what is the same, what is refused, and what is left."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from cellsearch.cli import app
from cellsearch.data.dataset import CellDataset, Provenance
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict
from cellsearch.data.writers import registry
from cellsearch.data.writers.registry import Writer, write_cells
from cellsearch.errors import ConfigError, DataError

NAMES = {
    "folder": "set",
    "table": "set",
    "npz": "set.npz",
    "zarr": "set.zarr",
    "hdf5": "set.h5",
    "tiff": "set.ome.tif",
}
FIELDS = ("labels", "ids", "sources", "object_numbers", "groups")


def cells(
    channels: int = 2, dtype: str = "uint16", *, groups: bool = True, size: tuple[int, int] = (9, 7)
) -> CellDataset:
    """Ten cells whose classes, ids and numbers are in no order and hold odd letters."""
    rng = np.random.default_rng(channels)
    high = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    images = (rng.random((10, channels, *size)) * high).astype(dtype)
    return CellDataset.from_arrays(
        images,
        np.array([2, 0, 1, 0, 2, 1, 1, 0, 2, 2]),
        classes=("S phase", "G1", "anaphase-ü"),
        channels=[f"channel {k} é, <&>" for k in range(channels)],
        groups=[f"donor {k % 3}/x" for k in range(10)] if groups else None,
        ids=[f"plate_{k}/Ch1.cif#{9 - k}" for k in range(10)],
        sources=[f"plate_{k}.cif" for k in range(10)],
        object_numbers=np.arange(10)[::-1] * 7,
        name="odd-ones",
        provenance=Provenance(
            title="Odd ones", licence="CC0-1.0", citation="Nobody 2026", pixel_size_um=0.33
        ),
    )


def same(again: CellDataset, first: CellDataset, *, but: tuple[str, ...] = ()) -> None:
    """Every pixel and every column of cell after cell, matched by id."""
    order = [again.ids.tolist().index(name) for name in first.ids]
    if "order" not in but:
        assert order == list(range(len(first)))
        assert again.sha256 == first.sha256
    assert again.classes == first.classes
    assert again.channels == first.channels
    assert again.images.dtype == first.images.dtype
    np.testing.assert_array_equal(again.images[order], first.images)
    for name in FIELDS:
        if name in but:
            continue
        mine, theirs = getattr(again, name), getattr(first, name)
        assert (mine is None) == (theirs is None), name
        if theirs is not None:
            np.testing.assert_array_equal(mine[order], theirs, err_msg=name)
    assert again.provenance.licence == first.provenance.licence
    assert again.provenance.pixel_size_um == first.provenance.pixel_size_um


LOST = {"folder": ("order", "sources", "object_numbers")}


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "uint8"), (3, "uint16"), (12, "float32"), (3, "uint8")]
)
def test_every_format_gives_the_same_cells_again(
    to: str, dtype: str, channels: int, tmp_path: Path
) -> None:
    first = cells(channels, dtype)
    written = write_cells(first, tmp_path / NAMES[to])
    if to == "table":
        written = write_cells(first, tmp_path / "other", to="table")
    same(load_dataset(written.readable), first, but=LOST.get(to, ()))
    held = {"order", "object numbers", "sources"} if to == "folder" else set()
    assert {word for word in held if any(word in loss for loss in written.losses)} == held
    assert [path.name for path in tmp_path.iterdir() if ".tmp" in path.name] == []


@pytest.mark.parametrize("to", NAMES)
def test_crops_as_small_as_channels_and_larger_than_a_cell(to: str, tmp_path: Path) -> None:
    for name, size in (("small", (3, 4)), ("large", (2, 1100))):
        first = cells(4, "uint8", size=size)
        out = tmp_path / name / NAMES[to]
        options = {} if to in ("folder", "table") else {"size": f"{size[0]}x{size[1]}"}
        if to == "npz":
            options = {}
        written = write_cells(first, out, to=to)
        same(load_dataset(written.readable, **options), first, but=LOST.get(to, ()))


@pytest.mark.parametrize("to", NAMES)
def test_without_groups_there_are_none_again(to: str, tmp_path: Path) -> None:
    first = cells(groups=False)
    written = write_cells(first, tmp_path / NAMES[to], to=to)
    assert load_dataset(written.readable).groups is None


def test_ids_that_are_paths_stay_paths_in_a_folder(tmp_path: Path) -> None:
    first = cells(groups=False)
    named = CellDataset.from_arrays(
        first.images,
        first.labels,
        classes=first.classes,
        ids=[f"{first.classes[k]}/donor{n}/{n}" for n, k in enumerate(first.labels)],
    )
    write_cells(named, tmp_path / "set")
    assert (tmp_path / "set" / "G1" / "donor2" / "2.tif").is_file()
    again = load_dataset(tmp_path / "set")
    assert sorted(again.ids) == sorted(named.ids)


@pytest.mark.parametrize("to", ["table", "npz", "zarr", "hdf5", "tiff"])
def test_cells_without_labels_are_predicted_under_their_ids(to: str, tmp_path: Path) -> None:
    first = cells()
    bare = CellDataset.from_arrays(
        first.images,
        np.full(10, -1),
        classes=(),
        ids=first.ids,
        sources=first.sources,
        object_numbers=first.object_numbers,
        channels=first.channels,
    )
    written = write_cells(bare, tmp_path / NAMES[to], to=to)
    assert not written.labelled
    if to != "table":
        assert load_dataset(written.readable).classes == ()
    again = cells_to_predict(str(written.readable), channels=first.channels)
    for name in ("ids", "sources", "object_numbers", "images"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name), err_msg=name)
    with pytest.raises(DataError, match="10 of 10 cells have no label"):
        write_cells(bare, tmp_path / "x", to="folder")


@pytest.mark.parametrize("to", ["npz", "zarr", "hdf5", "tiff"])
def test_some_labels_may_be_unknown(to: str, tmp_path: Path) -> None:
    first = cells()
    labels = first.labels.copy()
    labels[[1, 4]] = -1
    some = CellDataset.from_arrays(
        first.images, labels, classes=first.classes, ids=first.ids, groups=first.groups
    )
    written = write_cells(some, tmp_path / NAMES[to], to=to)
    np.testing.assert_array_equal(load_dataset(written.readable).labels, labels)


@pytest.mark.parametrize("to", ["folder", "table"])
def test_the_manifest_stands_for_its_folder(to: str, tmp_path: Path) -> None:
    write_cells(cells(), tmp_path / "set", to=to)
    text = (tmp_path / "set" / "dataset.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Written by cellsearch convert.")
    assert "licence: CC0-1.0" in text
    assert load_dataset(tmp_path / "set").name == "odd-ones"
    again = cells_to_predict(str(tmp_path / "set"), channels=cells().channels)
    assert set(again.ids) == set(cells().ids)


# What is refused


def test_nothing_is_replaced_unasked_and_foreign_folders_never(tmp_path: Path) -> None:
    first = cells()
    for to, name in NAMES.items():
        out = tmp_path / to / name
        write_cells(first, out, to=to)
        with pytest.raises(ConfigError, match=r"exists already.*force=True"):
            write_cells(first, out, to=to)
        write_cells(first.subset([0, 1, 2]), out, to=to, force=True)
        assert len(load_dataset(out)) == 3
        assert len(list(out.parent.iterdir())) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="did not write is never replaced"):
        write_cells(first, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_a_failed_writing_leaves_nothing_and_keeps_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set.npz"
    write_cells(cells(), out)
    before = out.read_bytes()

    def fails(cells: CellDataset, path: Path, on_progress: Any = None) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry, "WRITERS", registry.WRITERS | {"npz": Writer(fails, ".npz")})
    with pytest.raises(DataError, match="the disk is full"):
        write_cells(cells(), out, force=True)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_format_cannot_hold_is_said_at_once(tmp_path: Path) -> None:
    first = cells()
    odd = CellDataset.from_arrays(
        first.images,
        first.labels,
        classes=("CD4/CD8", ".hidden", "G1"),
        ids=["x" * 300 + str(k) for k in range(10)],
    )
    with pytest.raises(DataError, match=r"no folder can bear: CD4/CD8, \.hidden.*10 ids too long"):
        write_cells(odd, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []
    again = load_dataset(write_cells(odd, tmp_path / "set", to="table").path)
    assert again.sha256 == odd.sha256


@pytest.mark.parametrize(
    ("out", "to", "message"),
    [
        ("set.npz", "zarr", r"to=.zarr. needs a name that ends in \.zarr"),
        ("set", "hdf5", r"needs a name that ends in \.h5"),
        ("set.npz", "folder", "needs a folder's name"),
        ("set", "npzz", "no such format; did you mean 'npz'.*formats: folder, table"),
    ],
)
def test_names_and_formats_must_agree(out: str, to: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write_cells(cells(), tmp_path / out, to=to)


# The command


def test_convert_says_what_it_did_and_how_to_go_on(tmp_path: Path) -> None:
    write_cells(cells(), tmp_path / "in.npz")
    run = CliRunner().invoke(
        app,
        ["convert", str(tmp_path / "in.npz"), "-o", str(tmp_path / "out"), "--only", "G1,S phase"],
    )
    assert run.exit_code == 0, run.output
    assert "6 cells in" in run.stdout
    assert "a folder does not keep: the order of the cells" in run.stdout
    assert f"cellsearch run --dataset {tmp_path / 'out'}" in run.stdout
    assert load_dataset(tmp_path / "out").classes == ("S phase", "G1")


def test_images_that_lie_loose_are_converted_without_labels(tmp_path: Path) -> None:
    first = cells()
    loose = tmp_path / "loose"
    loose.mkdir()
    for name, image in zip("abc", first.images[:3], strict=True):
        tifffile.imwrite(loose / f"{name}.tif", image, photometric="minisblack")
    table, packed = tmp_path / "table", tmp_path / "cells.npz"
    for arguments in (["-o", str(table), "--to", "table"], ["-o", str(packed)]):
        run = CliRunner().invoke(app, ["convert", str(loose), *arguments])
        assert run.exit_code == 0, run.output
        assert "no labels; classify them: cellsearch predict CARD" in run.stdout
    for written in (table / "cells.csv", packed):
        again = cells_to_predict(str(written), channels=("channel-1", "channel-2"))
        np.testing.assert_array_equal(again.images, first.images[:3])
        assert again.ids.tolist() == ["a", "b", "c"]
    sheet = tmp_path / "sheet.png"
    run = CliRunner().invoke(app, ["datasets", "describe", str(packed), "--sheet", str(sheet)])
    assert run.exit_code == 0, run.output
    assert sheet.is_file()
    (loose / "labels.csv").write_text("path,label\n")
    run = CliRunner().invoke(app, ["convert", str(loose), "-o", str(tmp_path / "x.npz")])
    assert "holds a table" in str(run.exception)


def test_convert_as_json_prints_one_document(tmp_path: Path) -> None:
    write_cells(cells(), tmp_path / "in.npz")
    arguments = ["convert", str(tmp_path / "in.npz"), "-o", str(tmp_path / "o.ome.tif"), "--json"]
    run = CliRunner().invoke(app, [*arguments, "--channels", "channel 1 é"])
    assert "channels: no channel 'channel 1 é'; did you mean" in str(run.exception)
    run = CliRunner().invoke(app, [*arguments, "--only", "G3"])
    assert "only: no class 'G3'; there are S phase, G1" in str(run.exception)
    run = CliRunner().invoke(app, [*arguments, "--merge", "x=G1,S phase"])
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout)
    assert facts["format"] == "tiff"
    assert facts["cells"] == 10
    assert facts["classes"] == ["x", "anaphase-ü"]
    assert facts["not_held"] == []


def test_convert_refuses_before_it_reads(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("")
    run = CliRunner().invoke(app, ["convert", "no-such-set", "-o", str(tmp_path / "out")])
    assert isinstance(run.exception, ConfigError)
    assert "exists already" in str(run.exception)


def test_convert_writes_neither_into_nor_around_what_it_reads(tmp_path: Path) -> None:
    source, around = tmp_path / "ok", tmp_path / "around"
    write_cells(cells(), source)
    before = sorted(source.rglob("*"))
    (tmp_path / "link").symlink_to(source)
    for out, said in (
        (source / "sub", f"lies in {source}, which is the input"),
        (tmp_path / "link" / "new.npz", f"lies in {source}, which is the input"),
    ):
        run = CliRunner().invoke(app, ["convert", str(source), "-o", str(out)])
        assert isinstance(run.exception, ConfigError)
        assert said in str(run.exception)
    assert sorted(source.rglob("*")) == before
    # A folder of ours, which --force would replace together with the cells in it.
    write_cells(cells(), around)
    write_cells(cells(), around / "inner")
    words = ["convert", str(around / "inner"), "-o", str(around), "--force"]
    run = CliRunner().invoke(app, words)
    assert isinstance(run.exception, ConfigError)
    assert f"holds {around / 'inner'}, which is the input" in str(run.exception)
    assert (around / "inner").is_dir()


def test_a_table_is_plain_to_read(tmp_path: Path) -> None:
    write_cells(cells(), tmp_path / "set", to="table")
    with (tmp_path / "set" / "cells.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "path": "images/000000.tif",
        "label": "anaphase-ü",
        "id": "plate_0/Ch1.cif#9",
        "source": "plate_0.cif",
        "object_number": "63",
        "group": "donor 0/x",
    }
    # Also without the manifest, as it would be read after somebody moved it.
    same(
        CellDataset.from_table(
            tmp_path / "set" / "cells.csv", channels=",".join(["a", "b"])
        ).select_channels(["a", "b"]),
        CellDataset.from_arrays(
            cells().images,
            [cells().classes[k] for k in cells().labels],
            channels=["a", "b"],
            ids=cells().ids,
            groups=cells().groups,
            sources=cells().sources,
            object_numbers=cells().object_numbers,
            provenance=Provenance(),
        ),
    )


def test_a_suffix_of_no_format_is_no_name_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no format has the suffix \.csv"):
        write_cells(cells(), tmp_path / "cells.csv")
    assert not list(tmp_path.iterdir())
