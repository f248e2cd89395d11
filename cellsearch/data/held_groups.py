"""How many groups a hold-out has, and what that says of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from cellsearch.data.alternatives import group_word
from cellsearch.data.dataset import CellDataset
from cellsearch.data.plan import HELD_GROUPS

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits


@dataclass(frozen=True)
class HeldGroups:
    """Groups in the hold-out, among all.

    Attributes:
        word: what one is called, as ``donor``.
        held: groups with a hold-out cell.
        groups: in all.
    """

    word: str
    held: int
    groups: int

    @classmethod
    def of(cls, dataset: CellDataset, splits: Splits) -> Self | None:
        """None where cells are independent."""
        if dataset.groups is None:
            return None
        held = len(np.unique(dataset.groups[splits.holdout]))
        return cls(group_word(dataset), held, len(np.unique(dataset.groups)))

    @property
    def note(self) -> str:
        """What a hold-out of few groups leaves open, and the remedy; "" where it has enough."""
        if self.held >= HELD_GROUPS:
            return ""
        word, enough = self.word, 2 * HELD_GROUPS
        said = f"one {word} is held out: the figures say nothing of other {word}s"
        if self.held > 1:
            said = f"{self.held} {word}s are held out: the figures say little of other {word}s"
        more = f"{enough} {word}s" if self.groups < enough else "fewer folds"
        return f"{said}; with {more}, {HELD_GROUPS} could be held out"
