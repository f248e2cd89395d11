"""What the Python API is given by mistake, and what it says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellsearch
from cellsearch.data.dataset import CellDataset

from card_cases import Made, made
from conftest import squares

CELLS = squares((9, 9, 9))
LOGREG = {"model.family": "logreg"}


@pytest.fixture(scope="module")
def card(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def test_crops_in_lists_are_taken_and_other_things_are_not(card: Made) -> None:
    images = card.dataset.images[:3]
    lists = [image.astype(card.dataset.images.dtype) for image in images]
    np.testing.assert_allclose(card.card.predict(lists), card.card.predict(images), atol=1e-6)
    for wrong, kind in (
        (None, "NoneType"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
        (card.dataset, "CellDataset"),
    ):
        with pytest.raises(cellsearch.CardError, match=rf"got {kind}; of a CellDataset"):
            card.card.predict(wrong)  # type: ignore[arg-type]
    with pytest.raises(cellsearch.CardError, match="trained on uint"):
        card.card.predict(images.tolist())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (None, "a space is a mapping with the key parameters, got NoneType"),
        ("quick", "SearchSpace.load takes a name or path"),
        (
            {"parameters": {"loss.weighting": {"choice": {"none", "inv"}}}},
            r"\$\.parameters\.loss\.weighting\.choice: a set has no order",
        ),
    ],
)
def test_what_is_no_space_is_refused(space: Any, message: str) -> None:
    with pytest.raises(cellsearch.SpaceError, match=message):
        cellsearch.SearchSpace.from_dict(space)
    with pytest.raises(cellsearch.SpaceError, match="a recipe is a mapping"):
        cellsearch.Recipe.from_params(None)  # type: ignore[arg-type]


def test_numbers_of_numpy_and_tuples_make_the_same_space() -> None:
    plain = {"model.depth": 2, "optim.lr": {"float": [1e-3, 1e-2]}}
    numpy = {"model.depth": np.int64(2), "optim.lr": {"float": (np.float64(1e-3), 1e-2)}}
    spaces = [cellsearch.SearchSpace.from_dict({"parameters": each}) for each in (plain, numpy)]
    assert spaces[0].sha256 == spaces[1].sha256


def test_folds_are_whole() -> None:
    with pytest.raises(cellsearch.ConfigError, match=r"an integer of 2 or more, got 2\.0"):
        cellsearch.draw_splits(CELLS, folds=2.0)  # type: ignore[arg-type]
    assert cellsearch.draw_splits(CELLS, folds=np.int64(2)).k == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threads": 0}, "threads: expected None or an integer"),
        ({"seed": None}, "seed: expected an integer of 0 or more, got None"),
        ({"seed": -1, "image_shape": 16}, "seed: .*; image_shape: expected"),
        ({"image_shape": "1x16x16"}, "image_shape: expected"),
    ],
)
def test_parameters_out_of_bounds_are_told(parameters: dict[str, Any], message: str) -> None:
    estimator = cellsearch.CellClassifier(recipe=LOGREG, **parameters)
    with pytest.raises(cellsearch.InputError, match=message):
        estimator.fit(CELLS.images, CELLS.labels)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_cells_without_a_class_are_not_fitted(missing: Any) -> None:
    y = pd.Series([missing, *["a", "b"] * 13], dtype=object)
    with pytest.raises(cellsearch.InputError, match="y are missing for 1 of 27 cells"):
        cellsearch.CellClassifier(recipe=LOGREG).fit(CELLS.images, y)


def test_weights_and_pixels_that_would_mislead_are_refused() -> None:
    images, y = CELLS.images, CELLS.labels
    fitted = cellsearch.CellClassifier(recipe=LOGREG, threads=1).fit(images, y)
    even = fitted.score(images, y, sample_weight=np.ones(len(y)))
    assert even == pytest.approx(fitted.score(images, y))
    for wrong in (np.zeros(len(y)), -np.ones(len(y)), np.full(len(y), np.nan), np.ones(3)):
        with pytest.raises(cellsearch.InputError, match="sample_weight"):
            fitted.score(images, y, sample_weight=wrong)
    with pytest.raises(cellsearch.InputError, match="do not fit float32 without loss"):
        cellsearch.CellClassifier(recipe=LOGREG).fit(images.astype(np.int64) + 2**40, y)


@pytest.mark.slow
def test_frames_take_what_a_search_gave(tmp_path: Path) -> None:
    space = {"parameters": {"model.depth": 1, "model.width": 8, "train.epochs": 1}}
    keys: dict[str, Any] = {"budget": 1, "folds": 2, "backend": "local", "threads": 1}
    result = cellsearch.search(squares(), space, out=tmp_path / "run", **keys)
    pd.testing.assert_frame_equal(
        cellsearch.figures_frame(result), cellsearch.figures_frame(result.folder)
    )
    assert len(cellsearch.predictions_frame(result)) == 18
