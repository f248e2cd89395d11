"""When a trial may be stopped after some of its folds.

A candidate is compared with the best complete trial on the cells of the same folds, paired cell by
cell. For each true class the pairs (prediction of the best, prediction of the candidate) are
counted, and their probabilities get a Dirichlet posterior (the Bayesian bootstrap, Rubin 1981, with
a prior that keeps a class of two or three cells uncertain). Each draw of it gives two confusion
matrices and so a difference of the metric. What training alone does to a score from fold to fold is
not in the cells; it enters as a normal term. Every look spends an equal part of alpha (Bonferroni).
Where cells come in groups (donors, plates), those are drawn too; the greater probability counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.groups import (
    Codes,
    cluster_confusions,
    drawn_groups,
    group_confusions,
    stretched,
)
from cellsearch.stats.intervals import drawn_pairs, pair_counts, pair_prior
from cellsearch.stats.metrics import TITLES, Metric, confusion, metric_named, score

TRAINING_NOISE: Mapping[Metric, float] = MappingProxyType(
    {
        "balanced_accuracy": 0.03,
        "macro_f1": 0.03,
        "weighted_f1": 0.03,
        "mcc": 0.04,
        "worst_recall": 0.07,
        "accuracy": 0.02,
    }
)
"""Standard deviation of a score on one fold through training alone: the larger of two networks on
a real set, rounded up (``benchmarks/training_noise.py``). Balanced accuracy and macro F1 were
measured at 0.02 and keep the 0.03 that they had until a second set says the same."""


@dataclass(frozen=True)
class Rule:
    """How sure one must be to stop a trial.

    Attributes:
        alpha: bound on the posterior probability of a wrong stop, over all looks of a trial.
        margin: observed loss, in units of the metric, below which no trial is stopped.
        prior: pseudo-count of each of the four outcomes (both right, one right, none right).
        training_noise: standard deviation of a score on one fold through training alone; None
            takes that of the metric, of ``TRAINING_NOISE``.
        draws: of the posterior.
    """

    alpha: float = 0.05
    margin: float = 0.01
    prior: float = 0.5
    training_noise: float | None = None
    draws: int = 2000


@dataclass(frozen=True)
class Verdict:
    """What a look at the race found.

    Attributes:
        stop: the candidate is very probably worse.
        candidate: its score on the cells so far.
        best: score of the best trial on the same cells.
        probability: posterior probability that the candidate is not worse.
        cells: cells compared.
    """

    stop: bool
    candidate: float
    best: float
    probability: float
    cells: int

    def reason(self, *, folds: int, k: int, metric: str, against: int) -> str:
        """One line for the study and the screen."""
        return (
            f"after fold {folds} of {k}: {TITLES[metric_named(metric)]} {self.candidate:.3f} "
            f"against {self.best:.3f} of trial {against} on the same {self.cells:,} cells; "
            f"P(not worse) {_at_most(self.probability)}"
        )


def _at_most(probability: float) -> str:
    """The draws cannot tell less than about a thousandth from nothing."""
    return f"= {probability:.3f}" if probability >= 0.001 else "< 0.001"


def look(
    labels: NDArray[np.int64],
    best: NDArray[np.int64],
    candidate: NDArray[np.int64],
    k: int,
    *,
    metric: str,
    folds: int,
    looks: int,
    classes: NDArray[np.bool_] | None = None,
    groups: Codes | None = None,
    rule: Rule | None = None,
    seed: int = 0,
) -> Verdict:
    """Compare two trials on the same cells.

    Args:
        labels: (n,) true classes, 0 .. K - 1.
        best: (n,) predictions of the best complete trial.
        candidate: (n,) predictions of the trial that runs.
        k: number of classes.
        metric: one of ``METRICS``.
        folds: folds that the cells come from.
        looks: looks that a trial gets in all, over which alpha is divided.
        classes: (K,) bool, classes that can be estimated.
        groups: (n,) int64; None where cells are independent.
        rule: how sure one must be.
        seed: of the draws, so that a restart decides the same.
    """
    rule = rule or Rule()
    ours, theirs = confusion(labels, candidate, k), confusion(labels, best, k)
    mine = float(score(metric, ours, classes=classes))
    other = float(score(metric, theirs, classes=classes))
    if mine >= other - rule.margin:
        return Verdict(False, mine, other, 1.0, len(labels))
    rng = np.random.default_rng(seed)
    ours_drawn, theirs_drawn = _posterior(labels, best, candidate, k, rule, rng)
    difference = score(metric, ours_drawn, classes=classes) - score(
        metric, theirs_drawn, classes=classes
    )
    # Both scores carry the noise of their own training, hence the factor 2.
    alone = rule.training_noise
    alone = TRAINING_NOISE[metric_named(metric)] if alone is None else alone
    noise = alone * np.sqrt(2.0 / max(1, folds))

    def not_worse(drawn: NDArray[np.float64]) -> float:
        return float(np.mean(drawn + rng.normal(0.0, noise, drawn.shape) >= 0.0))

    probability = not_worse(difference)
    count = 0 if groups is None else int(groups.max()) + 1
    if groups is not None and count > 1:
        times = drawn_groups(count, repeats=rule.draws, rng=rng)
        first, second = (
            score(
                metric,
                cluster_confusions(group_confusions(labels, said, groups, k), times),
                classes=classes,
            )
            for said in (candidate, best)
        )
        level = 1.0 - 2.0 * rule.alpha / looks
        moved = stretched(first - second, mine - other, count, level=level)
        probability = max(probability, not_worse(moved))
    elif groups is not None:
        # One group does not tell what another would show.
        probability = 1.0
    return Verdict(probability < rule.alpha / looks, mine, other, probability, len(labels))


def _posterior(
    labels: NDArray[np.int64],
    best: NDArray[np.int64],
    candidate: NDArray[np.int64],
    k: int,
    rule: Rule,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws of the two confusion matrices, each (draws, K, K), rows scaled to their cells."""
    # Many classes make K**3 gammas a draw; fewer draws then still resolve alpha / looks.
    draws = max(400, min(rule.draws, 6_000_000 // k**3))
    joint = pair_counts(labels, best, candidate, k)
    theirs, ours = drawn_pairs(joint, joint + pair_prior(k, rule.prior), repeats=draws, rng=rng)
    return ours, theirs
