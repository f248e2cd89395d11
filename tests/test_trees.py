"""Trees as tensors give what the libraries themselves give."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from cellsearch.card.export import export
from cellsearch.learn.models.trees import (
    ABSENT,
    TreeEnsemble,
    above,
    centre_thresholds,
    from_hist_gbdt,
    from_xgboost,
)

ROUNDS, DEPTH = 7, 4


def cells(classes: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values on a coarse grid, so that many lie on a threshold, and labels that follow them."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(300, 5)), 1).astype(np.float32)
    labels = np.digitize(
        values[:, 0] + values[:, 1] * values[:, 2], np.linspace(-1, 1, classes - 1)
    )
    return values, labels.astype(np.int64)


def probes(ensemble: TreeEnsemble, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Random values, and values at each threshold and one float to either side of it."""
    rng = np.random.default_rng(1)
    at = np.unique(ensemble.threshold.numpy())
    edges = np.concatenate([at, np.nextafter(at, np.float32(-9)), np.nextafter(at, np.float32(9))])
    return np.concatenate(
        [
            values,
            rng.normal(size=(200, 5)).astype(np.float32),
            rng.choice(edges, (400, 5)).astype(np.float32),
        ]
    )


def booster(values: NDArray, labels: NDArray, classes: int) -> xgboost.Booster:
    settings = {
        "objective": "multi:softprob",
        "num_class": classes,
        "max_depth": DEPTH,
        "tree_method": "hist",
        "nthread": 1,
    }
    return xgboost.train(settings, xgboost.QuantileDMatrix(values, label=labels), ROUNDS)


def edges_of(values: NDArray) -> list[NDArray[np.float64]]:
    """Of each feature, the numbers halfway between its distinct values."""
    distinct = [np.unique(column).astype(np.float64) for column in values.T]
    return [(each[:-1] + each[1:]) / 2 for each in distinct]


def binned(edges: list[NDArray[np.float64]], values: NDArray) -> NDArray[np.int64]:
    parts = [np.searchsorted(e, column) for e, column in zip(edges, values.T, strict=True)]
    return np.stack(parts, axis=1)


def forest(values: NDArray, labels: NDArray) -> Any:
    """Fitted on numbers of bins, as the product fits it."""
    return HistGradientBoostingClassifier(
        max_iter=ROUNDS, max_depth=DEPTH, min_samples_leaf=4, early_stopping=False
    ).fit(binned(edges_of(values), values), labels)


