"""Prediction sets: all classes that a cell may be of, with each class missed at most so often.

Class-conditional (Mondrian) conformal prediction: Vovk 2012, "Conditional validity of inductive
conformal predictors", section 4; with the score 1 - p(true class) the sets of least mean size, of
Sadinle, Lei & Wasserman 2019, theorem 1. The guarantee is that of scores which are exchangeable
with those of the cells to come. Out-of-fold scores come of the networks of the folds and not of
the card's own, as in cross-conformal prediction, whose proven coverage is the weaker 1 - 2 alpha
(Vovk et al. 2018; Barber et al. 2021, theorem 4); the hold-out shows what is reached.

That coverage is a mean over cards. Of a few cells one card's may be far below it, so a threshold
must also surely (``ERROR``) miss its class no more than twice as often as asked, by an exact bound
(Vovk 2012, section 3). Where cells come in groups (donors, plates), both counts are those of as
many independent cells as would tell as much, and three groups at least must have the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cellsearch.card.abstain import lowered
from cellsearch.stats.evaluation import Estimate, as_plain
from cellsearch.stats.groups import Codes, group_codes
from cellsearch.stats.proportions import share, surely_at_least

ERROR = 0.05
Probabilities = NDArray[np.floating]


class PredictionSets(BaseModel):
    """Thresholds of a card.

    Attributes:
        level: share of each class's cells whose set holds their class.
        thresholds: K; a class is in the set of a cell whose probability of it is at least so much.
            0 where there were too few cells or groups: the class is then in every set.
        cells: K, out-of-fold cells that each threshold rests on.
        error: how often a class may be missed more than twice as often as asked; None in older
            cards, whose thresholds hold on average alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(gt=0.0, lt=1.0)
    thresholds: tuple[float, ...]
    cells: tuple[int, ...]
    error: float | None = None


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
    """K: whether a class has too few cells or groups for any threshold, so is in every set."""
    return tuple(threshold == 0.0 for threshold in sets.thresholds)


def fit_sets(
    level: float,
    labels: NDArray[np.int64],
    probabilities: Probabilities,
    *,
    groups: Codes | None = None,
) -> PredictionSets:
    """Thresholds of each class: the highest that misses few enough of its own cells.

    m of n cells may be missed where (m + 1) / (n + 1) is at most alpha, and where surely no more
    than 2 alpha are.

    Args:
        level: 1 - alpha.
        labels: (n,) true classes, out of fold.
        probabilities: (n, K), calibrated, out of fold.
        groups: (n,) int64; None where cells are independent.
    """
    thresholds, cells = [], []
    for k in range(probabilities.shape[1]):
        of_class = labels == k
        values = probabilities[of_class, k].astype(np.float64)
        order = np.argsort(values, kind="stable")
        own = None if groups is None else groups[of_class][order]
        missed = _may_be_missed(level, len(values), own)
        thresholds.append(0.0 if missed is None else lowered(values[order][missed]))
        cells.append(len(values))
    return PredictionSets(
        level=level, thresholds=tuple(thresholds), cells=tuple(cells), error=ERROR
    )


def _may_be_missed(level: float, cells: int, groups: Codes | None) -> int | None:
    """How many of a class's cells, the least probable ones, may be missed; None if not even none.

    Args:
        level: 1 - alpha.
        cells: n.
        groups: (n,) int64, the least probable cell's first; None where cells are independent.
    """
    alpha, most = 1.0 - level, None
    # 0.1 x 10 must not become 0.9999 and then 0.
    for missed in range(int(np.floor(alpha * (cells + 1) + 1e-9))):
        held = np.arange(cells) >= missed
        surely, known = surely_at_least(held, groups, error=ERROR)
        enough = missed / cells * known + 1.0 <= alpha * (known + 1.0) + 1e-9
        if not enough or surely < 1.0 - 2.0 * alpha:
            break
        most = missed
    return most


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
