"""What a run left behind, read once for all checks."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import CONFIG, CardConfig, read_config
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits, SplitsFile
from cellsearch.errors import CellsearchError, DataError, RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.provenance import Provenance
from cellsearch.run.folder import RunRecord, read_record
from cellsearch.run.history import past_run
from cellsearch.tune.rungs import RUNG_NAMES
from cellsearch.util.json_text import facts_in

if TYPE_CHECKING:
    from cellsearch.tune.study import TrialRow

Indices = NDArray[np.int64]
_FOLD = re.compile(r"^(\d+)(?:/rung-(\d+))?/fold-(\d+)\.npz$")


@dataclass(frozen=True)
class TrialFold:
    """A finished fold of a trial; ``rung`` is 0 of its full training."""

    trial: int
    fold: int
    result: FoldResult
    rung: int = 0

    @property
    def name(self) -> str:
        """``trial 3, fold 0``."""
        of = f", {RUNG_NAMES[self.rung]} training" if self.rung else ""
        return f"trial {self.trial}{of}, fold {self.fold}"


@dataclass(frozen=True, eq=False)
class Evidence:
    """A run.

    Attributes:
        folder: its folder.
        record: ``run.json``.
        cells: the data set that it names.
        splits: as ``splits.json`` has them, altered or not; None where it cannot be read at all.
        splits_problem: why ``splits.json`` is not to be trusted; empty where it is.
        folds: of all trials.
        damaged: names of files that cannot be read.
        requests: ``recipe.json`` of each trial.
        rows: trials of the study; None where it does not answer.
        holdout: ``holdout.json``; None where there is none.
        card: its ``config.json``; None where there is no card.
        final: from which cells each refitted network was made, by name.
    """

    folder: Path
    record: RunRecord
    cells: CellDataset
    splits: Splits | None
    splits_problem: str
    folds: tuple[TrialFold, ...]
    damaged: tuple[str, ...]
    requests: dict[int, dict[str, Any]]
    rows: tuple[TrialRow, ...] | None
    holdout: dict[str, Any] | None
    card: CardConfig | None
    final: dict[str, Provenance]

    def named(self, indices: Indices) -> list[str]:
        """Ids of cells; numbers beyond the data set are given as numbers."""
        known = self.cells.ids
        return [str(known[i]) if 0 <= i < len(known) else f"cell {i}" for i in indices.tolist()]

    def row(self, number: int) -> TrialRow | None:
        """A trial of the study."""
        return next((row for row in self.rows or () if row.number == number), None)


def gather(folder: Path) -> Evidence:
    """Read a run.

    Raises:
        RunError: not the folder of a run, or its cells are gone.
    """
    record = read_record(folder)
    try:
        cells = CellDataset.open(record.dataset_folder)
    except DataError as error:
        raise RunError(
            f"the cells of {folder} are no longer in the cache (",
            error,
            "); read them again with "
            f"`cellsearch datasets check {shlex.quote(record.config.dataset)}`",
        ) from None
    splits, problem = read_any(folder / "splits.json", cells)
    folds, damaged, requests = _trials(folder)
    final = {}
    for path in sorted((folder / "final").glob("*.npz")):
        try:
            final[path.stem] = Provenance.load(path)
        except RunError:
            damaged.append(f"final/{path.name}")
    card = folder / "card"
    return Evidence(
        folder=folder,
        record=record,
        cells=cells,
        splits=splits,
        splits_problem=problem,
        folds=tuple(folds),
        damaged=tuple(damaged),
        requests=requests,
        rows=_rows(folder),
        holdout=facts_in(folder / "holdout.json"),
        card=read_config(card) if (card / CONFIG).is_file() else None,
        final=final,
    )


def read_any(path: Path, cells: CellDataset) -> tuple[Splits | None, str]:
    """Splits, and what is wrong with them; altered ones are read all the same.

    Returns:
        None where nothing can be read, or a cell is in two places.
    """
    try:
        return Splits.load(path, cells), ""
    except CellsearchError as error:
        problem = str(error)
    try:
        splits = SplitsFile.read(path).of(cells)
    except CellsearchError:
        return None, problem
    beyond = any((part >= len(cells)).any() for _, part in splits.parts())
    return (None if beyond else splits), problem


def _trials(folder: Path) -> tuple[list[TrialFold], list[str], dict[int, dict[str, Any]]]:
    folds, damaged, requests = [], [], {}
    trials = folder / "trials"
    for path in sorted([*trials.glob("*/fold-*.npz"), *trials.glob("*/rung-*/fold-*.npz")]):
        name = path.relative_to(trials).as_posix()
        match = _FOLD.search(name)
        if match is None:
            continue
        try:
            result = FoldResult.load(path)
        except RunError:
            damaged.append(name)
            continue
        trial, rung, fold = (int(found or 0) for found in match.groups())
        folds.append(TrialFold(trial, fold, result, rung))
    for path in sorted((folder / "trials").glob("*/recipe.json")):
        facts = facts_in(path)
        if path.parent.name.isdecimal() and facts is not None:
            requests[int(path.parent.name)] = facts
    return folds, damaged, requests


def _rows(folder: Path) -> tuple[TrialRow, ...] | None:
    try:
        return past_run(folder).rows
    except CellsearchError:
        return None
