"""Runs that were made: their records and the trials of their studies."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellsearch.errors import CellsearchError, RunError
from cellsearch.run.folder import RunRecord, read_record, storage_url, study_name
from cellsearch.util.named_path import require_nameable

if TYPE_CHECKING:
    from cellsearch.tune.study import TrialRow

RUN_COLUMNS = ("run", "dataset", "space", "metric", "trials", "best", "baseline", "state")
"""Headings of ``run_line``."""


@dataclass(frozen=True)
class PastRun:
    """A run's folder, its record, and its trials, best first."""

    folder: Path
    record: RunRecord
    rows: tuple[TrialRow, ...]

    @property
    def best(self) -> TrialRow | None:
        """The complete trial with the highest score."""
        return next((row for row in self.rows if row.state == "COMPLETE"), None)

    @property
    def baseline(self) -> TrialRow | None:
        """Trial 0."""
        return next((row for row in self.rows if row.baseline), None)


def require_run(folder: Path, *, repeated: bool = False) -> None:
    """Refuse what is no run, and say what it is instead.

    Args:
        folder: that a user named.
        repeated: take repeated searches (``--outer``, ``--repeats``) too.

    Raises:
        RunError: with where the run is, if that can be known.
    """
    from cellsearch.run.folder import is_nested

    if (folder / "run.json").is_file() or (repeated and is_nested(folder)):
        return
    if is_nested(folder):
        raise RunError(f"{folder} holds repeated searches{_inner(folder, '')}")
    what = ""
    if folder.is_file() and not (folder.parent / "run.json").is_file():
        what = "it is a file; name a folder"
    elif (folder / "config.json").is_file() and not (folder.parent / "run.json").is_file():
        what = "it is a card, not its run"
    elif next(folder.glob("*/run.json"), None) is not None:
        what = f"it contains runs; `cellsearch runs {shlex.quote(str(folder))}` lists them"
    if what:
        raise RunError(f"{folder} is not the folder of a run: {what}")
    # It tells a folder that is missing, or that lies in a run.
    read_record(folder)


def card_of(run: Path) -> Path:
    """The card of a finished run; a card is its own.

    Raises:
        RunError: no run, repeated searches, or a run without a card yet.
        ReadError: no folder can have such a name.
    """
    require_nameable(run)
    card = run / "card" if (run / "card").is_dir() else run
    if not (card / "config.json").is_file():
        require_run(run)
        raise RunError(f"{run} has no card yet; {_finish(run)}")
    return card


def damage_to(run: Path) -> str:
    """What is wrong with the card of a finished run, as after a power cut; "" where it is whole."""
    from cellsearch.card.replay import verify

    try:
        verify(run / "card")
    except CellsearchError as error:
        return str(error)
    return ""


def require_card(card: Path) -> None:
    """Say of a run that is named in place of its card, or before it has one, what to do.

    Raises:
        RunError: an unfinished run, or repeated searches; what is wrong with another folder is
            said where the card is read.
    """
    from cellsearch.run.folder import is_nested

    if (card / "config.json").is_file() or (card / "card" / "config.json").is_file():
        return
    if is_nested(card):
        raise RunError(f"{card} holds repeated searches, each with a card{_inner(card, 'card')}")
    for run in (card, card.parent):
        if (run / "run.json").is_file() and (run == card or card.name == "card"):
            raise RunError(f"{card} is not a card: {run} has none yet; {_finish(run)}")


def _finish(run: Path) -> str:
    return f"finish it with `cellsearch resume {shlex.quote(str(run))}`"


def _inner(folder: Path, part: str) -> str:
    """What to name in place of repeated searches."""
    from cellsearch.run.folder import nested_runs

    found = [str(each / part) for each in nested_runs(folder)]
    if not found:
        return f", none of them started; {_finish(folder)}"
    return f"; name one of them: {', '.join(found)}"


def past_run(folder: Path) -> PastRun:
    """Read a run.

    Raises:
        RunError: not the folder of a run.
        StorageError: its database does not answer.
    """
    from cellsearch.tune.study import find_study, leaderboard

    record = read_record(folder)
    url = storage_url(record.config, folder)
    if record.config.storage is None and not (folder / "study.db").exists():
        return PastRun(folder, record, ())
    study = find_study(url, study_name(record, folder))
    # None where it was interrupted before its first trial.
    return PastRun(folder, record, () if study is None else tuple(leaderboard(study)))


def verdict_lines(card: Path) -> list[str]:
    """Verdict and optimism of a search, from the metrics of its card.

    Cards of older versions hold no verdict; the optimism follows from their figures.

    Raises:
        CardError: the card is damaged.
    """
    from cellsearch.card.card import ModelCard
    from cellsearch.tune.findings import optimism_line, optimism_of

    figures = ModelCard.load(card).figures
    metric, verdict = figures.metric, figures.verdict
    lines = [f"verdict: {verdict.sentence}"] if verdict else []
    if figures.ensemble is not None and figures.ensemble.accepted:
        lines.append(f"the card's model: {figures.ensemble.sentence}")
    oof, held = (part.winner.metrics[metric] for part in (figures.out_of_fold, figures.hold_out))
    return [*lines, optimism_line(optimism_of(oof, held), metric)]


def run_folders(parent: Path) -> list[Path]:
    """Folders of runs below ``parent``, newest first."""
    found = []
    for path in parent.glob("*/run.json"):
        try:
            found.append((read_record(path.parent).created, path.parent))
        except RunError:
            continue
    return [folder for _, folder in sorted(found, reverse=True)]


def newest_run(parent: Path) -> Path:
    """The run begun last.

    Raises:
        RunError: there is none.
    """
    folders = run_folders(parent)
    if not folders:
        raise RunError(f"no runs in {parent}; start one with `cellsearch run --dataset demo`")
    return folders[0]


def run_line(folder: Path) -> tuple[str, ...]:
    """A run as one line of a table; a storage that does not answer is said, not raised."""
    from cellsearch.util.wording import worded

    record = read_record(folder)
    config = record.config
    try:
        run = past_run(folder)
    except CellsearchError as error:
        metric = config.metric.replace("_", " ")
        return (
            str(folder),
            config.dataset,
            config.space,
            metric,
            "",
            "",
            "",
            worded(error.message),
        )
    done = sum(row.state in ("COMPLETE", "PRUNED") for row in run.rows)
    bound = f" of {config.budget}" if config.budget is not None else ""
    scores = (
        "" if row is None or row.score is None else f"{row.score:.4f}"
        for row in (run.best, run.baseline)
    )
    return (
        str(folder),
        config.dataset,
        config.space,
        config.metric.replace("_", " "),
        f"{done}{bound}",
        *scores,
        "finished" if record.state == "finished" else "unfinished",
    )
