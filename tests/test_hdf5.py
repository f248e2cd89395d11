"""Crops of HDF5 files: which dataset is what, and what is said where one is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers import hdf5
from cellsearch.data.readers.registry import layout
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import read_unlabelled
from cellsearch.errors import ConfigError, DataError, ReadError

RNG = np.random.default_rng(1)
CROPS = RNG.integers(0, 4096, (6, 3, 20, 18)).astype(np.uint16)


def write(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("hdf5", options).read(path))


def test_datasets_are_named_by_options(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.h5",
        data__crops=np.moveaxis(CROPS, 1, 3),
        data__small=CROPS[:, :, ::2, ::2],
        kind=[b"b", b"a", b"a", b"b", b"b", b"a"],
        donor=["d1", "d1", "d2", "d2", "d3", "d3"],
        cell=np.arange(6) * 11,
        names=["x1", "x2", "x3", "x4", "x5", "x6"],
        stains=["bf", "dapi", "df"],
    )
    cells = read(
        path,
        images="data/crops",
        labels="kind",
        groups="/donor",
        object_numbers="cell",
        ids="names",
        channel_list="stains",
    )
    np.testing.assert_array_equal(cells.images, CROPS)
    assert cells.classes == ("a", "b")
    assert cells.labels.tolist() == [1, 0, 0, 1, 1, 0]
    assert cells.channels == ("bf", "dapi", "df")
    assert cells.ids.tolist() == ["x1", "x2", "x3", "x4", "x5", "x6"]
    assert cells.object_numbers.tolist() == [0, 11, 22, 33, 44, 55]
    assert cells.groups is not None
    assert cells.groups.tolist() == ["d1", "d1", "d2", "d2", "d3", "d3"]


def test_chunks_are_joined_in_order_and_brought_to_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "CHUNK_BYTES", CROPS[0].nbytes * 4)
    path = write(tmp_path / "x.h5", images=CROPS, labels=list("aabbab"))
    told: list[tuple[str, int, int]] = []
    raw = layout("hdf5", {}).read(path, lambda *what: told.append(what))
    np.testing.assert_array_equal(raw.images, CROPS)
    assert isinstance(raw.images, np.memmap)
    assert [(done, total) for _, done, total in told] == [(4, 6), (6, 6)]
    padded = read(path, size="22x20")
    np.testing.assert_array_equal(padded.images[:, :, 1:21, 1:19], CROPS)


def test_a_file_without_labels_can_be_predicted(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", images=CROPS[:, 0])
    assert load_dataset(path).classes == ()
    cells = read_unlabelled(path, channels=1)
    assert cells.object_numbers.tolist() == list(range(6))
    with pytest.raises(DataError, match=r"1 channels .* but 2 are needed"):
        read_unlabelled(path, channels=2)


@pytest.mark.parametrize(
    ("datasets", "options", "error", "message"),
    [
        ({"a": CROPS, "b": CROPS}, {}, DataError, r"no dataset 'images'.*it holds a \(6, 3.*b \(6"),
        ({"a": [1, 2]}, {}, DataError, r"no dataset 'images'.*it holds a \(2,\)"),
        ({"images": CROPS}, {"labels": "lables"}, DataError, r"no dataset 'lables'.*images \(6"),
        ({"images": CROPS[0, 0]}, {}, DataError, r"of shape \(20, 18\); expected \(N, H, W\)"),
        (
            {"images": CROPS[:, :, :8, :5]},
            {},
            ConfigError,
            r"3 channels of 8 x 5 px or 5 c.*layout_axes=.NCHW",
        ),
        ({"images": np.zeros((2, 90, 30, 40))}, {}, ConfigError, "may be .*give layout_axes="),
        ({"images": CROPS, "labels": [1, 2]}, {}, DataError, "6 images, but 2 labels"),
        ({"images": CROPS, "labels": CROPS}, {}, DataError, "expected one value a cell"),
        (
            {"images": CROPS, "labels": list(range(6)), "classes": ["a", "b"]},
            {},
            DataError,
            r"labels 0 \.\. 5 for 2 classes",
        ),
        ({"images": CROPS, "labels": [0.5] * 6}, {}, DataError, "labels of float64"),
        ({"images": CROPS, "labels": [1] * 6}, {"class_names": "2=x"}, DataError, "no name for"),
        (
            {"images": np.full((2, 9, 9), np.nan)},
            {},
            DataError,
            r"162 NaN of their 162 .*nan=.l",
        ),
        ({"images": CROPS}, {"channels": "a,b"}, DataError, "2 channel names .* but 3 channels"),
    ],
)
def test_unfit_datasets_are_refused_by_name(
    datasets: dict[str, Any],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "x.h5", **datasets)
    with pytest.raises(error, match=message) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def test_broken_files_have_one_plain_reason(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("hello")
    with pytest.raises(ReadError, match=r"x\.h5: not an HDF5 file, or truncated"):
        read(tmp_path / "x.h5")
    path = write(tmp_path / "y.h5", images=CROPS, labels=[0] * 6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ReadError, match="truncated"):
        read(path)
    with pytest.raises(ReadError, match="no such file"):
        read(tmp_path / "z.h5")
