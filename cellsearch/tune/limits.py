"""What a trial may cost; a draw beyond it is never trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cellsearch.space.models import NetworkModel

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
    """What a trial may cost; None bounds nothing.

    Attributes:
        parameters: trainable ones.
        multiply_adds: of one cell, forward.
        minutes_per_fold: of a full training.
        least_epochs: a network that would take more minutes gets fewer epochs, down to these;
            None refuses it instead.
        refuse: whether one that takes more minutes even then is refused; else it gets
            ``least_epochs``.
    """

    parameters: int | None = None
    multiply_adds: int | None = None
    minutes_per_fold: float | None = None
    least_epochs: int | None = None
    refuse: bool = True

    @classmethod
    def of(cls, limits: LimitsLike | None) -> Bounds | None:
        """Plain values of a space's limits; None where nothing is bounded."""
        if limits is None:
            return None
        bounds = cls(limits.parameters, limits.multiply_adds, limits.minutes_per_fold)
        return None if bounds == cls() else bounds


def too_large(bounds: Bounds, recipe: Recipe, shape: tuple[int, int, int], classes: int) -> str:
    """Why a network is too large, from its shapes alone, or "" where it is not; imports torch.

    Args:
        bounds: of parameters and multiply-adds; that of minutes is not looked at.
        recipe: the recipe.
        shape: (C, H, W) of a cell.
        classes: K.
    """
    if bounds.parameters is None and bounds.multiply_adds is None:
        return ""
    from cellsearch.learn.cost import cost

    price = cost(recipe, shape, classes)
    if bounds.parameters is not None and price.parameters > bounds.parameters:
        return f"{price.parameters:,} parameters, limit {bounds.parameters:,}"
    if bounds.multiply_adds is not None and price.multiply_adds > bounds.multiply_adds:
        return f"{price.multiply_adds:,} multiply-adds, limit {bounds.multiply_adds:,}"
    return ""


@dataclass(frozen=True)
class Fitted:
    """A recipe that keeps to its bounds, or why it cannot.

    Attributes:
        recipe: with fewer epochs where the bounds ask for it.
        reason: why it costs too much; "" where it does not.
    """

    recipe: Recipe
    reason: str = ""


def fitted(
    bounds: Bounds,
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    *,
    device: str,
    threads: int | None,
) -> Fitted:
    """Make a recipe keep to its bounds, by fewer epochs where that helps.

    Minutes are estimated from a few timed batches, here on the worker, where nothing else of ours
    competes for its threads.
    """
    channels, height, width = dataset.images.shape[1:]
    reason = too_large(bounds, recipe, (channels, height, width), len(dataset.classes))
    if reason or bounds.minutes_per_fold is None:
        return Fitted(recipe, reason)
    from cellsearch.learn.cost import minutes_per_fold

    largest = max(len(splits.training(fold)) for fold in range(splits.k))
    minutes = minutes_per_fold(recipe, dataset, largest, device=device, threads=threads)
    if minutes <= bounds.minutes_per_fold:
        return Fitted(recipe)
    if bounds.least_epochs is not None and isinstance(recipe.model, NetworkModel):
        epochs = int(recipe.train.epochs * bounds.minutes_per_fold / minutes)
        if not bounds.refuse:
            epochs = min(recipe.train.epochs, max(epochs, bounds.least_epochs))
        if epochs >= bounds.least_epochs:
            train = recipe.train.model_copy(update={"epochs": epochs})
            return Fitted(recipe.model_copy(update={"train": train}))
    return Fitted(recipe, f"{minutes:.1f} minutes a fold, limit {bounds.minutes_per_fold:.2g}")
