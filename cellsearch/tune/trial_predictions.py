"""Out-of-fold predictions of every trial of a run, cells in one order; read without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import RunError
from cellsearch.stats.groups import Codes, group_codes
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.job import finished_folds
from cellsearch.tune.rule import StudyRule

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.learn.fold_result import FoldResult
    from cellsearch.tune.study import TrialRow


ENSEMBLE = -1
"""In place of a trial's number."""


@dataclass(frozen=True, eq=False)
class TrialPredictions:
    """What J trials said of the same n cells.

    Attributes:
        numbers: (J,) of the trials.
        complete: (J,) bool, trials that finished all folds.
        labels: (n,) int64 true classes.
        predicted: (J, n) int64; -1 where a trial was stopped before the cell's fold.
        folds: (J,) int64, finished ones.
        classes: K names.
        estimable: (K,) bool, as ``score`` takes it.
        groups: (n,) int64 codes; None where cells are independent.
    """

    numbers: tuple[int, ...]
    complete: NDArray[np.bool_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    folds: NDArray[np.int64]
    classes: tuple[str, ...]
    estimable: NDArray[np.bool_]
    groups: Codes | None = None

    def with_ensemble(self, called: NDArray[np.int64], folds: int) -> TrialPredictions:
        """The same and a row ``ENSEMBLE``, (n,) classes in the order of the cells."""
        return replace(
            self,
            numbers=(*self.numbers, ENSEMBLE),
            complete=np.append(self.complete, True),
            predicted=np.vstack([self.predicted, called[None]]),
            folds=np.append(self.folds, folds),
        )


def out_of_fold(
    folds: Sequence[FoldResult], cells: CellDataset, splits: Splits, rule: StudyRule
) -> Predictions:
    """Folds of one trial as one, in the order given, decided by the rule of the study.

    Raises:
        RunError: no folds.
    """
    if not folds:
        raise RunError("no finished fold to pool")
    seen = np.concatenate([fold.cells for fold in folds])
    return Predictions(
        cells.classes,
        cells.labels[seen],
        np.concatenate([rule.decided(fold) for fold in folds]),
        np.concatenate([fold.probabilities for fold in folds]),
        estimable=_estimable(cells, splits),
        cells=seen,
        groups=None if cells.groups is None else group_codes(cells.groups[seen]),
    )


def _estimable(cells: CellDataset, splits: Splits) -> NDArray[np.bool_]:
    return np.array([name not in splits.not_estimable for name in cells.classes])


def trial_predictions(
    folder: Path, rows: Sequence[TrialRow], cells: CellDataset, splits: Splits
) -> TrialPredictions:
    """Read the finished folds of complete and stopped trials.

    A trial whose folds are lost is left out.
    """
    seen = np.concatenate(splits.folds)
    place = np.full(len(cells), -1, np.int64)
    place[seen] = np.arange(len(seen))
    rule = StudyRule.load(folder)
    kept, predicted = [], []
    for row in rows:
        if row.state not in ("COMPLETE", "PRUNED") or not row.folds:
            continue
        try:
            found = finished_folds(folder, row.number, range(min(row.folds, splits.k)))
        except RunError:
            continue
        line = np.full(len(seen), -1, np.int64)
        for fold in found:
            line[place[fold.cells]] = rule.decided(fold)
        kept.append(row)
        predicted.append(line)
    labels = cells.labels[seen].astype(np.int64)
    return TrialPredictions(
        numbers=tuple(row.number for row in kept),
        complete=np.array([row.state == "COMPLETE" for row in kept], dtype=bool),
        labels=labels,
        predicted=np.stack(predicted) if predicted else np.empty((0, len(seen)), np.int64),
        folds=np.array([row.folds for row in kept], np.int64),
        classes=cells.classes,
        estimable=_estimable(cells, splits)
        & (np.bincount(labels, minlength=len(cells.classes)) > 0),
        groups=None if cells.groups is None else group_codes(cells.groups[seen]),
    )
