"""Out-of-fold predictions of trials, pooled: confusion, score, and the race against the leader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.learn.fold_result import FoldResult
from cellsearch.stats.decision import usual_tau
from cellsearch.stats.log_loss import class_shares, log_losses, mean_loss, paired
from cellsearch.stats.metrics import confusion, metric_named, score
from cellsearch.tune.climb import Sizes
from cellsearch.tune.job import finished_folds
from cellsearch.tune.race import look
from cellsearch.tune.rule import StudyRule
from cellsearch.tune.rungs import RUNGS, training_cells
from cellsearch.tune.trial_predictions import out_of_fold

NO_PREDICTION = -1


class Pool:
    """Figures of trials on the same cells and folds.

    Attributes:
        folds: k, of every complete trial.
        rule: how trials decide.

    Keeps the predictions of the leader alone; those of others are read from disk when one leads.
    """

    def __init__(
        self,
        dataset: CellDataset,
        splits: Splits,
        *,
        metric: str,
        run_folder: Path,
        rule: StudyRule | None = None,
    ) -> None:
        self.rule = rule or StudyRule()
        self._dataset, self._splits, self.folds = dataset, splits, splits.k
        self._metric, self._run_folder = metric, run_folder
        self._estimable = np.array([c not in splits.not_estimable for c in dataset.classes])
        self._leader: tuple[int, NDArray[np.int64]] | None = None

    def sizes(self, *, seed: int) -> Sizes:
        """Folds, and cells that a fold trains on, in full and on the first rung."""
        short = training_cells(self._splits, self._dataset.labels, RUNGS[0], seed=seed)
        return Sizes(self.folds, len(self._splits.training(0)), len(short[0]))

    def settle(self, folds: Sequence[FoldResult], *, trial: int) -> None:
        """Choose the rule on the first trial that has all folds, where the metric leaves it open.

        Trials before it are scored by the usual rule meanwhile; none can have ended.
        """
        if self.rule.settled or len(folds) < self.folds:
            return
        self.rule = self.rule.chosen(
            metric_named(self._metric),
            folds,
            self._dataset.labels,
            classes=self._estimable,
            trial=trial,
        )
        self.rule.save(self._run_folder)

    def confusion(self, folds: Sequence[FoldResult]) -> NDArray[np.int64]:
        """(K, K) int64 counts of these folds, rows true."""
        found = out_of_fold(folds, self._dataset, self._splits, self.rule)
        return confusion(found.labels, found.predicted, len(found.classes))

    def score(self, matrix: NDArray[np.int64]) -> float:
        """The study's metric over the classes that can be estimated."""
        return float(score(self._metric, matrix, classes=self._estimable))

    def loss(self, folds: Sequence[FoldResult]) -> float:
        """Mean log loss of these folds, nats: the smooth score by which short trainings rank."""
        labels, losses = self._losses(folds)
        return mean_loss(labels, losses, self._shares(labels))

    def close(self, first: int, second: int, *, rung: int) -> bool:
        """Whether a trial is within a standard error of another one, paired on a rung's cells.

        Raises:
            RunError: folds of one of them are not on disk.
        """
        wanted = RUNGS[rung - 1].folds_of(self.folds)
        labels, ours = self._losses(finished_folds(self._run_folder, first, wanted, rung))
        _, theirs = self._losses(finished_folds(self._run_folder, second, wanted, rung))
        found = paired(labels, ours, theirs, self._shares(labels))
        return found.difference <= found.error

    def _losses(self, folds: Sequence[FoldResult]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Labels and losses of the validation cells, in the order of the folds."""
        ordered = sorted(folds, key=lambda each: each.fold)
        labels = [self._dataset.labels[each.cells] for each in ordered]
        losses = [
            log_losses(
                of_fold,
                each.probabilities,
                None if each.priors is None else self.rule.decision([each.priors]),
            )
            for of_fold, each in zip(labels, ordered, strict=True)
        ]
        return np.concatenate(labels).astype(np.int64), np.concatenate(losses)

    def _shares(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        return class_shares(labels, self._estimable, tau=usual_tau(metric_named(self._metric)))

    def lost(self, folds: Sequence[FoldResult], *, trial: int, leader: int) -> str:
        """Why a trial with these folds is out of the race against the leader, or "".

        Raises:
            RunError: the leader's folds are not on disk.
        """
        found = out_of_fold(folds, self._dataset, self._splits, self.rule)
        verdict = look(
            found.labels,
            self._predicted(leader)[found.cells],
            found.predicted,
            len(found.classes),
            metric=self._metric,
            folds=len(folds),
            looks=self.folds - 1,
            classes=self._estimable,
            groups=found.groups,
            seed=trial,
        )
        if not verdict.stop:
            return ""
        return verdict.reason(folds=len(folds), k=self.folds, metric=self._metric, against=leader)

    def _predicted(self, number: int) -> NDArray[np.int64]:
        """(N,) out-of-fold predictions of a complete trial, ``NO_PREDICTION`` elsewhere."""
        if self._leader is None or self._leader[0] != number:
            folds = finished_folds(self._run_folder, number, range(self.folds))
            found = out_of_fold(folds, self._dataset, self._splits, self.rule)
            table = np.full(len(self._dataset), NO_PREDICTION, dtype=np.int64)
            table[found.cells] = found.predicted
            self._leader = (number, table)
        return self._leader[1]
