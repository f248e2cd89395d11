"""Where each unit of a data set goes: into the hold-out or into one of the folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.plan import HELD_GROUPS, Plan

Indices = NDArray[np.int64]

HOLDOUT = -2
FREE = -1
_ATTEMPTS = 20
_ORDERS = 200
_TRIED = 20


def place(
    dataset: CellDataset, units: Indices, classes: Indices, *, plan: Plan, seed: int
) -> Indices | None:
    """Where each unit goes: a fold, HOLDOUT, or FREE.

    FREE are units that hold none of ``classes``, and those that a fixed split trains on.
    Stratified by class; with groups drawn again where that leaves a part without a class, as it
    may.

    Args:
        dataset: labelled cells.
        units: (N,) as from ``rare.units_of``.
        classes: int64, classes of which each part must hold a cell.
        plan: folds and shares.
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
    parts = [HOLDOUT, *range(plan.folds), *([] if plan.validation is None else [FREE])]
    for attempt in range(_ATTEMPTS):
        for part in _draws(table, plan, (seed + 1_000_003 * attempt) % 2**32, dataset.groups):
            if np.min([table[part == place].sum(0) for place in parts]) > 0:
                return part
    return None


def partition(
    dataset: CellDataset,
    units: Indices,
    classes: Indices,
    *,
    parts: int,
    seed: int,
    among: Indices | None = None,
) -> Indices | None:
    """Which of ``parts`` equal parts each unit goes to, stratified; nothing is locked away.

    Args:
        dataset: labelled cells.
        units: (N,) as from ``rare.units_of``.
        classes: int64, classes of which each part must hold a cell.
        parts: how many, 2 or more.
        seed: of the draw.
        among: cells to part; None for all.

    Returns:
        (units,) int64, FREE for units without a cell to part; None where no draw gave every part
        each of ``classes``.
    """
    from sklearn.model_selection import StratifiedKFold

    wanted = np.isin(dataset.labels, classes)
    if among is not None:
        wanted &= np.isin(np.arange(len(dataset)), among)
    table = np.zeros((int(units.max()) + 1, len(dataset.classes)), np.int64)
    np.add.at(table, (units[wanted], dataset.labels[wanted]), 1)
    table = table[:, classes]
    members, rarest = _rarest(table)
    if ((table > 0).sum(0) < parts).any():
        return None
    for attempt in range(_ATTEMPTS):
        chance = (seed + 1_000_003 * attempt) % 2**32
        part = np.full(len(table), FREE, np.int64)
        if dataset.groups is None:
            splitter = StratifiedKFold(parts, shuffle=True, random_state=chance)
            with warnings.catch_warnings():
                # As in _group_folds: every part is checked below.
                warnings.simplefilter("ignore", UserWarning)
                for number, (_, own) in enumerate(splitter.split(members, rarest)):
                    part[members[own]] = number
        else:
            part[members] = _group_folds(table[members], parts, chance)
        if np.min([table[part == number].sum(0) for number in range(parts)]) > 0:
            return part
    return None


def _draws(
    table: Indices, plan: Plan, seed: int, groups: NDArray[np.str_] | None
) -> Iterator[Indices]:
    if plan.validation is None:
        draw = _by_unit if groups is None else _by_group
        return draw(table, plan.folds, plan.holdout, seed)
    fixed = _fixed_by_unit if groups is None else _fixed_by_group
    return fixed(table, plan.validation, plan.holdout, seed)


def _by_unit(table: Indices, folds: int, holdout: float, seed: int) -> Iterator[Indices]:
    """Stratified by class, a unit counting once, as its rarest class."""
    from sklearn.model_selection import StratifiedKFold

    part = np.full(len(table), FREE, np.int64)
    members, rarest = _rarest(table)
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


