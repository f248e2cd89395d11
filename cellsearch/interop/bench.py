"""Predictions for the programmes of the bench: ``cellsearch predict --to PROGRAMME=PATH``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellsearch.card.predict import Row
from cellsearch.errors import ConfigError
from cellsearch.interop import cellprofiler, ideas, napari, qupath
from cellsearch.interop.numbering import Place, places
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.yaml_files import near_miss

Writer = Callable[[Sequence[Row], Sequence[str], Sequence[Place], Path], list[Path]]
WRITERS: dict[str, Writer] = {
    "cellprofiler": cellprofiler.write,
    "ideas": ideas.write,
    "napari": napari.write,
    "qupath": qupath.write,
}
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "cellprofiler": (".csv",),
    "napari": (".csv",),
    "qupath": (".csv", ".tsv", ".txt"),
}
"""What the name of a programme's table may end in, if it has an end."""
TABLES = (".csv", ".tsv", ".txt")
"""What the name of a file ends in that a table may replace."""


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
            hint = near_miss(programme, WRITERS)
            problems.append(f"{programme!r} is not one of {', '.join(WRITERS)}{hint}")
        elif path in taken:
            problems.append(f"{path} is given twice")
        else:
            taken.add(path)
            targets.append(Target(programme, Path(path)))
    if problems:
        raise ConfigError(Setting("to"), f": {'; '.join(problems)}")
    return tuple(targets)


def refuse_places(
    targets: Sequence[Target], tables: Mapping[str, Path | None], *, keep: Sequence[Path] = ()
) -> None:
    """Refuse, before cells are read, places at which one of the files could not be written.

    Args:
        targets: of ``parse_targets``.
        tables: name of a setting -> the CSV that it asks for, or None.
        keep: what is read and must stay as it is: files, and folders of cards and runs.

    Raises:
        ConfigError: all problems at once.
    """
    asked = [(option, path) for option, path in tables.items() if path is not None]
    problems = [
        Message.of(Setting(option, str(path)), ": ", why)
        for option, path in asked
        for why in (*_refused(path), *_kept(path, keep))
    ]
    first: dict[Path, Setting] = {}
    named = [(Setting(option, str(path)), path) for option, path in asked]
    for setting, path in [*named, *((_asked(target), target.path) for target in targets)]:
        if path.resolve() in first:
            other = Setting(first[path.resolve()].name)
            problems.append(Message.of(setting, ": ", other, " writes there already"))
        first.setdefault(path.resolve(), setting)
    for target in targets:
        ends = SUFFIXES.get(target.programme)
        why = list(_refused(target.path, folder=ends is None))
        if not why and ends and target.path.suffix.lower() not in ("", *ends):
            why.append(f"it is a table; let its name end in {' or '.join(ends)}")
        why += _kept(target.path, keep)
        problems += [Message.of(_asked(target), ": ", each) for each in why]
    if problems:
        raise ConfigError(joined(problems, "; "))


def _asked(target: Target) -> Setting:
    return Setting("to", f"{target.programme}={target.path}")


def _refused(path: Path, *, folder: bool = False) -> Iterator[str | Message]:
    if str(path) == "-":
        yield Message.of(
            "standard output takes no table; name a file, or leave it out and give ",
            Setting("json", True),
        )
    elif not path.parent.is_dir():
        yield f"there is no folder {path.parent}; make it first"
    elif path.is_block_device():
        yield "that is a disk; name a file"
    elif folder and path.is_file():
        yield "that is a file; name a folder"
    elif not folder and path.is_dir():
        yield "that is a folder; name a file in it"
    elif not folder and path.is_file() and _end(path) not in ("", *TABLES):
        yield (
            f"what is there is no table ({', '.join(TABLES)}), and is not replaced; "
            "name another file, or remove it yourself"
        )


def _end(path: Path) -> str:
    """Suffix of the file that would be replaced, where a link leads."""
    return Path(os.path.realpath(path)).suffix.lower()


def _kept(path: Path, keep: Sequence[Path]) -> Iterator[str]:
    if not path.exists():
        return
    for each in keep:
        if each.exists() and path.samefile(each):
            yield "this file is the input; name another file"
        elif each.is_dir() and path.is_file() and path.resolve().is_relative_to(each.resolve()):
            yield f"that is a file of {each}, which is the input; name another file"


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
