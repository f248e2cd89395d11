"""CellClassifier among scikit-learn's tools: its own checks, pipelines, grids, pickles."""

from __future__ import annotations

import copy
import io
import pickle  # noqa: TID251
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import cellsearch
from cellsearch import CellClassifier, Recipe, SearchSpace
from cellsearch.errors import CardError, InputError, RunError, SpaceError

from conftest import squares

LOGREG = {"model.family": "logreg", "model.features": "pixels", "model.l2": 0.01}
SMALL = {"model.depth": 1, "model.width": 8, "train.epochs": 2, "model.head_layers": 0}
TINY = {
    "parameters": {
        "model.depth": 1,
        "model.width": 8,
        "model.head_layers": 0,
        "optim.lr": {"float": [3e-3, 3e-2], "log": True},
        "train.epochs": 2,
    }
}


# A row of numbers is a picture one pixel high; flat rows are what scikit-learn checks with.
@parametrize_with_checks([CellClassifier(recipe=LOGREG, image_shape=(1, 1, -1))])
def test_scikit_learns_own_checks(estimator: CellClassifier, check: object) -> None:
    check(estimator)


def logreg(**changes: object) -> CellClassifier:
    return CellClassifier(**({"recipe": LOGREG} | changes))


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray]:
    """40 crops, 2 x 16 x 16, and their class names."""
    drawn = squares((20, 12, 8))
    return np.array(drawn.images), np.array(drawn.classes)[drawn.labels]


