"""Whether a probability means what it says, and the one temperature that makes it do so better.

The temperature is fitted without class weights: it is to make probabilities right for the mix of
the data set, which is the mix that hold-out and out-of-fold cells have. A weighted fit would make
them right for a mix that no sample has. The price is that frequent classes have most of the say,
so the reliability of each class is stated beside the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.decision import FLOOR
from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.groups import Codes, drawn_groups, group_codes, stretched
from cellsearch.stats.intervals import percentile_interval
from cellsearch.stats.proportions import share

COLDEST, HOTTEST = 0.2, 10.0
MOST_BINS = 15
CELLS_IN_A_BIN = 20
FEWEST_CALLED = 50
"""Cells called as a class below which it gets no calibration error of its own."""

REPEATS = 1000
Probabilities = NDArray[np.floating]


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature T; above 1 where the network is over-confident.

    Attributes:
        value: T; 1 where none can be fitted.
        low: of its 95 % bootstrap interval, of groups where cells come in groups; of one group the
            least that is allowed.
        high: of the same.
        cells: out-of-fold cells that it was fitted on.
        note: why there is none, or that it lies at a bound; empty else.
    """

    value: float
    low: float
    high: float
    cells: int
    note: str = ""


@dataclass(frozen=True)
class Bin:
    """Cells of about the same confidence, and the interval of the share that is right.

    Exact, or of groups where cells come in groups; None where one group has them all.
    """

    cells: int
    confidence: float
    right: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassReliability:
    """Cells called as one class.

    Attributes:
        name: of the class.
        called: how many are called so.
        confidence: their mean; None where no cell is.
        right: share of them that is of the class, with its exact interval.
        error: expected calibration error among them; None below ``FEWEST_CALLED`` cells.
    """

    name: str
    called: int
    confidence: float | None
    right: Estimate | None
    error: Estimate | None


@dataclass(frozen=True)
class Reliability:
    """How far confidences, the probabilities of the predicted classes, can be believed.

    Attributes:
        cells: counted.
        bins: of equal mass, least confidence first.
        error: expected calibration error with its interval.
        chance: mean error that perfectly calibrated confidences like these would show, since a
            mean of absolute differences is never 0 with finitely many cells.
        log_loss: mean negative log-likelihood, nats.
        brier: mean squared distance of the K probabilities from the truth.
        classes: of each predicted class.
    """

    cells: int
    bins: tuple[Bin, ...]
    error: Estimate
    chance: float
    log_loss: float
    brier: float
    classes: tuple[ClassReliability, ...]


def scaled(probabilities: Probabilities, temperature: float) -> NDArray[np.float32]:
    """softmax(log(p) / T) of (n, K) probabilities, as the exported graph does it (Guo et al. 2017,
    eq. 9, with log p for the logits, from which they differ by a constant a cell)."""
    if temperature == 1.0:
        return np.asarray(probabilities, np.float32)
    logits = _logits(probabilities) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def fit_temperature(
    labels: NDArray[np.int64],
    probabilities: Probabilities,
    *,
    groups: Codes | None = None,
    seed: int = 0,
) -> Temperature:
    """The temperature of least negative log-likelihood (Guo et al. 2017, section 4.2).

    Args:
        labels: (n,) true classes of cells that trained none of the networks which judged them.
        probabilities: (n, K) of those networks.
        groups: (n,) int64 donors or plates that are drawn whole; by default cells are drawn.
        seed: of the bootstrap of its interval.

    Returns:
        T between ``COLDEST`` and ``HOTTEST``; 1, with a note, where no cell is called wrongly, as
        the likelihood then has no maximum.
    """
    n = len(labels)
    if n == 0 or not (probabilities.argmax(axis=1) != labels).any():
        why = "no out-of-fold cell is called wrongly" if n else "no out-of-fold probabilities"
        return Temperature(1.0, 1.0, 1.0, n, f"{why}, so no temperature can be fitted")
    grid = np.geomspace(COLDEST, HOTTEST, 80)
    logits = _logits(probabilities)
    losses = np.empty((n, len(grid)))
    for place, temperature in enumerate(grid):
        hot = logits / temperature
        top = hot.max(axis=1)
        losses[:, place] = (
            top + np.log(np.exp(hot - top[:, None]).sum(axis=1)) - hot[np.arange(n), labels]
        )
    (value,) = _lowest(losses.mean(axis=0, keepdims=True), grid)
    rng = np.random.default_rng(seed)
    if groups is None:
        draws = np.concatenate([_lowest(_drawn(rng, n, 50) @ losses, grid) for _ in range(6)])
    else:
        draws = _of_groups(losses, groups, float(value), grid, rng)
    interval = percentile_interval(draws, level=LEVEL)
    low, high = min(interval.low, value), max(interval.high, value)
    note = ""
    if not COLDEST * 1.001 < value < HOTTEST / 1.001:
        note = f"it lies at the bound of what is allowed ({COLDEST:g} to {HOTTEST:g})"
    return Temperature(float(value), float(low), float(high), n, note)


