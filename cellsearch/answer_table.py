"""A table of answers that people, or another program, gave for cells of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cellsearch.catalog import near_miss
from cellsearch.data.readers.table import Row, read_rows
from cellsearch.errors import DataError
from cellsearch.util.spelling import Spellings

ID_NAMES = ("id", "cell", "cell id")
CLASS_NAMES = ("class", "answer", "label")
RATER_NAMES = ("rater", "expert")
ONE_RATER = "answers"
_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Answer:
    """One cell's class, as one rater gave it."""

    rater: str
    cell: str
    given: str


@dataclass(frozen=True)
class _Columns:
    cell: str
    given: str
    rater: str | None


def read_answers(path: Path, *, ids: Collection[str], classes: Sequence[str]) -> tuple[Answer, ...]:
    """Read a CSV or TSV table; the order of its rows does not matter.

    The cell is in the column ``id`` or ``cell``, else in the first; the class in ``class``,
    ``answer`` or ``label``, else in the second; the rater in ``rater`` or ``expert``, where there
    is one. A row without a class is an answer that was not given.

    Args:
        path: the table, with a header.
        ids: of all cells of the data set.
        classes: of the model.

    Returns:
        Answers sorted by rater and cell.

    Raises:
        ReadError: not a table.
        DataError: missing columns, unknown cells or classes, two answers of a rater for a cell;
            all in one message, with their lines.
    """
    header, rows = read_rows(path, may_end_early=True)
    columns = _columns(path, header)
    known = frozenset(ids)
    cells, names = Spellings.of(known), Spellings.of(classes)
    found: dict[tuple[str, str], Answer] = {}
    lines: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    for row in rows:
        answer = _answer(row, columns)
        answer = replace(answer, cell=_meant(answer.cell, cells), given=_meant(answer.given, names))
        wrong = _wrong(answer, known, classes)
        key = (answer.rater, answer.cell)
        if answer.cell in known and key in lines:
            whose = f" of {answer.rater}" if columns.rater else ""
            wrong.append(f"a second answer{whose} for {answer.cell!r}, after line {lines[key]}")
        lines.setdefault(key, row.line)
        problems += [f"line {row.line}: {what}" for what in wrong]
        if answer.given and not wrong:
            found[key] = answer
    if problems:
        raise DataError(_listed(path, problems, ids))
    if not found:
        raise DataError(f"{path}: no row gives a class in column {columns.given!r}")
    return tuple(found[key] for key in sorted(found))


def _columns(path: Path, header: Sequence[str]) -> _Columns:
    problems: list[str] = []

    def named(names: Sequence[str], what: str) -> str | None:
        fits = [column for column in header if column.lower().replace("_", " ") in names]
        if len(fits) > 1:
            problems.append(f"{' and '.join(fits)} could both be {what}; rename one")
        return fits[0] if fits else None

    cell = named(ID_NAMES, "the cell")
    given = named(CLASS_NAMES, "the class given")
    rater = named(RATER_NAMES, "the rater")
    rest = [column for column in header if column not in (cell, given, rater)]
    if cell is None and rest:
        cell = rest.pop(0)
    if given is None and rest:
        given = rest.pop(0)
    if cell is None:
        problems.append(f"no column for the cell ({' or '.join(ID_NAMES[:2])})")
    if given is None:
        problems.append(f"no column for the class given ({', '.join(CLASS_NAMES)})")
    if problems or cell is None or given is None:
        raise DataError(f"{path}: line 1: {'; '.join(problems)}; columns: {', '.join(header)}")
    return _Columns(cell, given, rater)


def _answer(row: Row, columns: _Columns) -> Answer:
    rater = row.values.get(columns.rater, "") if columns.rater else ONE_RATER
    return Answer(rater, row.values.get(columns.cell, ""), row.values.get(columns.given, ""))


def _meant(name: str, known: Spellings) -> str:
    """A name as the run spells it, where letters are composed otherwise."""
    found = known.meant(name)
    return found[0] if len(found) == 1 else name


def _wrong(answer: Answer, ids: Collection[str], classes: Sequence[str]) -> list[str]:
    wrong = []
    if not answer.rater:
        wrong.append("no rater")
    if answer.cell not in ids:
        wrong.append(f"the run has no cell {answer.cell!r}" if answer.cell else "no cell")
    if answer.given and answer.given not in classes:
        wrong.append(
            f"no class {answer.given!r}{near_miss(answer.given, classes)} "
            f"(there are {', '.join(classes)})"
        )
    return wrong


def _listed(path: Path, problems: Sequence[str], ids: Collection[str]) -> str:
    shown = [f"  {each}" for each in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        shown.append(f"  and {len(problems) - _MOST_PROBLEMS:,} more")
    if any("no cell" in each for each in problems):
        shown.append(f"  (cells of the run are named as {min(ids)!r})")
    count = f"{len(problems):,} problem{'s' * (len(problems) > 1)}"
    return f"{path}: {count}; mend these lines:\n" + "\n".join(shown)
