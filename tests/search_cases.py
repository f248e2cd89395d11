"""What the tests of the search share: a tiny space, a job on 90 cells, and a driver to kill.

As a script: ``python tests/search_cases.py FOLDER BACKEND BUDGET COMPUTE EPOCHS`` runs a search
in FOLDER, made by ``prepare``, and prints a line for each event.

The stand-ins for training (``fake`` and its kin) are right more often the nearer the learning rate
is to 3e-3, take 20 ms for each epoch of a fold, and write down every fold that they are asked for.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.errors import TrialError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.backend import Backend, LocalBackend
from cellsearch.tune.job import SearchJob, Task
from cellsearch.tune.work import Compute, Work, train


def space(epochs: int = 1, limits: Mapping[str, Any] | None = None) -> SearchSpace:
    """Nets of 8 channels that train in a blink."""
    return SearchSpace.from_dict(
        {
            "name": "tiny",
            "limits": dict(limits or {}),
            "parameters": {
                "model.depth": {"int": [1, 2]},
                "model.width": 8,
                "model.kernel": 3,
                "loss.weighting": {"choice": ["none", "sqrt"]},
                "optim.lr": {"float": [1e-4, 1e-2], "log": True},
                "train.epochs": epochs,
            },
        }
    )


def prepare(dataset: CellDataset, folder: Path, *, folds: int = 3, **changes: Any) -> SearchJob:
    """A job in ``folder``: cells saved, splits drawn."""
    saved = dataset.save(folder / "cells")
    run = folder / "run"
    run.mkdir()
    draw_splits(saved, folds=folds, holdout=0.2, seed=0, duplicates=()).save(run / "splits.json")
    return replace(job_in(folder), **changes)


def job_in(folder: Path) -> SearchJob:
    """The job that ``prepare`` left in ``folder``."""
    run = folder / "run"
    return SearchJob(
        run_folder=run,
        dataset_folder=folder / "cells",
        splits_path=run / "splits.json",
        metric="balanced_accuracy",
        seed=0,
        device="cpu",
        threads=1,
        slots=1,
        budget=3,
        seconds=None,
        storage_url=f"sqlite:///{run / 'study.db'}",
        study_name="run",
    )


@dataclass
class Recorder:
    """An observer that remembers, and prints where it is asked to."""

    echo: bool = False
    started: list[int] = field(default_factory=list)
    folds: list[tuple[int, int]] = field(default_factory=list)
    rungs: list[tuple[int, int, float]] = field(default_factory=list)
    ended: list[tuple[int, str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def trial_started(self, task: Task) -> None:
        self.started.append(task.number)
        self._say(f"started {task.number}")

    def fold_done(self, task: Task, fold: int, score: float) -> None:
        self.folds.append((task.number, fold))
        self._say(f"fold {task.number} {fold}")

    def rung_done(self, task: Task, loss: float) -> None:
        self.rungs.append((task.number, task.rung, loss))
        self._say(f"rung {task.number} {task.rung}")

    def trial_done(self, task: Task, state: str, score: float | None, reason: str) -> None:
        self.ended.append((task.number, state, reason))
        self._say(f"ended {task.number} {state} {reason}")

    def message(self, text: str) -> None:
        self.messages.append(text)
        self._say(f"message {text}")

    def _say(self, line: str) -> None:
        if self.echo:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def fake(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """Folds without torch."""
    recipe, dataset, splits = work.recipe, work.dataset, work.splits
    name = f"{recipe.optim.lr:.12g}-{recipe.loss.weighting}-{len(recipe.model.kernel)}"
    for fold in work.folds:
        note(job, f"begin {name} {fold}")
        time.sleep(0.02 * recipe.train.epochs)
        cells = splits.validation(fold)
        rng = np.random.default_rng(fold)
        wrong = min(0.9, 0.1 + 0.4 * abs(np.log10(recipe.optim.lr / 3e-3)))
        predicted = np.where(rng.random(len(cells)) < wrong, 0, dataset.labels[cells])
        probabilities = np.eye(len(dataset.classes), dtype=np.float32)[predicted]
        note(job, f"end {name} {fold}")
        yield FoldResult(fold, cells, probabilities, 0.02, 1000.0, 1, ())


def failing(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """Fails after a fold where classes are weighted."""
    for result in fake(job, work):
        yield result
        if work.recipe.loss.weighting == "sqrt":
            raise TrialError("loss is not finite in epoch 1")


def held(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """The second fold of a trial never ends: who waits for its end waits forever."""
    for result in fake(job, work):
        yield result
        while True:
            time.sleep(0.01)


def spending(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """The second fold of a trial takes all the time that ``spend_until`` leaves."""
    for result in fake(job, work):
        yield result
        until = job.run_folder / "until"
        while until.exists() and time.time() < float(until.read_text()):
            time.sleep(0.05)


def spend_until(job: SearchJob, moment: float) -> None:
    """Trials computed by ``spending`` take until then, in seconds since 1970."""
    (job.run_folder / "until").write_text(str(moment))


def hopeless(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """Fails always, by a fault in the code."""
    raise ZeroDivisionError("division by zero")
    yield


def dying(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """The worker dies once, after the first fold of the baseline."""
    for result in fake(job, work):
        yield result
        marker = job.run_folder / "died"
        if not marker.exists():
            marker.touch()
            os._exit(9)


def doomed(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """The worker dies whenever classes are weighted."""
    for result in fake(job, work):
        if work.recipe.loss.weighting == "sqrt":
            os._exit(9)
        yield result


COMPUTES: dict[str, Compute] = {
    "train": train,
    "fake": fake,
    "failing": failing,
    "held": held,
    "spending": spending,
    "hopeless": hopeless,
    "dying": dying,
    "doomed": doomed,
}


def note(job: SearchJob, line: str) -> None:
    """Append a line that no other process can break up."""
    with (job.run_folder / "computed.log").open("a") as file:
        file.write(line + "\n")


def computed(job: SearchJob) -> list[str]:
    """Folds that were computed to their end, in order."""
    path = job.run_folder / "computed.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix("end ") for line in lines if line.startswith("end ")]


def backend_of(name: str, compute: str) -> Backend:
    """A backend that computes by a stand-in."""
    if name == "local":
        return LocalBackend(COMPUTES[compute])
    from cellsearch.tune.ray_tune import RayBackend

    return RayBackend(COMPUTES[compute])


def main(folder: str, name: str, budget: str, compute: str, epochs: str) -> None:
    """Run a search as a process of its own."""
    from cellsearch.tune.search import search

    job = replace(job_in(Path(folder)), budget=int(budget), slots=2 if name == "ray" else 1)
    outcome = search(job, space(int(epochs)), Recorder(echo=True), backend_of(name, compute))
    states = ",".join(row.state for row in outcome.rows)
    sys.stdout.write(f"outcome interrupted={outcome.interrupted} {states}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
