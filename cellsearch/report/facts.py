"""What a run left behind, finished or not, read once for its report; nothing is computed anew."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.card.confidence import read_calibration
from cellsearch.card.config import CONFIG, CardConfig, read_config
from cellsearch.card.metrics import Calibration, CardMetrics
from cellsearch.data.plan import FOLDS
from cellsearch.data.splits import SplitsFile
from cellsearch.errors import CellsearchError, SplitError
from cellsearch.run.folder import RunRecord, read_record, storage_url, study_name
from cellsearch.tune.findings import Importance, read_importance
from cellsearch.util.json_text import facts_in

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.tune.study import TrialRow


@dataclass(frozen=True)
class Trial:
    """One trial and the course of its folds.

    Attributes:
        row: as a leaderboard shows it.
        steps: pooled score after each finished fold, as the race looked at it.
        began: local time; None where the study does not hold it.
    """

    row: TrialRow
    steps: tuple[float, ...]
    began: datetime | None = None

    @property
    def number(self) -> int:
        """Of the trial in the study."""
        return self.row.number

    @property
    def stopped(self) -> bool:
        """By the race, after some of its folds."""
        return self.row.state == "PRUNED" and not self.row.only_short


@dataclass(frozen=True)
class CardFacts:
    """The files of a run's card; None for those that it does not hold."""

    folder: Path
    config: CardConfig
    metrics: CardMetrics
    calibration: Calibration | None
    importance: Importance | None
    curves: Mapping[str, Any] | None
    versions: Mapping[str, Any] | None

    def generated_pictures(self) -> list[Path]:
        """Pictures of real and generated cells, one a class."""
        return sorted((self.folder / "plots").glob("generated_*.png"))


@dataclass(frozen=True, eq=False)
class RunFacts:
    """A run.

    Attributes:
        folder: its folder.
        record: ``run.json``.
        trials: that were begun, by number; draws over budget are not among them.
        beyond: draws that the limits of the space refused.
        splits: ``splits.json``; None where it cannot be read.
        holdout: ``holdout.json``; None before the hold-out was scored.
        card: None where there is none that can be read.
        missing: what a report cannot say, and why; each a sentence.
    """

    folder: Path
    record: RunRecord
    trials: tuple[Trial, ...]
    beyond: int
    splits: SplitsFile | None
    holdout: Mapping[str, Any] | None
    card: CardFacts | None
    missing: tuple[str, ...]

    @property
    def ended(self) -> bool:
        """Search, hold-out and card are done."""
        return self.record.state == "finished" and self.card is not None

    @property
    def folds(self) -> int:
        """k."""
        return len(self.splits.folds) if self.splits else (self.record.config.folds or FOLDS)

    def trial(self, number: int | None) -> Trial | None:
        """By its number."""
        return next((each for each in self.trials if each.number == number), None)

    @property
    def baseline(self) -> Trial | None:
        """Trial 0."""
        return next((each for each in self.trials if each.row.baseline), None)

    @property
    def winner(self) -> Trial | None:
        """The trial whose recipe the card has, or the best complete one so far."""
        if self.card is not None:
            chosen = self.trial(self.card.metrics.search.winner)
            if chosen is not None:
                return chosen
        done = [each for each in self.trials if each.row.state == "COMPLETE"]
        return max(done, key=lambda each: (each.row.score or 0.0, -each.number), default=None)

    @property
    def verdict(self) -> str:
        """One sentence, also of a run without a card."""
        if self.card is not None:
            found = self.card.metrics.verdict
            return found.sentence if found else "no verdict: the card holds none"
        if self.holdout is not None:
            return "no verdict yet: the hold-out has been scored, but the card is not written"
        return "no verdict yet: the run has no card, and its hold-out has not been scored"

    @cached_property
    def cells(self) -> CellDataset | None:
        """The cells, memory-mapped; None where they are no longer on this machine."""
        from cellsearch.data.dataset import CellDataset

        try:
            return CellDataset.open(self.record.dataset_folder)
        except CellsearchError:
            return None


def gather(folder: Path) -> RunFacts:
    """Read a run, whatever there is of it.

    Raises:
        RunError: not the folder of a run.
    """
    record = read_record(folder)
    missing: list[str] = []
    trials, beyond = _trials(folder, record, missing)
    splits = None
    try:
        splits = SplitsFile.read(folder / "splits.json")
    except SplitError:
        missing.append("splits.json cannot be read, so the parts of the cells are not counted")
    card = _card(folder / "card", missing)
    if card is None:
        missing.append(_why_no_card(folder, record, trials))
    facts = RunFacts(
        folder=folder,
        record=record,
        trials=trials,
        beyond=beyond,
        splits=splits,
        holdout=facts_in(folder / "holdout.json"),
        card=card,
        missing=(),
    )
    if facts.cells is None:
        missing.append(
            f"the cells are no longer at {record.dataset_folder}, so no images are shown; read "
            f"them again with `cellsearch datasets check {shlex.quote(record.config.dataset)}`"
        )
    return replace(facts, missing=tuple(missing))


def _why_no_card(folder: Path, record: RunRecord, trials: tuple[Trial, ...]) -> str:
    complete = sum(each.row.state == "COMPLETE" for each in trials)
    if not trials:
        why = "no trial was started"
    elif not complete:
        reasons = sorted({each.row.reason for each in trials if each.row.reason})
        why = "no trial has finished all folds"
        why += f" ({'; '.join(reasons[:3])})" if reasons else ""
    elif record.state == "finished":
        return f"there is no card in {folder / 'card'}, though the run has ended"
    else:
        why = f"the run has not ended ({complete} trials are complete)"
    return f"there is no card: {why}; resume with `cellsearch resume {shlex.quote(str(folder))}`"


def _trials(folder: Path, record: RunRecord, missing: list[str]) -> tuple[tuple[Trial, ...], int]:
    from cellsearch.tune.study import has_recipe, read_study, row_of

    if record.config.storage is None and not (folder / "study.db").is_file():
        missing.append("there is no study.db, so trials are not listed")
        return (), 0
    try:
        study = read_study(storage_url(record.config, folder), study_name(record, folder))
    except CellsearchError as error:
        missing.append(f"the study cannot be read, so trials are not listed: {error}")
        return (), 0
    found, beyond = [], 0
    for trial in study.get_trials(deepcopy=False):
        if not has_recipe(trial):
            continue
        row = row_of(trial)
        beyond += row.beyond_limits
        if row.beyond_limits:
            continue
        values = trial.intermediate_values
        found.append(Trial(row, tuple(values[s] for s in sorted(values)), trial.datetime_start))
    return tuple(found), beyond


def _card(folder: Path, missing: list[str]) -> CardFacts | None:
    if not (folder / CONFIG).is_file():
        return None
    try:
        config, metrics = read_config(folder), CardMetrics.read(folder)
    except CellsearchError as error:
        missing.append(str(error))
        return None
    importance = facts_in(folder / "importance.json")
    return CardFacts(
        folder=folder,
        config=config,
        metrics=metrics,
        calibration=read_calibration(folder),
        importance=None if importance is None else read_importance(importance),
        curves=facts_in(folder / "curves.json"),
        versions=facts_in(folder / "versions.json"),
    )
