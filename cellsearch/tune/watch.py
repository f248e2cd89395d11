"""Who watches a search, as a protocol."""

from __future__ import annotations

from typing import Protocol

from cellsearch.tune.job import Task


class SearchObserver(Protocol):
    """Who watches; called in the driver's thread, and must return at once."""

    def trial_started(self, task: Task) -> None:
        """A worker has begun; draws over budget never do."""

    def fold_done(self, task: Task, fold: int, score: float) -> None:
        """A fold is on disk; ``score`` is pooled over the folds of its training so far."""

    def rung_done(self, task: Task, loss: float) -> None:
        """A short training is over, with its class-mean log loss in nats; the trial waits."""

    def trial_done(self, task: Task, state: str, score: float | None, reason: str) -> None:
        """A trial is COMPLETE, PRUNED or FAIL; or RUNNING, put off by the time limit."""

    def message(self, text: str) -> None:
        """One line."""
