"""Figures from confusion matrices, held against scikit-learn and scipy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from cellsearch.errors import ConfigError
from cellsearch.stats.bootstrap import bootstrap_intervals
from cellsearch.stats.intervals import clopper_pearson
from cellsearch.stats.metrics import METRICS, TITLES, confusion, metric_named, per_class, score


def some_cells(seed: int = 0, n: int = 400, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Imbalanced labels and predictions that are right two times out of three."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    wrong = rng.choice(k, n)
    return labels, np.where(rng.random(n) < 0.67, labels, wrong)


REFERENCE = {
    "balanced_accuracy": reference.balanced_accuracy_score,
    "macro_f1": lambda y, p: reference.f1_score(y, p, average="macro"),
    "weighted_f1": lambda y, p: reference.f1_score(y, p, average="weighted"),
    "mcc": reference.matthews_corrcoef,
    "worst_recall": lambda y, p: reference.recall_score(y, p, average=None).min(),
    "accuracy": reference.accuracy_score,
}


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_agree_with_scikit_learn(metric: str) -> None:
    matrices, expected = [], []
    for seed in range(4):
        labels, predicted = some_cells(seed)
        matrices.append(confusion(labels, predicted, 5))
        expected.append(REFERENCE[metric](labels, predicted))
    stacked = score(metric, np.stack(matrices))
    assert stacked.shape == (4,)
    np.testing.assert_allclose(stacked, expected, rtol=1e-12)
    assert float(score(metric, matrices[0])) == pytest.approx(expected[0])


def test_confusion_has_the_true_class_in_rows() -> None:
    labels, predicted = some_cells()
    expected = reference.confusion_matrix(labels, predicted, labels=range(5))
    np.testing.assert_array_equal(confusion(labels, predicted, 5), expected)


@pytest.mark.parametrize("bad", [5, -1])
def test_confusion_refuses_a_class_that_is_not_there(bad: int) -> None:
    with pytest.raises(ValueError, match=r"outside 0 \.\. 4"):
        confusion(np.array([0, 1]), np.array([0, bad]), 5)
    with pytest.raises(ValueError, match="2 labels but 1"):
        confusion(np.array([0, 1]), np.array([0]), 5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "matrix",
    [np.zeros((3, 3)), np.diag([5, 0, 0]), [[0, 4, 0], [0, 0, 0], [0, 0, 0]], [[3, 0], [3, 0]]],
)
def test_no_metric_is_ever_nan(metric: str, matrix: np.ndarray) -> None:
    assert np.isfinite(score(metric, matrix))


def test_a_class_without_cells_is_left_out_of_means() -> None:
    matrix = [[8, 2, 0], [5, 5, 0], [0, 0, 0]]
    assert score("balanced_accuracy", matrix) == pytest.approx((0.8 + 0.5) / 2)
    assert score("worst_recall", matrix) == pytest.approx(0.5)
    assert score("macro_f1", matrix) == pytest.approx((16 / 23 + 10 / 17) / 2)


def test_cells_of_classes_that_cannot_be_estimated_do_not_count() -> None:
    matrix = np.array([[8, 2, 0], [5, 4, 1], [0, 3, 0]])
    mask = np.array([True, True, False])
    without = matrix.copy()
    without[2] = 0
    for metric in METRICS:
        assert score(metric, matrix, classes=mask) == score(metric, without)
    assert score("balanced_accuracy", matrix, classes=mask) == pytest.approx(0.6)


def test_an_unknown_metric_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"balanced_accuracy.*worst_recall.*'f1'"):
        score("f1", np.eye(2))
    assert metric_named("mcc") == "mcc"
    assert set(TITLES) == set(METRICS)


def test_per_class_says_none_where_there_is_nothing_to_divide_by() -> None:
    never_called, no_cells = per_class(np.array([[0, 4, 0], [0, 6, 0], [0, 0, 0]]))[::2]
    assert never_called.precision is None
    assert (never_called.recall, never_called.f1, never_called.support) == (0.0, 0.0, 4)
    assert (no_cells.precision, no_cells.recall, no_cells.f1) == (None, None, None)


def test_per_class_agrees_with_scikit_learn() -> None:
    labels, predicted = some_cells()
    expected = reference.precision_recall_fscore_support(labels, predicted)
    figures = per_class(confusion(labels, predicted, 5))
    found = [(f.precision, f.recall, f.f1, f.support) for f in figures]
    np.testing.assert_allclose(np.array(found, dtype=float), np.array(expected).T, rtol=1e-12)


@pytest.mark.parametrize(("hits", "cells"), [(0, 3), (3, 3), (1, 14), (700, 1000)])
def test_clopper_pearson_is_the_exact_interval(hits: int, cells: int) -> None:
    expected = stats.binomtest(hits, cells).proportion_ci(0.95, method="exact")
    found = clopper_pearson(hits, cells)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_intervals_hold_the_figure_and_widen_for_rare_classes() -> None:
    labels, predicted = some_cells(n=1000)
    matrix = confusion(labels, predicted, 5)
    found = bootstrap_intervals(labels, predicted, 5, repeats=1000)
    for metric in METRICS:
        interval = found.metrics[metric]
        assert interval.low <= score(metric, matrix) <= interval.high, metric
    for figures, intervals in zip(per_class(matrix), found.per_class, strict=True):
        assert intervals.recall is not None
        assert intervals.recall.low < figures.recall < intervals.recall.high
        assert intervals.f1.low <= figures.f1 <= intervals.f1.high
    common, rare = found.per_class[0].recall, found.per_class[4].recall
    assert rare.high - rare.low > 3 * (common.high - common.low)
    assert found == bootstrap_intervals(labels, predicted, 5, repeats=1000)


def test_intervals_are_none_where_the_figure_is() -> None:
    found = bootstrap_intervals(np.array([0, 0, 1]), np.array([0, 0, 0]), 3, repeats=50)
    never_called, no_cells = found.per_class[1], found.per_class[2]
    assert never_called.precision is None
    assert never_called.recall is not None
    assert (no_cells.precision, no_cells.recall, no_cells.f1) == (None, None, None)


def test_metrics_are_numpy_alone() -> None:
    code = (
        "import sys, cellsearch.stats.metrics, cellsearch.learn.fold_result; "
        "print([m for m in ('torch', 'ray', 'sklearn', 'imblearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
