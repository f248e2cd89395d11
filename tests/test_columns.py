"""What one value a cell may be, as people hand it over, and what is refused rather than guessed."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellsearch
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import DataError
from cellsearch.run.config import RunConfig
from cellsearch.run.inputs import cells_for
from cellsearch.run.observer import Silent

from conftest import squares

IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
NAN = float("nan")


class Phase(enum.Enum):
    G1 = 1
    S = 2


@pytest.mark.parametrize(
    "labels",
    [
        ["a", NAN, "b", "a", "b", "a"],
        ("a", None, "b", "a", "b", "a"),
        np.array(["a", None, "b", "a", "b", "a"], object),
        pd.Series(["a", pd.NA, "b", "a", "b", "a"], dtype="string"),
        pd.Series(["a", None, "b", "a", "b", "a"], dtype="category"),
        pd.Series([0, None, 1, 0, 1, 0]),
        np.ma.masked_array([0, 0, 1, 0, 1, 0], mask=[0, 1, 0, 0, 0, 0]),
    ],
)
def test_missing_labels_make_no_class(labels: Any) -> None:
    with pytest.raises(DataError, match=r"labels are missing for 1 of 6 cells \(at 1\)"):
        CellDataset.from_arrays(IMAGES, labels)


@pytest.mark.parametrize(
    "groups",
    [
        ["d1", None, "d2", "d1", "d2", "d1"],
        [1.0, NAN, 2.0, 1.0, 2.0, 1.0],
        np.array(["d1", NAN, "d2", "d1", "d2", "d1"], object),
        pd.Series(["d1", pd.NA, "d2", "d1", "d2", "d1"], dtype="string"),
        pd.to_datetime(pd.Series(["2026-01-01", None, *["2026-01-02"] * 4])),
        ["d1", " ", "d2", "d1", "d2", "d1"],
        np.asarray(["d1", NAN, "d2", "d1", "d2", "d1"]),
    ],
)
def test_missing_groups_make_no_group(groups: Any) -> None:
    with pytest.raises(DataError, match=r"groups are missing for 1 of 6 cells"):
        CellDataset.from_arrays(IMAGES, list("aabbab"), groups=groups)
    with pytest.raises(cellsearch.InputError, match="groups are missing"):
        cellsearch.CellClassifier(recipe={"model.family": "logreg"}).fit(
            IMAGES, list("aabbab"), groups=groups
        )


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1, 0, 1, 0, 1, 0], ("0", "1")),
        (np.array([1, 0, 1, 0, 1, 0], object), ("0", "1")),
        ([True, False, True, True, True, False], ("False", "True")),
        (np.array([True, False] * 3), ("False", "True")),
        ([Phase.G1, Phase.S] * 3, ("Phase.G1", "Phase.S")),
        (pd.Categorical(["x", "y"] * 3), ("x", "y")),
    ],
)
def test_labels_of_one_kind_are_taken(labels: Any, classes: tuple[str, ...]) -> None:
    cells = CellDataset.from_arrays(IMAGES, labels)
    assert cells.classes == classes
    assert set(cells.labels.tolist()) == {0, 1}


def test_a_text_that_means_missing_is_a_class_only_where_it_is_named() -> None:
    # As numpy itself makes of a list with a NaN in it.
    labels = np.asarray(["a", NAN, "b", "a", "b", "a"])
    with pytest.raises(DataError, match="nan means that a label is missing"):
        CellDataset.from_arrays(IMAGES, labels)
    named = CellDataset.from_arrays(IMAGES, labels, classes=["a", "b", "nan"])
    assert named.counts.tolist() == [3, 2, 1]


def test_labels_of_several_kinds_are_refused() -> None:
    for mixed in ([1, "x"] * 3, [True, 2] * 3):
        with pytest.raises(DataError, match="labels must be all of one kind"):
            CellDataset.from_arrays(IMAGES, mixed)
    with pytest.raises(DataError, match="labels must be names or integers, got float64"):
        CellDataset.from_arrays(IMAGES, [0.5, 1.0] * 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": {"a", "b"}}, "class names must be a list of texts"),
        ({"name": None}, "name must be a text"),
        ({"provenance": {"licence": "x"}}, "provenance must be a Provenance, got dict"),
        ({"sources": ["a", None] * 3}, "sources are missing for 3 of 6 cells"),
        ({"object_numbers": [1, None] * 3}, "object numbers are missing for 3 of 6 cells"),
    ],
)
def test_what_would_be_guessed_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        CellDataset.from_arrays(IMAGES, [0, 1] * 3, **change)


def test_pixels_that_are_no_array_of_cells_are_refused() -> None:
    masked = np.ma.masked_array(IMAGES, mask=IMAGES == 3)
    with pytest.raises(DataError, match="pixels are masked"):
        CellDataset.from_arrays(masked, [0, 1] * 3)
    with pytest.raises(DataError, match="as many channels as rows"):
        CellDataset.from_arrays([np.zeros((2, 3, 4)), np.zeros((1, 4, 4))], [0, 1])


def test_one_name_is_no_list_of_classes() -> None:
    cells = CellDataset.from_arrays(IMAGES, ["1", "2", "12"] * 2)
    with pytest.raises(DataError, match="must be a list of texts, got '12'"):
        cells.drop_classes("12")
    assert cells.drop_classes(["12"]).classes == ("1", "2")


def _kept(cells: CellDataset) -> CellDataset:
    return cells_for(RunConfig.of(dataset="custom", folds=2), None, cells, Silent())


def test_cells_of_other_files_are_kept_apart() -> None:
    first = squares((9, 9))
    told = [
        CellDataset.from_arrays(
            first.images, first.labels, sources=[name] * 18, object_numbers=np.arange(18) + start
        )
        for name, start in (("a.tif", 0), ("b.tif", 1000))
    ]
    kept = [_kept(cells) for cells in told]
    assert kept[0].sha256 == kept[1].sha256
    assert [str(cells.sources[0]) for cells in kept] == ["a.tif", "b.tif"]
    assert kept[1].object_numbers.tolist() == list(range(1000, 1018))


def test_arrays_changed_behind_our_back_are_not_kept() -> None:
    first = squares((9, 9))
    pixels = np.array(first.images)
    cells = CellDataset.from_arrays(pixels, first.labels)
    pixels[:] = 0
    with pytest.raises(DataError, match="its arrays were changed after the data set was made"):
        _kept(cells)
    honest = CellDataset.from_arrays(np.array(first.images), first.labels)
    np.testing.assert_array_equal(_kept(honest).images, first.images)
