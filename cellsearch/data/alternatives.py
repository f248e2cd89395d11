"""Splits that can be drawn in place of one that cannot, and what each would mean for a figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import listed
from cellsearch.data.dataset import CellDataset
from cellsearch.util.messages import Message, Setting, joined

Draw = Callable[[CellDataset], tuple[Setting, ...] | None]
"""Tries to split cells by their groups: the settings that it takes, or None where none works."""

Relation = Literal["coarser", "finer", "crossing", "none"]
_ORDER: tuple[Relation, ...] = ("coarser", "finer", "crossing", "none")
_SHOWN_COLUMNS = 4
_SHOWN_GROUPS = 3
_SHOWN_SETS = 4


@dataclass(frozen=True)
class Alternative:
    """Groups by which a split was drawn.

    Attributes:
        column: that is the groups; "" where there are none.
        settings: what makes it so, number of folds included where it is another.
        relation: to the groups that were declared: each value holds whole ones (``coarser``), lies
            within one (``finer``), neither (``crossing``); ``none``: there are no groups.
        groups: how many values.
        one_class_each: each value holds cells of one class alone.
        declared: what the declared groups are called.
    """

    column: str
    settings: tuple[Setting, ...]
    relation: Relation
    groups: int
    one_class_each: bool
    declared: str

    @property
    def meaning(self) -> str:
        """What a figure of it would hold for."""
        old, new = self.declared, self.column
        if self.relation == "none":
            return f"cells of one {old} lie on both sides, so figures flatter for a new {old}"
        if self.relation == "coarser":
            found = f"each {new} holds whole groups, so figures hold for a new {new}"
        else:
            found = (
                f"cells of one {old} lie on both sides, so figures hold for a new {new} and "
                f"not for a new {old}"
            )
        if self.one_class_each:
            found += (
                f"; each {new} holds one class, so the {new} gives the class away and no split "
                "shows what was learnt"
            )
        return found

    def message(self) -> Message:
        """Settings and meaning."""
        settings = joined([Message.of(each) for each in self.settings], " ")
        if not self.settings:
            settings = Message.of("cells one by one")
        counted = f"{self.groups} groups; " if self.column else "no groups; "
        return Message.of(settings, f" ({counted}{self.meaning})")


@dataclass(frozen=True)
class Holders:
    """Groups that hold cells of the same classes."""

    classes: tuple[str, ...]
    groups: tuple[str, ...]

    def describe(self) -> str:
        """``3 hold DMSO alone (p1, p2, p3)``."""
        verb = "holds" if len(self.groups) == 1 else "hold"
        *first, last = self.classes
        what = f"{', '.join(first)} and {last}" if first else f"{last} alone"
        return f"{len(self.groups)} {verb} {what} ({listed(self.groups, most=_SHOWN_GROUPS)})"


def group_word(dataset: CellDataset) -> str:
    """What a message calls one of the groups; "" where there are none."""
    return "" if dataset.groups is None else dataset.columns.group or "group"


def holders(dataset: CellDataset) -> tuple[Holders, ...]:
    """Which groups hold which classes, the fewest classes first; empty without groups."""
    if dataset.groups is None:
        return ()
    classes: dict[str, set[int]] = defaultdict(set)
    for group, label in zip(dataset.groups.tolist(), dataset.labels.tolist(), strict=True):
        classes[group].add(label)
    sets: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group in sorted(classes):
        sets[tuple(sorted(classes[group] - {-1}))].append(group)
    return tuple(
        Holders(tuple(dataset.classes[k] for k in those), tuple(sets[those]))
        for those in sorted(sets, key=lambda those: (len(those), those))
        if those
    )


def alternatives(dataset: CellDataset, draw: Draw) -> tuple[Alternative, ...]:
    """Other groups of the same cells by which a split can be drawn; each was drawn.

    Args:
        dataset: labelled cells that are split by groups; without them there is no other way.
        draw: draws a split of the cells it is given.

    Returns:
        Those that keep most first: coarser, finer and crossing columns, then columns each of whose
        values holds one class, then none.
    """
    if dataset.groups is None:
        return ()
    declared = group_word(dataset)
    found = []
    for column in dataset.columns.others:
        settings = draw(replace(dataset, groups=column.texts))
        if settings is not None:
            found.append(
                Alternative(
                    column.name,
                    (column.remedy, *settings),
                    _relation(dataset.groups, column.texts),
                    len(np.unique(column.codes)),
                    _one_class_each(column.codes, dataset.labels),
                    declared,
                )
            )
    found.sort(key=lambda each: (each.one_class_each, _ORDER.index(each.relation)))
    settings = draw(replace(dataset, groups=None))
    if settings is not None:
        without = dataset.columns.without_groups
        asked = (*([without] if without else []), *settings)
        found.append(Alternative("", asked, "none", 0, False, declared))
    return tuple(found)


def what_can_be_drawn(dataset: CellDataset, draw: Draw) -> Message:
    """``; groups: 3 hold ...; other splits that can be drawn: ...``; empty without groups."""
    parts: list[str | Message] = []
    if held := holders(dataset):
        shown = "; ".join(each.describe() for each in held[:_SHOWN_SETS])
        left = len(held) - _SHOWN_SETS
        more = f"; and {left} more sets of classes" if left > 0 else ""
        parts.append(f"; of the groups, {shown}{more}")
        if all(len(each.classes) == 1 for each in held):
            parts.append(
                f"; each {group_word(dataset)} holds one class, so no split can tell the two apart"
            )
    if found := alternatives(dataset, draw):
        with_columns = [each for each in found if each.column][:_SHOWN_COLUMNS]
        shown_ways = [*with_columns, *(each for each in found if not each.column)]
        parts += ["; other splits that can be drawn: "]
        parts.append(joined([each.message() for each in shown_ways], "; or "))
    return Message.of(*parts)


def _relation(declared: NDArray[np.str_], values: NDArray[np.str_]) -> Relation:
    pairs = set(zip(declared.tolist(), values.tolist(), strict=True))
    if len(pairs) == len(np.unique(declared)):
        return "coarser"
    return "finer" if len(pairs) == len(np.unique(values)) else "crossing"


def _one_class_each(codes: NDArray[np.int32], labels: NDArray[np.int64]) -> bool:
    return len(np.unique(np.stack([codes, labels]), axis=1).T) == len(np.unique(codes))
