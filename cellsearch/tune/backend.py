"""Who runs the trials: the Backend protocol, and the one that runs them in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cellsearch.errors import RunError
from cellsearch.tune.driver import Driver
from cellsearch.tune.interrupt import Interrupts
from cellsearch.tune.job import SearchJob
from cellsearch.tune.work import Compute, attempt, train
from cellsearch.util.messages import Setting


class Backend(Protocol):
    """Asks the driver for tasks, runs ``attempt`` on them and hands it every report.

    A backend obeys each ``Decision`` before the trial's next fold begins, returns when
    ``driver.finished``, raises ``Interrupted`` within seconds of a signal, and leaves no process
    behind when it returns or raises. After ``kill -9`` two helpers of Ray live on for a minute.
    """

    def run(self, job: SearchJob, driver: Driver, interrupts: Interrupts) -> None:
        """Run trials until the driver has no more."""


@dataclass(frozen=True)
class LocalBackend:
    """One trial at a time, in this process.

    Attributes:
        compute: makes the folds.
    """

    compute: Compute = train

    def run(self, job: SearchJob, driver: Driver, interrupts: Interrupts) -> None:
        """Run trials until the driver has no more."""
        while not driver.finished:
            interrupts.check()
            task = driver.ask()
            if task is None:
                # With one trial at a time the driver gives one, or is finished.
                continue
            reports = attempt(job, task, compute=self.compute)
            stop = False
            while not stop:
                with interrupts.breakable():
                    report = next(reports, None)
                if report is None:
                    break
                stop = driver.receive(task, report).stop
            reports.close()


def backend(name: str) -> Backend:
    """The backend of that name: "local" or "ray".

    Raises:
        RunError: there is none.
    """
    if name == "local":
        return LocalBackend()
    if name == "ray":
        from cellsearch.tune.ray_tune import RayBackend

        return RayBackend()
    raise RunError(Setting("backend"), f": expected local or ray, got {name!r}")