def test_it_learns_and_names_classes_as_they_came(cells) -> None:
    X, y = cells
    model = logreg().fit(X, y)
    assert model.classes_.tolist() == ["class-0", "class-1", "class-2"]
    assert (model.n_features_in_, model.image_shape_) == (512, (2, 16, 16))
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (40, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert set(model.predict(X)) <= set(y)
    numbered = logreg().fit(X, np.repeat([7, 3, 5], (20, 12, 8)))
    assert numbered.classes_.tolist() == [3, 5, 7]
    assert numbered.predict(X).dtype == numbered.classes_.dtype


def test_layouts_of_the_same_cells_give_the_same(cells) -> None:
    X, y = cells
    flat = X.reshape(len(X), -1)
    a = logreg().fit(X, y)
    b = logreg(image_shape=(2, 16, 16)).fit(flat, y)
    assert np.array_equal(a.predict_proba(X), b.predict_proba(flat))
    assert np.array_equal(b.predict_proba(X), b.predict_proba(flat))
    grey = logreg().fit(X[:, 0], y)
    assert grey.image_shape_ == (1, 16, 16)
    assert np.array_equal(grey.predict_proba(X[:, 0]), grey.predict_proba(X[:, :1]))


def test_a_seed_gives_the_same_network_again(cells) -> None:
    X, y = cells
    one, two = (CellClassifier(recipe=SMALL, seed=4).fit(X, y) for _ in range(2))
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
    other = CellClassifier(recipe=SMALL, seed=5).fit(X, y)
    assert not np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_one_recipe_has_no_verdict_and_says_so(cells) -> None:
    model = logreg().fit(*cells)
    assert model.card_ is None
    assert model.result_ is None
    assert model.recipe_ == Recipe.from_params(LOGREG)
    assert model.verdict_.startswith("no verdict: one recipe was trained on every cell")
    assert model.verdict_ in model.report()


def test_score_is_the_metric_and_not_accuracy(cells) -> None:
    X, y = cells
    model = CellClassifier(recipe=SMALL | {"train.epochs": 1}).fit(X, y)
    predicted = model.predict(X)
    assert model.score(X, y) == pytest.approx(balanced_accuracy_score(y, predicted))
    model.set_params(metric="accuracy")
    assert model.score(X, y) == pytest.approx((predicted == y).mean())
    weights = np.linspace(0.5, 2.0, len(y))
    weighted = np.average(predicted == y, weights=weights)
    assert model.score(X, y, sample_weight=weights) == pytest.approx(weighted)
    with pytest.raises(InputError, match=r"not fitted on: else"):
        model.score(X[:2], ["class-0", "else"])


def test_cross_val_score_takes_images_and_groups(cells) -> None:
    X, y = cells
    scores = cross_val_score(logreg(), X, y, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    groups = np.arange(len(y)) % 4
    told = cross_val_score(
        logreg(), X, y, cv=GroupKFold(2), groups=groups, params={"groups": groups}
    )
    assert np.isfinite(told).all()


def test_a_grid_varies_one_parameter_of_the_recipe(cells) -> None:
    grid = GridSearchCV(logreg(), {"recipe__model.l2": [1e-2, 1e4]}, cv=2).fit(*cells)
    assert grid.best_params_ == {"recipe__model.l2": 0.01}
    assert grid.best_estimator_.recipe_.model.l2 == 0.01
    whole = GridSearchCV(logreg(), {"recipe": [LOGREG, SMALL]}, cv=2).fit(*cells)
    assert whole.best_params_["recipe"] in (LOGREG, SMALL)


def test_setting_a_part_of_a_recipe_leaves_the_given_one_alone() -> None:
    model = logreg()
    assert clone(model).set_params(**{"recipe__model.l2": 9.0}).recipe["model.l2"] == 9.0
    assert LOGREG["model.l2"] == 0.01
    assert model.get_params()["recipe__model.l2"] == 0.01
    whole = CellClassifier(recipe=Recipe()).set_params(**{"recipe__train.epochs": 3})
    assert whole.recipe["train.epochs"] == 3
    with pytest.raises(InputError, match="there is no recipe to change"):
        CellClassifier().set_params(**{"recipe__train.epochs": 3})


def test_it_ends_a_pipeline(cells) -> None:
    X, y = cells
    brighter = FunctionTransformer(lambda images: images + np.uint8(1))
    steps = Pipeline([("brighter", brighter), ("cells", logreg())])
    assert steps.fit(X, y).predict(X).shape == (40,)


def test_a_fitted_one_is_pickled_copied_and_dumped(cells, tmp_path: Path) -> None:
    X, y = cells
    model = CellClassifier(recipe=SMALL).fit(X, y)
    expected = model.predict_proba(X)
    joblib.dump(model, tmp_path / "model.joblib")
    again = (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        joblib.load(tmp_path / "model.joblib"),
    )
    for other in again:
        assert np.array_equal(other.predict_proba(X), expected)
        assert other.verdict_ == model.verdict_


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"X": np.zeros((4, 9))}, InputError, r"image_shape=\(channels, height, width\)"),
        ({"X": np.zeros((4, 13, 5, 5))}, InputError, "1 to 12 channels"),
        ({"X": np.full((4, 5, 5), np.nan)}, ValueError, "NaN"),
        ({"y": ["a"] * 4}, InputError, "2 classes or more are needed; y holds 1 class, 'a'"),
        ({"y": [0.1, 0.2, 0.3, 0.4]}, ValueError, "Unknown label type"),
        ({"y": ["a", "b"]}, ValueError, "inconsistent numbers of samples"),
        ({"X": np.full((4, 5, 5), 1e300)}, InputError, "too large for float32"),
    ],
)
def test_what_cannot_be_fitted_is_said(change, error, says) -> None:
    given = {"X": np.zeros((4, 5, 5)), "y": ["a", "b", "a", "b"]} | change
    with pytest.raises(error, match=says) as caught:
        logreg().fit(given["X"], given["y"])
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("shape", [(2, 3), (0, 1, 4), (1, -1, -1), (1, 5, 5)])
def test_an_image_shape_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="image_shape: "):
        logreg(image_shape=shape).fit(np.zeros((4, 6)), ["a", "b", "a", "b"])


def test_other_cells_and_recipes_are_refused(cells) -> None:
    X, y = cells
    with pytest.raises(NotFittedError):
        logreg().predict(X)
    with pytest.raises(NotFittedError):
        _ = logreg().card_
    with pytest.raises(InputError, match="fitted on cells of 2 x 16 x 16"):
        logreg().fit(X, y).predict(X[:, :, :8])
    with pytest.raises(SpaceError, match="did you mean"):
        CellClassifier(recipe={"modle.depth": 1}).fit(X, y)
    with pytest.raises(InputError, match="expected a Recipe"):
        CellClassifier(recipe=3).fit(X, y)


