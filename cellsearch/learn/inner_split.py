"""inner_split: the training cells that early stopping watches; known without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset

Indices = NDArray[np.int64]

WATCHED_SHARE = 0.1
"""Of each class's training cells, held back for early stopping."""


def watched_of(cells: int) -> int:
    """How many of a class's training cells are watched."""
    return max(1, round(WATCHED_SHARE * cells)) if cells > 1 else 0


def inner_split(
    dataset: CellDataset, indices: Indices, *, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Training cells apart from a tenth of each class to watch; a class's only cell trains.

    Cells are drawn one by one, also where the data set has groups: what is watched only says when
    to stop and enters no figure.

    Args:
        dataset: for the labels.
        indices: (n,) int64 training cells.
        rng: source of chance.

    Returns:
        Two int64 arrays, disjoint, together ``indices``.
    """
    labels = dataset.labels[indices]
    held = np.zeros(len(indices), dtype=bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        held[places[: watched_of(len(places))]] = True
    return indices[~held], indices[held]
