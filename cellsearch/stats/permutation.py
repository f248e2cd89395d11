"""Whether two models differ on the same cells: a randomisation test over counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.groups import Codes, group_confusions
from cellsearch.stats.intervals import pair_counts
from cellsearch.stats.metrics import Metric, confusion, score


def mcnemar(first: int, second: int) -> float:
    """Two-sided exact p of McNemar's test (1947).

    Args:
        first: pairs that the one alone got right.
        second: pairs that the other alone got right.
    """
    from scipy.stats import binomtest  # half a second that other commands need not pay

    return float(binomtest(first, first + second).pvalue) if first + second else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Step-down corrected p (Holm 1979), in the order given."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def swap_test(
    labels: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    k: int,
    *,
    metric: Metric,
    classes: NDArray[np.bool_] | None = None,
    groups: Codes | None = None,
    repeats: int = 4999,
    seed: int = 0,
) -> float:
    """Two-sided p of the difference of a metric between two models on the same (n,) cells.

    If the models are alike, swapping what they said of a cell changes nothing (approximate
    randomisation, Yeh 2000, section 2). Cells of one class to which the models gave the classes a
    and b, or b and a, are alike, so a number of swaps is drawn for each pair of classes and not
    for each cell. With ``groups`` all cells of a group are swapped together.

    Returns:
        (1 + samples at least as far apart) / (1 + samples).
    """
    ours, theirs = confusion(labels, first, k), confusion(labels, second, k)
    apart = abs(float(_difference(metric, ours, theirs, classes)))
    rng = np.random.default_rng(seed)
    if groups is None:
        drawn = _swapped_cells(labels, first, second, k, repeats, rng)
    else:
        one = group_confusions(labels, first, groups, k).reshape(-1, k * k)
        other = group_confusions(labels, second, groups, k).reshape(-1, k * k)
        kept = rng.integers(0, 2, (repeats, len(one))).astype(np.float64)
        drawn = (
            (kept @ one + (1.0 - kept) @ other).reshape(repeats, k, k),
            (kept @ other + (1.0 - kept) @ one).reshape(repeats, k, k),
        )
    found = np.abs(_difference(metric, *drawn, classes))
    return float((1 + np.sum(found >= apart - 1e-12)) / (1 + repeats))


def _difference(
    metric: Metric,
    ours: NDArray[np.generic],
    theirs: NDArray[np.generic],
    classes: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    return np.asarray(score(metric, ours, classes=classes) - score(metric, theirs, classes=classes))


def _swapped_cells(
    labels: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    k: int,
    repeats: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two (R, K, K) of confusion matrices."""
    ours, theirs = np.zeros((repeats, k, k)), np.zeros((repeats, k, k))
    low, high = np.triu_indices(k, 1)
    for row, joint in enumerate(pair_counts(labels, first, second, k)):
        both = np.diag(joint).astype(np.float64)
        ours[:, row], theirs[:, row] = both, both
        for a, b in zip(low.tolist(), high.tolist(), strict=True):
            apart = int(joint[a, b] + joint[b, a])
            if apart:
                as_a = rng.binomial(apart, 0.5, repeats)
                ours[:, row, a] += as_a
                ours[:, row, b] += apart - as_a
                theirs[:, row, b] += as_a
                theirs[:, row, a] += apart - as_a
    return ours, theirs