def test_a_failed_fit_leaves_the_older_one(cells) -> None:
    X, y = cells
    model = logreg().fit(X, y)
    before = model.predict(X)
    with pytest.raises(SpaceError):
        model.set_params(recipe={"model.family": "none"}).fit(X, y[::-1])
    assert np.array_equal(model.predict(X), before)


def searching(**changes: object) -> CellClassifier:
    values = {"space": SearchSpace.from_dict(TINY), "budget": 2, "folds": 2, "threads": 1}
    return CellClassifier(**(values | changes))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> CellClassifier:
    drawn = squares()
    names = np.array(["one", "two", "three"])
    out = tmp_path_factory.mktemp("searched")
    return searching(out=out).fit(np.array(drawn.images), names[drawn.labels])


@pytest.mark.slow
def test_a_search_is_a_run_with_a_card_and_a_verdict(searched) -> None:
    assert searched.result_.folder.parent.name == "fit-1"
    assert searched.card_.verify().cells > 0
    assert searched.card_.classes == tuple(searched.classes_) == ("one", "three", "two")
    assert searched.verdict_ == searched.card_.metrics["verdict"]["sentence"]
    assert searched.recipe_ == searched.result_.best.recipe
    assert searched.card_.headline in searched.report()


@pytest.mark.slow
def test_the_hold_out_never_trains_the_model_that_predicts(searched) -> None:
    folder = searched.result_.folder
    splits = cellsearch.Splits.load(
        folder / "splits.json", cellsearch.CellDataset.open(folder.parent / "cells")
    )
    with np.load(folder / "final" / "winner-0.npz") as made_from:
        for name in ("trained", "watched", "normalised"):
            assert not set(made_from[name]) & set(splits.holdout)


@pytest.mark.slow
def test_what_was_searched_predicts_by_its_card(searched) -> None:
    X = np.array(squares().images)
    assert np.array_equal(searched.predict_proba(X), searched.card_.predict(X))
    for dtype in (np.int64, np.float64):
        assert np.array_equal(searched.predict_proba(X.astype(dtype)), searched.card_.predict(X))
    with pytest.raises(CardError):
        searched.predict_proba(X.astype(np.float32) / 255)


@pytest.mark.slow
def test_a_pickled_search_needs_its_folder_no_more(searched, tmp_path: Path) -> None:
    X = np.array(squares().images)
    expected = searched.predict_proba(X)
    kept = pickle.loads(pickle.dumps(searched))
    assert kept.card_.folder == searched.card_.folder
    moved = copy.deepcopy(searched)
    home = tmp_path / "card"
    shutil.copytree(searched.card_.folder, home)
    moved._model = type(searched._model)(home)
    dumped = io.BytesIO()
    pickle.dump(moved, dumped)
    shutil.rmtree(home)
    dumped.seek(0)
    again = pickle.load(dumped)
    assert again.card_.folder not in (home, searched.card_.folder)
    assert again.card_.verify().cells > 0
    assert np.array_equal(again.predict_proba(X), expected)
    assert again.result_.card is again.card_
    with pytest.raises(CardError):
        pickle.dumps(moved)


@pytest.mark.slow
def test_each_fit_is_a_run_of_its_own(searched) -> None:
    drawn = squares((30, 20), seed=3)
    again = clone(searched).set_params(budget=1).fit(np.array(drawn.images), drawn.labels)
    folders = [model.result_.folder.parent for model in (searched, again)]
    assert [folder.name for folder in folders] == ["fit-1", "fit-2"]
    assert folders[0].parent == folders[1].parent


def test_a_search_refuses_what_it_cannot_do(cells, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rare: must be one of"):
        searching(rare="drop").fit(*cells)
    with pytest.raises(RunError, match="backend"):
        searching(backend="cloud", out=tmp_path).fit(*cells)
