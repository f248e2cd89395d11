"""Whether the share of a class differs between samples that were treated and samples that were not.

The replicate is the unit, never the cell: cells of one replicate share what was done to it.
Arrangements of the replicates over the two conditions give the p (Fisher 1935, section 21; within
blocks where there are some), and Student's t gives the interval. The statistic is studentised, so
that it holds where the spread differs between the conditions (Janssen 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.permutation import holm

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST_ARRANGEMENTS = 20_000
"""All arrangements are looked at up to this number, else one less than so many are drawn."""

EQUAL = 1e-9
"""Relative difference below which two statistics are one."""


@dataclass(frozen=True)
class ShareDifference:
    """One class, treated less control.

    Attributes:
        treated: mean share over the treated replicates; of blocks, of those that have both.
        control: likewise.
        difference: with a 95 % interval of Student's t; bounds are None where it has no spread.
        p: two-sided, over arrangements.
        p_holm: corrected over classes (Holm 1979).
        p_t: two-sided, of the t that the interval is of: normal shares are assumed.
        p_t_holm: corrected likewise.
    """

    treated: float
    control: float
    difference: Estimate
    p: float
    p_holm: float
    p_t: float
    p_t_holm: float


@dataclass(frozen=True)
class SampleTest:
    """Every class, and what the number of replicates allows.

    Attributes:
        classes: one for each column of shares.
        arrangements: of the replicates over the conditions.
        exact: all of them were looked at.
        smallest_p: two-sided, that the arrangements can give.
        blocks: with both conditions; 1 where there are none.
        freedom: degrees of freedom of t, the smallest over classes.
    """

    classes: tuple[ShareDifference, ...]
    arrangements: int
    exact: bool
    smallest_p: float
    blocks: int
    freedom: float


def compare_shares(
    shares: Floats, treated: Bools, blocks: NDArray[np.int64] | None = None, *, seed: int = 0
) -> SampleTest:
    """Test treated against control replicates, class by class.

    Without blocks the two-sample t of Welch (1947) is studied; with blocks the difference within
    blocks, each by its precision (least squares with an effect for each block), which is the
    paired t where a block has one replicate of each.

    Args:
        shares: (n, K) of each replicate.
        treated: (n,) whether it was treated.
        blocks: (n,) donor or batch, each with both conditions; None where there are none.
        seed: of the draws, where arrangements are too many.

    Raises:
        ValueError: fewer replicates than a spread can be told from.
    """
    blocks = np.zeros(len(shares), np.int64) if blocks is None else blocks
    n, b = len(shares), len(np.unique(blocks))
    if (b == 1 and min(treated.sum(), n - treated.sum()) < 2) or n - b - 1 < 1:
        raise ValueError("too few replicates for a spread")
    value, error, freedom = _studentised(shares, treated[None], blocks)
    exact = _count(treated, blocks) <= MOST_ARRANGEMENTS
    arranged = _all(treated, blocks) if exact else _drawn(treated, blocks, seed)
    found, errors, _ = _studentised(shares, arranged, blocks)
    statistic, reached = _ratio(found, errors), _ratio(value, error)
    hits = (np.abs(statistic) >= np.abs(reached) * (1 - EQUAL)).sum(axis=0)
    p = hits / len(arranged) if exact else (1 + hits) / (1 + len(arranged))
    p_t, low, high = _t(value[0], error[0], freedom[0])
    corrected, corrected_t = holm(p.tolist()), holm(p_t.tolist())
    weights = _weights(treated, blocks)
    return SampleTest(
        classes=tuple(
            ShareDifference(
                treated=float(weights[0] @ shares[:, k]),
                control=float(weights[1] @ shares[:, k]),
                difference=Estimate(
                    float(value[0, k]),
                    float(low[k]) if error[0, k] > 0 else None,
                    float(high[k]) if error[0, k] > 0 else None,
                ),
                p=float(p[k]),
                p_holm=corrected[k],
                p_t=float(p_t[k]),
                p_t_holm=corrected_t[k],
            )
            for k in range(shares.shape[1])
        ),
        arrangements=_count(treated, blocks),
        exact=exact,
        smallest_p=smallest_p(treated, blocks),
        blocks=b,
        freedom=float(freedom.min()),
    )


def smallest_p(treated: Bools, blocks: NDArray[np.int64]) -> float:
    """The smallest two-sided p that the arrangements can give.

    That of one of them and, where the conditions are of one size in each block, its mirror image.
    """
    mirrored = all(2 * int(own.sum()) == len(own) for own in _by_block(treated, blocks))
    return min(1.0, max((1 + mirrored) / _count(treated, blocks), 1 / MOST_ARRANGEMENTS))


def _by_block(treated: Bools, blocks: NDArray[np.int64]) -> list[Bools]:
    return [treated[blocks == block] for block in np.unique(blocks)]


def _count(treated: Bools, blocks: NDArray[np.int64]) -> int:
    return math.prod(math.comb(len(own), int(own.sum())) for own in _by_block(treated, blocks))


def _all(treated: Bools, blocks: NDArray[np.int64]) -> Bools:
    """(R, n): each arrangement that keeps how many of a block are treated."""
    choices = []
    for block in np.unique(blocks):
        places = np.flatnonzero(blocks == block)
        choices.append(combinations(places.tolist(), int(treated[places].sum())))
    chosen = np.array([[place for part in parts for place in part] for parts in product(*choices)])
    rows = np.zeros((len(chosen), len(treated)), bool)
    np.put_along_axis(rows, chosen, values=True, axis=1)
    return rows


def _drawn(treated: Bools, blocks: NDArray[np.int64], seed: int) -> Bools:
    """(R, n): arrangements by chance, as in ``_all``."""
    rng = np.random.default_rng(seed)
    rows = np.tile(treated, (MOST_ARRANGEMENTS - 1, 1))
    for block in np.unique(blocks):
        own = blocks == block
        rows[:, own] = rng.permuted(rows[:, own], axis=1)
    return rows


def _weights(treated: Bools, blocks: NDArray[np.int64]) -> Floats:
    """(2, n) of the means whose difference is the one that is tested."""
    found = np.zeros((2, len(treated)))
    for block in np.unique(blocks):
        one, other = (blocks == block) & treated, (blocks == block) & ~treated
        precision = one.sum() * other.sum() / (one.sum() + other.sum())
        found[0, one], found[1, other] = precision / one.sum(), precision / other.sum()
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _studentised(
    shares: Floats, arranged: Bools, blocks: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Difference, its standard error and degrees of freedom, each (R, K)."""
    names, codes = np.unique(blocks, return_inverse=True)
    means = np.array([shares[codes == k].mean(axis=0) for k in range(len(names))])
    centred = shares - means[codes]
    rows = arranged.astype(np.float64)
    n, b, ones = len(shares), len(names), int(arranged[0].sum())
    if b == 1:
        others = n - ones
        total, squares = centred.sum(axis=0), (centred**2).sum(axis=0)
        first, first_squares = rows @ centred, rows @ centred**2
        one, other = first / ones, (total - first) / others
        spread = (first_squares - ones * one**2) / (ones - 1)
        rest = (squares - first_squares - others * other**2) / (others - 1)
        parts = np.maximum(spread, 0.0) / ones, np.maximum(rest, 0.0) / others
        variance = parts[0] + parts[1]
        below = parts[0] ** 2 / (ones - 1) + parts[1] ** 2 / (others - 1)
        freedom = np.divide(
            variance**2, below, out=np.full_like(below, min(ones, others) - 1.0), where=below > 0
        )
        return one - other, _root(variance, squares), freedom
    counts = np.array([[own.sum(), (~own).sum()] for own in _by_block(arranged[0], blocks)])
    precision = float((counts.prod(axis=1) / counts.sum(axis=1)).sum())
    value = rows @ centred / precision
    left = (centred**2).sum(axis=0) - value**2 * precision
    freedom = np.full_like(value, n - b - 1.0)
    variance = np.maximum(left, 0.0) / freedom / precision
    return value, _root(variance, (centred**2).sum(axis=0)), freedom


