"""Prediction sets: all classes that a cell may be of, with each class missed at most so often.

Class-conditional (Mondrian) conformal prediction: Vovk 2012, "Conditional validity of inductive
conformal predictors", section 4; with the score 1 - p(true class) the sets of least mean size, of
Sadinle, Lei & Wasserman 2019, theorem 1. The guarantee is that of scores which are exchangeable
with those of the cells to come. Out-of-fold scores come of the networks of the folds and not of
the card's own, as in cross-conformal prediction, whose proven coverage is the weaker 1 - 2 alpha
(Vovk et al. 2018; Barber et al. 2021, theorem 4); the hold-out shows what is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cellsearch.card.abstain import lowered
from cellsearch.stats.evaluation import Estimate, as_plain
from cellsearch.stats.groups import group_codes
from cellsearch.stats.proportions import share

Probabilities = NDArray[np.floating]


class PredictionSets(BaseModel):
    """Thresholds of a card.

    Attributes:
        level: share of each class's cells whose set holds their class.
        thresholds: K; a class is in the set of a cell whose probability of it is at least so much.
            0 where there were too few cells: the class is then in every set.
        cells: K, out-of-fold cells that each threshold rests on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(gt=0.0, lt=1.0)
    thresholds: tuple[float, ...]
    cells: tuple[int, ...]


@dataclass(frozen=True)
class SetFigures:
    """Prediction sets on cells whose classes are known.

    Attributes:
        coverage: share of cells whose set holds their class, exact interval.
        per_class: the same of each class; None without cells.
        mean_size: classes in a set.
        empty: share of sets that hold none.
        single: share of sets that hold one.
    """

    coverage: Estimate
    per_class: tuple[Estimate | None, ...]
    mean_size: float
    empty: float
    single: float


def too_few(sets: PredictionSets) -> tuple[bool, ...]:
    """K: whether a class has too few cells for any threshold, and so is in every set."""
    return tuple(_rank(sets.level, n) < 1 for n in sets.cells)


def fit_sets(
    level: float, labels: NDArray[np.int64], probabilities: Probabilities
) -> PredictionSets:
    """Thresholds of each class: the floor(alpha (n + 1))-th least probability of its own n cells.

    Args:
        level: 1 - alpha.
        labels: (n,) true classes, out of fold.
        probabilities: (n, K), calibrated, out of fold.
    """
    thresholds, cells = [], []
    for k in range(probabilities.shape[1]):
        own = np.sort(probabilities[labels == k, k].astype(np.float64))
        rank = _rank(level, len(own))
        thresholds.append(lowered(own[rank - 1]) if rank >= 1 else 0.0)
        cells.append(len(own))
    return PredictionSets(level=level, thresholds=tuple(thresholds), cells=tuple(cells))


def _rank(level: float, cells: int) -> int:
    # 0.1 x 10 must not become 0.9999 and then 0.
    return int(np.floor((1.0 - level) * (cells + 1) + 1e-9))


def members(probabilities: Probabilities, sets: PredictionSets) -> NDArray[np.bool_]:
    """(n, K) bool: which classes the set of each cell holds; none at all is possible."""
    return np.asarray(probabilities >= np.array(sets.thresholds))


def set_figures(
    labels: NDArray[np.int64],
    probabilities: Probabilities,
    sets: PredictionSets,
    *,
    groups: NDArray[Any] | None = None,
) -> SetFigures:
    """Coverage and sizes on (n,) labelled cells, at least one; ``groups`` as in ``selection``."""
    codes = group_codes(groups)
    held = members(probabilities, sets)
    found = held[np.arange(len(labels)), labels]
    size = held.sum(axis=1)
    own = [labels == k for k in range(probabilities.shape[1])]
    coverage = share(found, codes)
    if coverage is None:
        raise ValueError("figures of sets need at least one cell")
    return SetFigures(
        coverage=coverage,
        per_class=tuple(share(found[part], None if codes is None else codes[part]) for part in own),
        mean_size=float(size.mean()),
        empty=float((size == 0).mean()),
        single=float((size == 1).mean()),
    )


def sets_as_json(
    found: SetFigures, sets: PredictionSets, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Plain values for ``metrics.json``."""
    return {
        "level": sets.level,
        "coverage": as_plain(found.coverage),
        "mean_size": round(found.mean_size, 6),
        "empty": round(found.empty, 6),
        "single": round(found.single, 6),
        "per_class": {
            name: {
                "threshold": sets.thresholds[k],
                "out_of_fold_cells": sets.cells[k],
                "in_every_set": too_few(sets)[k],
                "coverage": as_plain(found.per_class[k]),
            }
            for k, name in enumerate(classes)
        },
    }
