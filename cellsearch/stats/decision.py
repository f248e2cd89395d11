"""Which class a cell is given: probabilities, the prior that training taught them, and a metric.

A network learns the mix of classes it is trained on, so that the greatest probability rarely falls
on a rare class, however well the network tells it apart. Dividing by the training prior undoes
that (Menon et al. 2021, "Long-tail learning via logit adjustment", section 4). With p the
probabilities, e the effective prior of the training and n the natural one,

    class = argmax(log p - log e + (1 - tau) log n).

tau = 1 gives every class the same weight, as balanced accuracy does; tau = 0 gives each the weight
of its cells, as accuracy does, whatever weights or resampling the training had. Where the training
had none, e = n and the rule is argmax(log p - tau log n). Probabilities are left as they are.

A class that no figure is stated of, such as one with a single cell, keeps its natural weight: at
the weight of the others it would draw cells away from them, and no figure would gain by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.metrics import Metric, confusion, score

FLOOR = 1e-12
"""Probabilities below are taken for this, so that the logarithm of one of 0 is finite."""

NEVER = -1e4
"""In place of the logarithm of a prior of 0: a class without training cells is not given."""

LEAST_PRIOR = 1e-6
"""Of a class that has training cells; an estimate below it is noise."""

CLEAR_MARGIN = 1e-3
"""Nats by which a class must lead for two programs to have to decide alike."""

TAUS = (0.0, 0.5, 1.0)
"""Among which a study chooses where its metric does not say."""

Decide = Literal["balanced", "natural"]
DECIDED_TAU: dict[Decide, float] = {"balanced": 1.0, "natural": 0.0}

_FIXED: dict[Metric, float] = {"balanced_accuracy": 1.0, "accuracy": 0.0, "weighted_f1": 0.0}
_USUAL: dict[Metric, float] = {"macro_f1": 0.5, "mcc": 0.5, "worst_recall": 1.0}

Floats = NDArray[np.float64]
Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Priors:
    """Shares of the classes among training cells; each adds up to 1.

    Attributes:
        effective: K, as the loss counts them: cells in an epoch after balancing, times the weight
            of the class. 0 for a class without training cells.
        natural: K, as the training cells come.
    """

    effective: tuple[float, ...]
    natural: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("effective", self.effective), ("natural", self.natural)):
            shares = np.array(values, np.float64)
            if not (shares >= 0.0).all() or not abs(float(shares.sum()) - 1.0) < 1e-3:
                raise ValueError(f"{name}: expected shares that add up to 1, got {values}")
        if len(self.effective) != len(self.natural):
            raise ValueError("effective and natural: one entry a class")

    @classmethod
    def of(
        cls,
        cells: NDArray[np.integer[Any]],
        epoch: NDArray[np.integer[Any]],
        weights: NDArray[np.floating[Any]],
    ) -> Self:
        """From counts of training cells alone.

        Args:
            cells: (K,) training cells.
            epoch: (K,) cells in an epoch, after balancing.
            weights: (K,) of each class in the loss.
        """
        return cls(_shares(epoch.astype(np.float64) * weights), _shares(cells.astype(np.float64)))

    @classmethod
    def mean(cls, several: Sequence[Priors]) -> Self:
        """Of networks whose probabilities are averaged."""
        return cls(
            _shares(np.mean([each.effective for each in several], axis=0)),
            _shares(np.mean([each.natural for each in several], axis=0)),
        )

    def estimated(self, labels: NDArray[np.int64], probabilities: Probabilities) -> Priors:
        """The effective prior as a trained network shows it, where the loss bends it.

        Focal loss and label smoothing have no minimum at the true posterior, so the mean
        prediction differs from the prior by counts. It is taken over the training cells, each
        class with its share in the loss (Prior2Posterior, arXiv 2412.16540, there for a training
        without weights; with cross-entropy it gives the prior by counts back).

        Args:
            labels: (n,) of training cells.
            probabilities: (n, K) of the same cells.
        """
        effective = np.array(self.effective)
        seen = np.zeros(len(effective))
        for k in np.unique(labels):
            seen += effective[k] * probabilities[labels == k].mean(axis=0, dtype=np.float64)
        seen = np.where(effective > 0.0, np.maximum(seen, LEAST_PRIOR), 0.0)
        return Priors(_shares(seen), self.natural)


@dataclass(frozen=True)
class Decision:
    """How a model's probabilities become classes.

    Attributes:
        tau: 1 for balanced classes, 0 for the natural mix.
        priors: of its training.
        natural_always: positions of classes that keep their natural weight, whatever tau is.
    """

    tau: float
    priors: Priors
    natural_always: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau <= 1.0:
            raise ValueError(f"tau: expected 0 to 1, got {self.tau}")
        if not all(0 <= k < len(self.priors.natural) for k in self.natural_always):
            raise ValueError(
                f"natural_always: expected positions of classes, got {self.natural_always}"
            )

    def changed(self, decide: Decide | None) -> Decision:
        """The same model's, for balanced classes or for the natural mix; None leaves it."""
        return self if decide is None else replace(self, tau=DECIDED_TAU[decide])

    def bias(self, temperature: float = 1.0) -> Floats:
        """(K,) what is added to the logarithms of the probabilities.

        Args:
            temperature: that the probabilities were brought to, softmax(log p / T). It changes no
                decision.
        """
        effective = np.array(self.priors.effective, np.float64)
        natural = np.array(self.priors.natural, np.float64)
        known = (effective > 0.0) & (natural > 0.0)
        some = np.where(known, effective, 1.0)
        logs = np.log(np.where(known, natural, 1.0))
        judged = known.copy()
        judged[list(self.natural_always)] = False
        # The other classes' mean, so that theirs and the natural weight are of one scale.
        even = np.log(max(float(natural[judged].sum()), LEAST_PRIOR) / max(int(judged.sum()), 1))
        aim = np.where(judged, (1.0 - self.tau) * logs + self.tau * even, logs)
        return np.where(known, (aim - np.log(some)) / temperature, NEVER)


