"""OME-Zarr images of crops: versions, axes, names; and that ome-zarr itself reads what we write."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from cellsearch.data.dataset import CellDataset, Provenance
from cellsearch.data.readers import ome_zarr
from cellsearch.data.readers.registry import detect, layout
from cellsearch.data.writers.registry import write_cells
from cellsearch.errors import ConfigError, DataError, ReadError

CROPS = np.random.default_rng(2).integers(0, 4096, (6, 2, 10, 8)).astype(np.uint16)


def write(
    path: Path, data: np.ndarray, axes: Any, *, version: int = 3, chunks: Any = None, **more: Any
) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("s0", data=data, chunks=chunks or data.shape)
    scale = [1.0] * (data.ndim - 2) + [325.0, 325.0]
    multiscale = {
        "axes": axes,
        "datasets": [
            {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        ],
    }
    omero = {"channels": [{"label": "bright"}, {"label": "DAPI"}]}
    facts = {"multiscales": [multiscale], "omero": omero}
    group.attrs.update({"ome": facts, **more} if version == 3 else {**facts, **more})
    return path


def named(letters: str) -> list[dict[str, str]]:
    space = {"type": "space", "unit": "nanometer"}
    return [{"name": a, **(space if a in "xy" else {})} for a in letters]


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("ome_zarr", options).read(path))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("letters", ["tcyx", "ncyx", "ctyx"])
def test_axes_names_and_pixel_size_come_from_the_metadata(
    version: int, letters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ome_zarr, "CHUNK_BYTES", CROPS[0].nbytes * 3)
    data = CROPS if letters[1] == "c" else np.moveaxis(CROPS, 0, 1)
    path = write(
        tmp_path / "cells.ome.zarr", data, named(letters), version=version, chunks=(2, 1, 10, 8)
    )
    (tmp_path / "cells.csv").write_text("label,group\n" + "a,d1\nb,d2\n" * 3)
    assert detect(path) == "ome_zarr"
    cells = read(path)
    np.testing.assert_array_equal(cells.images, CROPS)
    assert cells.channels == ("bright", "DAPI")
    assert cells.provenance.pixel_size_um == pytest.approx(0.325)
    assert [cells.classes[k] for k in cells.labels] == ["a", "b"] * 3
    assert cells.groups is not None
    assert cells.groups.tolist() == ["d1", "d2"] * 3
    assert cells.object_numbers.tolist() == list(range(6))


def test_labels_may_stand_in_the_attributes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.zarr", CROPS, list("tcyx"), labels=[1, 0, 1, 0, 1, -1], classes=["z", "a"]
    )
    cells = read(path)
    assert cells.classes == ("z", "a")
    assert cells.labels.tolist() == [1, 0, 1, 0, 1, -1]


def test_rows_find_cells_by_number_and_others_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", CROPS, list("tcyx"))
    (tmp_path / "picked.csv").write_text("cell number;class\n4;b\n1;a\n")
    cells = read(path, labels="picked.csv")
    assert cells.object_numbers.tolist() == [1, 4]
    np.testing.assert_array_equal(cells.images, CROPS[[1, 4]])
    for text, error, message in (
        ("number,class\n9,a\nx,b\n1,a\n1,a\n", ReadError, "3 bad rows: line 2: no cell 9, line 3"),
        ("class\na\n", DataError, "1 rows for 6 cells, and no column of object numbers"),
        ("number,class\n1,\n", ReadError, "no class in line 2"),
        (
            "number,what\n1,a\n",
            ConfigError,
            "no column is called as the class.*columns: numb",
        ),
    ):
        (tmp_path / "picked.csv").write_text(text)
        with pytest.raises(error, match=message):
            read(path, labels="picked.csv")
    with pytest.raises(ReadError, match=r"option labels: no file none\.csv"):
        read(path, labels="none.csv")


def test_what_is_written_is_read_by_ome_zarr_itself(tmp_path: Path) -> None:
    first = CellDataset.from_arrays(
        CROPS, list("abcabc"), channels=("bright", "DAPI"), provenance=Provenance(pixel_size_um=0.5)
    )
    path = write_cells(first, tmp_path / "x.zarr").path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader
        from ome_zarr_models.v05 import Image

        location = parse_url(path)
        assert location is not None
        node = next(iter(Reader(location)()))
        image = Image.from_zarr(zarr.open_group(path, mode="r"))
    np.testing.assert_array_equal(np.asarray(node.data[0]), CROPS)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["t", "c", "y", "x"]
    facts = image.ome_attributes.model_dump()
    assert [channel["label"] for channel in facts["omero"]["channels"]] == ["bright", "DAPI"]


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        (list("tczyx"), (2, 2, 3, 6, 6), None),
        (list("yxc"), (6, 6, 2), r"axes y, x, c of an array of 3; expected cells, channels, y, x"),
        (list("qcyx"), (2, 2, 6, 6), r"axes q, c, y, x"),
        (list("cyx"), (2, 2, 6, 6), r"axes c, y, x of an array of 4"),
    ],
)
def test_axes_that_are_none_of_ours_are_refused(
    axes: list[str], shape: tuple[int, ...], message: str | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.zarr", np.full(shape, 7, np.uint8), axes)
    if message is None:
        assert read(path).images.shape == (6, 2, 6, 6)
        return
    with pytest.raises(DataError, match=message):
        read(path)


def test_broken_stores_have_one_plain_reason(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(ReadError, match=r"x\.zarr: not an OME-Zarr, or truncated"):
        read(tmp_path / "x.zarr")
    group = zarr.open_group(tmp_path / "y.zarr", mode="w")
    group.create_array("crops", data=CROPS)
    with pytest.raises(DataError, match=r"no OME-Zarr image .* it holds crops; name one with opti"):
        read(tmp_path / "y.zarr")
    first = CellDataset.from_arrays(CROPS, list("abcabc"))
    path = write_cells(first, tmp_path / "z.zarr").path
    chunk = next(file for file in (path / "0" / "c").rglob("*") if file.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match=r"z\.zarr: not an OME-Zarr, or truncated"):
        read(path)
    shutil.rmtree(path / "0" / "c")
    with pytest.raises(ReadError, match=r"truncated \(1 of 1 chunks are missing\)"):
        read(path)
