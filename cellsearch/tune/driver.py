"""The driver: the study's side of a search, the same for every backend.

A backend asks it for tasks and hands it what workers report; whatever finished is in the study and
on disk before the backend hears the decision. It runs in one thread of one process.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.models import ClassicalModel, NetworkModel
from cellsearch.space.recipe import BASELINE, Recipe
from cellsearch.space.search_space import SearchSpace, sample
from cellsearch.tune.climb import Climb, Rested, rested, set_rested
from cellsearch.tune.clock import Clock
from cellsearch.tune.draw import Draw, Kind, Refuse, Scored, draw, unfit
from cellsearch.tune.job import Report, SearchJob, Task, finished_folds, fold_path
from cellsearch.tune.ladder import (
    DRAW_UNTIL,
    FULL_SHARE,
    HALF_UNTIL,
    Climber,
    Plan,
    Step,
    next_step,
)
from cellsearch.tune.limits import REDRAWS, Bounds
from cellsearch.tune.pool import Pool
from cellsearch.tune.record import Record
from cellsearch.tune.rungs import RUNGS, climbs, rung_numbered
from cellsearch.tune.study import has_recipe, keep_recipe, recipe_params
from cellsearch.tune.watch import SearchObserver
from cellsearch.util.durations import spoken

__all__ = ["Decision", "Driver", "SearchObserver", "Task"]

UNBOUNDED = 40
"""Stands for the budget where there is none, when failures are counted."""

TOO_SLOW = 3
"""Networks in a row that the time is too short for, after which none is drawn any more."""

PLAN_DRAWS = 100
"""From which the share of networks among the draws is told."""

LEAST_EPOCHS = 5
"""To which a network may be shortened where time is limited."""

BASELINE_SHARE = 0.4
"""Of the time, at most, for the folds of the baseline, beside which others are trained."""


@dataclass(frozen=True)
class Decision:
    """Whether a training shall stop; the study already knows why."""

    stop: bool
    reason: str = ""


@dataclass
class _Live:
    """A trial at work: from its draw, or the rung below, to the end of a training."""

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
        timed_out: the time ran out before the budget.
        stopped: a plain message where too many trials failed; "" otherwise.
    """

    def __init__(
        self,
        job: SearchJob,
        space: SearchSpace,
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
        self._refuse, self._left_out = refuse, left_out
        self._clock = Clock(job.seconds, job.final_folds, job.final_trials)
        self._climb = Climb(pool.sizes(seed=job.seed))
        self._live: dict[int, _Live] = {}
        self._scored: list[Scored] = []
        self._tried: set[Recipe] = set()
        self._quick_left = True
        self._failures = 0
        self._redraws = 0
        self._too_slow = 0
        self._counted = 0
        self._orphans: list[FrozenTrial] = []
        grid = list(space.whole)
        # In the order of the file a small budget would never reach the last choices.
        random.Random(job.seed).shuffle(grid)
        named = (BASELINE, *space.starts)
        self._given = tuple(dict.fromkeys((*named, *grid)))
        self._grid = bool(grid)
        trials = self._study.get_trials(deepcopy=False)
        for stored in trials:
            self._restore(stored)
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

    def plan(self) -> str:
        """What is going to be trained, in one line; "" where all trials are trained in full."""
        chances = sample(self._space, PLAN_DRAWS)
        climbing = sum(self._climbs(recipe, baseline=False) for recipe in chances)
        if not climbing:
            return ""
        if self._job.seconds is not None and (end := self._clock.end()) is not None:
            span = end - self._clock.began
            short, half = spoken(DRAW_UNTIL * span), spoken(HALF_UNTIL * span)
            return (
                f"plan: quick models and short trainings of networks for {short}; the best of them "
                f"half until {half} and in full until {spoken(span)}; then the final model and card"
            )
        if self._job.budget is None:
            return ""
        given = [recipe for recipe in self._given if recipe not in self._left_out]
        given = given[: self._job.budget]
        named = sum(self._climbs(recipe, baseline=recipe == BASELINE) for recipe in given)
        drawn = round((self._job.budget - len(given)) * climbing / PLAN_DRAWS)
        full = self._job.budget - named - drawn
        return (
            f"plan: {full} trials in full at once, the baseline and models that take seconds; "
            f"about {Plan.of(named + drawn)}"
        )

    @property
    def finished(self) -> bool:
        """No task is out, and none will come."""
        if self._live:
            return False
        if self._closed():
            return True
        return not self._orphans and not self._given_left() and self._step().kind == "wait"

    def ask(self) -> Task | None:
        """The next task; None when there is none at the moment, or ever (see ``finished``)."""
        if self._closed() or len(self._live) >= self._job.slots:
            return None
        if self._orphans:
            stored = self._orphans.pop(0)
            return self._enter(optuna.trial.Trial(self._study, stored._trial_id), adopted=True)
        if self._given_left():
            return self._enter(self._study.ask(), adopted=False)
        step = self._step()
        if step.kind == "train":
            return self._further(step)
        # One of the live ones may still fail, which frees its place.
        return None if step.kind == "wait" else self._drawn(quick=step.kind == "draw_quick")

    def receive(self, task: Task, report: Report) -> Decision:
        """Take in what a worker reports.

        Raises:
            RunError: no trial can go on, or no draw lies within the limits.
        """
        live = self._live.get(task.number)
        if live is None:
            return Decision(stop=True, reason="the trial has ended")
        if report.event == "started":
            return self._on_started(live, report.epochs)
        if report.event == "fold":
            path = fold_path(self._job.run_folder, task.number, report.fold, task.rung)
            return self.on_fold(task, FoldResult.load(path))
        if report.event == "broken":
            # The trial stays RUNNING in the study, so that a later start goes on with it.
            raise RunError(f"trial {task.number} cannot continue: {report.text}")
        if report.event == "beyond_limits":
            self._on_beyond_limits(live, report.text)
        elif report.event == "failed":
            self.on_failed(task, report.text)
        elif report.event == "suspended" and len(live.folds) < self._folds_of(task):
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
        if not task.rung:
            self._pool.settle(live.results, trial=task.number)
        score = self._pool.score(self._pool.confusion(live.results))
        if not task.rung:
            alone = self._pool.confusion([result])
            self._record.fold(live.trial, result, alone, score, adopted=live.adopted)
        self._observer.fold_done(live.task, result.fold, score)
        if len(live.folds) == self._folds_of(task):
            return Decision(stop=False)
        reason = "" if task.rung else self._lost(live)
        if reason:
            self._end(live, TrialState.PRUNED, score, reason)
            return Decision(stop=True, reason=reason)
        if live.task.deadline is not None and not self._time_for(result.seconds):
            self._suspend(live)
            return Decision(stop=True, reason="the time is up")
        return Decision(stop=False)

    def on_done(self, task: Task) -> None:
        """End a training that has gone through its folds."""
        live = self._live[task.number]
        missing = self._folds_of(task) - len(live.folds)
        if missing:
            self.on_failed(task, f"its worker ended with {missing} folds missing")
            return
        if task.rung:
            self._on_rung_done(live)
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

    def close(self) -> None:
        """End the trials that wait above a rung, because the search is over."""
        reasons = {number: self._climb.standing(number) for number in self._climb.waiting}
        for number, waiting in list(self._climb.waiting.items()):
            del self._climb.waiting[number]
            task = Task(number, waiting.recipe)
            self._live[number] = live = _Live(waiting.trial, task, adopted=False)
            short = self._folds_on(waiting.climber)
            self._end(live, TrialState.PRUNED, None, reasons[number], short=short)

    def _folds_on(self, climber: Climber) -> list[FoldResult]:
        """Folds of the rung that a trial waits above; none where they are lost."""
        folds = RUNGS[climber.rung - 1].folds_of(self._pool.folds)
        try:
            return finished_folds(self._job.run_folder, climber.number, folds, climber.rung)
        except RunError:
            return []

    def _places(self) -> int | None:
        """Trials that may still be begun; None is no bound."""
        if self._job.budget is None:
            return None
        taken = self._counted + len(self._live) + len(self._climb.waiting)
        return max(0, self._job.budget - taken)

    def _given_left(self) -> bool:
        """Whether a recipe that the space names waits to be tried, with a place and time for it."""
        if self._places() == 0:
            return False
        time = self._clock.time()
        if time is not None and time.used >= HALF_UNTIL and self._counted:
            return False
        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def _step(self) -> Step:
        running = sum(live.task.rung == 1 for live in self._live.values())
        step = next_step(
            self._climb.climbers,
            self._climb.sent(running=running),
            places=0 if self._grid else self._places(),
            time=self._clock.time(),
            close=self._close,
        )
        if step.kind == "draw" and self._too_slow >= TOO_SLOW:
            step = Step("draw_quick")
        return Step("wait") if step.kind == "draw_quick" and not self._quick_left else step

    def _close(self, first: Climber, second: Climber) -> bool:
        try:
            return self._pool.close(first.number, second.number, rung=first.rung)
        except RunError:
            return False

    def _closed(self) -> bool:
        """No further task will be given out."""
        spent = self._job.budget is not None and self._counted >= self._job.budget
        return spent or bool(self.stopped) or self._late()

    def _late(self) -> bool:
        self.timed_out = self.timed_out or self._clock.late
        return self.timed_out

    def _time_for(self, seconds: float) -> bool:
        """Whether a fold that takes so long can still end in time."""
        time = self._clock.time()
        return not self._late() and (time is None or seconds <= time.left)

    def _folds_of(self, task: Task) -> int:
        rung = rung_numbered(task.rung)
        return self._pool.folds if rung is None else len(rung.folds_of(self._pool.folds))

    def _climbs(self, recipe: Recipe, *, baseline: bool) -> bool:
        if baseline or self._grid or not self._job.ladder:
            return False
        return climbs(recipe, self._climb.sizes.cells)

    def _restore(self, stored: FrozenTrial) -> None:
        """Take up what an earlier start left of a trial."""
        attrs = stored.user_attrs
        if stored.state == TrialState.WAITING or attrs.get("beyond_limits"):
            return
        if not has_recipe(stored):
            if stored.state == TrialState.RUNNING:
                self._orphans.append(stored)
            return
        recipe, rungs = Recipe.from_params(recipe_params(stored)), rested(attrs)
        begun = self._has_folds(stored.number)
        self._tried.add(recipe)
        self._counted += stored.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if rungs and stored.state == TrialState.RUNNING and not begun:
            self._climb.wait(optuna.trial.Trial(self._study, stored._trial_id), recipe, rungs)
        elif stored.state == TrialState.RUNNING:
            self._orphans.append(stored)
        if rungs and stored.number not in self._climb.waiting:
            self._climb.over(stored.number, recipe, rungs, full=begun)
        if rungs:
            self._follow(stored.number, "short", stored.params, -rungs[1].loss)
        if stored.state == TrialState.COMPLETE and stored.value is not None:
            self._completed(stored.number, recipe, stored.params, stored.value, attrs)

    def _has_folds(self, number: int) -> bool:
        """Whether the full training of a trial has begun."""
        paths = (fold_path(self._job.run_folder, number, k) for k in range(self._pool.folds))
        return any(path.exists() for path in paths)

    def _completed(
        self,
        number: int,
        recipe: Recipe,
        params: Mapping[str, Any],
        score: float,
        attrs: Mapping[str, Any],
    ) -> None:
        """Let the clock and the draws know of a complete trial."""
        seconds = float(attrs.get("seconds", 0.0)) - sum(r.seconds for r in rested(attrs).values())
        baseline = bool(attrs.get("baseline", False))
        self._clock.completed(number, score, seconds / self._pool.folds, baseline=baseline)
        if isinstance(recipe.model, ClassicalModel):
            self._follow(number, "classical", params, score)
        elif not baseline and not rested(attrs):
            self._follow(number, "full", params, score)

    def _follow(self, number: int, kind: Kind, params: Mapping[str, Any], score: float) -> None:
        if params:
            self._scored.append(Scored(number, kind, dict(params), score))

    def _drawn(self, *, quick: bool) -> Task | None:
        found = draw(
            self._space,
            self._scored,
            seed=self._job.seed,
            number=len(self._study.get_trials(deepcopy=False)),
            refuse=self._refuse,
            tried=self._tried,
            quick=quick,
        )
        if found is None:
            self._quick_left = False
            return None
        return self._enter(self._added(found), adopted=False)

    def _added(self, found: Draw) -> optuna.Trial:
        """A trial with the parameters of a draw.

        Enqueued, it would stand behind recipes of the space for which there is no time left.
        """
        distributions = self._space.distributions
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=dict(found.params),
                distributions={name: distributions[name] for name in found.params},
                user_attrs={"origin": found.origin},
            )
        )
        stored = self._study.get_trials(deepcopy=False)[-1]
        return optuna.trial.Trial(self._study, stored._trial_id)

    def _further(self, step: Step) -> Task:
        """Give a waiting trial its next training."""
        waiting = self._climb.take(step.number, step.rung)
        fold_seconds = waiting.climber.full_seconds / self._pool.folds
        task = Task(
            number=step.number,
            recipe=waiting.recipe,
            deadline=self._clock.end(0.0 if step.rung else fold_seconds),
            rung=step.rung,
        )
        self._live[step.number] = _Live(waiting.trial, task, adopted=False)
        return task

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
        self._tried.add(recipe)
        begun = adopted and self._has_folds(trial.number)
        # Limits are for draws; what the space names itself is tried whatever it costs.
        spared = begun or attrs.get("spared", "given" in attrs)
        # Until there is a model at all, one that takes seconds may take them.
        unhurried = isinstance(recipe.model, ClassicalModel) and not self._clock.has_model
        task = Task(
            number=trial.number,
            recipe=recipe,
            baseline=baseline,
            bounds=None if begun else self._bounds(spared=spared, baseline=baseline),
            deadline=None if unhurried else self._clock.end(),
            rung=1 if self._climbs(recipe, baseline=baseline) and not begun else 0,
        )
        self._live[trial.number] = _Live(trial, task, adopted)
        return task

    def _bounds(self, *, spared: bool, baseline: bool = False) -> Bounds | None:
        """What a trial may cost: of draws, what the space says; of all, what the time allows."""
        if baseline:
            return self._baseline_bounds()
        bounds = Bounds() if spared else Bounds.of(self._space.limits) or Bounds()
        if self._job.seconds is not None:
            minutes = FULL_SHARE * self._job.seconds / self._pool.folds / 60.0
            bounds = replace(
                bounds,
                minutes_per_fold=min(bounds.minutes_per_fold or minutes, minutes),
                least_epochs=LEAST_EPOCHS if spared else self._fewest_epochs(),
            )
        return None if bounds == Bounds() else bounds

    def _baseline_bounds(self) -> Bounds | None:
        """Fewer epochs where the time is short: without a baseline there is no verdict."""
        if self._job.seconds is None:
            return None
        minutes = BASELINE_SHARE * self._job.seconds / self._pool.folds / 60.0
        return Bounds(minutes_per_fold=minutes, least_epochs=LEAST_EPOCHS, refuse=False)

    def _fewest_epochs(self) -> int:
        """To which a draw may be shortened: half of the fewest that the space draws."""
        lows = [
            int(entry.low)
            for entry in self._space.entries
            if entry.target == "train.epochs" and entry.kind == "int"
        ]
        return max(LEAST_EPOCHS, min(lows, default=LEAST_EPOCHS) // 2)

    def _on_started(self, live: _Live, epochs: int) -> Decision:
        self._redraws = 0
        recipe = live.task.recipe
        if isinstance(recipe.model, NetworkModel):
            self._too_slow = 0
        if epochs and epochs != recipe.train.epochs:
            # The study keeps what was drawn; what is trained is the recipe.
            live.trial.set_user_attr("epochs", f"{epochs} of {recipe.train.epochs}, for the time")
            train = recipe.train.model_copy(update={"epochs": epochs})
            live.task = replace(live.task, recipe=recipe.model_copy(update={"train": train}))
            keep_recipe(live.trial, live.task.recipe)
        if not live.started:
            live.started = True
            self._observer.trial_started(live.task)
        return Decision(stop=False)

    def _on_rung_done(self, live: _Live) -> None:
        """Let a trial wait for its next training."""
        number, rung = live.task.number, rung_numbered(live.task.rung)
        assert rung is not None
        found = Rested(
            self._pool.loss(live.results), float(sum(each.seconds for each in live.results))
        )
        if not math.isfinite(found.loss):
            self.on_failed(live.task, "its log loss is not a number")
            return
        set_rested(live.trial, rung, found)
        stored = live.trial.storage.get_trial(live.trial._trial_id)
        self._climb.wait(live.trial, live.task.recipe, rested(stored.user_attrs))
        if rung.number == 1:
            self._follow(number, "short", stored.params, -found.loss)
        del self._live[number]
        self._observer.rung_done(live.task, found.loss)

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
        self._tried.discard(live.task.recipe)
        del self._live[live.task.number]
        self._redraws += 1
        self._too_slow += self._job.seconds is not None
        if self._redraws >= REDRAWS:
            raise RunError(unfit(self._space, self._redraws, reason))

    def _end(
        self,
        live: _Live,
        state: TrialState,
        score: float | None,
        reason: str,
        *,
        short: Sequence[FoldResult] = (),
    ) -> None:
        # What was trained on a rung is not out-of-fold predictions of the whole trial.
        folds = [] if live.task.rung else live.results
        matrix = self._pool.confusion(folds or short) if folds or short else None
        recipe = live.task.recipe
        stored = live.trial.storage.get_trial(live.trial._trial_id)
        spent = sum(each.seconds for each in rested(stored.user_attrs).values())
        complaint = self._record.end(
            live.trial, recipe, state, folds, matrix, score, reason, spent=spent, short=short
        )
        if complaint:
            self._observer.message(complaint)
        self._counted += state != TrialState.FAIL
        del self._live[live.task.number]
        if state == TrialState.COMPLETE and score is not None:
            ended = live.trial.storage.get_trial(live.trial._trial_id)
            number = live.task.number
            self._completed(number, recipe, ended.params, score, ended.user_attrs)
        self._observer.trial_done(live.task, state.name, score, reason)
