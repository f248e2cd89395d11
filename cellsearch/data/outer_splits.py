"""Outer splits: the cells in K parts, each of which is the hold-out of one search on the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellsearch.data import rare as rules
from cellsearch.data.dataset import CellDataset
from cellsearch.data.placing import partition
from cellsearch.data.splits import DrawnFrom, Splits
from cellsearch.data.twins import Twin, find_twins
from cellsearch.errors import ConfigError, SplitError

Indices = NDArray[np.int64]


def draw_outer_splits(
    dataset: CellDataset,
    *,
    outer: int,
    folds: int = 5,
    seed: int = 0,
    rare: str = "refuse",
    twins: Sequence[Twin] | None = None,
) -> tuple[Splits, ...]:
    """Splits of ``outer`` searches, whose hold-outs together are all cells, each cell once.

    Twins stay together, and so do the cells of one group, in the outer parts and in the folds of
    each. Cells of classes that ``rare="keep"`` excuses train only and are in no hold-out.

    Args:
        dataset: labelled cells.
        outer: K, 2 or more.
        folds: of the rest, in each search.
        seed: of the draw.
        rare: ``refuse`` or ``keep``.
        twins: as from ``find_twins``, which is asked where they are not given.

    Raises:
        ConfigError: fewer than 2 outer or inner folds.
        SplitError: a class has too few cells (or groups), or some cells have no label.
    """
    rules.check_rare(rare)
    for name, value in (("outer", outer), ("folds", folds)):
        if value < 2:
            raise ConfigError(f"--{name}: expected 2 or more, got {value}")
    if (dataset.labels < 0).any():
        raise SplitError("only labelled cells can be split; some have no label")
    units = rules.units_of(dataset, find_twins(dataset.images) if twins is None else twins)
    counts = rules.units_per_class(dataset, units)
    # One part of the class is locked away, and each fold of the others needs a unit.
    enough = np.array([int(n) >= outer and int(n) - -(-int(n) // outer) >= folds for n in counts])
    small = np.flatnonzero(~enough)
    word = rules.unit_word(dataset)
    if len(small) and (rare != "keep" or enough.sum() < 2):
        listed = ", ".join(f"{dataset.classes[k]} {counts[k]}" for k in small)
        raise SplitError(
            f"{outer} outer folds with {folds} folds inside each need more {word} of each class; "
            f"too few: {listed}; choose a smaller --outer, fewer --folds, or --rare keep"
        )
    classes = np.flatnonzero(enough)
    place = partition(dataset, units, classes, parts=outer, seed=seed)
    if place is None:
        raise SplitError(_torn(f"{outer} outer folds", word))
    kept = ~enough[dataset.labels]
    where = place[units]
    found = []
    for part in range(outer):
        rest = np.flatnonzero(~kept & (where != part))
        inner = partition(dataset, units, classes, parts=folds, seed=seed + part, among=rest)
        if inner is None:
            raise SplitError(_torn(f"{folds} folds inside outer fold {part + 1}", word))
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


def _torn(what: str, word: str) -> str:
    return (
        f"no way was found to give each of {what} a cell of every class without tearing groups or "
        f"twins apart; choose a smaller --outer or fewer --folds, or more {word}"
    )
