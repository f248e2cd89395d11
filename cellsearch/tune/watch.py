"""What a driver needs of its space and of who watches, as protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from cellsearch.space.parameters import ParamValue
from cellsearch.space.recipe import Recipe
from cellsearch.tune.job import Task
from cellsearch.tune.limits import LimitsLike


class Space(Protocol):
    """``SearchSpace``, or anything that draws recipes."""

    @property
    def name(self) -> str:
        """For messages and the store."""

    @property
    def sha256(self) -> str:
        """A study is not gone on with under another one."""

    @property
    def whole(self) -> tuple[Recipe, ...]:
        """Every recipe of a small space, each tried once; empty for a large one."""

    @property
    def starts(self) -> tuple[Recipe, ...]:
        """Recipes to try right after the baseline."""

    @property
    def limits(self) -> LimitsLike:
        """What a trial may cost."""

    def suggest(self, trial: Any) -> Recipe:
        """Draw a recipe from an Optuna trial."""

    def record(self, trial: Any, recipe: Recipe) -> None:
        """Write a fixed recipe into a trial enqueued with ``fixed_params``."""

    def fixed_params(self, recipe: Recipe) -> Mapping[str, ParamValue]:
        """What to enqueue for a fixed recipe."""


class SearchObserver(Protocol):
    """Who watches; called in the driver's thread, and must return at once."""

    def trial_started(self, task: Task) -> None:
        """A worker has begun; draws over budget never do."""

    def fold_done(self, task: Task, fold: int, score: float) -> None:
        """A fold is on disk; ``score`` is pooled over the trial's folds so far."""

    def trial_done(self, task: Task, state: str, score: float | None, reason: str) -> None:
        """A trial is COMPLETE, PRUNED or FAIL; or RUNNING, put off by the time limit."""

    def message(self, text: str) -> None:
        """One line."""
