"""Log loss with every class counted alike: how well short trainings tell classes apart.

A score that moves smoothly where balanced accuracy still jumps, so that trainings which have only
begun can be ranked. The training prior is divided out first, as decisions do; otherwise a training
without weights would be ranked by its prior alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.decision import Decision, Probabilities

MIX = 0.01
"""Share of an even guess in what is scored, so that one confident mistake costs 5 nats or so and
not 30: a rare class of a few cells would hang on it."""


def log_losses(
    labels: NDArray[np.int64], probabilities: Probabilities, decision: Decision | None
) -> NDArray[np.float64]:
    """(n,) nats that each cell costs after its model's prior is divided out.

    Args:
        labels: (n,) true classes.
        probabilities: (n, K); rows add up to 1.
        decision: with the priors of the model; None leaves the probabilities as they are.
    """
    values = np.maximum(probabilities.astype(np.float64), 1e-12)
    if decision is not None:
        logs = np.log(values) + decision.bias()
        values = np.exp(logs - logs.max(axis=1, keepdims=True))
    values /= values.sum(axis=1, keepdims=True)
    classes = values.shape[1]
    mixed = (1.0 - MIX) * values[np.arange(len(labels)), labels] + MIX / classes
    losses: NDArray[np.float64] = -np.log(mixed)
    return losses


@dataclass(frozen=True)
class PairedLoss:
    """Difference of two mean losses on the same cells, first minus second, and its standard error.

    Both in nats.
    """

    difference: float
    error: float


def class_shares(
    labels: NDArray[np.int64], classes: NDArray[np.bool_], *, tau: float = 1.0
) -> NDArray[np.float64]:
    """(K,) weight of each class in a mean loss; they add up to 1.

    Args:
        labels: (n,) true classes.
        classes: (K,) bool, those that count; ones without a cell get no weight.
        tau: 1 gives every class the same, 0 the share of its cells.
    """
    counts = np.bincount(labels, minlength=len(classes)).astype(np.float64)
    shares = np.where(classes & (counts > 0), np.maximum(counts, 1.0) ** (1.0 - tau), 0.0)
    weights: NDArray[np.float64] = shares / max(float(shares.sum()), 1e-12)
    return weights


def mean_loss(
    labels: NDArray[np.int64], losses: NDArray[np.float64], shares: NDArray[np.float64]
) -> float:
    """Weighted mean over classes of the mean over their cells, nats.

    Args:
        labels: (n,) true classes.
        losses: (n,) of the cells.
        shares: (K,) of ``class_shares``.
    """
    present = np.flatnonzero(shares)
    return float(sum(shares[k] * losses[labels == k].mean() for k in present))


def paired(
    labels: NDArray[np.int64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> PairedLoss:
    """How far apart two models are on the same cells.

    Args:
        labels: (n,) true classes.
        first: (n,) losses of one model.
        second: (n,) of the other.
        shares: (K,) of ``class_shares``.
    """
    apart = first - second
    variance = 0.0
    for k in np.flatnonzero(shares):
        of_class = apart[labels == k]
        if len(of_class) > 1:
            variance += float(shares[k] ** 2 * of_class.var(ddof=1) / len(of_class))
    return PairedLoss(mean_loss(labels, apart, shares), variance**0.5)
