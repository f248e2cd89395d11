"""Confident learning: which labels disagree with out-of-fold predictions, and how many.

After Northcutt, Jiang and Chuang 2021 (JAIR 70), in numpy; ``docs/design.md`` says why not by a
library. A class has a threshold, the mean probability that its own cells have of it. A label is
ranked by its probability over that, so that a class which the model finds hard is not all
suspects. Probabilities are of the natural mix of classes. Other rankings found fewer planted
errors, or suspected more sound labels of rare classes (``benchmarks/results/label_errors.txt``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.groups import Codes, drawn_groups, stretched
from cellsearch.stats.intervals import interval_around

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

SUSPECT = 0.1
"""A label with less than this share of the threshold of its class is suspect."""

SURPRISING = 0.02
"""A label of a smaller probability is a surprise."""

REPEATS = 300
LEVEL = 0.95
FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class Judged:
    """What predictions say of labels.

    Attributes:
        thresholds: (K,) mean probability of a class over the cells labelled so; NaN without any.
        scores: (n,) probability of the given label over the threshold of its class; the smaller
            the more suspect.
        suggested: (n,) the other class with the greatest probability over its threshold.
    """

    thresholds: Floats
    scores: Floats
    suggested: Labels

    @property
    def ranked(self) -> Labels:
        """Positions of the suspects, the most suspect first."""
        found = np.flatnonzero(self.scores < SUSPECT)
        return found[np.argsort(self.scores[found], kind="stable")].astype(np.int64)


def judged(labels: Labels, probabilities: Floats) -> Judged:
    """Judge each label by the probabilities of a model that never saw the cell.

    Args:
        labels: (n,) given classes.
        probabilities: (n, K) under the natural mix of classes; rows add up to 1.
    """
    own, thresholds = _thresholds(labels, probabilities, np.ones(len(labels)))
    safe = np.where(np.isfinite(thresholds), np.maximum(thresholds, FLOOR), np.inf)
    others = probabilities / safe
    others[np.arange(len(labels)), labels] = -1.0
    return Judged(thresholds, own / safe[labels], np.asarray(others.argmax(axis=1), np.int64))


@dataclass(frozen=True)
class Expected:
    """How many labels may be wrong, with 95 % intervals.

    Attributes:
        disagreements: sum off the diagonal of the calibrated confident joint: errors of labels
            and of the model together, so rather too many.
        surprises: labels of a probability below ``SURPRISING``, less as many as there would be if
            the probabilities were right: rather too few.
    """

    disagreements: Estimate
    surprises: Estimate


def expected(
    labels: Labels,
    probabilities: Floats,
    *,
    groups: Codes | None = None,
    seed: int = 0,
) -> Expected:
    """Estimate how many labels are wrong, from above and from below.

    Args:
        labels: (n,) given classes.
        probabilities: (n, K) calibrated, under the natural mix of classes.
        groups: (n,) codes of donors or plates, drawn whole; by default cells are drawn.
        seed: of the bootstrap.
    """
    n = len(labels)
    rng = np.random.default_rng(seed)
    own = probabilities[np.arange(n), labels]
    low = np.where(probabilities < SURPRISING, probabilities, 0.0).sum(axis=1)
    surplus = (own < SURPRISING) - low

    def figures(weights: Floats) -> tuple[float, float]:
        return (
            _off_diagonal(labels, probabilities, weights),
            max(0.0, float(surplus @ weights)),
        )

    estimates = figures(np.ones(n))
    if groups is not None and int(groups.max()) == 0:
        return Expected(*(Estimate.of(value, None) for value in estimates))
    if groups is None:
        draws = np.array([figures(_times(n, rng)) for _ in range(REPEATS)])
    else:
        times = drawn_groups(int(groups.max()) + 1, repeats=REPEATS, rng=rng)
        draws = np.array([figures(each[groups]) for each in times])
        draws = stretched(draws, np.array(estimates), times.shape[1], level=LEVEL)
    return Expected(
        *(
            Estimate.of(value, interval_around(drawn, value, level=LEVEL, bounds=(0.0, float(n))))
            for value, drawn in zip(estimates, draws.T, strict=True)
        )
    )


def _times(n: int, rng: np.random.Generator) -> Floats:
    """(n,) times that each cell is drawn."""
    return np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)


def _thresholds(labels: Labels, probabilities: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(n,) probability of the given label, and (K,) its mean over each class."""
    k = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, weights, minlength=k)
    sums = np.bincount(labels, weights * own, minlength=k)
    with np.errstate(invalid="ignore", divide="ignore"):
        return own, np.where(counts > 0.0, sums / counts, np.nan)


def _likeliest(probabilities: Floats, thresholds: Floats) -> NDArray[np.int64]:
    """(n,) the likeliest class that reaches its threshold, -1 where none does."""
    reached = probabilities >= thresholds  # NaN is never reached
    best = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1).astype(np.int64)


def _off_diagonal(labels: Labels, probabilities: Floats, weights: Floats) -> float:
    """Cells off the diagonal of the confident joint, each class scaled to its number of cells."""
    k = probabilities.shape[1]
    _, thresholds = _thresholds(labels, probabilities, weights)
    best = _likeliest(probabilities, thresholds)
    confident = best >= 0
    off = confident & (best != labels)
    counts = np.bincount(labels, weights, minlength=k)
    seen = np.bincount(labels[confident], weights[confident], minlength=k)
    wrong = np.bincount(labels[off], weights[off], minlength=k)
    return float((counts * wrong / np.maximum(seen, FLOOR)).sum())
