"""Bootstrap of groups: cells of a donor, plate or slide are drawn together or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


def group_codes(groups: NDArray[Any] | None) -> Codes | None:
    """(n,) int64 0 .. G - 1 for (n,) names of groups; None stays None."""
    if groups is None:
        return None
    return np.asarray(np.unique(groups, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def group_confusions(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: Codes, k: int
) -> NDArray[np.int64]:
    """(G, K, K) counts of each group, rows true; its sum over groups is the confusion matrix."""
    count = int(groups.max()) + 1
    cells = (groups * k + labels) * k + predicted
    return np.bincount(cells, minlength=count * k * k).reshape(count, k, k).astype(np.int64)


def drawn_groups(count: int, *, repeats: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(R, G) times that each group is drawn, G groups with replacement.

    The cluster bootstrap (Field & Welsh 2007, section 2.3): groups are the units, so that what the
    cells of a group have in common stays in the spread.
    """
    return rng.multinomial(count, np.full(count, 1.0 / count), size=repeats).astype(np.float64)


def cluster_confusions(
    counts: NDArray[np.int64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(R, K, K) confusion matrices of drawn groups.

    Args:
        counts: (G, K, K) of each group.
        times: (R, G) that each group is drawn.
    """
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    return np.asarray((times @ flat).reshape(len(times), *counts.shape[1:]))


def stretched(
    figures: NDArray[np.float64],
    estimate: float | NDArray[np.float64],
    groups: int,
    *,
    level: float,
) -> NDArray[np.float64]:
    """Figures of drawn groups, moved away from the estimate by what few groups cost.

    sqrt(G / (G - 1)) for the variance of a sample, and the quantile of t with G - 1 degrees of
    freedom in place of the normal one (Cameron & Miller 2015, section VI.A).

    Args:
        figures: (R,) float64, or (R, J) of several.
        estimate: the figure of all cells, or (J,).
        groups: G, at least 2.
        level: coverage, between 0 and 1.
    """
    from scipy.special import ndtri, stdtrit  # 0.1 s that a reader of plain figures need not pay

    upper = 1.0 - (1.0 - level) / 2.0
    factor = np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, upper) / ndtri(upper)
    return np.asarray(estimate + (figures - estimate) * factor)
