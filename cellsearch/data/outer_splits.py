"""Outer splits: the cells in K parts, each of which is the hold-out of one search on the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellsearch.data import rare as rules
from cellsearch.data.alternatives import group_word, what_can_be_drawn
from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import DuplicatePair, find_duplicates
from cellsearch.data.placing import partition
from cellsearch.data.splits import DrawnFrom, Splits
from cellsearch.errors import ConfigError, SplitError
from cellsearch.util.messages import Message, Setting, joined

Indices = NDArray[np.int64]


def draw_outer_splits(
    dataset: CellDataset,
    *,
    outer: int,
    folds: int = 5,
    seed: int = 0,
    rare: str = "refuse",
    duplicates: Sequence[DuplicatePair] | None = None,
) -> tuple[Splits, ...]:
    """Splits of ``outer`` searches, whose hold-outs together are all cells, each cell once.

    Duplicates stay together, and so do the cells of one group, in the outer parts and in the folds
    of each. Cells of classes that ``rare="keep"`` excuses train only and are in no hold-out.

    Args:
        dataset: labelled cells.
        outer: K, 2 or more.
        folds: of the rest, in each search.
        seed: of the draw.
        rare: ``refuse`` or ``keep``.
        duplicates: as from ``find_duplicates``, which is asked where they are not given.

    Raises:
        ConfigError: fewer than 2 outer or inner folds.
        SplitError: a class has too few cells (or groups), or some cells have no label.
    """
    rules.check_rare(rare)
    for name, value in (("outer", outer), ("folds", folds)):
        if value < 2:
            raise ConfigError(Setting(name), f": expected 2 or more, got {value}")
    if (dataset.labels < 0).any():
        raise SplitError("only labelled cells can be split; some have no label")
    pairs = find_duplicates(dataset.images) if duplicates is None else duplicates
    units = rules.units_of(dataset, pairs)
    counts = rules.units_per_class(dataset, units)
    enough = _enough(counts, outer, folds)
    small = np.flatnonzero(~enough)
    word = rules.unit_word(dataset)
    if len(small) and (rare != "keep" or enough.sum() < 2):
        listed = ", ".join(f"{dataset.classes[k]} {counts[k]}" for k in small)
        raise SplitError(
            f"{outer} outer folds with {folds} folds inside each need more {word} of each class; "
            f"too few: {listed}; ",
            _ways_out(dataset, pairs, outer, folds, seed, rare=bool(enough.sum() > 1)),
        )
    classes = np.flatnonzero(enough)
    place = partition(dataset, units, classes, parts=outer, seed=seed)
    if place is None:
        torn = f"{outer} outer folds"
        raise SplitError(_torn(torn), _ways_out(dataset, pairs, outer, folds, seed, rare=False))
    kept = ~enough[dataset.labels]
    where = place[units]
    found = []
    for part in range(outer):
        rest = np.flatnonzero(~kept & (where != part))
        inner = partition(dataset, units, classes, parts=folds, seed=seed + part, among=rest)
        if inner is None:
            torn = f"{folds} folds inside outer fold {part + 1}"
            raise SplitError(_torn(torn), _ways_out(dataset, pairs, outer, folds, seed, rare=False))
        fold = np.where(where == part, -1, inner[units])
        train_only = np.flatnonzero(kept & (where != part))
        found.append(
            Splits(
                holdout=np.flatnonzero(~kept & (where == part)),
                folds=tuple(np.flatnonzero(~kept & (fold == k)) for k in range(folds)),
                train_only=train_only,
                not_estimable=tuple(dataset.classes[k] for k in small),
                seed=seed,
                dataset_sha256=dataset.sha256,
                tied=fold[train_only],
                left_out=np.flatnonzero(kept & (where == part)),
                drawn_from=DrawnFrom(dataset.name, dataset.ids, dataset.labels, dataset.classes),
            )
        )
    return tuple(found)


def _torn(what: str) -> str:
    return (
        f"no split gives each of {what} a cell of every class and keeps groups and "
        "near-duplicates together"
        "; "
    )


def _enough(counts: Indices, outer: int, folds: int) -> NDArray[np.bool_]:
    """(K,) whether a part of each class can be locked away and leaves a unit for each fold."""
    return np.array([int(n) >= outer and int(n) - -(-int(n) // outer) >= folds for n in counts])


def _ways_out(
    dataset: CellDataset,
    duplicates: Sequence[DuplicatePair],
    outer: int,
    folds: int,
    seed: int,
    *,
    rare: bool,
) -> Message:
    """What can be drawn instead, by drawing it."""

    def draw(cells: CellDataset) -> tuple[Setting, ...] | None:
        return _drawn(cells, duplicates, outer, folds, seed)

    ways: list[str | Setting | Message] = []
    if settings := draw(dataset):
        holds = f" (figures hold for a new {group_word(dataset)})" if group_word(dataset) else ""
        ways = ["choose ", joined([Message.of(each) for each in settings], " "), holds]
    if rare:
        ways += [" or " if ways else "choose ", Setting("rare", "keep")]
    if not ways:
        ways = [rules.choices(0, rare=False, group=group_word(dataset))]
    return Message.of(*ways, what_can_be_drawn(dataset, draw))


def _drawn(
    dataset: CellDataset, duplicates: Sequence[DuplicatePair], outer: int, folds: int, seed: int
) -> tuple[Setting, ...] | None:
    """The settings nearest to those asked for that were drawn; None where none was."""
    units = rules.units_of(dataset, duplicates)
    counts = rules.units_per_class(dataset, units)
    classes = np.arange(len(counts))
    pairs = [(k, n) for k in range(outer, 1, -1) for n in range(folds, 1, -1)]
    for k, n in sorted(pairs, key=lambda pair: -sum(pair)):
        if not _enough(counts, k, n).all():
            continue
        place = partition(dataset, units, classes, parts=k, seed=seed)
        if place is not None and all(
            partition(
                dataset,
                units,
                classes,
                parts=n,
                seed=seed + part,
                among=np.flatnonzero(place[units] != part),
            )
            is not None
            for part in range(k)
        ):
            fewer = (Setting("outer", k),) if k < outer else ()
            return (*fewer, Setting("folds", n)) if n < folds else fewer
    return None
