"""The whole job on one page: cells, splits, search, refit, hold-out once, card."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.data.dataset import CellDataset
from cellsearch.data.rare import apply_rare
from cellsearch.data.source import cache_folder, load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.data.task import apply_task
from cellsearch.errors import CellsearchError, RunError
from cellsearch.preflight import require_feasible, require_weights
from cellsearch.run_folder import (
    RunConfig,
    RunRecord,
    new_folder,
    read_record,
    replace_text,
    require_same,
    storage_url,
    unfinished,
    write_record,
)
from cellsearch.space.search_space import SearchSpace

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard
    from cellsearch.progress import RunObserver
    from cellsearch.tune.job import SearchJob
    from cellsearch.tune.study import SearchOutcome, TrialRow


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        folder: the run's folder.
        best: the complete trial with the highest score.
        baseline: trial 0; None if it failed.
        trials: every trial, best first.
        card: the exported model; None when the search was interrupted.
        interrupted: stopped before its budget was spent; ``resume(folder)`` goes on.
    """

    folder: Path
    best: TrialRow | None
    baseline: TrialRow | None
    trials: tuple[TrialRow, ...]
    card: ModelCard | None
    interrupted: bool

    def leaderboard(self) -> list[TrialRow]:
        """Complete trials, best first."""
        return [row for row in self.trials if row.state == "COMPLETE"]


def search(
    dataset: CellDataset | str,
    space: SearchSpace | str = "default",
    *,
    out: Path | str | None = None,
    observer: RunObserver | None = None,
    **settings: Any,
) -> SearchResult:
    """Search recipes for these cells and hand over the best as a model card.

    Args:
        dataset: cells, or the name or path of a dataset.
        space: a search space, or its name or path.
        out: the run's folder; by default the next ``runs/<dataset>-<date>-<n>``.
        observer: who watches; by default nobody.
        settings: any other field of ``RunConfig``: ``budget``, ``metric``, ``folds``, ...

    Raises:
        CellsearchError: the run cannot start; nothing is left half-written.
    """
    config = RunConfig.of(
        dataset=dataset if isinstance(dataset, str) else dataset.name,
        space=space if isinstance(space, str) else space.name,
        **settings,
    )
    return start(
        config,
        out=Path(out) if out is not None else None,
        cells=None if isinstance(dataset, str) else dataset,
        space=None if isinstance(space, str) else space,
        observer=observer,
    )


def resume(
    folder: Path | str, *, observer: RunObserver | None = None, **changes: Any
) -> SearchResult:
    """Go on with an interrupted run; ``changes`` may name budget, seconds, slots and the like."""
    folder = Path(folder)
    record = read_record(folder)
    values = {name: getattr(record.config, name) for name in RunConfig.model_fields} | changes
    return start(RunConfig.of(**values), out=folder, observer=observer)


def start(
    config: RunConfig,
    *,
    out: Path | None = None,
    runs: Path = Path("runs"),
    fresh: bool = False,
    cells: CellDataset | None = None,
    space: SearchSpace | None = None,
    observer: RunObserver | None = None,
    command: str | None = None,
) -> SearchResult:
    """Start a run, or go on with the one in ``out`` (or the newest unfinished one like it)."""
    from cellsearch.progress import Silent

    observer = observer or Silent()
    folder = out or (None if fresh else unfinished(config, runs))
    space = space or _space_of(config, folder)
    if config.init_from is None:
        require_weights(space)
    if cells is None:
        cells = _cells_of(config, folder, observer)
    else:
        cells = apply_task(cells, **config.task)
    cells = _saved(apply_rare(cells, rare=config.rare, folds=config.folds, split=config.split))
    folder = folder or new_folder(config, runs)
    old = read_record(folder) if (folder / "run.json").exists() else None
    if old is None and folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} holds other files; give --out a new folder")
    if old is not None and old.state == "finished":
        raise RunError(
            f"{folder} is finished: its hold-out has been scored, so searching on would be "
            "choosing by it; see it with `cellsearch show`, or start anew with another --out"
        )
    if config.init_from is not None:
        from cellsearch.init_from import begin_from

        space = begin_from(config.init_from, space, cells)
    splits = _splits_of(config, folder, cells, observer)
    require_feasible(space, cells, splits)
    record = RunRecord(
        config=config,
        dataset_folder=cells.folder or Path(),
        dataset_sha256=cells.sha256,
        space_sha256=space.sha256,
        splits_sha256=splits.sha256,
        created=old.created if old else datetime.now(UTC).isoformat(timespec="seconds"),
        command=old.command if old else command or f"cellsearch resume {folder}",
    )
    if old is None:
        folder.mkdir(parents=True, exist_ok=True)
    else:
        require_same(
            old,
            record,
            old_space=(folder / "space.yaml").read_text(),
            new_space=space.to_yaml(),
        )
        observer.message(f"going on with {folder}")
    try:
        replace_text(folder / "space.yaml", space.to_yaml())
        splits.save(folder / "splits.json")
        write_record(folder, record)
        outcome = _searched(config, folder, cells, splits, space, observer)
    except CellsearchError:
        if old is None and not (folder / "trials").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    card = None
    if not outcome.interrupted:
        card = _handed_over(record, folder, cells, splits, outcome, observer)
        write_record(folder, record.model_copy(update={"state": "finished"}))
    return SearchResult(
        folder=folder,
        best=outcome.best,
        baseline=outcome.baseline,
        trials=tuple(outcome.rows),
        card=card,
        interrupted=outcome.interrupted,
    )


