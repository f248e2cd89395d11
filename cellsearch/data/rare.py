"""Classes too small for the folds asked for: counting them, and what may be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import DuplicatePair, find_duplicates
from cellsearch.data.placing import place
from cellsearch.data.plan import Plan
from cellsearch.errors import ConfigError, SplitError
from cellsearch.util.messages import Message, Setting

RARE_CHOICES: tuple[str | Setting, ...] = (
    Setting("rare", "keep"),
    " (train on them, report no figures), ",
    Setting("rare", "drop"),
    ", or ",
    Setting("rare", "merge=NAME"),
)
"""What may be done with classes that are too small."""


def units_of(dataset: CellDataset, duplicates: Sequence[DuplicatePair]) -> NDArray[np.int64]:
    """Number of the unit that each cell belongs to; a split never tears a unit apart.

    Duplicates are of one unit, and so are the cells of one group; groups that share duplicates are
    joined.

    Returns:
        (N,) int64 in ``0 .. units - 1``.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.array([(pair.a, pair.b) for pair in duplicates], np.int64).reshape(-1, 2)
    cells = len(dataset)
    nodes = cells
    if dataset.groups is not None:
        names, group = np.unique(dataset.groups, return_inverse=True)
        links = np.concatenate([links, np.stack([np.arange(cells), cells + group], 1)])
        nodes += len(names)
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), (nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return np.unique(component[:cells], return_inverse=True)[1].astype(np.int64)


def units_per_class(dataset: CellDataset, units: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K,) int64: how many units hold a cell of each class."""
    known = dataset.labels >= 0
    pairs = np.unique(np.stack([dataset.labels[known], units[known]], 1), axis=0)
    return np.bincount(pairs[:, 0], minlength=len(dataset.classes)).astype(np.int64)


def unit_word(dataset: CellDataset) -> str:
    """What a unit is called in a message: cells, or groups where there are groups."""
    return "cells" if dataset.groups is None else "groups"


def too_small(counts: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Classes with fewer units than one a fold and one for the hold-out."""
    return np.flatnonzero(counts < folds + 1)


def choices(most_folds: int, *, rare: bool = True, group: str = "") -> Message:
    """The ways out, for the end of a message.

    Args:
        most_folds: that work; below 2 none is offered.
        rare: whether the small classes may be left out or merged.
        group: what a group is, for which figures then hold; "" where cells are split.
    """
    fewer: list[str | Setting] = []
    if most_folds >= 2:
        holds = f", and figures hold for a new {group}" if group else ""
        fewer = [Setting("folds", most_folds), f" (the most that works{holds})"]
    if rare:
        return Message.of("choose ", *fewer, ", " if fewer else "", *RARE_CHOICES)
    if fewer:
        return Message.of("choose ", *fewer)
    return Message.of(f"add {'groups with ' if group else ''}cells of these classes")


def most_folds(
    dataset: CellDataset, duplicates: Sequence[DuplicatePair], plan: Plan, *, seed: int, most: int
) -> int:
    """Largest number of folds with a hold-out that was drawn; 0 where none was.

    Args:
        dataset: labelled cells.
        duplicates: as from ``find_duplicates``.
        plan: its hold-out, or the fixed split, which has one fold.
        seed: of the draw.
        most: number to try first.
    """
    units = units_of(dataset, duplicates)
    counts = units_per_class(dataset, units)
    everyone = np.arange(len(counts))
    fewest = 2 if plan.validation is None else 1
    for folds in range(most, fewest - 1, -1):
        tried = replace(plan, folds=folds)
        if int(counts.min()) < tried.units:
            continue
        if place(dataset, units, everyone, plan=tried, seed=seed) is not None:
            return folds
    return 0


def check_rare(rare: str) -> str | None:
    """Check the option.

    Returns:
        NAME of ``merge=NAME``, else None.

    Raises:
        ConfigError: an option that does not exist.
    """
    verb, _, name = rare.partition("=")
    if rare not in ("refuse", "keep", "drop") and (verb != "merge" or not name.strip()):
        raise ConfigError(
            Setting("rare"), f": expected keep, drop, merge=NAME or refuse, got {rare!r}"
        )
    return name.strip() if verb == "merge" else None


def apply_rare(
    dataset: CellDataset,
    *,
    rare: str,
    folds: int,
    split: str | None = None,
    duplicates: Sequence[DuplicatePair] | None = None,
) -> CellDataset:
    """Drop or merge the classes that have too few cells for ``folds`` and a hold-out.

    Args:
        dataset: labelled cells.
        rare: ``drop`` leaves them out; ``merge=NAME`` gives all of them the name NAME, which may
            be that of another class; ``keep`` and ``refuse`` change nothing (``draw_splits``
            deals with them).
        folds: number of folds; not looked at where there is a ``split``.
        split: a fixed split, as ``70/10/20``; it needs three cells of each class.
        duplicates: as from ``find_duplicates``, which is asked where they are not given; they
            count once.

    Raises:
        ConfigError: fewer than 2 folds, or an option that does not exist.
        SplitError: the merged class is too small still, or fewer than two classes would be left.
    """
    plan = Plan.of(folds=folds, holdout=0.2, split=split)
    name = check_rare(rare)
    if rare in ("keep", "refuse"):
        return dataset
    pairs = find_duplicates(dataset.images) if duplicates is None else duplicates
    units = units_of(dataset, pairs)
    counts = units_per_class(dataset, units)
    small = [dataset.classes[k] for k in np.flatnonzero(counts < plan.units)]
    if not small:
        return dataset
    if name is None:
        if len(dataset.classes) - len(small) < 2:
            raise SplitError(
                Setting("rare", "drop"),
                f" would leave {len(dataset.classes) - len(small)} of the classes "
                f"{', '.join(dataset.classes)}, and two are needed; ",
                choices(most_folds(dataset, pairs, plan, seed=0, most=plan.folds - 1), rare=False),
            )
        return dataset.drop_classes(small)
    members = [each for each in dataset.classes if each in small or each == name]
    chosen = np.isin(dataset.labels, [dataset.classes.index(each) for each in members])
    had = len(np.unique(units[chosen]))
    if had < plan.units:
        raise SplitError(
            Setting("rare", f"merge={name}"),
            f": {', '.join(members)} have {had} {unit_word(dataset)} together, "
            f"{plan.needs(unit_word(dataset))}; merge them into a larger class (",
            Setting("rare", "merge=CLASS"),
            "), or choose ",
            Setting("rare", "keep"),
            " or ",
            Setting("rare", "drop"),
        )
    if len(dataset.classes) - len(members) < 1:
        raise SplitError(
            Setting("rare", f"merge={name}"), " would leave one class, and two are needed"
        )
    return dataset.merge_classes({name: members})