def reliability(
    labels: NDArray[np.int64],
    probabilities: Probabilities,
    classes: tuple[str, ...],
    *,
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> Reliability:
    """Calibration of the probability of the predicted class.

    Expected calibration error (Guo et al. 2017, eq. 3) with bins of equal mass (Nixon et al. 2019),
    which biases it upwards less than bins of equal width do. The bias that is left is stated as
    ``chance``. Its interval is a reverse percentile bootstrap (Efron & Tibshirani 1993, section
    13.4 on bias): 2 x figure less the quantiles, so that the bootstrap's own upward bias does not
    add to it; the lower bound is moved down by ``chance``, the most that the figure's own bias can
    be. In 150 repeats of honest and of over-confident probabilities it held the true error in 88
    to 100 % (300 and 1,600 cells).

    Args:
        labels: (n,) int64, at least one.
        probabilities: (n, K).
        classes: K names.
        groups: (n,) donors or plates that are drawn whole; by default single cells are drawn.
        seed: of every draw.
    """
    called = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = called == labels
    rng = np.random.default_rng(seed)
    bins = _bins(confidence)
    error, chance = _error(confidence, right, bins, groups, rng)
    truth = np.eye(len(classes))[labels]
    return Reliability(
        cells=len(labels),
        bins=tuple(
            _bin(
                confidence[bins == b],
                right[bins == b],
                None if groups is None else groups[bins == b],
            )
            for b in range(int(bins.max()) + 1)
        ),
        error=error,
        chance=chance,
        log_loss=float(-_logits(probabilities)[np.arange(len(labels)), labels].mean()),
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        classes=tuple(
            _class(name, confidence, right, called == k, groups, rng)
            for k, name in enumerate(classes)
        ),
    )


def _logits(probabilities: Probabilities) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), FLOOR))


def _lowest(losses: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) temperatures of least (R, G) loss: the vertex of a parabola in log T."""
    place = np.clip(losses.argmin(axis=1), 1, len(grid) - 2)
    rows = np.arange(len(losses))
    before, here, after = (losses[rows, place + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = np.divide(
        before - after, 2 * bend, out=np.zeros(len(losses)), where=np.abs(bend) > 1e-15
    )
    step = np.log(grid[1] / grid[0])
    return np.asarray(grid[place] * np.exp(np.clip(shift, -1, 1) * step))


def _of_groups(
    losses: NDArray[np.float64],
    groups: Codes,
    value: float,
    grid: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(R,) temperatures of drawn groups; of one group all that is allowed."""
    count = int(groups.max()) + 1
    if count < 2:
        return np.repeat((COLDEST, HOTTEST), 150)
    sums = np.zeros((count, len(grid)))
    np.add.at(sums, groups, losses)
    drawn = _lowest(drawn_groups(count, repeats=300, rng=rng) @ sums / len(losses), grid)
    moved = np.exp(stretched(np.log(drawn), np.log(value), count, level=LEVEL))
    return np.clip(moved, COLDEST, HOTTEST)


def _drawn(rng: np.random.Generator, n: int, repeats: int) -> NDArray[np.float64]:
    """(R, n) shares of each cell in samples drawn with replacement."""
    return np.stack(
        [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(repeats)]
    ) / float(n)


def _bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) bin of each cell, of equal mass: at most 15 of at least 20 cells."""
    n = len(confidence)
    count = int(np.clip(n // CELLS_IN_A_BIN, 1, MOST_BINS))
    bins = np.empty(n, np.int64)
    bins[np.argsort(confidence, kind="stable")] = np.arange(n) * count // n
    return bins


def _error(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    bins: NDArray[np.int64],
    groups: NDArray[Any] | None,
    rng: np.random.Generator,
) -> tuple[Estimate, float]:
    """Expected calibration error with its interval, and what chance alone gives."""
    n, count = len(confidence), int(bins.max()) + 1
    cells = np.bincount(bins)
    means = np.bincount(bins, confidence) / cells
    hits = rng.binomial(cells, np.clip(means, 0.0, 1.0), size=(REPEATS, count))
    chance = float(np.abs(hits - cells * means).sum(axis=1).mean() / n)
    excess = confidence - right
    value = float(np.abs(np.bincount(bins, excess, minlength=count)).sum() / n)
    if groups is None:
        units = bins * 2 + right
        sizes = np.bincount(units, minlength=2 * count)
        # A drawn cell stands for the mean cell of its bin that is right, or wrong.
        draws = rng.multinomial(n, sizes / n, size=REPEATS) / np.maximum(sizes, 1)
    else:
        units = np.unique(groups, return_inverse=True)[1]
        sizes = np.bincount(units)
        draws = rng.multinomial(len(sizes), [1 / len(sizes)] * len(sizes), size=REPEATS) / 1.0
    sums = np.zeros((len(sizes), count))
    np.add.at(sums, (units, bins), excess)
    if groups is not None and len(sizes) < 2:
        return Estimate.of(value, None), chance
    drawn = np.abs(draws @ sums).sum(axis=1) / (draws @ sizes)
    if groups is not None:
        drawn = stretched(drawn, value, len(sizes), level=LEVEL)
    found = percentile_interval(drawn, level=LEVEL)
    low, high = 2 * value - found.high - chance, 2 * value - found.low
    return Estimate(value, float(np.clip(low, 0, value)), float(np.clip(high, value, 1))), chance


def _bin(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], groups: NDArray[Any] | None
) -> Bin:
    found = share(right, group_codes(groups))
    if found is None:
        raise ValueError("a bin needs cells")
    return Bin(len(right), float(confidence.mean()), found.value, found.low, found.high)


def _class(
    name: str,
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    called: NDArray[np.bool_],
    groups: NDArray[Any] | None,
    rng: np.random.Generator,
) -> ClassReliability:
    n = int(called.sum())
    if not n:
        return ClassReliability(name, 0, None, None, None)
    own = None if groups is None else groups[called]
    one = _bin(confidence[called], right[called], own)
    error = None
    if n >= FEWEST_CALLED:
        error, _ = _error(confidence[called], right[called], _bins(confidence[called]), own, rng)
    return ClassReliability(name, n, one.confidence, Estimate(one.right, one.low, one.high), error)
