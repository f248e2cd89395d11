"""What a trial may cost; a draw beyond it is never trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.space.recipe import Recipe

REDRAWS = 1000
"""Draws beyond the limits, one after another, before the space is called unfit."""


class LimitsLike(Protocol):
    """``SearchSpace.limits``, or anything with these attributes."""

    @property
    def parameters(self) -> int | None: ...

    @property
    def multiply_adds(self) -> int | None: ...

    @property
    def minutes_per_fold(self) -> float | None: ...


@dataclass(frozen=True)
class Bounds:
    """Largest trainable parameters, multiply-adds of one cell, and minutes of one fold."""

    parameters: int | None = None
    multiply_adds: int | None = None
    minutes_per_fold: float | None = None

    @classmethod
    def of(cls, limits: LimitsLike | None) -> Bounds | None:
        """Plain values of a space's limits; None where nothing is bounded."""
        if limits is None:
            return None
        bounds = cls(limits.parameters, limits.multiply_adds, limits.minutes_per_fold)
        return None if bounds == cls() else bounds


def beyond(
    bounds: Bounds,
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    *,
    device: str,
    threads: int | None,
) -> str:
    """Why a recipe costs too much, or "" where it does not.

    Counts come from the network alone; minutes are estimated from a few timed batches, here on
    the worker, where nothing else of ours competes for its threads.
    """
    from cellsearch.learn.cost import cost, minutes_per_fold

    channels, height, width = dataset.images.shape[1:]
    if bounds.parameters is not None or bounds.multiply_adds is not None:
        price = cost(recipe, (channels, height, width), len(dataset.classes))
        if bounds.parameters is not None and price.parameters > bounds.parameters:
            return f"{price.parameters:,} parameters, limit {bounds.parameters:,}"
        if bounds.multiply_adds is not None and price.multiply_adds > bounds.multiply_adds:
            return f"{price.multiply_adds:,} multiply-adds, limit {bounds.multiply_adds:,}"
    if bounds.minutes_per_fold is not None:
        largest = max(len(splits.training(fold)) for fold in range(splits.k))
        minutes = minutes_per_fold(recipe, dataset, largest, device=device, threads=threads)
        if minutes > bounds.minutes_per_fold:
            return f"{minutes:.1f} minutes a fold, limit {bounds.minutes_per_fold:g}"
    return ""
