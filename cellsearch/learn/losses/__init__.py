"""Losses for few and many cells: class weights, and the loss of a cell by the name in a recipe.

Each file of this folder is a loss: ``each(logits, labels, loss)`` gives the unweighted loss of each
cell. Its name is one of those that ``Loss.kind`` takes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.space.recipe import Loss


def class_weights(counts: NDArray[np.int64], loss: Loss) -> NDArray[np.float32]:
    """Weight of each class, with a mean of 1 over the training cells.

    none: 1. inv: 1 / n_c. sqrt: n_c^-1/2. effective: (1 - beta) / (1 - beta^n_c), the inverse
    effective number of samples (Cui et al. 2019, "Class-balanced loss", eq. 2).

    Args:
        counts: (K,) int64, cells that the loss sees in an epoch: AFTER resampling, so that
            over-sampling and weights do not both correct the same imbalance.
        loss: the recipe's section.

    Returns:
        (K,) float32; 0 for a class without cells, which the loss never meets.
    """
    cells = counts.astype(np.float64)
    present = cells > 0
    some = np.where(present, cells, 1.0)
    match loss.weighting:
        case "none":
            raw = np.ones_like(some)
        case "sqrt":
            raw = some**-0.5
        case "inv":
            raw = 1.0 / some
        case "effective":
            # beta = 0 is legal and means no weighting.
            raw = (1.0 - loss.beta) / (1.0 - loss.beta**some)
    raw = np.where(present, raw, 0.0)
    scaled: NDArray[np.float64] = raw * (cells.sum() / (raw * cells).sum())
    return scaled.astype(np.float32)


CellLoss = Callable[[Tensor, Tensor, Loss], Tensor]
"""(logits (B, K) float32, labels (B,) int64, the recipe's section) -> (B,) float32."""


def loss_of_a_cell(kind: str) -> CellLoss:
    """``each`` of the file that a kind of loss is named after."""
    each: CellLoss = import_module(f"{__name__}.{kind}").each
    return each


class ClassLoss(nn.Module):
    """A loss with class weights, mean over the batch.

    The loss of a cell is multiplied by w_c of its class. The sum is divided by the number of cells,
    not by the sum of their weights: a rare cell then counts w_c wherever the batches put it.
    """

    weights: Tensor

    def __init__(self, weights: NDArray[np.float32], loss: Loss) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(weights.copy()))
        self.loss = loss
        self.each = loss_of_a_cell(loss.kind)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        other: Tensor | None = None,
        share: Tensor | None = None,
    ) -> Tensor:
        """Scalar float32.

        Args:
            logits: (B, K) float32.
            labels: (B,) int64.
            other: (B,) int64, labels of the cells mixed in by mixup or CutMix.
            share: (B,) float32 in 0 .. 1, weight of ``labels`` against ``other``.
        """
        losses = self._each(logits, labels)
        if other is not None and share is not None:
            losses = share * losses + (1.0 - share) * self._each(logits, other)
        return losses.mean()

    def _each(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.each(logits, labels, self.loss) * self.weights[labels]
