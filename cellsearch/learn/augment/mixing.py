"""Mixtures of a batch with itself, whose cells have a share in two labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cellsearch.space.sections import Augment


def mix(
    images: Tensor, labels: Tensor, augment: Augment, *, rng: np.random.Generator
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Mixup or CutMix as a recipe says; where it wants both, one is drawn for the batch.

    Args:
        images: (B, C, H, W) float32, normalised.
        labels: (B,) int64.
        augment: the recipe's section.
        rng: source of chance.

    Returns:
        As ``mixup``; the images as they are and two None where the recipe mixes nothing.
    """
    wanted = [
        (way, alpha) for way, alpha in ((mixup, augment.mixup), (cutmix, augment.cutmix)) if alpha
    ]
    if not wanted:
        return images, None, None
    way, alpha = wanted[int(rng.integers(len(wanted)))] if len(wanted) > 1 else wanted[0]
    return way(images, labels, alpha=alpha, rng=rng)


def mixup(
    images: Tensor, labels: Tensor, *, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Convex mixtures of the batch with itself, a share for each cell (Zhang et al. 2018).

    Args:
        images: (B, C, H, W) float32, normalised.
        labels: (B,) int64.
        alpha: of the Beta law of the share, > 0.
        rng: source of chance.

    Returns:
        Mixed images; labels of the second cell, (B,) int64; share of the first, (B,) float32.
    """
    cells = len(labels)
    order = torch.from_numpy(rng.permutation(cells)).to(images.device)
    share = torch.from_numpy(rng.beta(alpha, alpha, cells).astype(np.float32)).to(images.device)
    return torch.lerp(images[order], images, share[:, None, None, None]), labels[order], share


def cutmix(
    images: Tensor, labels: Tensor, *, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A rectangle of each cell replaced by the same one of another (Yun et al. 2019, "CutMix").

    The sides of the rectangle are sqrt(1 - l) of the crop's, l drawn from a Beta law for each
    cell; its middle lies anywhere, and what lies beyond the edge is lost. The share is that of the
    px in fact kept.

    Args:
        images: (B, C, H, W) float32, normalised.
        labels: (B,) int64.
        alpha: of the Beta law, > 0.
        rng: source of chance.

    Returns:
        Mixed images; labels of the second cell, (B,) int64; share of the first, (B,) float32.
    """
    cells, (height, width) = len(labels), images.shape[2:]
    order = torch.from_numpy(rng.permutation(cells)).to(images.device)
    side = np.sqrt(1.0 - rng.beta(alpha, alpha, cells))
    inside = []
    for length in (height, width):
        cut = np.rint(side * length)
        start = rng.integers(0, length, cells) - cut // 2
        place = np.arange(length)
        inside.append((place >= start[:, None]) & (place < (start + cut)[:, None]))
    rows, columns = inside
    taken = rows.sum(axis=1) * columns.sum(axis=1) / (height * width)
    share = torch.from_numpy((1.0 - taken).astype(np.float32)).to(images.device)
    box = torch.from_numpy(rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    return torch.where(box, images[order], images), labels[order], share
