"""Confidence intervals from counts: exact for a proportion, smoothed bootstrap for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]
PRIOR = 0.5
"""Cells added for each outcome (Jeffreys); see ``smoothed_confusions``."""


@dataclass(frozen=True)
class Interval:
    """Lower and upper bound of a figure."""

    low: float
    high: float


def clopper_pearson(hits: int, cells: int, *, level: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper & Pearson 1934).

    It covers at least ``level`` for any number of cells, which a bootstrap of three cells does
    not: a class found 3 times out of 3 has 0.29 to 1, never 1 to 1.

    Args:
        hits: cells counted, 0 .. ``cells``.
        cells: how many there are, at least 1.
        level: coverage, between 0 and 1.
    """
    from scipy.special import betaincinv  # 0.1 s that a reader of plain figures need not pay

    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(betaincinv(hits, cells - hits + 1, tail))
    high = 1.0 if hits == cells else float(betaincinv(hits + 1, cells - hits, 1.0 - tail))
    return Interval(low, high)


def korn_graubard(hits: Counts, cells: Counts, *, level: float = 0.95) -> Interval:
    """Interval of a proportion whose cells come in groups (Korn & Graubard 1998, section 2).

    Clopper and Pearson's, for the number of independent cells that would tell as much: the cells
    divided by the design effect (variance of the proportion over groups by that of independent
    cells), and by the square of the ratio of t quantiles, which is what few groups cost. Never
    more cells than there are.

    Args:
        hits: (G,) cells counted in each group that has cells, each at most ``cells``.
        cells: (G,) cells of each group, all at least 1; their sum at least 1.
        level: coverage, between 0 and 1.
    """
    from scipy.special import betaincinv

    share, tail = float(hits.sum()) / float(cells.sum()), (1.0 - level) / 2.0
    known = effective_cells(hits, cells, level=level)
    found = share * known
    low = 0.0 if share == 0.0 else float(betaincinv(found, known - found + 1.0, tail))
    high = 1.0 if share == 1.0 else float(betaincinv(found + 1.0, known - found, 1.0 - tail))
    return Interval(low, high)


def effective_cells(hits: Counts, cells: Counts, *, level: float = 0.95) -> float:
    """Independent cells that tell as much as (G,) groups of cells; see ``korn_graubard``."""
    from scipy.special import stdtrit

    n, groups = int(cells.sum()), len(cells)
    share = float(hits.sum()) / n
    design = 1.0
    if groups > 1 and 0.0 < share < 1.0:
        residual = np.asarray(hits, np.float64) - share * np.asarray(cells, np.float64)
        variance = groups / (groups - 1) * float((residual**2).sum()) / n**2
        design = variance * n / (share * (1.0 - share))
    tail = (1.0 - level) / 2.0
    few = stdtrit(max(1, n - 1), 1.0 - tail) / stdtrit(max(1, groups - 1), 1.0 - tail)
    return float(np.clip(n / max(design, 1e-9) * few**2, 1.0, n))


