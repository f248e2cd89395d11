"""The whole job on one page: cells, splits, search, refit, hold-out once, card."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CellsearchError, RunError
from cellsearch.run.check import Checked, check_cells
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import (
    RunRecord,
    clear,
    make_folder,
    read_record,
    replace_text,
    require_free,
    require_same,
    storage_url,
    study_name,
    unfinished,
    write_record,
)
from cellsearch.run.inputs import (
    as_begun,
    built_in_python,
    cells_and_twins,
    frozen_splits,
    space_for,
    splits_for,
)
from cellsearch.run.preflight import (
    left_out,
    require_device,
    require_feasible,
    require_told_apart,
    require_weights,
)
from cellsearch.space.search_space import SearchSpace
from cellsearch.space.without_effect import without_effect
from cellsearch.tune.lock import HeldError
from cellsearch.util.html import Markup, block, line, note, table
from cellsearch.util.messages import Setting

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard
    from cellsearch.data.splits import Splits
    from cellsearch.data.twins import Twin
    from cellsearch.run.observer import RunObserver
    from cellsearch.space.recipe import Recipe
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

    def __repr__(self) -> str:
        scores = [
            f"{name} {row.score:.4f} (trial {row.number})"
            for name, row in (("best", self.best), ("baseline", self.baseline))
            if row is not None and row.score is not None
        ]
        end = "interrupted" if self.interrupted else "finished"
        facts = ", ".join([f"{len(self.trials)} trials", *scores, end])
        return f"SearchResult({str(self.folder)!r}, {facts})"

    def _repr_html_(self) -> str:

        return result_html(self)

    def leaderboard(self) -> list[TrialRow]:
        """Complete trials, best first."""
        return [row for row in self.trials if row.state == "COMPLETE"]


def search(
    dataset: CellDataset | str | Path,
    space: SearchSpace | Mapping[str, Any] | str | Path = "default",
    *,
    out: Path | str | None = None,
    observer: RunObserver | None = None,
    **settings: Any,
) -> SearchResult:
    """Search recipes for these cells and hand over the best as a model card.

    Args:
        dataset: cells, or the name or path of a dataset.
        space: a search space, its name or path, or what ``SearchSpace.from_dict`` takes.
        out: the run's folder; by default that of an unfinished run of the same request, cells and
            space in ``runs``, else the next ``runs/<dataset>-<date>-<n>``.
        observer: who watches; by default nobody.
        settings: any other field of ``RunConfig``: ``budget``, ``metric``, ``folds``, ...

    Raises:
        CellsearchError: the run cannot start; nothing is left half-written.
    """
    cells, built = built_in_python(dataset, space, settings)
    config = RunConfig.of(
        dataset=str(dataset) if cells is None else cells.name,
        space=str(space) if built is None else built.name,
        **settings,
    )
    place = Path(out) if out is not None else None
    return start(config, out=place, cells=cells, space=built, observer=observer)


def resume(
    folder: Path | str,
    *,
    observer: RunObserver | None = None,
    command: str | None = None,
    **changes: Any,
) -> SearchResult:
    """Go on with an interrupted run; what is finished is not done again.

    Args:
        folder: of the run. Cells and spaces built in Python are read back from it.
        observer: who watches; by default nobody.
        command: what was typed, for the card.
        changes: ``budget``, ``seconds``, ``slots``, ``threads``, ``backend``, ``address``,
            ``abstain``, ``sets``.

    Raises:
        RunError: not the folder of a run, it is finished, or a value is out of bounds.
        MismatchError: its cells, splits or space are others by now.
    """
    folder = Path(folder)
    record = read_record(folder)
    config = record.config.changed(**changes)
    return start(config, out=folder, observer=observer, command=command)


def start(
    config: RunConfig,
    *,
    out: Path | None = None,
    runs: Path = Path("runs"),
    fresh: bool = False,
    cells: CellDataset | None = None,
    space: SearchSpace | None = None,
    splits: Splits | None = None,
    checked: Checked | None = None,
    observer: RunObserver | None = None,
    command: str | None = None,
) -> SearchResult:
    """Start a run, or go on with the one in ``out`` (or the newest unfinished one like it).

    ``splits`` are drawn, and cells are ``checked``, where that was not done already; a run that was
    begun keeps its own splits and is not checked again.
    """
    from cellsearch.run.observer import Silent

    observer = observer or Silent()
    old = read_record(out) if out is not None and (out / "run.json").exists() else None
    if old is not None and old.state == "finished":
        raise RunError(
            f"{out} is finished: its hold-out has been scored, so searching on would be "
            "choosing by it; see it with `cellsearch show`, or start anew with another folder: ",
            Setting("out", "FOLDER"),
        )
    was_there = out is not None and old is None and require_free(out)
    twins: Sequence[Twin] | None = None
    if cells is not None:
        cells, twins = cells_and_twins(config, None, cells, observer)
    cells, space, built = as_begun(old, out, cells, space)
    if out is None and not fresh and (found := unfinished(config, runs, cells=cells, space=space)):
        out, old = found, read_record(found)
    space = space or space_for(config, out)
    if config.init_from is None:
        require_weights(space)
    if cells is None:
        cells, twins = cells_and_twins(config, out, None, observer)
    if config.init_from is not None:
        from cellsearch.run.warm_start import begin_from

        space = begin_from(config.init_from, space, cells)
    frozen = None if old is None else frozen_splits(out, cells)
    if old is not None and frozen is not None:
        # What it was begun with was checked then, and what was accepted stays so.
        config = config.changed(accept=(*old.config.accept, *config.accept))
        splits, accepted = frozen, old.accepted
    else:
        if checked is None:
            named = "cells" not in built
            checked = check_cells(config, cells, observer, named=named, splits=splits, twins=twins)
        splits, accepted = splits_for(config, cells, splits, checked), checked.accepted
    require_feasible(space, cells, splits)
    require_told_apart(config, cells)
    for finding in without_effect(space):
        observer.message(f"space {space.name!r}: {finding}")
    omitted = left_out(space, cells)
    for reason, count in Counter(omitted.values()).items():
        trials = f"{count} initial trial{'s' * (count > 1)}"
        observer.message(f"space {space.name!r}: {trials} left out: {reason}")
    require_device(config)
    folder, made = (
        (out, False) if old and out else make_folder(out, config, runs, was_there=was_there)
    )
    record = RunRecord(
        config=config,
        dataset_folder=cells.folder or Path(),
        dataset_sha256=cells.sha256,
        space_sha256=space.sha256,
        splits_sha256=splits.sha256,
        created=old.created if old else datetime.now(UTC).isoformat(timespec="seconds"),
        command=_commands(old, config, command) or f"cellsearch resume {shlex.quote(str(folder))}",
        study=study_name(old, folder) if old else folder.resolve().name,
        built=built,
        accepted=accepted,
    )
    if old is not None:
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
        outcome = _searched(record, folder, cells, splits, space, observer, omitted=omitted)
    except HeldError:
        raise
    except CellsearchError:
        if made or was_there:
            clear(folder, keep=was_there)
        raise
    card = None
    if not outcome.interrupted:
        try:
            card = _handed_over(record, folder, cells, splits, outcome, observer)
        except KeyboardInterrupt:
            observer.message(
                f"interrupted; go on with: cellsearch resume {shlex.quote(str(folder))}"
            )
            raise
        write_record(folder, record.model_copy(update={"state": "finished"}))
    return SearchResult(
        folder=folder,
        best=outcome.best,
        baseline=outcome.baseline,
        trials=tuple(outcome.rows),
        card=card,
        interrupted=outcome.interrupted,
    )


def _commands(old: RunRecord | None, config: RunConfig, command: str | None) -> str:
    """What was typed to make the run; a line more where going on asked for something else."""
    if old is None:
        return command or ""
    changed = command and config != old.config and command not in old.command.splitlines()
    return f"{old.command}\n{command}" if changed else old.command


def _searched(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    space: SearchSpace,
    observer: RunObserver,
    *,
    omitted: Container[Recipe],
) -> SearchOutcome:
    from cellsearch.tune.backend import backend
    from cellsearch.tune.search import search as search_trials
    from cellsearch.tune.study import outcome_of, read_study

    job = _job(record, folder, cells)
    if (folder / "holdout.json").exists():
        # Trials from now on would be chosen after the look; what is left to write is the card.
        observer.message("the hold-out has been scored, so no more trials are made")
        study = read_study(job.storage_url, job.study_name)
        return outcome_of(study, interrupted=False, timed_out=False)
    observer.begins(folder, cells, splits, job)
    if record.config.backend == "ray":
        where = "here" if job.address is None else f"at {job.address}"
        observer.message(f"starting Ray {where}; trials at a time: {job.slots}")
    try:
        return search_trials(job, space, observer, backend(record.config.backend), left_out=omitted)
    finally:
        observer.ends()


def _job(record: RunRecord, folder: Path, cells: CellDataset) -> SearchJob:
    from cellsearch.tune.job import SearchJob

    config = record.config
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
        study_name=study_name(record, folder),
        address=config.address,
        race=config.race,
        init_from=None if config.init_from is None else config.init_from.resolve(),
        precision=None if config.precision == "auto" else config.precision,
    )


def _handed_over(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    observer: RunObserver,
) -> ModelCard:
    from cellsearch.run.finalize import hand_over

    if outcome.best is None:
        reasons = sorted({row.reason for row in outcome.rows if row.reason})
        raise RunError(
            "no trial was completed, so there is nothing to hand over: "
            + ("; ".join(reasons[:3]) or "the budget or the time was too small")
        )
    return hand_over(record, folder, cells, splits, outcome, observer)


ROWS = 10


def html(thing: object) -> str:
    """What a notebook shows of a data set, splits, space, recipe, search result or card.

    No script, nothing fetched, all text escaped; readable on light and dark ground.

    Raises:
        TypeError: something else.
    """
    shown = getattr(thing, "_repr_html_", None)
    if not type(thing).__module__.startswith("cellsearch.") or shown is None:
        raise TypeError(f"no HTML for {type(thing).__name__}")
    return str(shown())


def result_html(result: SearchResult) -> str:
    """Verdict, figures of the hold-out, and the leaderboard."""
    from cellsearch.card.card import headline_parts

    complete = result.leaderboard()
    parts: list[Markup] = []
    if result.interrupted:
        parts.append(line(f"interrupted; go on with cellsearch.resume({str(result.folder)!r})"))
    if result.card is not None:
        parts += headline_parts(result.card)
    parts.append(_leaderboard(complete))
    fates = (("PRUNED", "stopped early"), ("FAIL", "failed"), ("RUNNING", "unfinished"))
    counts = [
        f"{number} {said}"
        for state, said in fates
        if (number := sum(row.state == state for row in result.trials))
    ]
    more = [f"{len(complete) - ROWS} more complete"] if len(complete) > ROWS else []
    parts.append(note(", ".join([f"{len(complete)} trials complete", *more, *counts])))
    return block(f"search: {result.folder}", *parts)


def _leaderboard(complete: list[TrialRow]) -> Markup:
    from cellsearch.space.recipe import brief

    rows = [
        (
            f"{row.number}{' (baseline)' if row.baseline else ''}",
            "" if row.score is None else f"{row.score:.4f}",
            f"{row.seconds / 60:.1f}",
            brief(row.recipe),
        )
        for row in complete[:ROWS]
    ]
    return table(["trial", "out-of-fold score", "minutes", "recipe"], rows, numbers=(1, 2))
