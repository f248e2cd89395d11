"""Between Ray Tune's names for trials and the driver's tasks; knows neither Ray nor Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellsearch.tune.driver import Driver
from cellsearch.tune.interrupt import Interrupts
from cellsearch.tune.job import Report, Task

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
        self._deaths: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tuner pickles its arguments for a ``restore`` that is never called."""
        return {}

    def ask(self, trial_id: str) -> Task | None:
        """The driver's next task, known from now on by Tune's name."""
        if self.error is not None:
            return None
        try:
            task = self.driver.ask()
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
        """Leave Tune's loop where there is a reason to."""
        if self.error is not None or self.interrupts.requested:
            raise Stop


def _last_line(error_file: str | None) -> str:
    """The cause of a worker's death, which Ray puts last."""
    text = Path(error_file).read_text() if error_file and Path(error_file).exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
