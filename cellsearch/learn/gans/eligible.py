"""Which classes have a generator, and what makes one impossible; known before anything trains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.learn.inner_split import watched_of
from cellsearch.space.sections import Gan

FEWEST = 4
"""Training cells of a class below which there is no generator: a batch of two is half of them."""

SIDES = (16, 160)
"""Shortest and longest side of a crop, px."""


def rare_classes(counts: NDArray[np.int64], gan: Gan) -> tuple[int, ...]:
    """Classes with cells, but fewer than ``gan.below`` times those of the largest class.

    Args:
        counts: (K,) int64 training cells of each class.
        gan: the recipe's section.
    """
    largest = int(counts.max(initial=0))
    return tuple(k for k, n in enumerate(counts.tolist()) if 0 < n < gan.below * largest)


def impossible(dataset: CellDataset, splits: Splits, gan: Gan, *, watched: bool = False) -> str:
    """Why these cells, so split, can have no generators; empty where they can.

    Args:
        dataset: the cells; only labels and shapes are looked at.
        splits: its folds.
        gan: the recipe's section; nothing is impossible with ``kind`` none.
        watched: early stopping holds an inner split back, from which no generator learns.

    Returns:
        One line: the parameter, the rule, what was found, the remedy.
    """
    if gan.kind == "none":
        return ""
    problem = unfit_size((int(dataset.images.shape[2]), int(dataset.images.shape[3])))
    if problem:
        return problem
    counts = [_counts(dataset, splits.training(fold)) for fold in range(splits.k)]
    if watched:
        counts = [cells - np.array([watched_of(int(n)) for n in cells]) for cells in counts]
    few = [
        (int(cells[label]), fold, label)
        for fold, cells in enumerate(counts)
        for label in rare_classes(cells, gan)
        if cells[label] < FEWEST
    ]
    if few:
        cells, fold, label = min(few)
        # No lower gan.below would help: it lets go of the larger of the rare classes first.
        return (
            f"gan.kind: {too_few(dataset.classes[label], cells)} in fold {fold + 1} of {splits.k}: "
            "merge or drop the class, or take gan out of the space"
        )
    if not any(rare_classes(cells, gan) for cells in counts):
        present = counts[0][counts[0] > 0]
        return (
            f"gan.below: no class has fewer than {gan.below * 100:.3g} % of the training cells of "
            f"the largest; the smallest has {100 * present.min() / present.max():.0f} %: raise "
            "gan.below, or take gan out of the space"
        )
    return ""


def unfit_size(size: tuple[int, int]) -> str:
    """Why crops of (H, W) px can have no generator; empty where they can."""
    if min(size) >= SIDES[0] and max(size) <= SIDES[1]:
        return ""
    return (
        f"gan.kind: a generator makes crops with sides of {SIDES[0]} to {SIDES[1]} px; these have "
        f"{size[0]} x {size[1]}: take gan out of the space"
    )


def too_few(class_name: str, cells: int) -> str:
    """The first half of a sentence that refuses a class of so few training cells."""
    left = f"{cells} training cell" if cells == 1 else f"{cells} training cells"
    return f"class {class_name!r} leaves {left}, and a generator needs at least {FEWEST},"


def _counts(dataset: CellDataset, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(dataset.labels[indices], minlength=len(dataset.classes)).astype(np.int64)
