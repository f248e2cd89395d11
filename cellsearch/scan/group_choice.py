"""Which groups a manifest should declare, and why: donors, plates, days that names suggest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.column_notes import partition
from cellsearch.data.readers.column_texts import is_missing
from cellsearch.data.readers.stack import find_groups
from cellsearch.data.suggested_groups import SuggestedGroups, suggest_groups
from cellsearch.errors import DataError
from cellsearch.scan.choices import FEWEST_FOLDS

WEAK = ("beginning of the name", "source file", "time of acquisition")
"""Partitions that names suggest without a word that says what they are."""


@dataclass(frozen=True)
class GroupChoice:
    """Groups that names or the layout show.

    Attributes:
        what: what a group is.
        names: (N,) of each cell.
        pattern: for ``group_pattern``; "" where the table has a column.
        column: for ``group_column``, of a table whose column nobody declared.
        declared: whether the manifest declares them.
        why: for the comment beside it.
        description: values and how many cells each has.
    """

    what: str
    names: NDArray[np.str_]
    pattern: str
    declared: bool
    why: str
    description: str
    column: str = ""


def choose_groups(
    labels: Sequence[str],
    sources: Sequence[str],
    declared: Sequence[str] | None,
    word: str,
    *,
    columns: Mapping[str, Sequence[str]],
    one_cell_a_file: bool,
) -> list[GroupChoice]:
    """Groups that the layout declares, else those that names suggest; the best first.

    Args:
        labels: class of each cell.
        sources: its file, relative to what the reader is given.
        declared: group of each cell where the layout has one.
        word: what such a group is.
        columns: values of each cell in columns that are called as donors or plates are.
        one_cell_a_file: whether a pattern can tell the group from the path.
    """
    values = np.array(labels, dtype=np.str_)
    if declared is not None:
        return [_weighed(_of_values(word, declared), values)]
    probe = CellDataset.from_arrays(
        np.zeros((len(labels), 1, 1, 1), np.uint8),
        values,
        classes=np.unique(values).tolist(),
        sources=np.array(sources, np.str_),
    )
    chosen = [_of_column(name, its, values) for name, its in columns.items()]
    known = {partition(each.names) for each in chosen}
    for each in suggest_groups(probe):
        if not each.pattern or not one_cell_a_file or each.montages:
            continue
        if partition(each.names) in known:
            continue
        try:
            find_groups(each.pattern, sources)
        except DataError:
            continue
        chosen.append(_weighed(_choice(each), values, alone=each.one_class_each))
    chosen.sort(key=lambda each: (not each.declared, each.what in WEAK))
    return [chosen[0], *(_beside(chosen[0], each) for each in chosen[1:])] if chosen else []


def _beside(first: GroupChoice, other: GroupChoice) -> GroupChoice:
    """Groups that are told, while others are declared."""
    if not other.declared:
        return other
    why = (
        f"Not declared, as {first.what} is: cells of one {other.what} may lie on both sides of a "
        f"split. Declare it instead where a new {other.what} is what matters."
    )
    return replace(other, declared=False, why=why)


def _of_values(what: str, values: Sequence[str], *, column: str = "") -> GroupChoice:
    shown = Counter(values).most_common()
    text = f"{len(shown)} {'values' if len(shown) != 1 else 'value'} of {what} ("
    text += ", ".join(f"{name or 'blank'} {cells:,} cells" for name, cells in shown[:3])
    text += f", and {len(shown) - 3} more)" if len(shown) > 3 else ")"
    return GroupChoice(what, np.array(values, dtype=np.str_), "", False, "", text, column)


def _of_column(name: str, values: Sequence[str], labels: NDArray[np.str_]) -> GroupChoice:
    choice = _of_values(name, values, column=name)
    if missing := sum(map(is_missing, values)):
        why = f"Not declared: {missing} cells have no {name}; fill them in to declare them."
        return replace(choice, why=why)
    pairs = set(zip(values, labels.tolist(), strict=True))
    return _weighed(choice, labels, alone=len(pairs) == len(set(values)))


def _choice(each: SuggestedGroups) -> GroupChoice:
    return GroupChoice(each.what, each.names, each.pattern, False, "", each.describe())


def _weighed(choice: GroupChoice, labels: NDArray[np.str_], *, alone: bool = False) -> GroupChoice:
    """Whether to declare groups: they must be named as such, and allow folds."""
    fewest = min(groups_per_class(labels, choice.names).values())
    if alone:
        why = (
            f"Each {choice.what} holds cells of one class, so no split can tell what they share "
            "from what the class shares; declared, no class could be validated on."
        )
        return replace(choice, why=why)
    if fewest < FEWEST_FOLDS + 1:
        why = (
            f"Not declared: a class has cells of only {fewest} of them, and {FEWEST_FOLDS} folds "
            f"and a hold-out need {FEWEST_FOLDS + 1}. Figures may then be too good for a new "
            f"{choice.what}; mention this where you report them."
        )
        return replace(choice, why=why)
    if choice.what in WEAK:
        why = (
            f"Not declared: only the {choice.what} suggests them. Declare them if they stand for "
            "donors, plates or days; otherwise figures are too good for a new one."
        )
        return replace(choice, why=why)
    why = (
        f"Cells of one {choice.what} are never on both sides of a split, so figures hold for a new "
        f"{choice.what}. Take it out if the {choice.what} means nothing."
    )
    return replace(choice, declared=True, why=why)


def groups_per_class(labels: NDArray[np.str_], groups: NDArray[np.str_]) -> dict[str, int]:
    """How many groups hold cells of each class."""
    return {
        str(name): len(np.unique(groups[labels == name])) for name in np.unique(labels).tolist()
    }
