"""Who watches a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.tune.driver import Task
    from cellsearch.tune.job import SearchJob


class RunObserver(Protocol):
    """Who watches a run; told from the driver's process alone."""

    def message(self, text: str) -> None:
        """One line of what goes on."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage of more than a moment has come."""

    def begins(self, folder: Path, cells: CellDataset, splits: Splits, job: SearchJob) -> None:
        """Cells and splits are ready; the search is about to start."""

    def trial_started(self, task: Task) -> None:
        """A recipe goes to a worker."""

    def fold_done(self, task: Task, fold: int, score: float) -> None:
        """A fold is finished; ``score`` is of all its finished folds, pooled."""

    def rung_done(self, task: Task, loss: float) -> None:
        """A short training is over; ``loss`` is its mean log loss in nats. The trial waits."""

    def trial_done(self, task: Task, state: str, score: float | None, reason: str) -> None:
        """A trial is COMPLETE, PRUNED or FAIL."""

    def ends(self) -> None:
        """The search is over, however it ended."""


class Silent(RunObserver):
    """An observer that says nothing; one of your own inherits from it and says what it wants."""

    def message(self, text: str) -> None:
        pass

    def progress(self, stage: str, done: int, total: int) -> None:
        pass

    def begins(self, folder: Path, cells: CellDataset, splits: Splits, job: SearchJob) -> None:
        pass

    def trial_started(self, task: Task) -> None:
        pass

    def fold_done(self, task: Task, fold: int, score: float) -> None:
        pass

    def rung_done(self, task: Task, loss: float) -> None:
        pass

    def trial_done(self, task: Task, state: str, score: float | None, reason: str) -> None:
        pass

    def ends(self) -> None:
        pass