def decided(
    probabilities: Probabilities, decision: Decision | None, *, temperature: float = 1.0
) -> NDArray[np.int64]:
    """(n,) the class that each row of (n, K) probabilities is given; the first of equals.

    Args:
        probabilities: finite; a 0 is taken for ``FLOOR``.
        decision: None gives the greatest probability.
        temperature: of the probabilities.
    """
    if decision is None:
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
    logs = np.log(np.maximum(probabilities.astype(np.float64), FLOOR))
    return np.asarray((logs + decision.bias(temperature)).argmax(axis=1), dtype=np.int64)


def aimed_at(probabilities: Probabilities, decision: Decision) -> Floats:
    """(n, K) probabilities under the mix of classes that a decision aims at.

    Their greatest is the class that is decided. Those of models with different training priors
    can be averaged, which their own cannot.

    Args:
        probabilities: (n, K) of the model; rows add up to 1.
        decision: of the same model.
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), FLOOR)) + decision.bias()
    values = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def natural_again(aimed: Floats, decision: Decision) -> Floats:
    """The inverse of ``aimed_at``, for a decision of a model whose prior is the natural one.

    Args:
        aimed: (n, K) of ``aimed_at``, or means of such.
        decision: whose ``priors.effective`` are its ``priors.natural``.
    """
    logs = np.log(np.maximum(aimed, FLOOR)) - decision.bias()
    logs[:, np.array(decision.priors.natural) <= 0.0] = NEVER
    values = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def margin(
    probabilities: Probabilities, decision: Decision | None, *, temperature: float = 1.0
) -> Floats:
    """(n,) by how much the class of ``decided`` leads, nats.

    Below ``CLEAR_MARGIN`` the last digit of a probability may decide.
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), FLOOR))
    if decision is not None:
        logs = logs + decision.bias(temperature)
    best = np.sort(logs, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def fixed_tau(metric: Metric) -> float | None:
    """The tau that a metric asks for; None where a study chooses it on its folds."""
    return _FIXED.get(metric)


def usual_tau(metric: Metric) -> float:
    """The tau to begin with, and between equals."""
    return _FIXED[metric] if metric in _FIXED else _USUAL[metric]


@dataclass(frozen=True, eq=False)
class FoldOutput:
    """What a model gave for the validation cells of one fold.

    Attributes:
        labels: (n,) int64.
        probabilities: (n, K).
        priors: of the fold's training cells.
    """

    labels: NDArray[np.int64]
    probabilities: Probabilities
    priors: Priors


def chosen_tau(
    metric: Metric, folds: Sequence[FoldOutput], *, classes: NDArray[np.bool_] | None = None
) -> float:
    """The tau of ``TAUS`` with the best score, pooled over the folds.

    Args:
        metric: one of ``METRICS``; one that asks for a tau gets it.
        folds: none of them gives the usual one.
        classes: (K,) bool, those that can be estimated.
    """
    usual = usual_tau(metric)
    if fixed_tau(metric) is not None or not folds:
        return usual

    always = () if classes is None else tuple(np.flatnonzero(~classes).tolist())

    def reached(tau: float) -> float:
        counts = [
            confusion(each.labels, called, each.probabilities.shape[1])
            for each in folds
            for called in (decided(each.probabilities, Decision(tau, each.priors, always)),)
        ]
        return float(score(metric, np.sum(counts, axis=0), classes=classes))

    # Of equals the first one wins.
    return max((usual, *(tau for tau in TAUS if tau != usual)), key=reached)


def cross_fitted_taus(
    metric: Metric, folds: Sequence[FoldOutput], *, classes: NDArray[np.bool_] | None = None
) -> tuple[float, ...]:
    """A tau for each fold, chosen on the other folds alone."""
    return tuple(
        chosen_tau(metric, [*folds[:at], *folds[at + 1 :]], classes=classes)
        for at in range(len(folds))
    )


def _shares(values: Floats) -> tuple[float, ...]:
    total = float(values.sum())
    if not total > 0.0:
        raise ValueError("priors need at least one cell")
    return tuple(float(value) for value in values / total)
