"""The whole job on one page: cells, splits, search, refit, hold-out once, card."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
    require_same_storage,
    storage_url,
    study_name,
    unfinished,
    write_record,
)
from cellsearch.run.history import damage_to
from cellsearch.run.inputs import (
    NOTHING_GIVEN,
    Given,
    built_in_python,
    cells_and_duplicates,
    frozen_splits,
    space_for,
    splits_for,
)
from cellsearch.run.looks import warn_of_looks
from cellsearch.run.observer import Silent
from cellsearch.run.preflight import (
    impossible,
    left_out,
    not_drawn,
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
from cellsearch.util.named_path import require_nameable
from cellsearch.util.tables import Table

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard
    from cellsearch.data.near_duplicates import DuplicatePair
    from cellsearch.data.splits import Splits
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
    return start(
        config,
        out=None if out is None else Path(out),
        cells=cells,
        space=built,
        observer=observer,
    )


def resume(
    folder: Path | str,
    *,
    observer: RunObserver | None = None,
    command: str | None = None,
    **changes: Any,
) -> SearchResult:
    """Go on with an interrupted run; what is finished is not done again.

    Of a finished run whose card does not verify, as after a power cut, the card is written anew.

    Args:
        folder: of the run. Cells and spaces built in Python are read back from it.
        observer: who watches; by default nobody.
        command: what was typed, for the card.
        changes: ``budget``, ``seconds``, ``slots``, ``threads``, ``backend``, ``address``,
            ``abstain``, ``sets``; ``storage`` is given anew for its password alone.

    Raises:
        RunError: not the folder of a run, it is finished, or a value is out of bounds.
        MismatchError: its cells, splits, space or storage are others by now.
    """
    folder = Path(folder)
    record = read_record(folder)
    require_same_storage(record.config, changes.get("storage"))
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
    observer: RunObserver | None = None,
    command: str | None = None,
) -> SearchResult:
    """Execute the run in ``out``, or the newest unfinished one like it, or a new one.

    Args:
        config: the request.
        out: folder of the run; None looks for an unfinished one below ``runs``.
        runs: parent of folders that are not asked for.
        fresh: a new run, also where an unfinished one was asked the same.
        cells: built in Python, in place of those that ``config`` names.
        space: likewise.
        observer: who watches; by default nobody.
        command: what was typed.
    """
    if out is not None:
        require_place(out)
    given = Given.of(config, cells, space, observer)
    if out is None and not fresh:
        out = unfinished(config, runs, cells=given.cells, space=given.space)
    run = Run.of(config, out=out, runs=runs, given=given, observer=observer, command=command)
    return run.execute()


@dataclass(frozen=True, eq=False)
class Run:
    """A run and all that it needs, on disk and in memory.

    Attributes:
        folder: of the run.
        record: ``run.json``.
        cells: that it learns from, task and rare classes applied.
        splits: frozen.
        space: of the search.
        observer: who watches.
        created: made by this process, so that a refusal at its start takes it away again.
        folder_was_there: the folder was there, and empty, before; it stays.
        began: when this process began with it, by ``time.monotonic``; a time limit counts from
            there.
    """

    folder: Path
    record: RunRecord
    cells: CellDataset
    splits: Splits
    space: SearchSpace
    observer: RunObserver
    created: bool = False
    folder_was_there: bool = False
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(
        cls,
        config: RunConfig,
        *,
        out: Path | None = None,
        runs: Path = Path("runs"),
        given: Given = NOTHING_GIVEN,
        splits: Splits | None = None,
        checked: Checked | None = None,
        observer: RunObserver | None = None,
        command: str | None = None,
    ) -> Run:
        """The run that was begun in ``out``, or a new one; arguments as for ``create``."""
        if out is not None and (out / "run.json").exists():
            return cls.open(
                out,
                config=config,
                given=given,
                splits=splits,
                checked=checked,
                observer=observer,
                command=command,
            )
        return cls.create(
            config,
            out=out,
            runs=runs,
            given=given,
            splits=splits,
            checked=checked,
            observer=observer,
            command=command,
        )

    @classmethod
    def create(
        cls,
        config: RunConfig,
        *,
        out: Path | None = None,
        runs: Path = Path("runs"),
        given: Given = NOTHING_GIVEN,
        splits: Splits | None = None,
        checked: Checked | None = None,
        observer: RunObserver | None = None,
        command: str | None = None,
    ) -> Run:
        """Check the cells, draw the splits, and make the folder of a new run.

        Args:
            config: the request.
            out: the run's folder; None takes the next ``runs/<dataset>-<date>-<n>``.
            runs: parent of folders that are not asked for.
            given: cells and space built in Python.
            splits: in place of those that would be drawn.
            checked: what a check of the same cells has found already.
            observer: who watches; by default nobody.
            command: what was typed.

        Raises:
            CellsearchError: the run cannot start; nothing is left half-written.
        """
        began, observer = time.monotonic(), observer or Silent()
        was_there = out is not None and require_free(out)
        space, cells, duplicates = _inputs(config, None, given, observer)
        if checked is None:
            named = given.cells is None
            checked = check_cells(
                config, cells, observer, named=named, splits=splits, duplicates=duplicates
            )
        splits = splits_for(config, cells, splits, checked)
        _require_ready(config, cells, splits, space, observer)
        folder, made = make_folder(out, config, runs, was_there=was_there)
        run = cls(
            folder=folder,
            record=RunRecord(
                id=uuid4().hex,
                config=config,
                dataset_folder=cells.folder or Path(),
                dataset_sha256=cells.sha256,
                space_sha256=space.sha256,
                splits_sha256=splits.sha256,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                command=command or f"cellsearch resume {shlex.quote(str(folder))}",
                study=folder.resolve().name,
                built=given.built,
                accepted=checked.accepted,
            ),
            cells=cells,
            splits=splits,
            space=space,
            observer=observer,
            created=made or was_there,
            folder_was_there=was_there,
            began=began,
        )
        run._save()
        return run

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        config: RunConfig | None = None,
        given: Given = NOTHING_GIVEN,
        splits: Splits | None = None,
        checked: Checked | None = None,
        observer: RunObserver | None = None,
        command: str | None = None,
    ) -> Run:
        """A run that was begun, with the cells, splits and space that it was begun with.

        It keeps its own splits and is not checked again; ``splits`` and ``checked`` are for one
        that was broken off before it had any.

        Args:
            folder: of the run.
            config: what it is asked now; None asks what it was asked.
            given: cells and space built in Python; those of its folder where there are none.
            splits: as for ``create``.
            checked: as for ``create``.
            observer: who watches; by default nobody.
            command: what was typed, where it asks for something else.

        Raises:
            RunError: not the folder of a run, or it is finished.
            MismatchError: its cells, splits, space or request are others by now.
        """
        began, observer = time.monotonic(), observer or Silent()
        old = require_unfinished(folder)
        config = config or old.config
        given = given.or_of(old, folder)
        space, cells, duplicates = _inputs(config, folder, given, observer)
        frozen, accepted = frozen_splits(folder, cells), old.accepted
        if frozen is None:
            if checked is None:
                named = "cells" not in old.built
                checked = check_cells(
                    config, cells, observer, named=named, splits=splits, duplicates=duplicates
                )
            frozen, accepted = splits_for(config, cells, splits, checked), checked.accepted
        else:
            # What it was begun with was checked then, and what was accepted stays so.
            config = config.changed(accept=(*old.config.accept, *config.accept))
        _require_ready(config, cells, frozen, space, observer)
        record = RunRecord(
            id=old.id,
            config=config,
            dataset_folder=cells.folder or Path(),
            dataset_sha256=cells.sha256,
            space_sha256=space.sha256,
            splits_sha256=frozen.sha256,
            created=old.created,
            command=_commands(old, config, command)
            or f"cellsearch resume {shlex.quote(str(folder))}",
            study=study_name(old, folder),
            built=old.built,
            accepted=accepted,
        )
        require_same(
            old,
            record,
            old_space=(folder / "space.yaml").read_text(),
            new_space=space.to_yaml(),
        )
        observer.message(f"resuming {folder}")
        run = cls(folder, record, cells, frozen, space, observer, began=began)
        run._save()
        return run

    def execute(self) -> SearchResult:
        """Search, refit the winner, score the hold-out once and write the card.

        Raises:
            CellsearchError: the search cannot go on; a run without a trained fold is taken away.
        """
        try:
            outcome = self._searched()
        except HeldError:
            raise
        except CellsearchError:
            self._take_away()
            raise
        card = None
        if not outcome.interrupted:
            self._set_aside()
            try:
                card = self._handed_over(outcome)
            except KeyboardInterrupt:
                self.observer.message(
                    f"interrupted; resume with: cellsearch resume {shlex.quote(str(self.folder))}"
                )
                raise
            write_record(self.folder, self.record.model_copy(update={"state": "finished"}))
        return SearchResult(
            folder=self.folder,
            best=outcome.best,
            baseline=outcome.baseline,
            trials=tuple(outcome.rows),
            card=card,
            interrupted=outcome.interrupted,
        )

    def _set_aside(self) -> None:
        """Move a damaged card out of the way; nothing that a person may want is deleted."""
        card = self.folder / "card"
        if not card.is_dir() or not (problem := damage_to(self.folder)):
            return
        number = 1
        while (aside := self.folder / f"card-damaged-{number}").exists():
            number += 1
        try:
            card.rename(aside)
        except OSError as error:
            raise RunError(f"cannot move {card}: {error.strerror}") from None
        self.observer.message(f"{problem}\nit is kept as {aside.name}, and written anew")

    def job(self) -> SearchJob:
        """The search as its driver and workers take it."""
        from cellsearch.tune.ensemble import MOST_MEMBERS
        from cellsearch.tune.job import SearchJob

        config = self.record.config
        folder = self.folder.resolve()
        threads = config.threads or 1
        slots = config.slots or max(1, (os.cpu_count() or 1) // threads)
        if config.backend == "local":
            threads, slots = config.threads or os.cpu_count() or 1, 1
        return SearchJob(
            run_folder=folder,
            dataset_folder=self.cells.folder or Path(),
            splits_path=folder / "splits.json",
            metric=config.metric,
            seed=config.seed,
            device=config.device,
            threads=threads,
            slots=slots,
            budget=config.budget,
            seconds=self._seconds_left(),
            storage_url=storage_url(config, folder),
            study_name=study_name(self.record, folder),
            address=config.address,
            race=config.race,
            ladder=config.ladder,
            init_from=None if config.init_from is None else config.init_from.resolve(),
            precision=None if config.precision == "auto" else config.precision,
            final_folds=self._final_folds(),
            final_trials=MOST_MEMBERS if config.final == "best" and self.splits.k > 1 else 1,
        )

    def _seconds_left(self) -> float | None:
        """Of the time limit, after what reading and checking the cells took."""
        limit = self.record.config.seconds
        return None if limit is None else max(1.0, limit - (time.monotonic() - self.began))

    def _final_folds(self) -> float:
        """How many trainings of a fold the final model costs."""
        k = self.splits.k
        if self.record.config.final == "folds":
            return float(k)
        return len(self.splits.development) / len(self.splits.training(0))

    def _save(self) -> None:
        try:
            replace_text(self.folder / "space.yaml", self.space.to_yaml())
            self.splits.save(self.folder / "splits.json")
            write_record(self.folder, self.record)
        except CellsearchError:
            self._take_away()
            raise

    def _take_away(self) -> None:
        if self.created:
            clear(self.folder, keep=self.folder_was_there)

    def _searched(self) -> SearchOutcome:
        from cellsearch.tune.backend import backend
        from cellsearch.tune.search import search as search_trials
        from cellsearch.tune.study import outcome_of, read_study

        job, observer = self.job(), self.observer
        if (self.folder / "holdout.json").exists():
            # Trials from now on would be chosen after the look; what is left to write is the card.
            observer.message("the hold-out has been scored, so no more trials are trained")
            study = read_study(job.storage_url, job.study_name)
            return outcome_of(study, interrupted=False, timed_out=False)
        observer.begins(self.folder, self.cells, self.splits, job)
        warn_of_looks(self.record, self.folder, self.cells, self.splits.holdout, observer)
        if self.record.config.backend == "ray":
            where = "here" if job.address is None else f"at {job.address}"
            observer.message(f"starting Ray {where}; max concurrent trials: {job.slots}")
        try:
            return search_trials(
                job,
                self.space,
                observer,
                backend(self.record.config.backend),
                left_out=self._left_out(),
                impossible=impossible(self.cells) if not_drawn(self.space, self.cells) else None,
            )
        finally:
            observer.ends()

    def _left_out(self) -> Container[Recipe]:
        omitted = left_out(self.space, self.cells)
        counts = Counter(why for recipe, why in omitted.items() if recipe in self.space.starts)
        lines = {why: [f"{n} initial trial{'s' * (n > 1)}"] for why, n in counts.items()}
        for features, why in not_drawn(self.space, self.cells).items():
            lines.setdefault(why, []).append(f"every draw of {features} features")
        for why, what in lines.items():
            self.observer.message(
                f"space {self.space.name!r}: {' and '.join(what)} left out: {why}"
            )
        return omitted

    def _handed_over(self, outcome: SearchOutcome) -> ModelCard:
        from cellsearch.run.finalize import hand_over

        if outcome.best is None:
            reasons = sorted({row.reason for row in outcome.rows if row.reason})
            raise RunError(
                "no trial was completed, so there is no model: "
                + ("; ".join(reasons[:3]) or "the budget or the time limit was too small")
            )
        return hand_over(
            self.record,
            self.folder,
            self.cells,
            self.splits,
            outcome,
            self.observer,
            seconds=None if self.record.config.seconds is None else self._seconds_left(),
        )


def require_unfinished(folder: Path) -> RunRecord:
    """The record of a run that can go on, or whose card must be written anew.

    Raises:
        RunError: not the folder of a run, or it is finished and its card whole.
    """
    record = read_record(folder)
    if record.state == "finished" and not damage_to(folder):
        raise RunError(
            f"{folder} is finished: its hold-out has been scored, and searching further would "
            "select by it. Look at it with `cellsearch show`, or start a new run in another "
            "folder: ",
            Setting("out", "FOLDER"),
        )
    return record


def require_place(out: Path) -> None:
    """Refuse a folder in which no run can be begun or go on.

    Raises:
        RunError: it holds a finished run, or other things, or is a file.
        ReadError: no folder can have such a name.
    """
    require_nameable(out)
    if (out / "run.json").exists():
        require_unfinished(out)
    else:
        require_free(out)


def _inputs(
    config: RunConfig, folder: Path | None, given: Given, observer: RunObserver
) -> tuple[SearchSpace, CellDataset, Sequence[DuplicatePair] | None]:
    """Space, cells, and the cells' duplicates where these are known."""
    space = given.space or space_for(config, folder)
    if config.init_from is None:
        require_weights(space)
    cells, duplicates = given.cells, given.duplicates
    if cells is None:
        cells, duplicates = cells_and_duplicates(config, folder, None, observer)
    if config.init_from is not None:
        from cellsearch.run.warm_start import begin_from

        space = begin_from(config.init_from, space, cells)
    return space, cells, duplicates


def _require_ready(
    config: RunConfig,
    cells: CellDataset,
    splits: Splits,
    space: SearchSpace,
    observer: RunObserver,
) -> None:
    require_feasible(space, cells, splits)
    require_told_apart(config, cells)
    for finding in without_effect(space):
        observer.message(f"space {space.name!r}: {finding}")
    require_device(config)


def _commands(old: RunRecord, config: RunConfig, command: str | None) -> str:
    """What was typed to make the run; a line more where going on asked for something else."""
    changed = command and config != old.config and command not in old.command.splitlines()
    return f"{old.command}\n{command}" if changed else old.command


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
        parts.append(line(f"interrupted; resume with cellsearch.resume({str(result.folder)!r})"))
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
    names = ("trial", "out-of-fold score", "minutes", "recipe")
    return table(Table.of(names, rows, numbers=(1, 2)))
