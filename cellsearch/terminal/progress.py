"""Who watches a run: nobody, or a person at a terminal (live), or a log file (plain lines)."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import rich.progress
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from cellsearch.run.observer import RunObserver
from cellsearch.space.recipe import brief
from cellsearch.tune.rungs import RUNG_NAMES, rung_numbered
from cellsearch.util.durations import spoken
from cellsearch.util.progress import Progress
from cellsearch.util.spelling import printable

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.space.recipe import Recipe
    from cellsearch.tune.driver import Task
    from cellsearch.tune.job import SearchJob


_STATES = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed"}
"""Optuna's states in plain words."""

_OPEN: WeakSet[Terminal] = WeakSet()


def close_bars() -> None:
    """Take live bars off the terminal, so that an error's message is not written over."""
    for terminal in list(_OPEN):
        terminal._close_bar()


@dataclass
class _Running:
    recipe: Recipe
    began: float
    of: int
    training: str
    folds: int = 0
    score: float | None = None


class Terminal(RunObserver):
    """Live tables at a terminal; plain lines where the output is a file or a pipe.

    Progress goes to standard error, so that results can be piped.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._bar: rich.progress.Progress | None = None
        self._running: dict[int, _Running] = {}
        self._job: SearchJob | None = None
        self._folds = 0
        self._began = 0.0
        self._done = 0
        self._failed = 0
        self._best: dict[str, tuple[float, int]] = {}
        self._short: Counter[str] = Counter()
        self._stage = ("", 0.0)

    def message(self, text: str) -> None:
        self._close_bar()
        self.console.print(printable(text), soft_wrap=True, markup=False)

    def progress(self, stage: str, done: int, total: int) -> None:
        if not self.console.is_terminal:
            self._plain_progress(stage, done, total)
            return
        if self._bar is None:
            self._bar = rich.progress.Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bar.start()
            _OPEN.add(self)
        task = next((t for t in self._bar.tasks if t.description == stage), None)
        identity = task.id if task else self._bar.add_task(stage, total=total)
        self._bar.update(identity, completed=done, total=total)
        if done >= total:
            self._close_bar()

    def begins(self, folder: Path, cells: CellDataset, splits: Splits, job: SearchJob) -> None:
        from cellsearch.data.look_alikes import look_alikes
        from cellsearch.terminal.tables import held_out_groups, summary_lines
        from cellsearch.util.wording import as_option

        self._job, self._folds, self._began = job, splits.k, time.monotonic()
        self.message(f"run {folder}")
        for line in summary_lines(cells):
            self.message(line)
        for line in (splits.describe(), *held_out_groups(cells, splits)):
            self.message(line)
        for note in cells.group_notes:
            self.message(f"warning: {note.message.worded(as_option)}")
        for finding in look_alikes(cells):
            self.message(f"{finding.severity}: {finding.message.worded(as_option)}")
        for note in cells.notes_of("ignored-files"):
            self.message(f"note: {note.message.worded(as_option)}")
        for note in cells.notes_of("crop-sizes"):
            line = note.message.worded(as_option)
            self.message(f"warning: {line}" if note.severity == "warning" else line)
        if splits.not_estimable:
            self.message(f"no figures, used for training only: {', '.join(splits.not_estimable)}")
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._view,
                console=self.console,
                refresh_per_second=2,
                transient=True,
            )
            self._live.start()

    def trial_started(self, task: Task) -> None:
        rung = rung_numbered(task.rung)
        folds = self._folds if rung is None else len(rung.folds_of(self._folds))
        training = "" if rung is None else f"{RUNG_NAMES[task.rung]} training"
        self._running[task.number] = _Running(task.recipe, time.monotonic(), folds, training)
        if self._live is None:
            named = f" ({training})" if training else ""
            self.message(f"trial {task.number} starts{named}: {brief(task.recipe)}")

    def fold_done(self, task: Task, fold: int, score: float) -> None:
        running = self._running.get(task.number)
        of = self._folds
        if running is not None:
            running.folds, running.score, of = running.folds + 1, score, running.of
        if self._live is None:
            self.message(f"trial {task.number}: {fold + 1} of {of} folds, {score:.3f}")

    def rung_done(self, task: Task, loss: float) -> None:
        running = self._running.pop(task.number, None)
        took = _took(running)
        score = "" if running is None or running.score is None else f", {running.score:.3f}"
        name = RUNG_NAMES[task.rung]
        self._short[name] += 1
        self.message(f"trial {task.number} {name} training{took}: log loss {loss:.3f}{score}")

    def trial_done(self, task: Task, state: str, score: float | None, reason: str) -> None:
        running = self._running.pop(task.number, None)
        took = _took(running)
        if state == "FAIL":
            self._failed += 1
        else:
            self._done += 1
        if state == "COMPLETE" and score is not None:
            family, found = task.recipe.model.family, (score, task.number)
            self._best[family] = max(self._best.get(family, found), found)
            figure = f"{score:.3f}"
        else:
            figure = reason
        self.message(f"trial {task.number} {_STATES.get(state, state.lower())}{took}: {figure}")

    def ends(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._running.clear()

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            _OPEN.discard(self)

    def _plain_progress(self, stage: str, done: int, total: int) -> None:
        last, when = self._stage
        now = time.monotonic()
        if stage != last:
            self._stage = (stage, now)
            self.message(stage)
        elif now - when > 30:
            self._stage = (stage, now)
            self.message(f"{stage}: {done:,} of {total:,}")

    def _view(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for header in ("trial", "folds", "training", "so far", "time", "recipe"):
            table.add_column(header, no_wrap=True)
        for number, running in sorted(self._running.items()):
            table.add_row(
                str(number),
                "●" * running.folds + "○" * (running.of - running.folds),
                running.training or "full training",
                "" if running.score is None else f"{running.score:.3f}",
                spoken(time.monotonic() - running.began),
                brief(running.recipe),
            )
        return Group(table, self._status())

    def _status(self) -> str:
        job, elapsed = self._job, time.monotonic() - self._began
        parts = [f"{self._done} trials done"]
        if job is not None and job.budget is not None:
            parts = [f"{self._done} of {job.budget} trials done"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._short:
            parts.append(", ".join(f"{count} {name}" for name, count in self._short.items()))
        if self._best:
            best = sorted(self._best.items(), key=lambda each: each[1], reverse=True)
            named = [f"{family} {score:.3f} (trial {number})" for family, (score, number) in best]
            parts.append(f"best: {', '.join(named)}")
        parts.append(f"elapsed {spoken(elapsed)}")
        left = math.inf if job is None or job.seconds is None else job.seconds - elapsed
        if job is not None and job.budget is not None and self._done:
            left = min(left, elapsed / self._done * max(0, job.budget - self._done))
        if left < math.inf:
            parts.append(f"about {spoken(max(0.0, left))} left")
        return "  ".join(parts)


def _took(running: _Running | None) -> str:
    """How long a training took; of one that was over before anybody looked, nothing is known."""
    elapsed = 0.0 if running is None else time.monotonic() - running.began
    return f" in {spoken(elapsed)}" if elapsed >= 1.0 else ""


def after(seconds: float, on_progress: Progress) -> Progress:
    """The same, silent for the first seconds: short work needs no bar."""
    begun = time.monotonic()

    def told(stage: str, done: int, total: int) -> None:
        if time.monotonic() - begun >= seconds:
            on_progress(stage, done, total)

    return told
