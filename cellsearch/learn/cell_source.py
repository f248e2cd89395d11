"""CellSource: the cells of a training, real ones and behind them generated ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellsearch.data.dataset import CellDataset
from cellsearch.learn.balance import epochs
from cellsearch.learn.predictor import load

if TYPE_CHECKING:
    from cellsearch.learn.gans import Generated

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CellSource:
    """Cells by number: those of the data set keep theirs, generated ones follow.

    Attributes:
        dataset: the real cells; sliced from the map as they are asked for.
        generated: a pool for each class that has a generator; may be empty.
        labels: (N + M,) int64.
    """

    dataset: CellDataset
    generated: tuple[Generated, ...]
    labels: Indices

    @classmethod
    def of(cls, dataset: CellDataset, generated: Sequence[Generated] = ()) -> CellSource:
        """Number the pools behind the cells, in the order given."""
        pools = [np.full(len(each.images), each.label, np.int64) for each in generated]
        return cls(dataset, tuple(generated), np.concatenate([dataset.labels, *pools]))

    def pool(self, label: int) -> Indices:
        """Numbers of the generated cells of a class; empty where it has no generator."""
        return np.flatnonzero(self.labels[len(self.dataset) :] == label) + len(self.dataset)

    def load(self, chosen: Indices, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) float32 raw intensities and (B,) int64 labels, on the device."""
        labels = torch.from_numpy(self.labels[chosen]).to(device)
        real = len(self.dataset)
        if not self.generated or (chosen < real).all():
            return load(self.dataset.images, chosen, device=device), labels
        images = np.empty((len(chosen), *self.dataset.images.shape[1:]), self.dataset.images.dtype)
        images[chosen < real] = self.dataset.images[chosen[chosen < real]]
        start = real
        for each in self.generated:
            own = (chosen >= start) & (chosen < start + len(each.images))
            images[own] = each.images[chosen[own] - start]
            start += len(each.images)
        return torch.from_numpy(images).to(device).to(torch.float32), labels

    def epochs(
        self, indices: Indices, targets: Indices, *, share: float, rng: np.random.Generator
    ) -> Iterator[Indices]:
        """Endless epochs as ``balance.epochs``, additional cells taken from the pools.

        Of the cells that a class gains, ``share`` are generated ones, newly drawn for each epoch;
        the others are copies.

        Args:
            indices: (n,) int64 training cells of the data set.
            targets: (K,) int64 cells of each class in an epoch.
            share: 0 .. 1.
            rng: source of chance.

        Yields:
            (sum of targets,) int64 numbers, shuffled.
        """
        labels = self.labels[indices]
        counts = np.bincount(labels, minlength=len(targets))
        pools = {each.label: self.pool(each.label) for each in self.generated}
        made = {
            label: round(share * int(targets[label] - counts[label]))
            for label in pools
            if targets[label] > counts[label]
        }
        copied = targets.copy()
        for label, cells in made.items():
            copied[label] -= cells
        for order in epochs(indices, labels, copied, rng=rng):
            if not made:
                yield order
                continue
            drawn = [rng.choice(pools[label], cells) for label, cells in made.items()]
            yield rng.permutation(np.concatenate([order, *drawn]))
