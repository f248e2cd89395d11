"""The inner split: which training cells early stopping watches; known without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset

Indices = NDArray[np.int64]

WATCHED_SHARE = 0.1
"""Of each class's training cells, held back for early stopping."""

_ORDERS = 20
"""Orders of groups that are looked at."""


def watched_of(cells: int) -> int:
    """How many of a class's training cells are watched, where they are drawn one by one."""
    return max(1, round(WATCHED_SHARE * cells)) if cells > 1 else 0


def inner_split(
    dataset: CellDataset, indices: Indices, *, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Training cells apart from about a tenth to watch; a class's only cell trains.

    Where the data set has groups, whole ones are watched, or early stopping would see how well a
    donor is recognised and not how well a class is. Where no choice of at most half of the cells
    leaves every class something to train on, cells are drawn one by one, as without groups: what
    is watched only says when to stop and enters no figure.

    Args:
        dataset: for the labels and groups.
        indices: (n,) int64 training cells.
        rng: source of chance.

    Returns:
        Two int64 arrays, disjoint, together ``indices``.
    """
    labels = dataset.labels[indices]
    held = None
    if dataset.groups is not None:
        held = _whole_groups(labels, dataset.groups[indices], rng)
    if held is None:
        held = _single_cells(labels, rng)
    return indices[~held], indices[held]


def _single_cells(labels: Indices, rng: np.random.Generator) -> NDArray[np.bool_]:
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        held[places[: watched_of(len(places))]] = True
    return held


def _whole_groups(
    labels: Indices, groups: NDArray[np.str_], rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """(n,) bool; of some random orders, the one that watches most classes, nearest to a tenth."""
    _, group = np.unique(groups, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    table = np.zeros((int(group.max()) + 1, len(classes)), np.int64)
    np.add.at(table, (group, label), 1)
    total = table.sum(0)
    aim = WATCHED_SHARE * len(labels)
    best: tuple[tuple[int, float], list[int]] | None = None
    for _ in range(_ORDERS):
        taken: list[int] = []
        so_far = np.zeros(len(classes), np.int64)
        for each in rng.permutation(len(table)):
            more = so_far + table[each]
            if (more < total).all() and more.sum() <= len(labels) / 2:
                taken, so_far = [*taken, int(each)], more
            if so_far.sum() >= aim:
                break
        rank = (-int((so_far > 0).sum()), abs(float(so_far.sum()) - aim))
        if taken and (best is None or rank < best[0]):
            best = (rank, taken)
    return None if best is None else np.isin(group, best[1])
