"""What travels between driver and worker: the job, a task, a report; and where folds lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.recipe import Recipe
from cellsearch.tune.limits import Bounds
from cellsearch.util.json_text import from_json

FOLD_FILE = "fold-{}.npz"
Event = Literal["started", "fold", "final", "failed", "broken", "beyond_limits", "suspended"]


@dataclass(frozen=True)
class SearchJob:
    """All that a search needs to know, apart from its space; plain values that travel.

    Attributes:
        run_folder: absolute; on storage that every worker sees.
        dataset_folder: where ``CellDataset.open`` finds the cells.
        splits_path: ``splits.json``.
        metric: one of ``cellsearch.stats.metrics.METRICS``.
        seed: of the sampler and of every fit.
        device: "auto", "cpu", "cuda", "mps".
        threads: CPU threads of one trial.
        slots: trials at a time.
        budget: COMPLETE and PRUNED trials to reach, trial 0 included; None is no bound.
        seconds: wall clock of this start, final fit and card included; None is no bound.
        storage_url: SQLAlchemy URL of the study.
        study_name: unique in that storage.
        address: of a Ray cluster; None starts one here.
        race: stop a trial that is very probably worse than the best one.
        ladder: train networks briefly before some of them are trained in full.
        init_from: a card with whose weights networks of the same model begin.
        precision: as ``bf16+channels_last``; None times what the device offers, once a trial.
        final_folds: how many trainings of a fold the final model will cost.
        final_trials: how many of the best trials it may be made of.
    """

    run_folder: Path
    dataset_folder: Path
    splits_path: Path
    metric: str
    seed: int
    device: str
    threads: int
    slots: int
    budget: int | None
    seconds: float | None
    storage_url: str
    study_name: str
    address: str | None = None
    race: bool = True
    ladder: bool = True
    init_from: Path | None = None
    precision: str | None = None
    final_folds: float = 1.25
    final_trials: int = 1

    def to_json(self) -> str:
        """One line, for another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``."""
        facts = from_json(text)
        for name in ("run_folder", "dataset_folder", "splits_path", "init_from"):
            facts[name] = None if facts[name] is None else Path(facts[name])
        return cls(**facts)


@dataclass(frozen=True)
class Task:
    """One trial for a worker.

    Attributes:
        number: of the trial in the study.
        recipe: what to train.
        baseline: trial 0, which limits and races spare.
        bounds: what a fold may cost; None where the trial is spared, or has begun before.
        deadline: seconds since the epoch, after which no new fold begins, and a network stops at
            the end of an epoch.
        rung: number of the rung; 0 is the full training.
    """

    number: int
    recipe: Recipe
    baseline: bool = False
    bounds: Bounds | None = None
    deadline: float | None = None
    rung: int = 0

    def to_json(self) -> str:
        """One line, for Ray."""
        facts = {
            "number": self.number,
            "recipe": self.recipe.to_params(),
            "baseline": self.baseline,
            "bounds": asdict(self.bounds) if self.bounds else None,
            "deadline": self.deadline,
            "rung": self.rung,
        }
        return json.dumps(facts)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``."""
        facts = from_json(text)
        bounds = Bounds(**facts["bounds"]) if facts["bounds"] else None
        recipe = Recipe.from_params(facts["recipe"])
        return cls(
            facts["number"], recipe, facts["baseline"], bounds, facts["deadline"], facts["rung"]
        )


@dataclass(frozen=True)
class Report:
    """What a worker tells the driver.

    Attributes:
        event: "started", "fold" (it lies on disk), "final" (no more folds), "failed" (this
            recipe), "broken" (no recipe would get through), "beyond_limits" (nothing was trained)
            or "suspended" (the time is up).
        fold: of "fold"; -1 otherwise.
        text: reason of "failed", "broken" and "beyond_limits".
        seconds: since the trial began on this worker.
        epochs: of "started": what the recipe is trained for in full; 0 otherwise.
    """

    event: Event
    fold: int = -1
    text: str = ""
    seconds: float = 0.0
    epochs: int = 0

    def after(self, seconds: float) -> Self:
        """The same, with its time."""
        return replace(self, seconds=seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for Ray."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``; other keys are Ray's."""
        return cls(
            facts["event"],
            int(facts["fold"]),
            str(facts["text"]),
            float(facts["seconds"]),
            int(facts["epochs"]),
        )


def trial_folder(run_folder: Path, number: int, rung: int = 0) -> Path:
    """``trials/0007``; of its short training, ``trials/0007/rung-1``."""
    folder = run_folder / "trials" / f"{number:04d}"
    return folder / f"rung-{rung}" if rung else folder


def fold_path(run_folder: Path, number: int, fold: int, rung: int = 0) -> Path:
    """``trials/0007/fold-0.npz``."""
    return trial_folder(run_folder, number, rung) / FOLD_FILE.format(fold)


def finished_folds(
    run_folder: Path, number: int, folds: Iterable[int], rung: int = 0
) -> list[FoldResult]:
    """The folds of a trial, or of a rung of it, from disk, in the order asked for.

    Raises:
        RunError: one of them is missing or damaged.
    """
    found = []
    for fold in folds:
        path = fold_path(run_folder, number, fold, rung)
        try:
            found.append(FoldResult.load(path))
        except RunError as error:
            raise RunError(f"trial {number}, fold {fold} failed: ", error) from None
    return found
