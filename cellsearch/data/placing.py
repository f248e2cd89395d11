"""Where each unit of a data set goes: into the hold-out or into one of the folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset

Indices = NDArray[np.int64]

HOLDOUT = -2
FREE = -1
_ATTEMPTS = 20


def place(
    dataset: CellDataset,
    units: Indices,
    classes: Indices,
    *,
    folds: int,
    holdout: float,
    seed: int,
) -> Indices | None:
    """Where each unit goes: a fold, HOLDOUT, or FREE where it holds none of ``classes``.

    Stratified by class; with groups, by StratifiedGroupKFold, and drawn again where that leaves a
    part without a class, as it may.

    Args:
        dataset: labelled cells.
        units: (N,) as from ``rare.units_of``.
        classes: int64, classes of which each part must hold a cell.
        folds: k.
        holdout: share of the cells to hold out.
        seed: of the draw.

    Returns:
        (units,) int64; None where no draw gave every part each of ``classes``.
    """
    chosen = np.flatnonzero(np.isin(dataset.labels, classes))
    labels, unit = dataset.labels[chosen], units[chosen]
    # Each row a unit, each column a class: what a part holds is a sum of rows.
    table = np.zeros((int(units.max()) + 1, len(dataset.classes)), np.int64)
    np.add.at(table, (unit, labels), 1)
    table = table[:, classes]
    draw = _by_unit if dataset.groups is None else _by_group
    for attempt in range(_ATTEMPTS):
        for part in draw(table, folds, holdout, (seed + 1_000_003 * attempt) % 2**32):
            held = [table[part == place].sum(0) for place in (HOLDOUT, *range(folds))]
            if np.min(held) > 0:
                return part
    return None


def _by_unit(table: Indices, folds: int, holdout: float, seed: int) -> Iterator[Indices]:
    """Stratified by class, a unit counting once, as its rarest class."""
    from sklearn.model_selection import StratifiedKFold

    part = np.full(len(table), FREE, np.int64)
    members = np.flatnonzero(table.any(axis=1))
    frequency = np.where(table[members] > 0, (table > 0).sum(0), np.iinfo(np.int64).max)
    rarest = frequency.argmin(axis=1)
    rng = np.random.default_rng(seed)
    for k in range(table.shape[1]):
        of_class = members[rarest == k]
        if len(of_class) <= folds:
            return
        quota = int(np.clip(round(holdout * len(of_class)), 1, len(of_class) - folds))
        part[rng.permutation(of_class)[:quota]] = HOLDOUT
    rest = part[members] != HOLDOUT
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, validation) in enumerate(splitter.split(members[rest], rarest[rest])):
        part[members[rest][validation]] = fold
    yield part


def _by_group(table: Indices, folds: int, holdout: float, seed: int) -> Iterator[Indices]:
    """Stratified by class with whole groups; yields one placement for each possible hold-out."""
    members = np.flatnonzero(table.any(axis=1))
    if len(members) < folds + 1:
        return
    rows = table[members]
    shares = max(2, min(round(1 / holdout), len(members)))
    first = _group_folds(rows, shares, seed)
    taken = [rows[first == share].sum(0) / rows.sum(0) for share in range(shares)]
    for share in np.argsort([np.abs(each - holdout).sum() for each in taken], kind="stable"):
        rest = first != share
        if (np.count_nonzero(rows[rest], axis=0) < folds).any():
            continue
        part = np.full(len(table), FREE, np.int64)
        part[members[~rest]] = HOLDOUT
        part[members[rest]] = _group_folds(rows[rest], folds, seed)
        yield part


def _group_folds(rows: Indices, folds: int, seed: int) -> Indices:
    """(units,) fold of each row by StratifiedGroupKFold over the cells that the rows count."""
    from sklearn.model_selection import StratifiedGroupKFold

    unit = np.repeat(np.arange(len(rows)), rows.sum(1))
    labels = np.concatenate([np.repeat(np.arange(rows.shape[1]), row) for row in rows])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    placed = np.empty(len(rows), np.int64)
    with warnings.catch_warnings():
        # It warns of classes with fewer cells than folds; the caller checks every part.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, validation) in enumerate(splitter.split(unit, labels, unit)):
            placed[unit[validation]] = fold
    return placed
