"""Light and colour of a cell: its means stay, so that background stays background."""

from __future__ import annotations

import torch
from torch import Tensor


def moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each channel of each cell: mean, distance of each px from it, standard deviation.

    Args:
        images: (B, C, H, W) float32.

    Returns:
        (B, C, 1, 1), (B, C, H, W) and (B, C, 1, 1) float32.
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    centred = images - mean
    return mean, centred, centred.square().mean(dim=(2, 3), keepdim=True).sqrt()


def relight(images: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Contrast and level of a cell: its mean stays the pivot, so that background stays background.

    x' = m + (x - m)(1 + gain) + offset s, with mean m and standard deviation s of each channel
    of the cell.

    Args:
        images: (B, C, H, W) float32.
        gain: (B,) float32, relative.
        offset: (B,) float32, in standard deviations.
    """
    mean, centred, spread = moments(images)
    level = mean + offset[:, None, None, None] * spread
    return torch.addcmul(level, centred, 1.0 + gain[:, None, None, None])


def recolour(images: Tensor, gain: Tensor) -> Tensor:
    """Contrast of each channel alone: x' = m + (x - m)(1 + gain), with its mean m in the cell.

    Args:
        images: (B, C, H, W) float32.
        gain: (B, C) float32, relative.
    """
    mean, centred, _ = moments(images)
    return torch.addcmul(mean, centred, 1.0 + gain[:, :, None, None])


def grey(images: Tensor, chosen: Tensor) -> Tensor:
    """Some cells without colour: every channel shows the mean of all, on its own scale.

    Channels enter the mean in their own standard deviations, since those of a cytometer differ
    by orders of magnitude; each then gets back its own mean and scale, so that a network that
    expects C channels meets them where it knows them. One channel stays as it is.

    Args:
        images: (B, C, H, W) float32.
        chosen: (B,) bool.
    """
    if images.shape[1] == 1:
        return images
    mean, centred, spread = moments(images)
    common = (centred / spread.clamp_min(torch.finfo(images.dtype).tiny)).mean(dim=1, keepdim=True)
    return torch.where(chosen[:, None, None, None], torch.addcmul(mean, common, spread), images)
