from __future__ import annotations

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.arrays import UNLABELLED
from cellsearch.data.dataset import CellDataset, Provenance
from cellsearch.errors import DataError


def images(n: int = 6, *shape: int, dtype: str = "uint16") -> np.ndarray:
    values = np.arange(n * int(np.prod(shape or (2, 3, 4))), dtype="int64")
    return values.reshape(n, *(shape or (2, 3, 4))).astype(dtype)


def test_arrays_become_cells_with_defaults() -> None:
    cells = CellDataset.from_arrays(images(), list("bbaacc"))
    assert cells.classes == ("a", "b", "c")
    assert cells.labels.tolist() == [1, 1, 0, 0, 2, 2]
    assert cells.counts.tolist() == [2, 2, 2]
    assert cells.channels == ("channel-1", "channel-2")
    assert cells.ids[0] == "000000"
    assert len(set(cells.ids)) == len(cells) == 6
    assert cells.folder is None
    assert len(cells.sha256) == 64


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_field_dtypes_are_kept_and_not_copied(dtype: str) -> None:
    given = images(dtype=dtype)
    cells = CellDataset.from_arrays(given, [0] * 6)
    assert cells.images.dtype == dtype
    assert np.shares_memory(cells.images, given)
    assert not cells.images.flags.writeable
    assert cells.provenance.notes == ""


@pytest.mark.parametrize(
    ("dtype", "becomes"),
    [("int64", "float32"), ("float64", "float32"), (">u2", "uint16"), ("bool", "uint8")],
)
def test_other_dtypes_are_converted(dtype: str, becomes: str) -> None:
    given = images(dtype=dtype)
    cells = CellDataset.from_arrays(given, [0] * 6)
    assert cells.images.dtype == np.dtype(becomes)
    np.testing.assert_array_equal(cells.images, given)
    assert (dtype in cells.provenance.notes) == (dtype != ">u2")


def test_axes() -> None:
    assert CellDataset.from_arrays(images(6, 5, 4), [0] * 6).images.shape == (6, 1, 5, 4)
    last = images(6, 5, 4, 3)
    cells = CellDataset.from_arrays(last, [0] * 6, layout="NHWC")
    np.testing.assert_array_equal(cells.images[:, 2], last[..., 2])
    assert cells.images.flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "labels", "settings", "message"),
    [
        (images(6, 4), [0] * 6, {}, "got shape \\(6, 4\\)"),
        (images(0), [], {}, "not empty"),
        (images(6, 40, 40, 3), [0] * 6, {}, 'got 40; .*layout="NHWC"'),
        (images(dtype="int64") + 2**30, [0] * 6, {}, "do not fit float32 without loss"),
        (np.full((6, 2, 2), 1e300), [0] * 6, {}, "beyond float32"),
        (images().astype("complex64"), [0] * 6, {}, "must be numbers"),
        (images(), [0] * 5, {}, "6 cells, got \\(5,\\)"),
        (images(), [0.5] * 6, {}, "names or integers"),
        (images(), [-1] * 6, {}, "need the class names"),
        (images(), [3] * 6, {"classes": ["a", "b"]}, "0 .. 1"),
        (images(), ["c"] * 6, {"classes": ["a", "b"]}, "not among the classes .*: c"),
        (images(), [0] * 6, {"classes": ["a", "a"]}, "given twice: a"),
        (images(), [0] * 6, {"classes": ["a", " "]}, "name is empty"),
        (images(), [0] * 6, {"channels": ["a"]}, "2 channels in the images, but 1"),
        (images(), [0] * 6, {"ids": list("aabcde")}, "more than one cell: a"),
        (images(), [0] * 6, {"groups": ["x"]}, "groups must be one value a cell"),
        (images(), [0] * 6, {"object_numbers": [0.5] * 6}, "object numbers"),
    ],
)
def test_unfit_arrays_are_refused(given, labels, settings, message) -> None:
    with pytest.raises(DataError, match=message):
        CellDataset.from_arrays(given, labels, **settings)


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float64", np.inf)])
def test_not_finite_pixels_name_the_cells(dtype: str, value: float) -> None:
    given = images(dtype=dtype)
    given[3, 1, 0, 0] = value
    with pytest.raises(DataError, match="1 of 6 cells: 000003"):
        CellDataset.from_arrays(given, [0] * 6)


def test_not_known_labels_count_nowhere() -> None:
    cells = CellDataset.from_arrays(images(), [0, 1, -1, 1, -1, 0], classes=["a", "b"])
    assert cells.counts.tolist() == [2, 2]
    merged = cells.merge_classes({"c": ["a", "b"]})
    assert merged.labels.tolist() == [0, 0, UNLABELLED, 0, UNLABELLED, 0]


def test_saved_cells_are_the_same_and_memory_mapped(tmp_path: Path) -> None:
    cells = CellDataset.from_arrays(
        images(),
        list("bbaacc"),
        groups=list("xxyyzz"),
        sources=[f"{k}.tif" for k in range(6)],
        object_numbers=range(6),
        provenance=Provenance(title="t", label_free=("channel-1",), pixel_size_um=0.5),
    )
    saved = cells.save(tmp_path / "new" / "set")
    assert isinstance(saved.images, np.memmap)
    assert not saved.images.flags.writeable
    assert saved.folder == tmp_path / "new" / "set"
    for name in ("images", "labels", "ids", "sources", "object_numbers", "groups"):
        np.testing.assert_array_equal(getattr(saved, name), getattr(cells, name))
    for name in ("name", "classes", "channels", "provenance", "sha256"):
        assert getattr(saved, name) == getattr(cells, name)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set"]


