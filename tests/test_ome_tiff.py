"""TIFF files of many cells: axes, names, pixel size, labels, and all bad files at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.registry import detect, layout
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict
from cellsearch.errors import ConfigError, DataError, ReadError

CROPS = np.random.default_rng(4).integers(0, 4096, (6, 2, 10, 8)).astype(np.uint16)
NAMES = {"Channel": {"Name": ["bright", "DAPI"]}, "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}


def write(path: Path, data: np.ndarray, axes: str, **metadata: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": axes, **metadata})
    return path


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("ome_tiff", options).read(path))


@pytest.mark.parametrize("axes", ["TCYX", "ZCYX", "CTYX", "TZCYX"])
def test_every_axis_but_channel_y_and_x_counts_cells(axes: str, tmp_path: Path) -> None:
    data = np.moveaxis(CROPS, 0, 1) if axes == "CTYX" else CROPS
    if axes == "TZCYX":
        data = CROPS.reshape(3, 2, 2, 10, 8)
    cells = read(write(tmp_path / "x.ome.tif", data, axes, **NAMES))
    np.testing.assert_array_equal(cells.images, CROPS)
    assert cells.channels == ("bright", "DAPI")
    assert cells.provenance.pixel_size_um == 0.5
    assert cells.ids[5] == "x/000005"
    assert cells.object_numbers.tolist() == list(range(6))


def test_several_images_of_several_sizes_are_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for k in range(3):
            tiff.write(CROPS[k, :, : 10 - k], photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(DataError, match=r"3 sizes .*choose fit=.shrink"):
        read(path, fit="refuse")
    cells = read(path, size="10x8")
    np.testing.assert_array_equal(cells.images[0], CROPS[0])
    np.testing.assert_array_equal(cells.images[2, :, 1:9], CROPS[2, :, :8])


def test_labels_come_from_a_table_beside_or_from_folders(tmp_path: Path) -> None:
    path = write(tmp_path / "x.ome.tif", CROPS, "TCYX", **NAMES)
    assert detect(path) == "ome_tiff"
    assert load_dataset(path).classes == ()
    (tmp_path / "x.csv").write_text("object_number,phase\n3,S\n0,G1\n5,S\n")
    cells = load_dataset(path)
    assert cells.classes == ("G1", "S")
    assert cells.object_numbers.tolist() == [0, 3, 5]
    assert cells.provenance.notes == "3 of 6 cells have no row in x.csv and are left out"
    np.testing.assert_array_equal(cells.images, CROPS[[0, 3, 5]])
    write(tmp_path / "set" / "b" / "one.ome.tif", CROPS[:2], "TCYX", **NAMES)
    write(tmp_path / "set" / "b" / "two.ome.tif", CROPS[2:4], "TCYX", **NAMES)
    write(tmp_path / "set" / "a" / "three.ome.tif", CROPS[4:], "TCYX", **NAMES)
    cells = load_dataset(tmp_path / "set", layout="ome_tiff", classes="b,a")
    assert cells.classes == ("b", "a")
    assert cells.labels.tolist() == [0, 0, 0, 0, 1, 1]
    np.testing.assert_array_equal(cells.images, CROPS)
    assert cells.ids.tolist()[:3] == ["b/one/000000", "b/one/000001", "b/two/000000"]
    (tmp_path / "set" / "labels.csv").write_text("file,number,class\ntwo.ome.tif,1,x\n")
    cells = load_dataset(tmp_path / "set", layout="ome_tiff", labels="set/labels.csv")
    assert cells.ids.tolist() == ["b/two/000001"]
    assert cells.classes == ("x",)
    (tmp_path / "set" / "labels.csv").write_text("number,class\n1,x\n")
    with pytest.raises(ConfigError, match="object numbers of several files need a column with the"):
        load_dataset(tmp_path / "set", layout="ome_tiff", labels="labels.csv")


def test_a_file_of_many_cells_is_predicted_as_such_and_one_of_pages_as_one(tmp_path: Path) -> None:
    write(tmp_path / "many.ome.tif", CROPS, "TCYX", **NAMES)
    write(tmp_path / "one.ome.tif", CROPS[0], "CYX", **NAMES)
    tifffile.imwrite(tmp_path / "pages.tif", CROPS[0], photometric="minisblack")
    many = cells_to_predict(str(tmp_path / "many.ome.tif"), channels=("bright", "DAPI"))
    np.testing.assert_array_equal(many.images, CROPS)
    for name in ("one.ome.tif", "pages.tif"):
        single = cells_to_predict(str(tmp_path / name), channels=("bright", "DAPI"))
        np.testing.assert_array_equal(single.images, CROPS[:1])


def test_axes_without_names_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, CROPS[:, 0], photometric="minisblack", metadata=None)
    with pytest.raises(ReadError, match=r"x\.tif: axes .*YX of shape \(6, 10, 8\).*axes=TYX"):
        read(path)
    np.testing.assert_array_equal(read(path, axes="tyx").images, CROPS[:, :1])
    assert read(path, axes="CYX").images.shape == (1, 6, 10, 8)
    with pytest.raises(ReadError, match=r"axes=TCYX, but an image of shape \(6, 10, 8\)"):
        read(path, axes="TCYX")
    with pytest.raises(ReadError, match="axes TCX: expected one Y, one X"):
        read(path, axes="TCX")


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "a" / "good.tif", CROPS, "TCYX")
    (root / "a" / "text.tif").write_text("hello")
    (root / "b").mkdir()
    (root / "b" / "empty.tif").write_bytes(b"")
    whole = write(root / "b" / "cut.ome.tif", CROPS, "TCYX", **NAMES)
    whole.write_bytes(whole.read_bytes()[:1500])
    with pytest.raises(ReadError, match=r"3 unreadable files: a/text.tif: not an image") as caught:
        read(root)
    message = str(caught.value)
    assert "b/empty.tif: not an image, or an empty file" in message
    assert "b/cut.ome.tif: " in message
    assert "\n" not in message


def test_files_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a" / "x.ome.tif", CROPS, "TCYX", **NAMES)
    write(tmp_path / "set" / "b" / "x.ome.tif", CROPS, "TCYX", Channel={"Name": ["p", "q"]})
    with pytest.raises(
        DataError, match="2 lists of channels: bright, DAPI; p, q; give option chan"
    ):
        read(tmp_path / "set")
    assert read(tmp_path / "set", channels="u,v").channels == ("u", "v")
    write(tmp_path / "set" / "b" / "x.ome.tif", CROPS.astype(np.uint8), "TCYX", **NAMES)
    with pytest.raises(DataError, match=r"2 dtypes: uint16 .*uint8"):
        read(tmp_path / "set")
    with pytest.raises(DataError, match=r"no .tif file in the class folder c"):
        read(tmp_path / "set", classes=("a", "c"))
    with pytest.raises(ConfigError, match="classes: no class folder 'c'; there are a, b"):
        read(tmp_path / "set", classes="a,c")
