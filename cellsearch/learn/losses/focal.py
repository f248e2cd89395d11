"""Focal loss (Lin et al. 2017, "Focal loss for dense object detection", eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cellsearch.learn.losses.cross_entropy import each as cross_entropy
from cellsearch.space.recipe import Loss


def each(logits: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """(1 - p)^gamma CE of each cell, p the probability of its class.

    Args:
        logits: (B, K) float32.
        labels: (B,) int64.
        loss: the recipe's section, for ``gamma`` and ``label_smoothing``.

    Returns:
        (B,) float32.
    """
    losses = cross_entropy(logits, labels, loss)
    if loss.gamma == 0:
        return losses
    log_p = nn.functional.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    # 1 - p loses its gradient to rounding near p = 1 with a power below 1; a floor keeps the
    # derivative of 0^gamma finite.
    return losses * (-torch.expm1(log_p)).clamp_min(1e-6).pow(loss.gamma)