def test_saving_again_keeps_equal_cells_and_refuses_others(tmp_path: Path) -> None:
    cells = CellDataset.from_arrays(images(), [0] * 6)
    cells.save(tmp_path / "a")
    cells.save(tmp_path / "a")
    with pytest.raises(DataError, match="holds something else"):
        CellDataset.from_arrays(images() + 1, [0] * 6).save(tmp_path / "a")
    assert CellDataset.open(tmp_path / "a").sha256 == cells.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_many_may_save_at_once(tmp_path: Path) -> None:
    cells = CellDataset.from_arrays(images(200, 2, 16, 16), [0] * 200)
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda _: cells.save(tmp_path / "a").sha256, range(8)))
    assert saved == [cells.sha256] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    cells = CellDataset.from_arrays(images(200, 2, 16, 16), [0] * 200)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot save the data set to .*: ") as caught:
            cells.save(tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.json is missing"):
        CellDataset.open(tmp_path)
    folder = CellDataset.from_arrays(images(), [0] * 6).save(tmp_path / "a").folder
    assert folder is not None
    whole = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"images\.npy is truncated"):
        CellDataset.open(folder)
    (folder / "images.npy").write_bytes(whole)
    (folder / "ids.npy").unlink()
    with pytest.raises(DataError, match=r"ids\.npy missing"):
        CellDataset.open(folder)
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(description | {"format_version": 99}))
    with pytest.raises(DataError, match="format version 99"):
        CellDataset.open(folder)


def test_the_digest_sees_what_matters() -> None:
    def digest(**changes: object) -> str:
        settings = {"classes": ["a", "b"], "groups": list("xxyyzz")} | changes
        given = settings.pop("images", images())
        return CellDataset.from_arrays(given, settings.pop("labels", [0, 1] * 3), **settings).sha256

    base = digest()
    assert base == digest(name="other", provenance=Provenance(title="other"))
    changed = images()
    changed[-1, -1, -1, -1] += 1
    others = [
        digest(images=changed),
        digest(images=images(dtype="float32")),
        digest(images=images().reshape(6, 2, 4, 3)),
        digest(labels=[1, 0] * 3),
        digest(groups=None),
        digest(groups=list("xyyyzz")),
        digest(ids=list("abcdef")),
        digest(classes=["a", "c"]),
        digest(channels=["x", "y"]),
    ]
    assert len({base, *others}) == 10


def test_channels_are_selected_in_order(tmp_path: Path) -> None:
    cells = CellDataset.from_arrays(
        images(6, 3, 4, 4),
        [0] * 6,
        channels=["r", "g", "b"],
        provenance=Provenance(label_free=("r", "g")),
    ).save(tmp_path / "a")
    chosen = cells.select_channels(["b", "r"])
    np.testing.assert_array_equal(chosen.images, cells.images[:, [2, 0]])
    assert chosen.channels == ("b", "r")
    assert chosen.provenance.label_free == ("r",)
    assert chosen.sha256 != cells.sha256
    assert chosen.folder is None
    for names, message in (
        ([], "no channel is named"),
        (["x"], "no channel x; custom has r, g, b"),
    ):
        with pytest.raises(DataError, match=message):
            cells.select_channels(names)


def test_classes_are_merged_where_the_first_stood() -> None:
    cells = CellDataset.from_arrays(images(), list("abcabd"), classes=list("abcd"))
    merged = cells.merge_classes({"bd": ["d", "b"]})
    assert merged.classes == ("a", "bd", "c")
    assert merged.labels.tolist() == [0, 1, 2, 0, 1, 1]
    assert cells.merge_classes({"b": ["b", "c"]}).classes == ("a", "b", "d")
    for merge, message in (
        ({"x": ["e"]}, "no class 'e'"),
        ({"x": ["a"], "y": ["a"]}, "merged twice"),
        ({"a": ["b", "c"]}, "outside the merge"),
    ):
        with pytest.raises(DataError, match=message):
            cells.merge_classes(merge)


def test_classes_are_dropped_with_their_cells() -> None:
    cells = CellDataset.from_arrays(images(), list("abcabd"), groups=list("uvwxyz"))
    rest = cells.drop_classes(["b"])
    assert rest.classes == ("a", "c", "d")
    assert rest.ids.tolist() == ["000000", "000002", "000003", "000005"]
    assert rest.labels.tolist() == [0, 1, 0, 2]
    assert rest.groups is not None
    assert rest.groups.tolist() == list("uwxz")
    with pytest.raises(DataError, match="no class would be left"):
        cells.drop_classes(["a", "b", "c", "d"])


def test_a_subset_keeps_order_and_classes() -> None:
    cells = CellDataset.from_arrays(images(), list("abcabd"))
    part = cells.subset([4, 0])
    assert part.ids.tolist() == ["000004", "000000"]
    assert part.classes == cells.classes
    np.testing.assert_array_equal(part.images, cells.images[[4, 0]])
    for wrong, message in (([], "list of"), ([6], "0 .. 5"), ([-1], "0 .. 5"), ([1, 1], "twice")):
        with pytest.raises(DataError, match=message):
            cells.subset(np.array(wrong, dtype=int))
