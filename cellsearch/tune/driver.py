"""The driver: the study's side of a search, the same for every backend.

A backend asks it for tasks and hands it what workers report; whatever finished is in the study and
on disk before the backend hears the decision. It runs in one thread of one process.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Container
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.recipe import BASELINE, Recipe
from cellsearch.tune.draw import Refuse, draw, unfit
from cellsearch.tune.job import Report, SearchJob, Task, fold_path
from cellsearch.tune.limits import REDRAWS, Bounds
from cellsearch.tune.pool import Pool
from cellsearch.tune.record import Record
from cellsearch.tune.study import has_recipe, keep_recipe, recipe_params
from cellsearch.tune.watch import SearchObserver, Space

__all__ = ["Decision", "Driver", "SearchObserver", "Task"]

UNBOUNDED = 40
"""Stands for the budget where there is none, when failures are counted."""


@dataclass(frozen=True)
class Decision:
    """Whether a trial shall stop; the study already knows why."""

    stop: bool
    reason: str = ""


@dataclass
class _Live:
    """A trial between its draw and its end."""

    trial: optuna.Trial
    task: Task
    adopted: bool
    started: bool = False
    folds: dict[int, FoldResult] = field(default_factory=dict)

    @property
    def results(self) -> list[FoldResult]:
        return list(self.folds.values())


class Driver:
    """Asks, records, races and tells.

    Attributes:
        timed_out: the wall clock ran out before the budget.
        stopped: a plain message where too many trials failed; "" otherwise.
    """

    def __init__(
        self,
        job: SearchJob,
        space: Space,
        record: Record,
        pool: Pool,
        observer: SearchObserver,
        *,
        refuse: Refuse | None = None,
        left_out: Container[Recipe] = (),
    ) -> None:
        self.timed_out = False
        self.stopped = ""
        self._job, self._space, self._study = job, space, record.study
        self._record, self._pool, self._observer = record, pool, observer
        self._refuse = refuse
        self._deadline = None if job.seconds is None else time.time() + job.seconds
        self._live: dict[int, _Live] = {}
        self._failures = 0
        self._redraws = 0
        whole = list(space.whole)
        # In the order of the file a small budget would never reach the last choices.
        random.Random(job.seed).shuffle(whole)
        named = (BASELINE, *space.starts)
        self._given = tuple(dict.fromkeys((*named, *whole)))
        trials = self._study.get_trials(deepcopy=False)
        self._orphans = [t for t in trials if t.state == TrialState.RUNNING]
        self._counted = sum(
            t.state in (TrialState.COMPLETE, TrialState.PRUNED)
            and not t.user_attrs.get("beyond_limits")
            for t in trials
        )
        self._whole = bool(whole)
        if not trials:
            for number, recipe in enumerate(self._given):
                if recipe in left_out:
                    continue
                self._study.enqueue_trial(
                    dict(space.fixed_params(recipe)),
                    user_attrs={
                        "baseline": number == 0,
                        "given": number,
                        "spared": recipe in named,
                    },
                )

    @property
    def finished(self) -> bool:
        """No task is out, and none will come."""
        return not self._live and self._closed()

    def ask(self) -> Task | None:
        """The next task; None when there is none at the moment, or ever (see ``finished``)."""
        if self._closed() or len(self._live) >= self._job.slots:
            return None
        if self._job.budget is not None and self._counted + len(self._live) >= self._job.budget:
            # One of the live ones may still fail, which frees its place.
            return None
        if self._orphans:
            return self._adopt(self._orphans.pop(0))
        trial = draw(self._study, self._space, seed=self._job.seed, refuse=self._refuse)
        return self._enter(trial, adopted=False)

    def receive(self, task: Task, report: Report) -> Decision:
        """Take in what a worker reports.

        Raises:
            RunError: no trial can go on, or no draw lies within the limits.
        """
        live = self._live.get(task.number)
        if live is None:
            return Decision(stop=True, reason="the trial has ended")
        if report.event == "started":
            return self._on_started(live)
        if report.event == "fold":
            path = fold_path(self._job.run_folder, task.number, report.fold)
            return self.on_fold(task, FoldResult.load(path))
        if report.event == "broken":
            # The trial stays RUNNING in the study, so that a later start goes on with it.
            raise RunError(f"trial {task.number} cannot continue: {report.text}")
        if report.event == "beyond_limits":
            self._on_beyond_limits(live, report.text)
        elif report.event == "failed":
            self.on_failed(task, report.text)
        elif report.event == "suspended" and len(live.folds) < self._pool.folds:
            self._suspend(live)
        else:
            self.on_done(task)
        return Decision(stop=True)

    def on_fold(self, task: Task, result: FoldResult) -> Decision:
        """Record a finished fold, and say whether the trial goes on.

        A fold that is reported again (its worker died and was started anew) changes nothing.
        """
        live = self._live[task.number]
        if result.fold in live.folds:
            return Decision(stop=False)
        live.folds[result.fold] = result
        self._pool.settle(live.results, trial=task.number)
        matrix = self._pool.confusion(live.results)
        score = self._pool.score(matrix)
        alone = self._pool.confusion([result])
        self._record.fold(live.trial, result, alone, score, adopted=live.adopted)
        self._observer.fold_done(task, result.fold, score)
        if len(live.folds) == self._pool.folds:
            return Decision(stop=False)
        reason = self._lost(live)
        if reason:
            self._end(live, TrialState.PRUNED, score, reason)
            return Decision(stop=True, reason=reason)
        if self._late():
            self._suspend(live)
            return Decision(stop=True, reason="the time is up")
        return Decision(stop=False)

    def on_done(self, task: Task) -> None:
        """End a trial that has gone through its folds."""
        live = self._live[task.number]
        missing = self._pool.folds - len(live.folds)
        if missing:
            self.on_failed(task, f"its worker ended with {missing} folds missing")
            return
        score = self._pool.score(self._pool.confusion(live.results))
        if not math.isfinite(score):
            self.on_failed(task, f"its {self._job.metric} is not a number")
            return
        self._end(live, TrialState.COMPLETE, score, "")

    def on_failed(self, task: Task, reason: str) -> None:
        """End a trial that failed; the search goes on, unless too many do."""
        self._end(self._live[task.number], TrialState.FAIL, None, reason)
        self._failures += 1
        allowed = (self._job.budget or UNBOUNDED) // 2 + 5
        if self._failures >= allowed and not self.stopped:
            self.stopped = (
                f"{self._failures} trials failed, so the search stops; the last error: {reason}"
            )
            self._observer.message(self.stopped)

    def _closed(self) -> bool:
        """No further task will be given out."""
        spent = self._job.budget is not None and self._counted >= self._job.budget
        return spent or bool(self.stopped) or self._late() or self._exhausted()

    def _exhausted(self) -> bool:
        """Every recipe of a small space has been given out."""
        if not self._whole or self._orphans:
            return False
        return not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _late(self) -> bool:
        if self._deadline is not None and time.time() > self._deadline:
            self.timed_out = True
        return self.timed_out

    def _adopt(self, stored: FrozenTrial) -> Task:
        """Take up a trial that was running when an earlier driver ended."""
        return self._enter(optuna.trial.Trial(self._study, stored._trial_id), adopted=True)

    def _enter(self, trial: optuna.Trial, *, adopted: bool) -> Task:
        attrs = trial.user_attrs
        baseline = bool(attrs.get("baseline", False))
        stored = trial.storage.get_trial(trial._trial_id)
        if has_recipe(stored):
            recipe = Recipe.from_params(recipe_params(stored))
        else:
            if "given" in attrs:
                # Older studies hold the recipe itself, in JSON.
                held = attrs["given"]
                known = isinstance(held, int)
                recipe = self._given[held] if known else Recipe.from_params(json.loads(held))
                self._space.record(trial, recipe)
            else:
                recipe = self._space.suggest(trial)
            keep_recipe(trial, recipe)
        begun = adopted and any(
            fold_path(self._job.run_folder, trial.number, fold).exists()
            for fold in range(self._pool.folds)
        )
        # Limits are for draws; what the space names itself is tried whatever it costs.
        spared = begun or attrs.get("spared", "given" in attrs)
        task = Task(
            number=trial.number,
            recipe=recipe,
            baseline=baseline,
            bounds=None if spared else Bounds.of(self._space.limits),
            deadline=self._deadline,
        )
        self._live[trial.number] = _Live(trial, task, adopted)
        return task

    def _on_started(self, live: _Live) -> Decision:
        self._redraws = 0
        if not live.started:
            live.started = True
            self._observer.trial_started(live.task)
        return Decision(stop=False)

    def _lost(self, live: _Live) -> str:
        """Why the trial is out of the race, or ""."""
        if not self._job.race or live.task.baseline:
            return ""
        try:
            leader = self._study.best_trial.number
        except ValueError:
            # No trial is complete yet.
            return ""
        try:
            return self._pool.lost(live.results, trial=live.task.number, leader=leader)
        except RunError as error:
            self._observer.message(f"trial {live.task.number} is not raced: {error}")
            return ""

    def _suspend(self, live: _Live) -> None:
        """Leave a trial RUNNING in the study; a later start goes on with it."""
        del self._live[live.task.number]
        if live.started:
            self._observer.trial_done(live.task, "RUNNING", None, "the time is up")

    def _on_beyond_limits(self, live: _Live, reason: str) -> None:
        self._record.beyond_limits(live.trial, reason)
        del self._live[live.task.number]
        self._redraws += 1
        if self._redraws >= REDRAWS:
            raise RunError(unfit(self._space, self._redraws, reason))

    def _end(self, live: _Live, state: TrialState, score: float | None, reason: str) -> None:
        matrix = self._pool.confusion(live.results) if live.folds else None
        recipe, folds = live.task.recipe, live.results
        complaint = self._record.end(live.trial, recipe, state, folds, matrix, score, reason)
        if complaint:
            self._observer.message(complaint)
        self._counted += state != TrialState.FAIL
        del self._live[live.task.number]
        self._observer.trial_done(live.task, state.name, score, reason)
