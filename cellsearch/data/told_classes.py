"""Whether classes are told by one property alone, without a look at a cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_CHUNK = 2**22
"""Numbers that are held of random tables at a time."""
_SPARE = 3
"""How many of the random tables may reach the figure at the level that is asked for."""


@dataclass(frozen=True)
class Told:
    """Some classes that a property tells from all others.

    Attributes:
        classes: positions of the classes.
        values: codes of the property that these have more often than the others.
        balanced_accuracy: mean of the share of their cells and of the share of the others' that
            are told rightly, where each cell (group) is judged by all the others.
        p: share of random tables in which a property tells some classes as well.
    """

    classes: tuple[int, ...]
    values: tuple[int, ...]
    balanced_accuracy: float
    p: float


def told_classes(
    codes: Integers,
    labels: Integers,
    groups: Integers | None,
    *,
    least: float,
    level: float,
    seed: int = 0,
) -> list[Told]:
    """Classes that a property with few values tells from the others.

    The rule is: a value that is more frequent among some classes than among all others speaks for
    them. Such classes are each class alone, and for each value those of which most cells have it,
    or it or a lower one.
    A cell is judged by all others, and where there are groups by those of other groups, so a rare
    value or a rare class tells nothing of itself. p is that of a permutation test in which the
    largest standardised difference of all rules of the property counts: tables with the same
    margins are drawn (Patefield 1981), p is (b + 1) / (m + 1) for b of m that reach it. With
    groups, cells of one group, class and value count once in it.

    Args:
        codes: (N,) in ``0 .. V - 1``, value of the property for each cell, in order if it has one.
        labels: (N,) in ``0 .. K - 1``.
        groups: (N,) positions of the groups; None where cells are independent.
        least: balanced accuracy that is needed.
        level: p that is reached by what is told by chance no more.
        seed: of the random tables.

    Returns:
        The best first, none that follows from those before it. Its p may be above ``level``: the
        caller judges.
    """
    present, label = np.unique(labels, return_inverse=True)
    values, code = np.unique(codes, return_inverse=True)
    if len(present) < 2 or len(values) < 2:
        return []
    table = _counted(label, code, len(present), len(values))
    found: list[tuple[float, Flags]] = []
    for members in np.unique(_candidates(table[None])[0], axis=0):
        if 0 < members.sum() < len(present):
            found.append((_judged(code, members[label], groups, len(values)), members))
    found.sort(key=lambda each: -each[0])
    if not found or found[0][0] < least:
        return []
    units = table
    if groups is not None:
        units = _of_groups(label, code, groups, table.shape)
    null = np.sort(_null(units, level, seed))
    taken: list[Flags] = []
    told = []
    for accuracy, members in found:
        if accuracy < least:
            break
        if not all(_told_within(members, each, label, code, groups, least) for each in taken):
            continue
        taken.append(members)
        reached = len(null) - np.searchsorted(null, _standardised(units, members) - 1e-9)
        inside = table[members].sum(axis=0) / table[members].sum()
        outside = table[~members].sum(axis=0) / table[~members].sum()
        told.append(
            Told(
                tuple(present[members].tolist()),
                tuple(values[inside > outside].tolist()),
                accuracy,
                float((reached + 1) / (len(null) + 1)),
            )
        )
    return told


def _counted(label: Integers, code: Integers, classes: int, values: int) -> Integers:
    flat = np.bincount(label * values + code, minlength=classes * values)
    return flat.reshape(classes, values).astype(np.int64)


def _of_groups(
    label: Integers, code: Integers, groups: Integers, shape: tuple[int, ...]
) -> Integers:
    """(K, V) how many groups have cells of a class with a value."""
    once = np.unique(np.stack([groups, label, code]), axis=1)
    return _counted(once[1], once[2], shape[0], shape[1])


def _candidates(tables: Integers) -> Flags:
    """(T, K + 2 V, K) sets of classes that (T, K, V) tables may tell; the smaller side of each.

    Each class alone, and for each value the classes of which more than half of the cells have it,
    and those of which more than half have it or a lower one, as of sizes.
    """
    count, classes, values = tables.shape
    sizes = tables.sum(axis=2)
    half = sizes[:, :, None] / 2
    found = np.zeros((count, classes + 2 * values, classes), np.bool_)
    found[:, :classes] = np.eye(classes, dtype=np.bool_)
    found[:, classes : classes + values] = np.moveaxis(tables > half, 1, 2)
    found[:, classes + values :] = np.moveaxis(np.cumsum(tables, axis=2) > half, 1, 2)
    cells = (found * sizes[:, None]).sum(axis=2)
    larger = 2 * cells > sizes.sum(axis=1)[:, None]
    found[larger] = ~found[larger]
    return found


def _judged(code: Integers, inside: Flags, groups: Integers | None, values: int) -> float:
    """Balanced accuracy of the rule, each cell judged by those of other groups."""
    side = inside.astype(np.int64)
    totals = _counted(side, code, 2, values)
    # Cells of one side, value and group are judged alike.
    if groups is None:
        of_side, value = np.indices(totals.shape).reshape(2, -1)
        cells = totals.ravel()
        own = [(of_side == k).astype(np.int64) for k in (0, 1)]
        of_own_group = own
    else:
        group = np.unique(groups, return_inverse=True)[1]
        keys, cells = np.unique((group * 2 + side) * values + code, return_counts=True)
        of_side, value, of_group = keys // values % 2, keys % values, keys // values // 2
        sizes = np.bincount(group * 2 + side, minlength=2 * (int(group.max()) + 1))
        own, of_own_group = [], []
        for k in (0, 1):
            wanted = (of_group * 2 + k) * values + value
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            own.append(np.where(keys[place] == wanted, cells[place], 0))
            of_own_group.append(sizes[of_group * 2 + k])
    share = [
        (totals[k, value] - own[k]) / np.maximum(totals[k].sum() - of_own_group[k], 1)
        for k in (0, 1)
    ]
    right = np.where(of_side == 1, share[1] > share[0], share[1] <= share[0])
    recalls = [(right * cells)[of_side == k].sum() / totals[k].sum() for k in (0, 1)]
    return float(sum(recalls) / 2)


def _told_within(
    members: Flags,
    before: Flags,
    label: Integers,
    code: Integers,
    groups: Integers | None,
    least: float,
) -> bool:
    """Whether classes are told also from those that an earlier rule leaves with them.

    Of four classes of which two were saved alike, each of the two is told from the other pair; that
    is nothing new, as neither is told from the other.
    """
    for side in (before, ~before):
        if not (members & ~side).any():
            rest = side[label]
            new = bool((side & ~members).any())
            return (
                new
                and _judged(
                    code[rest],
                    members[label[rest]],
                    None if groups is None else groups[rest],
                    int(code.max()) + 1,
                )
                >= least
            )
    return False


def _rules(tables: Integers, members: Flags) -> NDArray[np.float64]:
    """(T, M) standardised difference of (T, K, V) tables for (T, M, K) sets of classes.

    The share of the sets' cells that the rule gives to them, less that of the other cells, each
    cell judged by all others, over its standard error where there is no difference.
    """
    a = np.einsum("tmk,tkv->tmv", members.astype(np.float64), tables.astype(np.float64))
    b = tables.sum(axis=1)[:, None] - a
    m, n = a.sum(axis=2, keepdims=True), b.sum(axis=2, keepdims=True)
    without_a = (a - 1) / np.maximum(m - 1, 1)
    without_b = (b - 1) / np.maximum(n - 1, 1)
    hits = (a * (without_a > b / np.maximum(n, 1))).sum(axis=2)
    wrong = (b * (a / np.maximum(m, 1) > without_b)).sum(axis=2)
    m, n = np.maximum(m[..., 0], 1), np.maximum(n[..., 0], 1)
    pooled = (hits + wrong) / (m + n)
    error = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / m + 1 / n), 1e-12))
    usable = (pooled > 0) & (pooled < 1)
    return np.where(usable, (hits / m - wrong / n) / error, 0.0)


def _standardised(table: Integers, members: Flags) -> float:
    return float(_rules(table[None], members[None, None])[0, 0])


def _null(table: Integers, level: float, seed: int) -> NDArray[np.float64]:
    """The largest standardised difference in random tables with the margins of this one."""
    return np.concatenate(
        [_rules(tables, _candidates(tables)).max(axis=1) for tables in _drawn(table, level, seed)]
    )


def _drawn(table: Integers, level: float, seed: int) -> Iterator[Integers]:
    from scipy.stats import random_table

    rng = np.random.default_rng(seed)
    draw = random_table(table.sum(axis=1), table.sum(axis=0), seed=rng)
    left = math.ceil(_SPARE / level) - 1
    classes, values = table.shape
    most = max(1, _CHUNK // ((classes + 2 * values) * values))
    while left > 0:
        count = min(most, left)
        yield draw.rvs(count).astype(np.int64)
        left -= count
