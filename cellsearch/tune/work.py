"""What a worker does: one recipe through its folds, each durably written, and a stream of reports.

trials/0007/recipe.json   what the folds below were made of
trials/0007/fold-0.npz    out-of-fold predictions, written at once and whole
trials/0007/rung-1/       the same of a short training of the recipe
trials/0007/error.txt     the traceback, where the trial failed
trials/0007/lock          held by the worker that is at it
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import CellsearchError, RunError, TimeUpError, TrialError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.models import ClassicalModel
from cellsearch.space.parameters import ParamValue
from cellsearch.space.recipe import Recipe
from cellsearch.tune.job import FOLD_FILE, Report, SearchJob, Task, trial_folder
from cellsearch.tune.limits import Fitted, fitted
from cellsearch.tune.rungs import Rung, rung_numbered, shortened, training_cells
from cellsearch.util.atomic import write_whole_text


@dataclass(frozen=True)
class Work:
    """Folds to be trained.

    Attributes:
        recipe: as it is trained: on a rung, with the epochs of that rung.
        dataset: the cells.
        splits: of the study.
        folds: to train, in that order.
        precision: of folds that were trained before; None takes the fastest.
        rung: None for the full training.
        deadline: seconds since the epoch, after which a training stops.
    """

    recipe: Recipe
    dataset: CellDataset
    splits: Splits
    folds: Sequence[int]
    precision: str | None = None
    rung: Rung | None = None
    deadline: float | None = None


Compute = Callable[[SearchJob, Work], Iterator[FoldResult]]
"""Trains the folds of some work, in that order."""


def train(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """Out-of-fold predictions by ``cross_validate``; imports torch at the first fold.

    Raises:
        TrialError: the recipe cannot be trained.
        TimeUpError: the deadline came amid a fold.
    """
    from cellsearch.learn.evaluate import cross_validate
    from cellsearch.learn.precision import Precision
    from cellsearch.learn.transfer import read_backbone

    asked = job.precision or work.precision
    yield from cross_validate(
        work.recipe,
        work.dataset,
        work.splits,
        seed=job.seed,
        folds=work.folds,
        device=job.device,
        threads=threads_of(job, work.recipe),
        precision=None if asked is None else Precision.parse(asked),
        backbone=None if job.init_from is None else read_backbone(job.init_from),
        training=None
        if work.rung is None
        else training_cells(work.splits, work.dataset.labels, work.rung, seed=job.seed),
        # The prior of the counts is learnt in the course of a training, and a rung is a short one.
        estimate_priors=work.rung is not None,
        deadline=work.deadline,
    )


def threads_of(job: SearchJob, recipe: Recipe) -> int:
    """CPU threads of a trial of that recipe.

    The libraries of the classical families wait for each other's threads in a busy loop: two
    trials of two threads on two cores take four times as long as of one.
    """
    side_by_side = job.slots > 1 and isinstance(recipe.model, ClassicalModel)
    return 1 if side_by_side else job.threads


def execute(
    job: SearchJob,
    trial_number: int,
    recipe_params: Mapping[str, ParamValue],
    *,
    rung: Rung | None = None,
    deadline: float | None = None,
    compute: Compute = train,
) -> Iterator[FoldResult]:
    """The folds of one trial, in order: read where they lie on disk, else computed and written.

    A fold is handed out only once it is durably on disk, so whoever hears of it may rely on it.
    Folds that were made of another recipe, seed, data set, splits or weights are deleted.

    Args:
        job: of the search.
        trial_number: of the trial in the study.
        recipe_params: flat, in full.
        rung: that the trial is on; None for the full training.
        deadline: seconds since the epoch, after which a training stops.
        compute: makes the folds.

    Raises:
        TrialError: the recipe cannot be trained.
        TimeUpError: the deadline came amid a fold.
        RunError: a fold cannot be written.
    """
    dataset = CellDataset.open(job.dataset_folder)
    splits = Splits.load(job.splits_path, dataset)
    recipe, folds = Recipe.from_params(recipe_params), range(splits.k)
    if rung is not None:
        cells = len(training_cells(splits, dataset.labels, rung, seed=job.seed)[0])
        recipe, folds = shortened(recipe, rung, cells), rung.folds_of(splits.k)
    folder = trial_folder(job.run_folder, trial_number, 0 if rung is None else rung.number)
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that outlives a killed driver may still be at this trial; its fold must not be
    # computed twice.
    with _held(folder / "lock"):
        _claim(folder, _identity(job, recipe.to_params(), dataset, splits))
        stored = {fold: read_fold(folder / FOLD_FILE.format(fold)) for fold in folds}
        known = next((result.precision for result in stored.values() if result is not None), None)
        missing = [fold for fold, result in stored.items() if result is None]
        computed = compute(job, Work(recipe, dataset, splits, missing, known, rung, deadline))
        for fold, result in stored.items():
            if result is None:
                result = next(computed)
                result.save(folder / FOLD_FILE.format(fold))
            yield result


def attempt(
    job: SearchJob, task: Task, *, compute: Compute = train
) -> Generator[Report, None, None]:
    """A trial as a stream of reports, the last of which says how it ended; never raises.

    (KeyboardInterrupt and the like pass.)
    """
    began = time.monotonic()
    try:
        for report in _reports(job, task, compute):
            yield report.after(time.monotonic() - began)
    except TimeUpError:
        yield Report("suspended", seconds=time.monotonic() - began)
    except TrialError as error:
        _write_error(job, task)
        yield Report("failed", text=str(error), seconds=time.monotonic() - began)
    except (CellsearchError, OSError) as error:
        # Not the recipe's fault: a full disk or lost cells would fail every other one, too.
        _write_error(job, task)
        yield Report("broken", text=str(error), seconds=time.monotonic() - began)
    except Exception as error:
        _write_error(job, task)
        text = " ".join(f"{type(error).__name__}: {error}".split())
        yield Report("failed", text=text, seconds=time.monotonic() - began)


def _reports(job: SearchJob, task: Task, compute: Compute) -> Iterator[Report]:
    if _late(task):
        yield Report("suspended")
        return
    fit = _fitted(job, task)
    if fit.reason:
        yield Report("beyond_limits", text=fit.reason)
        return
    yield Report("started", epochs=fit.recipe.train.epochs)
    for result in execute(
        job,
        task.number,
        fit.recipe.to_params(),
        rung=rung_numbered(task.rung),
        deadline=task.deadline,
        compute=compute,
    ):
        yield Report("fold", fold=result.fold)
        if _late(task):
            # The driver knows whether that was the last fold.
            yield Report("suspended")
            return
    yield Report("final")


def _late(task: Task) -> bool:
    return task.deadline is not None and time.time() > task.deadline


def _fitted(job: SearchJob, task: Task) -> Fitted:
    """The task's recipe within its bounds, as it was found the first time.

    A stopwatch never says the same twice; a worker that takes the task up again must go on with
    the epochs that its folds were trained for.
    """
    if task.bounds is None:
        return Fitted(task.recipe)
    path = trial_folder(job.run_folder, task.number) / "fitted.json"
    epochs = _fitted_before(path, task.recipe)
    if epochs is not None:
        train = task.recipe.train.model_copy(update={"epochs": epochs})
        return Fitted(task.recipe.model_copy(update={"train": train}))
    dataset = CellDataset.open(job.dataset_folder)
    splits = Splits.load(job.splits_path, dataset)
    threads = threads_of(job, task.recipe)
    found = fitted(task.bounds, task.recipe, dataset, splits, device=job.device, threads=threads)
    if not found.reason:
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"recipe": task.recipe.to_params(), "epochs": found.recipe.train.epochs}
        write_whole_text(path, json.dumps(facts) + "\n")
    return found


def _fitted_before(path: Path, recipe: Recipe) -> int | None:
    """Epochs that a recipe was given before, be it the drawn one or already the shortened one."""
    try:
        stored = json.loads(path.read_text())
        drawn, epochs = stored["recipe"], int(stored["epochs"])
    except (OSError, ValueError, KeyError):
        # Not there yet, or torn: it is timed now.
        return None
    return epochs if recipe.to_params() in (drawn, drawn | {"train.epochs": epochs}) else None


def read_fold(path: Path) -> FoldResult | None:
    """A fold from disk; None where there is none, or it cannot be read."""
    try:
        return FoldResult.load(path) if path.exists() else None
    except RunError:
        # Whatever is wrong with the file, the fold can be computed again.
        return None


def _identity(
    job: SearchJob, params: Mapping[str, ParamValue], dataset: CellDataset, splits: Splits
) -> dict[str, Any]:
    identity = {
        "recipe": dict(params),
        "seed": job.seed,
        "dataset_sha256": dataset.sha256,
        "splits_sha256": splits.sha256,
    }
    if job.init_from is not None:
        # The card may have been written anew under the same name.
        weights = (job.init_from / "model.safetensors").read_bytes()
        identity["init_from_sha256"] = hashlib.sha256(weights).hexdigest()
    return identity


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Make the folder that of this recipe; folds of another one are deleted."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    path = folder / "recipe.json"
    text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
    if path.exists() and path.read_text() == text:
        return
    for stale in folder.glob(FOLD_FILE.format("*")):
        stale.unlink()
    (folder / "error.txt").unlink(missing_ok=True)
    write_whole_text(path, text)


def _write_error(job: SearchJob, task: Task) -> None:
    folder = trial_folder(job.run_folder, task.number)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(traceback.format_exc())
    except OSError:
        # A full disk must not hide what went wrong first; the driver gets the text.
        return


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Wait for a lock that the kernel drops when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
