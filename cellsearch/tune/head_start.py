"""A first trial in a process of its own while Ray starts: a score on the screen within seconds.

As a program, ``python -m cellsearch.tune.head_start``, it reads a job and a task, a line of JSON
each, and writes a line for each report.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

from cellsearch.tune.job import Report, SearchJob, Task
from cellsearch.tune.work import attempt

MODULE = "cellsearch.tune.head_start"
LAST = ("final", "failed", "broken", "beyond_limits", "suspended")
"""Reports after which there are no more."""


class HeadStart:
    """A task at work in a process of its own.

    Attributes:
        task: the task.
        over: it has ended, or was stopped.
        lost: its process ended without a last report; the task is to be given out again.
    """

    def __init__(self, job: SearchJob, task: Task) -> None:
        self.task = task
        self.over = False
        self.lost = False
        self._reports: queue.Queue[Report | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C goes to the whole group of a terminal; what is to end it is the driver.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job.to_json()}\n{task.to_json()}\n")
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def reports(self) -> Iterator[Report]:
        """What it has reported since the last call."""
        while not self.over:
            try:
                report = self._reports.get_nowait()
            except queue.Empty:
                return
            if report is None:
                self.over = self.lost = True
                return
            self.over = report.event in LAST
            yield report

    def stop(self) -> None:
        """End the process; what it has finished is on disk."""
        self.over = True
        self._process.kill()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                # Of a process that is killed the last line may be torn.
                if line.endswith("\n"):
                    self._reports.put(Report.from_dict(json.loads(line)))
        self._process.wait()
        self._reports.put(None)


def main() -> None:
    """Work on the task that is read."""
    job, task = SearchJob.from_json(sys.stdin.readline()), Task.from_json(sys.stdin.readline())
    reports, sys.stdout = sys.stdout, sys.stderr
    for report in attempt(job, task):
        reports.write(json.dumps(report.to_dict()) + "\n")
        # A driver that is gone breaks the pipe, which ends this process, too.
        reports.flush()


if __name__ == "__main__":
    main()
