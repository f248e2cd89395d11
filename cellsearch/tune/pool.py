"""Out-of-fold predictions of trials, pooled: confusion, score, and the race against the leader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.learn.fold_result import FoldResult
from cellsearch.stats.metrics import confusion, score
from cellsearch.tune.job import finished_folds
from cellsearch.tune.race import look
from cellsearch.tune.trial_predictions import out_of_fold

NO_PREDICTION = -1


class Pool:
    """Figures of trials on the same cells and folds.

    Attributes:
        folds: k, of every complete trial.

    Keeps the predictions of the leader alone; those of others are read from disk when one leads.
    """

    def __init__(
        self, dataset: CellDataset, splits: Splits, *, metric: str, run_folder: Path
    ) -> None:
        self._dataset, self._splits, self.folds = dataset, splits, splits.k
        self._metric, self._run_folder = metric, run_folder
        self._estimable = np.array([c not in splits.not_estimable for c in dataset.classes])
        self._leader: tuple[int, NDArray[np.int64]] | None = None

    def confusion(self, folds: Sequence[FoldResult]) -> NDArray[np.int64]:
        """(K, K) int64 counts of these folds, rows true."""
        found = out_of_fold(folds, self._dataset, self._splits)
        return confusion(found.labels, found.predicted, len(found.classes))

    def score(self, matrix: NDArray[np.int64]) -> float:
        """The study's metric over the classes that can be estimated."""
        return float(score(self._metric, matrix, classes=self._estimable))

    def lost(self, folds: Sequence[FoldResult], *, trial: int, leader: int) -> str:
        """Why a trial with these folds is out of the race against the leader, or "".

        Raises:
            RunError: the leader's folds are not on disk.
        """
        found = out_of_fold(folds, self._dataset, self._splits)
        verdict = look(
            found.labels,
            self._predicted(leader)[found.cells],
            found.predicted,
            len(found.classes),
            metric=self._metric,
            folds=len(folds),
            looks=self.folds - 1,
            classes=self._estimable,
            seed=trial,
        )
        if not verdict.stop:
            return ""
        return verdict.reason(folds=len(folds), k=self.folds, metric=self._metric, against=leader)

    def _predicted(self, number: int) -> NDArray[np.int64]:
        """(N,) out-of-fold predictions of a complete trial, ``NO_PREDICTION`` elsewhere."""
        if self._leader is None or self._leader[0] != number:
            folds = finished_folds(self._run_folder, number, range(self.folds))
            found = out_of_fold(folds, self._dataset, self._splits)
            table = np.full(len(self._dataset), NO_PREDICTION, dtype=np.int64)
            table[found.cells] = found.predicted
            self._leader = (number, table)
        return self._leader[1]