def _fixed_by_unit(
    table: Indices, validation: float, holdout: float, seed: int
) -> Iterator[Indices]:
    """As ``_by_unit``, which draws the same hold-out of the same seed."""
    part = np.full(len(table), FREE, np.int64)
    members, rarest = _rarest(table)
    rng = np.random.default_rng(seed)
    for k in range(table.shape[1]):
        of_class = rng.permutation(members[rarest == k])
        n = len(of_class)
        if n < 3:
            return
        held = int(np.clip(round(holdout * n), 1, n - 2))
        validated = int(np.clip(round(validation * n), 1, n - held - 1))
        part[of_class[:held]] = HOLDOUT
        part[of_class[held : held + validated]] = 0
    yield part


def _fixed_by_group(
    table: Indices, validation: float, holdout: float, seed: int
) -> Iterator[Indices]:
    """Whole groups in a random order, cut where the shares are met best; the best order first."""
    members = np.flatnonzero(table.any(axis=1))
    if len(members) < 3:
        return
    rows = table[members] / table.sum(0)
    aims = np.array([holdout, validation, 1.0 - holdout - validation])
    rng = np.random.default_rng(seed)
    found: list[tuple[float, Indices]] = []
    for _ in range(_ORDERS):
        order = rng.permutation(len(members))
        # (n + 1,) share of the cells, all classes alike, in the groups so far.
        so_far = np.concatenate([[0.0], rows[order].mean(axis=1).cumsum()])
        first = 1 + int(np.abs(so_far[1:-2] - holdout).argmin())
        aim = so_far[first] + validation
        second = first + 1 + int(np.abs(so_far[first + 1 : -1] - aim).argmin())
        taken = [rows[part].sum(0) for part in np.split(order, (first, second))]
        part = np.full(len(table), FREE, np.int64)
        part[members[order[:first]]] = HOLDOUT
        part[members[order[first:second]]] = 0
        if np.min(taken) > 0:
            found.append((float(np.abs(np.array(taken) - aims[:, None]).sum()), part))
    for _, part in sorted(found, key=lambda each: each[0]):
        yield part


def _rarest(table: Indices) -> tuple[Indices, Indices]:
    """Units that hold a class, and the rarest class (by units) of each."""
    members = np.flatnonzero(table.any(axis=1))
    frequency = np.where(table[members] > 0, (table > 0).sum(0), np.iinfo(np.int64).max)
    return members, frequency.argmin(axis=1)


def _by_group(table: Indices, folds: int, holdout: float, seed: int) -> Iterator[Indices]:
    """Stratified by class with whole groups; yields one placement for each possible hold-out.

    Hold-outs of ``HELD_GROUPS`` or more come first, where that is no more than half of the groups.
    """
    members = np.flatnonzero(table.any(axis=1))
    if len(members) < folds + 1:
        return
    rows = table[members]
    shares = max(2, min(round(1 / holdout), len(members)))
    first = _group_folds(rows, shares, seed)
    for held in _holdouts(rows, [first == share for share in range(shares)], holdout, seed):
        rest = ~held
        if (np.count_nonzero(rows[rest], axis=0) < folds).any():
            continue
        part = np.full(len(table), FREE, np.int64)
        part[members[~rest]] = HOLDOUT
        part[members[rest]] = _group_folds(rows[rest], folds, seed)
        yield part


def _holdouts(
    rows: Indices, shares: list[NDArray[np.bool_]], holdout: float, seed: int
) -> list[NDArray[np.bool_]]:
    """Which groups to lock away, (groups,) each; what is nearest to ``holdout`` first."""

    def ranked(found: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
        off = [np.abs(rows[each].sum(0) / rows.sum(0) - holdout).sum() for each in found]
        return [found[place] for place in np.argsort(off, kind="stable")]

    if len(rows) < 2 * HELD_GROUPS:
        return ranked(shares)
    many = [each for each in shares if each.sum() >= HELD_GROUPS]
    if not many:
        rng = np.random.default_rng(seed)
        drawn = [rng.permutation(len(rows)) < HELD_GROUPS for _ in range(_ORDERS)]
        many = ranked(drawn)[:_TRIED]
    return [*ranked(many), *ranked(shares)]


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