def smoothed_confusions(
    confusion: Counts, *, repeats: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Confusion matrices of ``repeats`` smoothed bootstrap samples within each true class.

    The Bayesian bootstrap (Rubin 1981, section 2) of a class's row with Jeffreys's prior on found
    or missed: a row is Dirichlet with (n - 1) / n times its counts, which gives the draws the
    variance of a sample and not that of the plain bootstrap, and with half a cell found and half
    a cell missed, which leaves three cells out of three uncertain. The plain bootstrap of such
    rows has no spread at all (benchmarks/interval_coverage.py). Only counts are needed.

    Args:
        confusion: (K, K) counts, rows true.
        repeats: number of samples R.
        rng: source of chance.

    Returns:
        (R, K, K) float64; row sums are those of ``confusion``.
    """
    k = len(confusion)
    draws = np.zeros((repeats, k, k))
    for row in range(k):
        cells = int(confusion[row].sum())
        if cells:
            weights = confusion[row] * ((cells - 1) / cells) + PRIOR * _found_or_missed(row, k)
            drawn = rng.standard_gamma(weights, (repeats, k))
            draws[:, row] = drawn * (cells / drawn.sum(axis=1, keepdims=True))
    return draws


def smoothed_pairs(
    labels: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    k: int,
    *,
    repeats: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smoothed bootstrap confusion matrices of two models on the same (n,) cells.

    As ``smoothed_confusions``, but of the pairs of both models' predictions, so that what both
    get right or wrong adds no noise to their difference; a quarter of a cell each is added to both
    right, either one alone right, and none right, which is for each model what it has alone.

    Returns:
        Two (R, K, K) float64.
    """
    joint = pair_counts(labels, first, second, k)
    cells = joint.sum(axis=(1, 2))[:, None, None]
    weights = joint * ((cells - 1) / np.maximum(cells, 1)) + pair_prior(k, PRIOR / 2.0)
    return drawn_pairs(joint, weights, repeats=repeats, rng=rng)


def pair_counts(
    labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """(K, K, K) int64: of each true class, cells by the first model's answer and the second's."""
    return np.bincount((labels * k + first) * k + second, minlength=k**3).reshape(k, k, k)


def pair_prior(k: int, strength: float) -> NDArray[np.float64]:
    """(K, K, K) pseudo-counts, the same for both models: ``strength`` for each of the outcomes
    both right, the first alone right, the second alone right, none right."""
    sides = [_found_or_missed(row, k) for row in range(k)]
    return np.stack([strength * np.outer(side, side) for side in sides])


def drawn_pairs(
    joint: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    repeats: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dirichlet draws of two models' confusion matrices, each class scaled to its cells.

    Args:
        joint: (K, K, K) from ``pair_counts``; a class without cells stays empty.
        weights: (K, K, K) parameters of the draws.
        repeats: R.
        rng: source of chance.

    Returns:
        Two (R, K, K) float64, of the first model and of the second.
    """
    k = len(joint)
    ours, theirs = np.zeros((repeats, k, k)), np.zeros((repeats, k, k))
    for row in np.flatnonzero(joint.sum(axis=(1, 2))):
        drawn = rng.standard_gamma(weights[row].ravel(), (repeats, k * k))
        drawn *= joint[row].sum() / drawn.sum(axis=1, keepdims=True)
        pairs = drawn.reshape(repeats, k, k)
        ours[:, row], theirs[:, row] = pairs.sum(axis=2), pairs.sum(axis=1)
    return ours, theirs


def _found_or_missed(row: int, k: int) -> NDArray[np.float64]:
    """(K,) one for the class itself, and one spread over the others."""
    side = np.full(k, 1.0 / max(1, k - 1))
    side[row] = 1.0
    return side


def percentile_interval(figures: NDArray[np.float64], *, level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap figures (Efron 1979).

    Args:
        figures: (R,) float64, finite, at least one.
        level: coverage, between 0 and 1.
    """
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(figures, (tail, 1.0 - tail))
    return Interval(float(low), float(high))


def interval_around(
    figures: NDArray[np.float64],
    estimate: float,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """The percentile interval of smoothed figures, stretched to what it is about the estimate.

    Smoothing pulls the draws of a few cells towards one half, and with them the interval. Moved
    by as much as their mean differs from the estimate, the interval lies about the estimate; the
    stretch holds both, and so always the estimate itself.

    Args:
        figures: (R,) float64, finite, at least one.
        estimate: the figure of the cells themselves.
        level: coverage, between 0 and 1.
        bounds: least and greatest value that the figure can have.
    """
    inner = percentile_interval(figures, level=level)
    moved = estimate - float(figures.mean())
    low = min(inner.low, inner.low + moved, estimate)
    high = max(inner.high, inner.high + moved, estimate)
    return Interval(max(low, bounds[0]), min(high, bounds[1]))


def widest(first: Interval, second: Interval) -> Interval:
    """The interval from the lower low to the higher high."""
    return Interval(min(first.low, second.low), max(first.high, second.high))


def difference_of(
    first: tuple[float, Interval], second: tuple[float, Interval]
) -> tuple[float, Interval]:
    """First minus second of two figures of different cells, from their own intervals.

    Variances are recovered at the near limits (Newcombe 1998, method 10; Zou & Donner 2008,
    equation 6), which keeps the intervals' lopsidedness.
    """
    (a, of_a), (b, of_b) = first, second
    low = np.hypot(a - of_a.low, of_b.high - b)
    high = np.hypot(of_a.high - a, b - of_b.low)
    return a - b, Interval(float(a - b - low), float(a - b + high))
