"""Runs of everybody who uses one database: where they lie, and how far they came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cellsearch.errors import RunError
from cellsearch.tune.storage import shown_url
from cellsearch.tune.store import RunRow, runs
from cellsearch.tune.study import TrialRow, find_study, leaderboard
from cellsearch.util.validation import near_miss

SHARED_COLUMNS = (
    "run",
    "dataset",
    "space",
    "metric",
    "trials",
    "best",
    "baseline",
    "state",
    "card",
)
"""Headings of ``shared_line``."""


@dataclass(frozen=True)
class SharedRun:
    """A run of a shared database.

    Attributes:
        row: what the database holds of it.
        trials: of its study, best first.
    """

    row: RunRow
    trials: tuple[TrialRow, ...]

    @property
    def folder(self) -> Path:
        """Where it lies, on the machine that made it."""
        return Path(self.row.facts.folder)

    @property
    def is_here(self) -> bool:
        """Whether its folder can be read from this machine."""
        return (self.folder / "run.json").is_file()

    @property
    def best(self) -> TrialRow | None:
        """The complete trial with the highest score."""
        return next((row for row in self.trials if row.state == "COMPLETE"), None)

    @property
    def baseline(self) -> TrialRow | None:
        """Trial 0."""
        return next((row for row in self.trials if row.baseline), None)


def shared_runs(url: str) -> list[SharedRun]:
    """All runs of a database, newest first.

    Raises:
        StorageError: it does not answer.
    """
    found = []
    for row in runs(url):
        study = find_study(url, row.facts.study_name)
        found.append(SharedRun(row, () if study is None else tuple(leaderboard(study))))
    return found


def shared_run(url: str, name: str) -> SharedRun:
    """The run of a name, or of the study of that name.

    Raises:
        StorageError: the database does not answer.
        RunError: no run has the name, or several have.
    """
    rows = runs(url)
    named = [row for row in rows if name in (row.facts.study_name, row.facts.folder)]
    named = named or [row for row in rows if row.facts.name == name]
    if not named:
        names = [row.facts.name for row in rows]
        raise RunError(
            f"no run {name!r} in {shown_url(url)}{near_miss(name, names)}; "
            + (f"there are {', '.join(names[:10])}" if names else "it holds no runs yet")
        )
    if len(named) > 1:
        places = ", ".join(row.facts.folder for row in named)
        raise RunError(f"{len(named)} runs are named {name!r}; give the folder of one: {places}")
    study = find_study(url, named[0].facts.study_name)
    return SharedRun(named[0], () if study is None else tuple(leaderboard(study)))


def locate(run: Path, url: str | None) -> Path:
    """The folder of a run that is given by its folder, or by its name in a database.

    Raises:
        StorageError: the database does not answer.
        RunError: no run of that name, or its folder lies on another machine.
    """
    if url is None or (run / "run.json").is_file():
        return run
    found = shared_run(url, str(run))
    if not found.is_here:
        raise RunError(
            f"run {found.row.facts.name} lies in {found.folder}, which cannot be read from here; "
            "use a folder that all machines share, or copy it"
        )
    return found.folder


def shared_line(run: SharedRun) -> tuple[str, ...]:
    """A run as one line of a table."""
    facts = run.row.facts
    done = sum(row.state in ("COMPLETE", "PRUNED") for row in run.trials)
    scores = (
        "" if row is None or row.score is None else f"{row.score:.4f}"
        for row in (run.best, run.baseline)
    )
    return (
        facts.name,
        facts.dataset,
        facts.space,
        facts.metric.replace("_", " "),
        str(done),
        *scores,
        run.row.state,
        run.row.card,
    )