def _space_of(config: RunConfig, folder: Path | None) -> SearchSpace:
    """The space by name or path; a space built in Python is read back from the run."""
    stored = folder / "space.yaml" if folder else None
    try:
        return SearchSpace.load(config.space)
    except CellsearchError:
        if stored is None or not stored.exists():
            raise
        return SearchSpace.load(str(stored))


def _cells_of(config: RunConfig, folder: Path | None, observer: RunObserver) -> CellDataset:
    """The cells by name or path; arrays given in Python are read back from the cache."""
    options: dict[str, Any] = dict(config.options)
    try:
        cells = load_dataset(
            config.dataset,
            variant=config.variant,
            mirror=config.mirror,
            on_progress=observer.progress,
            **options,
        )
    except CellsearchError:
        if folder is None or not (folder / "run.json").exists():
            raise
        stored = read_record(folder).dataset_folder
        if not stored.is_dir():
            raise
        # They were stored with the task applied.
        return CellDataset.open(stored)
    return apply_task(cells, **config.task)


def _saved(cells: CellDataset) -> CellDataset:
    """Cells on disk, where every worker maps them."""
    if cells.folder is not None:
        return cells
    folder = cache_folder() / "arrays" / cells.sha256
    return CellDataset.open(folder) if folder.is_dir() else cells.save(folder)


def _splits_of(
    config: RunConfig, folder: Path, cells: CellDataset, observer: RunObserver
) -> Splits:
    """The frozen splits of the run, or new ones."""
    if (folder / "splits.json").exists():
        return Splits.load(folder / "splits.json", cells)
    observer.message("looking for twins and drawing the splits")
    return draw_splits(
        cells,
        folds=config.folds,
        holdout=config.holdout,
        split=config.split,
        seed=config.seed,
        rare=config.rare,
    )


def _searched(
    config: RunConfig,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    space: SearchSpace,
    observer: RunObserver,
) -> SearchOutcome:
    from cellsearch.tune.backend import backend
    from cellsearch.tune.search import search as search_trials

    job = _job(config, folder, cells)
    observer.begins(folder, cells, splits, job)
    try:
        return search_trials(job, space, observer, backend(config.backend))
    finally:
        observer.ends()


def _job(config: RunConfig, folder: Path, cells: CellDataset) -> SearchJob:
    from cellsearch.tune.job import SearchJob

    folder = folder.resolve()
    threads = config.threads or 1
    slots = config.slots or max(1, (os.cpu_count() or 1) // threads)
    if config.backend == "local":
        threads, slots = config.threads or os.cpu_count() or 1, 1
    return SearchJob(
        run_folder=folder,
        dataset_folder=cells.folder or Path(),
        splits_path=folder / "splits.json",
        metric=config.metric,
        seed=config.seed,
        device=config.device,
        threads=threads,
        slots=slots,
        budget=config.budget,
        seconds=config.seconds,
        storage_url=storage_url(config, folder),
        study_name=folder.name,
        address=config.address,
        race=config.race,
        init_from=None if config.init_from is None else config.init_from.resolve(),
    )


def _handed_over(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    observer: RunObserver,
) -> ModelCard:
    from cellsearch.handover import hand_over

    if outcome.best is None:
        reasons = sorted({row.reason for row in outcome.rows if row.reason})
        raise RunError(
            "no trial was completed, so there is nothing to hand over: "
            + ("; ".join(reasons[:3]) or "the budget or the time was too small")
        )
    return hand_over(record, folder, cells, splits, outcome, observer)
