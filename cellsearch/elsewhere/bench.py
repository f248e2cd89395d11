"""Predictions for the programmes of the bench: ``cellsearch predict --to PROGRAMME=PATH``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellsearch.card.predict import Row
from cellsearch.elsewhere import cellprofiler, ideas, napari, qupath
from cellsearch.elsewhere.numbering import Place, places
from cellsearch.errors import ConfigError

Writer = Callable[[Sequence[Row], Sequence[str], Sequence[Place], Path], list[Path]]
WRITERS: dict[str, Writer] = {
    "cellprofiler": cellprofiler.write,
    "ideas": ideas.write,
    "napari": napari.write,
    "qupath": qupath.write,
}


@dataclass(frozen=True)
class Target:
    """A programme of the bench, and where its table goes."""

    programme: str
    path: Path


@dataclass(frozen=True)
class Written:
    """What was written for a programme.

    Attributes:
        programme: it is for.
        files: written, the main one first.
        note: what was done with cells that have no number of their own; empty where all have.
    """

    programme: str
    files: tuple[Path, ...]
    note: str = ""


def parse_targets(pairs: Sequence[str] | None) -> tuple[Target, ...]:
    """``["cellprofiler=cells.csv"]`` as targets.

    Raises:
        ConfigError: a pair without ``=``, a programme that is not known, or a path given twice;
            all of them at once.
    """
    targets, problems, taken = [], [], set()
    for pair in pairs or ():
        programme, sign, path = pair.partition("=")
        if not sign or not path:
            problems.append(f"expected PROGRAMME=PATH, got {pair!r}")
        elif programme not in WRITERS:
            problems.append(f"{programme!r} is not one of {', '.join(WRITERS)}")
        elif path in taken:
            problems.append(f"{path} is given twice")
        else:
            taken.add(path)
            targets.append(Target(programme, Path(path)))
    if problems:
        raise ConfigError(f"--to: {'; '.join(problems)}")
    return tuple(targets)


def write_for(target: Target, rows: Sequence[Row], classes: Sequence[str]) -> Written:
    """Write the predictions for one programme.

    Args:
        target: programme and path.
        rows: of ``cellsearch.card.predict.to_rows``.
        classes: K names, in the order of the card.

    Raises:
        CardError: nothing can be written for this programme (IDEAS knows cells by number alone),
            or the disk refuses.
    """
    found = places(rows)
    files = WRITERS[target.programme](rows, classes, found, target.path)
    counted = sum(not place.given for place in found)
    if not counted:
        return Written(target.programme, tuple(files))
    done = (
        "they are in no list; without_number.csv names them"
        if target.programme == "ideas"
        else "they are counted in their file from 1, or on from its largest number"
    )
    note = f"{counted:,} of {len(rows):,} cells have no object number of their own: {done}"
    return Written(target.programme, tuple(files), note)