def _root(variance: Floats, squares: Floats) -> Floats:
    """Standard errors; what rounding alone leaves is none."""
    return np.asarray(np.sqrt(np.where(variance > 1e-20 + 1e-14 * squares, variance, 0.0)))


def _ratio(value: Floats, error: Floats) -> Floats:
    """Value over error; infinite where a difference has no spread, 0 where there is neither."""
    gap = np.where(np.abs(value) > EQUAL, value, 0.0)
    sure = np.where(gap == 0.0, 0.0, np.copysign(np.inf, gap))
    return np.divide(value, error, out=sure, where=error > 0)


def _t(value: Floats, error: Floats, freedom: Floats) -> tuple[Floats, Floats, Floats]:
    """p, lower and upper bound, each (K,)."""
    from scipy.stats import t  # half a second that other commands need not pay

    p = np.asarray(2 * t.sf(np.abs(_ratio(value, error)), freedom), np.float64)
    reach = t.ppf(0.5 + LEVEL / 2, freedom) * error
    return p, value - reach, value + reach


def mean_share(shares: Floats) -> Estimate:
    """Mean of (n,) replicates with its 95 % interval of Student's t; of one without."""
    from scipy.stats import t

    n = len(shares)
    value = float(shares.mean())
    if n < 2:
        return Estimate(value, None, None)
    reach = float(t.ppf(0.5 + LEVEL / 2, n - 1) * shares.std(ddof=1) / math.sqrt(n))
    return Estimate(value, value - reach, value + reach)