def logits(ensemble: TreeEnsemble, values: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return ensemble(torch.from_numpy(values)).numpy()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_xgboost_margins(classes: int) -> None:
    values, labels = cells(classes)
    model = booster(values, labels, classes)
    ensemble = from_xgboost(
        model, rounds=ROUNDS, depth=DEPTH, classes=classes, columns=range(classes)
    )
    some = probes(ensemble, values)
    expected = model.predict(xgboost.DMatrix(some), output_margin=True)
    np.testing.assert_allclose(logits(ensemble, some), expected, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.5


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_hist_gbdt_decisions(classes: int) -> None:
    values, labels = cells(classes)
    model = forest(values, labels)
    edges = edges_of(values)
    ensemble = from_hist_gbdt(
        model, edges, rounds=ROUNDS, depth=DEPTH, classes=classes, columns=range(classes)
    )
    some = probes(ensemble, values)
    expected = model.decision_function(binned(edges, some))
    if classes == 2:
        expected = np.stack([np.zeros_like(expected), expected], axis=1)
    np.testing.assert_allclose(logits(ensemble, some), expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.5


@pytest.mark.parametrize("build", ["xgboost", "hist-gbdt"])
@pytest.mark.parametrize("present", [[0, 2, 3], [1, 3]])
def test_a_class_without_cells_has_a_column_and_no_probability(
    build: str, present: list[int]
) -> None:
    values, labels = cells(len(present))
    kwargs: dict[str, Any] = {"rounds": 9, "depth": 5, "classes": 4, "columns": present}
    if build == "xgboost":
        model = booster(values, labels, len(present))
        ensemble = from_xgboost(model, **kwargs)
        expected = model.predict(xgboost.DMatrix(values))
    else:
        model = forest(values, labels)
        edges = edges_of(values)
        ensemble = from_hist_gbdt(model, edges, **kwargs)
        expected = model.predict_proba(binned(edges, values))
    found = torch.from_numpy(logits(ensemble, values)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found[:, present], expected, atol=1e-5)
    absent = sorted(set(range(4)) - set(present))
    assert found[:, absent].max() < 1e-15
    assert (ensemble.base[absent] == ABSENT).all()


def test_the_least_float_above() -> None:
    exact = np.array([0.5, -1.25, 0.0, 3.0])
    assert (above(exact) == np.nextafter(exact.astype(np.float32), np.float32(np.inf))).all()
    between = np.array([0.1, 1 / 3, -0.7, 1e-3 + 1e-13])
    found = above(between)
    assert (found.astype(np.float64) > between).all()
    assert (np.nextafter(found, np.float32(-np.inf)).astype(np.float64) <= between).all()


def test_centred_thresholds_leave_every_training_cell_where_it_went() -> None:
    values, labels = cells(3)
    model = booster(values, labels, 3)
    ensemble = from_xgboost(model, rounds=ROUNDS, depth=DEPTH, classes=3, columns=range(3))
    before = logits(ensemble, values)
    # XGBoost's own thresholds are training values: one bit less and cells change sides.
    nudged = np.nextafter(values, np.float32(-9))
    assert np.abs(logits(ensemble, nudged) - before).max() > 0.01
    centre_thresholds(ensemble, values)
    np.testing.assert_array_equal(logits(ensemble, values), before)
    np.testing.assert_array_equal(logits(ensemble, nudged), before)


def test_between_adjacent_floats_there_is_no_middle() -> None:
    one = np.float32(1)
    values = np.array([[one], [np.nextafter(one, np.float32(2))]])
    ensemble = TreeEnsemble(rounds=1, depth=1, classes=1)
    ensemble.threshold[0, 0] = float(values[1, 0])
    ensemble.leaf.data[0] = torch.tensor([1.0, 2.0])
    centre_thresholds(ensemble, values)
    assert logits(ensemble, values).ravel().tolist() == [1.0, 2.0]


def test_shapes_follow_from_the_recipe_and_weights_restore() -> None:
    values, labels = cells(3)
    kwargs: dict[str, Any] = {"rounds": ROUNDS + 3, "depth": DEPTH + 1, "classes": 3}
    ensemble = from_xgboost(booster(values, labels, 3), columns=range(3), **kwargs)
    empty = TreeEnsemble(**kwargs)
    assert not logits(empty, values).any()
    empty.load_state_dict(copy.deepcopy(ensemble.state_dict()))
    np.testing.assert_array_equal(logits(empty, values), logits(ensemble, values))
    assert not ensemble.differentiable
    assert not any(p.requires_grad for p in ensemble.parameters())


class Softmax(torch.nn.Module):
    """Probabilities of an ensemble."""

    def __init__(self, ensemble: TreeEnsemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.ensemble(values).softmax(dim=1)


@pytest.mark.slow
def test_onnx_gives_the_same(tmp_path: Path) -> None:
    values, labels = cells(3)
    ensemble = from_hist_gbdt(
        forest(values, labels),
        edges_of(values),
        rounds=ROUNDS,
        depth=DEPTH,
        classes=3,
        columns=range(3),
    )
    some = probes(ensemble, values)
    exported = export(Softmax(ensemble).eval(), {"features": some}, tmp_path)
    assert exported.largest_difference < 1e-5
    assert exported.input == "features"
    assert exported.parameters == ROUNDS * 3 * 2**DEPTH
