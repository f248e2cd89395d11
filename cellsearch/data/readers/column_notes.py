"""What is told of columns that were ignored: donors nobody declared, a second label column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.notes import Note
from cellsearch.data.readers.column_texts import is_missing
from cellsearch.util.messages import Message, Setting

# fmt: off
WORDS = (
    "donor", "patient", "participant", "subject", "case", "individual", "volunteer", "animal",
    "mouse", "rat", "litter", "cage", "embryo", "biopsy", "culture", "dish", "plate", "slide",
    "coverslip", "batch",
    "montage", "sample", "specimen", "experiment", "exp", "well", "day", "date", "run", "rep",
    "replicate", "section", "tile", "scan", "field", "fov", "acquisition", "group",
)
# fmt: on
"""What columns of donors, plates and the like are called; nearer kin of a cell come last."""

LAST_INDIVIDUAL = WORDS.index("biopsy")

PLURALS = {"mice": "mouse", "batches": "batch", "dishes": "dish", "biopsies": "biopsy"}
NUMBERINGS = frozenset(
    {"s", "id", "ids", "name", "names", "number", "no", "nr", "num", "code", "index"}
)


def normal(name: str) -> str:
    """``Patient_ID`` and ``patientID`` as ``patient id``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[\W_]+", spaced.lower())).strip()


def group_like(names: Iterable[str]) -> list[str]:
    """Names as of donors, plates or days; the widest first, as donors before wells."""
    ranks = {name: rank for name in names if (rank := _rank(name)) is not None}
    return sorted(ranks, key=lambda name: ranks[name])


def _rank(name: str) -> int | None:
    words = normal(name).split()
    while len(words) > 1 and (words[-1] in NUMBERINGS or words[-1].isdecimal()):
        words.pop()
    if not words:
        return None
    last = PLURALS.get(words[-1], words[-1])
    if last not in WORDS and last.removesuffix("id") in WORDS:
        last = last.removesuffix("id")
    singular = last if last in WORDS else last.removesuffix("s")
    return WORDS.index(singular) if singular in WORDS else None


def partition(values: Sequence[str] | NDArray[np.str_]) -> bytes:
    """The same for values that part the cells alike, whatever they are called."""
    _, first, inverse = np.unique(np.asarray(values), return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64).tobytes()


def suggesting(
    columns: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Those of columns named as groups that part the cells, and otherwise than the classes.

    As of names: at least two values, at least two cells a value on average.
    """
    found = {}
    classes = partition(list(labels))
    for name in group_like(columns):
        values = columns[name]
        there = [value for value in values if not is_missing(value)]
        if 2 <= len(set(there)) <= len(there) // 2 and partition(list(values)) != classes:
            found[name] = values
    return found


def of_groups(
    columns: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    *,
    remedies: Mapping[str, Message],
) -> list[Note]:
    """A note for each column that looks like groups and was not used.

    Args:
        columns: name -> N values as texts, without those that were used.
        labels: N class names.
        remedies: name -> how it is declared.
    """
    notes = []
    for name, values in suggesting(columns, labels).items():
        there = {value for value in values if not is_missing(value)}
        word = name.rsplit("/", 1)[-1]
        pairs = {(v, label) for v, label in zip(values, labels, strict=True) if v in there}
        remedy: Message | None = None
        severity: Literal["warning", "note"] = "note"
        if len(pairs) == len(there):
            why = (
                "each of its values holds cells of one class: what tells classes apart may be the "
                f"{word}, and no split can show it"
            )
        else:
            remedy, severity = remedies[name], "warning"
            why = (
                f"cells of one {word} may lie on both sides of a split, and figures are then too "
                f"good for a new {word}"
            )
        notes.append(
            Note(
                "undeclared-groups",
                f"{name} ({len(there)} values) is not used as groups: {why}",
                severity,
                remedy,
                column=name,
                values=len(there),
            )
        )
    return notes


def of_crossing(
    columns: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    taken: str,
    remedies: Mapping[str, Message],
) -> list[Note]:
    """A note for each column of donors, patients or animals, one of which lies in several groups.

    Of plates, days or wells nothing is told: donors on the same day are groups all the same.

    Args:
        columns: name -> N values as texts.
        labels: N class names.
        groups: N values of what was taken as the groups.
        taken: its name; nothing is told beside donors.
        remedies: name -> how it is declared.
    """
    if _of_individuals(taken):
        return []
    notes = []
    for name, values in suggesting(columns, labels).items():
        pairs = {
            (value, group)
            for value, group in zip(values, groups, strict=True)
            if not is_missing(value) and not is_missing(group)
        }
        there = {value for value, _ in pairs}
        if _of_individuals(name) and len(pairs) > len(there):
            word = name.rsplit("/", 1)[-1]
            text = (
                f"{name} ({len(there)} values) crosses the groups of {taken}: unless each of them "
                f"numbers anew, cells of one {word} may lie on both sides of a split, and figures "
                f"are then too good for a new {word}"
            )
            remedy = Message.of(remedies[name], f", in place of {taken}")
            notes.append(
                Note("crossing-groups", text, "warning", remedy, column=name, values=len(there))
            )
    return notes


def _of_individuals(name: str) -> bool:
    rank = _rank(name)
    return rank is not None and rank <= LAST_INDIVIDUAL


def of_labels(
    columns: Mapping[str, Sequence[str]], taken: str, names: Collection[str]
) -> list[Note]:
    """A note for each column that could be the label as well, and parts the cells otherwise.

    Args:
        columns: name -> N values of every column.
        taken: the one that was taken as the label.
        names: what columns of labels are called, normalised.
    """
    notes = []
    own = partition(list(columns[taken]))
    for name, values in columns.items():
        distinct = len(set(values))
        fits = name != taken and normal(name) in names and 1 < distinct < len(values)
        if fits and partition(list(values)) != own:
            notes.append(
                Note(
                    "other-label",
                    f"column {taken} was taken as the class, though column {name} differs from it",
                    remedy=Message.of(
                        Setting("label_column", name, reader=True), " takes that one"
                    ),
                )
            )
    return notes


def of_table(
    columns: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    *,
    taken: str,
    used: Collection[str | None],
    label_names: Collection[str],
    group: str | None,
    settled: bool,
) -> list[Note]:
    """What is told of a table's columns that were passed over.

    Args:
        columns: name -> N values of every column.
        labels: N class names.
        taken: column that was taken as the label.
        used: columns that mean something else, so that they suggest no groups.
        label_names: what columns of labels are called; empty where an option named the column.
        group: column that was taken as the groups.
        settled: groups are known otherwise, or an option says that there are none.
    """
    notes = of_labels(columns, taken, label_names)
    left = {name: its for name, its in columns.items() if name not in used and name != group}
    remedies = {name: option("group_column", name) for name in left}
    found: list[Note] = []
    if group is not None:
        found = of_crossing(left, labels, columns[group], taken=group, remedies=remedies)
    elif not settled:
        found = of_groups(left, labels, remedies=remedies)
    return notes + [each.of("column") for each in found]


def option(name: str, value: str) -> Message:
    """How a column is declared by an option of a reader."""
    return Message.of("declare them with ", Setting(name, value, reader=True))
