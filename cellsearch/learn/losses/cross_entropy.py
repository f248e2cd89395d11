"""Cross-entropy."""

from __future__ import annotations

from torch import Tensor, nn

from cellsearch.space.recipe import Loss


def each(logits: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """-log p of the class of each cell; targets smoothed as in Szegedy et al. 2016.

    Args:
        logits: (B, K) float32.
        labels: (B,) int64.
        loss: the recipe's section, for ``label_smoothing``.

    Returns:
        (B,) float32.
    """
    return nn.functional.cross_entropy(
        logits, labels, reduction="none", label_smoothing=loss.label_smoothing
    )
