"""Predictions: arrays that fit each other, and one rule for the class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellsearch.stats.predictions import Predictions

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 1])
P = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], np.float32)


def test_the_class_is_decided_from_the_probabilities() -> None:
    found = Predictions.of(CLASSES, LABELS, P, cells=np.array([7, 4]))
    assert found.predicted.tolist() == P.argmax(axis=1).tolist() == [1, 2]
    assert found.predicted.dtype == np.int64
    assert found.cells is not None
    assert found.cells.tolist() == [7, 4]
    assert len(found) == 2


def test_stated_classes_are_kept() -> None:
    found = Predictions(CLASSES, LABELS, np.array([0, 0]), P)
    assert found.predicted.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("estimable", "names"), [(None, ()), ([True, False, True], ("b",)), ([False] * 3, CLASSES)]
)
def test_classes_without_figures_are_named(estimable: Any, names: tuple[str, ...]) -> None:
    given = None if estimable is None else np.array(estimable)
    assert Predictions.of(CLASSES, LABELS, P, estimable=given).not_estimable == names


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"predicted": np.array([0])}, r"predicted of shape \(1,\), expected \(2,\)"),
        ({"probabilities": P[:, :2]}, r"probabilities of shape \(2, 2\), expected \(2, 3\)"),
        ({"estimable": np.array([True])}, r"estimable of shape \(1,\), expected \(3,\)"),
        ({"cells": np.arange(3)}, r"cells of shape \(3,\), expected \(2,\)"),
        ({"groups": np.arange(3)}, r"groups of shape \(3,\), expected \(2,\)"),
        ({"ids": ("x",)}, "1 ids, expected 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"predicted": LABELS} | changes
    with pytest.raises(ValueError, match=said):
        Predictions(CLASSES, LABELS, **given)
