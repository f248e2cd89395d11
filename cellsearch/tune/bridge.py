"""Between Ray Tune's names for trials and the driver's tasks; knows neither Ray nor Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellsearch.space.models import ClassicalModel
from cellsearch.tune.driver import Driver
from cellsearch.tune.head_start import HeadStart
from cellsearch.tune.interrupt import Interrupts
from cellsearch.tune.job import Report, SearchJob, Task

WORKER_RETRIES = 2
"""How often a trial whose worker died is started anew."""


class Stop(BaseException):
    """Leaves Tune's loop; not an Exception, which Tune would wrap."""


class Bridge:
    """Between Tune's names for trials and the driver's tasks.

    An exception of the driver's is kept and raised after Tune, which would bury it.
    """

    def __init__(self, driver: Driver, interrupts: Interrupts) -> None:
        self.driver, self.interrupts = driver, interrupts
        self.error: BaseException | None = None
        self._tasks: dict[str, Task] = {}
        self._pending: list[Task] = []
        self._ahead: HeadStart | None = None
        self._deaths: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tuner pickles its arguments for a ``restore`` that is never called."""
        return {}

    def start_ahead(self, job: SearchJob) -> None:
        """Begin a trial that takes seconds, where there is one among the first, before Ray is up.

        The tasks before it wait for Ray.
        """
        for _ in range(min(2, job.slots)):
            task = self.driver.ask()
            if task is None:
                return
            if self._ahead is None and isinstance(task.recipe.model, ClassicalModel):
                self._ahead = HeadStart(job, task)
            else:
                self._pending.append(task)

    def stop_ahead(self) -> None:
        """End what was begun before Ray was up."""
        if self._ahead is not None:
            self._ahead.stop()

    def ask(self, trial_id: str) -> Task | None:
        """The driver's next task, known from now on by Tune's name."""
        if self.error is not None:
            return None
        try:
            task = self._pending.pop(0) if self._pending else self.driver.ask()
        except Exception as error:
            self.error = error
            return None
        if task is not None:
            self._tasks[trial_id] = task
        return task

    def receive(self, trial_id: str, facts: dict[str, Any]) -> bool:
        """Whether the trial shall stop."""
        if "event" not in facts or trial_id not in self._tasks:
            return False
        try:
            decision = self.driver.receive(self._tasks[trial_id], Report.from_dict(facts))
        except Exception as error:
            self.error = error
            return True
        return decision.stop

    def worker_died(self, trial_id: str, error_file: str | None) -> None:
        """Remember why; Tune starts the trial anew, or calls ``lost``."""
        self._deaths[trial_id] = _last_line(error_file)

    def lost(self, trial_id: str) -> None:
        """The worker died more often than it is retried."""
        reason = f"its worker died {WORKER_RETRIES + 1} times: {self._deaths.get(trial_id, '')}"
        self.receive(trial_id, Report("failed", text=reason).to_dict())

    def check(self) -> None:
        """Take in what was begun before Ray was up; leave Tune's loop if there is a reason."""
        self._take_in()
        if self.error is not None or self.interrupts.requested:
            raise Stop

    def _take_in(self) -> None:
        ahead = self._ahead
        if ahead is None or ahead.over:
            return
        try:
            for report in ahead.reports():
                if self.driver.receive(ahead.task, report).stop:
                    ahead.stop()
        except Exception as error:
            self.error = error
        if ahead.lost:
            self._pending.append(ahead.task)


def _last_line(error_file: str | None) -> str:
    """The cause of a worker's death, which Ray puts last."""
    text = Path(error_file).read_text() if error_file and Path(error_file).exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
