"""What a card knows of its own mistakes; probabilities that are right for the data set's mix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cellsearch.stats.decision import FLOOR
from cellsearch.stats.groups import Codes, group_confusions

MOST_GROUPS = 100
"""Groups whose counts a card keeps; so many tell how groups differ."""

Floats = NDArray[np.float64]


class PriorFacts(BaseModel):
    """What a card knows of its own mistakes, from out-of-fold predictions.

    Attributes:
        confusion: (K, K) counts, rows true.
        slope: of the log-probabilities, in the fit for the mix of the data set.
        bias: K, of the same; the first class's is 0.
        covariance: (K + 1, K + 1) of slope and biases.
        by_group: (G, K, K) counts of each group (donor, plate), of ``MOST_GROUPS`` at most; empty
            where none were known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    confusion: tuple[tuple[int, ...], ...]
    slope: float = Field(gt=0.0)
    bias: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    by_group: tuple[tuple[tuple[int, ...], ...], ...] = ()


def fit_prior_facts(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    called: NDArray[np.int64],
    *,
    groups: Codes | None = None,
) -> PriorFacts:
    """Confusion matrix, and bias-corrected temperature scaling (Alexandari et al. 2020, eq. 4).

    Args:
        labels: (n,) true classes, out of fold, of the mix of the data set.
        probabilities: (n, K) as the card's graph gives them: after the temperature.
        called: (n,) classes that the cells are given.
        groups: (n,) int64 donor or plate of each cell; None where none are known.

    Returns:
        Facts. Slope and biases have weak priors (normal, SD 1 and 10), without which classes that
        are never mistaken would have infinite ones. The covariance is the sandwich of White
        (1982), so that it holds for a model which is only roughly right, of cells drawn within
        their class: how many each class has cancels when probabilities are divided by the mix.
    """
    from scipy.optimize import minimize

    n, k = probabilities.shape
    counts = np.bincount(labels, minlength=k)
    cross = np.zeros((k, k), np.int64)
    np.add.at(cross, (labels, called), 1)
    logits = log_probabilities(probabilities)
    truth = np.eye(k)[labels]
    known = counts > 0
    # Only classes that have cells, and all but the first of them, have a bias to be found.
    free = np.flatnonzero(known)[1:]
    ridge = np.append(1.0, np.full(len(free), 1e-2))
    start = np.append(1.0, np.zeros(len(free)))

    def right(theta: Floats) -> Floats:
        bias = np.zeros(k)
        bias[free] = theta[1:]
        return posterior(logits, theta[0], bias, known)

    def loss(theta: Floats) -> tuple[float, Floats]:
        q = right(theta)
        excess = q - truth
        nll = -np.log(np.maximum(q[np.arange(n), labels], 1e-300)).sum()
        slope = (excess * logits).sum()
        gradient = np.append(slope, excess[:, free].sum(axis=0))
        away = theta - start
        return float(nll + 0.5 * (ridge * away**2).sum()), gradient + ridge * away

    bounds = [(0.05, 20.0)] + [(-20.0, 20.0)] * len(free)
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    q = right(theta)
    excess = q - truth
    scores = np.column_stack([(excess * logits).sum(axis=1), excess[:, free]])
    # Columns of d logit / d theta, centred under q: the Hessian is their covariance.
    basis = np.zeros((n, k, 1 + len(free)))
    basis[:, :, 0] = logits
    basis[:, free, np.arange(1, 1 + len(free))] = 1.0
    centred = basis - np.einsum("nk,nkd->nd", q, basis)[:, None]
    hessian = np.einsum("nk,nkd,nke->de", q, centred, centred, optimize=True) + np.diag(ridge)
    inverse = np.linalg.pinv(hessian)
    sandwich = inverse @ _meat(scores, labels) @ inverse
    covariance = np.zeros((k + 1, k + 1))
    places = np.append(0, 1 + free)
    covariance[np.ix_(places, places)] = sandwich
    bias = np.zeros(k)
    bias[free] = theta[1:]
    return PriorFacts(
        confusion=tuple(tuple(row) for row in cross.tolist()),
        slope=float(theta[0]),
        bias=tuple(bias.tolist()),
        covariance=tuple(tuple(row) for row in covariance.round(9).tolist()),
        by_group=()
        if groups is None
        else tuple(
            tuple(tuple(row) for row in counts)
            for counts in group_confusions(labels, called, groups, k)[:MOST_GROUPS].tolist()
        ),
    )


def _meat(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    """(D, D) covariance of the sum of (n, D) scores, cells drawn within their class."""
    total = np.zeros((scores.shape[1], scores.shape[1]))
    for k in np.unique(labels):
        own = scores[labels == k]
        if len(own) > 1:
            own = (own - own.mean(axis=0)) * np.sqrt(len(own) / (len(own) - 1))
        total += own.T @ own
    return total


def log_probabilities(probabilities: NDArray[np.floating]) -> Floats:
    """(n, K) float64 logarithms, none below that of ``FLOOR``."""
    return np.log(np.maximum(probabilities.astype(np.float64), FLOOR))


def posterior(logits: Floats, slope: float, bias: Floats, known: NDArray[np.bool_]) -> Floats:
    """(n, K) softmax(slope x logits + bias); 0 for a class that is not known."""
    moved = np.where(known, slope * logits + bias, -np.inf)
    powers = np.exp(moved - moved.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
