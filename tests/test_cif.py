"""Cells of .cif files through a real Java machine: numbers, channels, masks and every pixel.

The files are of our own making (``cif_writer``): no free .cif of an instrument was to be had.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.crop_sizes import pad
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers import cif
from cellsearch.data.readers.registry import detect, layout
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict
from cellsearch.data.writers.registry import write_cells
from cellsearch.errors import DataError, ReadError

from cif_writer import write_cif

CHANNELS = ["Brightfield", "DAPI", "Darkfield"]
SHAPES = ((12, 10), (8, 8), (15, 11))


@pytest.fixture
def java() -> None:
    """Java and the jar, or a skip that says what is missing."""
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        pytest.skip("no Java runtime on this machine")
    try:
        cif.bioformats_jar()
    except DataError as error:
        pytest.skip(str(error))


def objects(seed: int = 0, numbers: tuple[int | None, ...] = (5, 9, 12)) -> list[tuple]:
    """Three objects of differing sizes; the second has the widest jumps that 16 bits allow."""
    rng = np.random.default_rng(seed)
    found = []
    for k, (number, shape) in enumerate(zip(numbers, SHAPES, strict=True)):
        image = rng.integers(0, 65536 if k == 1 else 1024, (3, *shape)).astype(np.uint16)
        mask = (rng.random((3, *shape)) > 0.4).astype(np.uint8)
        found.append((number, image, mask))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_bioformats_gives_every_number_channel_mask_and_pixel(tmp_path: Path) -> None:
    made = objects()
    path = tmp_path / "sample.cif"
    write_cif(path, made, CHANNELS)
    assert detect(path) == "cif"
    raw = layout("cif", {"size": "16x16", "masks": "channels"}).read(path)
    assert raw.channels == (*CHANNELS, *(f"{name} mask" for name in CHANNELS))
    assert list(raw.object_numbers) == [5, 9, 12]
    assert list(raw.ids) == ["sample/5", "sample/9", "sample/12"]
    assert list(raw.sources) == ["sample.cif"] * 3
    for read, (_, image, mask) in zip(raw.images, made, strict=True):
        both = np.concatenate([image, mask.astype(np.uint16)])
        np.testing.assert_array_equal(read, pad(both, (16, 16)))
    raw = layout("cif", {"size": "16x16", "masks": "apply", "codes": "DAPI"}).read(path)
    for read, (_, image, mask) in zip(raw.images, made, strict=True):
        np.testing.assert_array_equal(read, pad((image * mask)[1:2], (16, 16)))


@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_converted_once_the_numbers_reach_the_prediction(tmp_path: Path) -> None:
    """Labels come from a table of object numbers; objects without a row are left out."""
    path = tmp_path / "sample.cif"
    write_cif(path, objects(), CHANNELS)
    cells = load_dataset(path, size="16x16")
    assert cells.classes == ()
    out = write_cells(cells, tmp_path / "converted")
    again = cells_to_predict(str(out.readable), channels=CHANNELS)
    assert again.object_numbers.tolist() == [5, 9, 12]
    assert again.sources.tolist() == ["sample.cif"] * 3
    np.testing.assert_array_equal(again.images, cells.images)
    (tmp_path / "sample.csv").write_text("object_number,population\n12,G2\n5,G1\n")
    known = load_dataset(path, size="16x16", label_column="population")
    assert known.classes == ("G1", "G2")
    assert known.object_numbers.tolist() == [5, 12]
    assert known.labels.tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_a_folder_of_populations_and_files_that_are_none(tmp_path: Path) -> None:
    for seed, name in enumerate(("G1", "G2")):
        (tmp_path / "set" / name).mkdir(parents=True)
        write_cif(tmp_path / "set" / name / "a.cif", objects(seed, (None,) * 3), CHANNELS)
    assert detect(tmp_path / "set") == "cif"
    raw = layout("cif", {"size": "16x16"}).read(tmp_path / "set")
    assert raw.classes == ("G1", "G2")
    assert list(raw.object_numbers) == [0, 1, 2, 0, 1, 2]
    assert raw.ids[0] == "G1/a/0"
    with pytest.raises(DataError, match=r"3 sizes .*choose fit=.shrink"):
        layout("cif", {"fit": "refuse"}).read(tmp_path / "set" / "G1" / "a.cif")
    (tmp_path / "set" / "G1" / "b.cif").write_text("no TIFF")
    (tmp_path / "set" / "G2" / "b.cif").write_bytes(
        (tmp_path / "set" / "G2" / "a.cif").read_bytes()[:700]
    )
    with pytest.raises(ReadError, match=r"2 unreadable files: G1/b\.cif: .*G2/b\.cif: ") as caught:
        layout("cif", {"size": "16x16"}).read(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_a_missing_jar_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sample.cif"
    write_cif(path, objects(), CHANNELS)
    monkeypatch.setenv(cif.JAR_VARIABLE, str(tmp_path / "none.jar"))
    with pytest.raises(DataError, match=r"CELLSEARCH_BIOFORMATS_JAR=.*none\.jar: no such file"):
        CellDataset.from_raw(layout("cif", {}).read(path))
    monkeypatch.delenv(cif.JAR_VARIABLE)
    monkeypatch.setattr(cif, "find_spec", lambda name: find_spec(name) if name == "jpype" else None)
    with pytest.raises(DataError, match=r"download bioformats_package.jar .* and name it in CELLS"):
        layout("cif", {}).read(path)
    monkeypatch.setattr(cif, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"extra 'cif' .*a Java runtime .* Bio-Formats jar"):
        layout("cif", {}).read(path)


def test_a_missing_java_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME that holds no machine stands for a computer without one."""
    path = tmp_path / "sample.cif"
    write_cif(path, objects(), CHANNELS)
    (tmp_path / "some.jar").write_bytes(b"")
    monkeypatch.setenv(cif.JAR_VARIABLE, str(tmp_path / "some.jar"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"no Java machine can be started.*install a Java runtime"):
        layout("cif", {"size": "16x16"}).read(path)
