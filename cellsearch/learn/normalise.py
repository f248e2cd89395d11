"""Normalisation of raw intensities, fitted on training cells alone and part of the model."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CELLS_AT_ONCE = 256
"""So that reading statistics holds a few MB, whatever the data set's size."""


class Normalise(nn.Module):
    """Zero mean and unit variance, per channel of the training cells or per image.

    Per image, each channel of each cell has its own mean and standard deviation; a standard
    deviation below 1 % of the training cells' is held there, so that an empty channel stays flat
    instead of having its noise blown up.

    Attributes:
        mean: (C, 1, 1) float32 buffer, of the training cells.
        std: (C, 1, 1) float32 buffer, positive.
        fitted_on: (n,) int64 cells that ``fit`` was given; None before, and in a module that was
            read back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, how: Literal["channel", "image"]) -> None:
        super().__init__()
        self.how = how
        self.fitted_on: NDArray[np.int64] | None = None
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def fit(self, images: NDArray[Any], indices: NDArray[np.int64]) -> None:
        """Take mean and standard deviation of the cells at ``indices``, and of no others.

        Args:
            images: (N, C, H, W), any dtype, usually memory-mapped.
            indices: (n,) int64.
        """
        mean, std = channel_statistics(images, indices)
        self.mean.copy_(torch.from_numpy(mean)[:, None, None])
        self.std.copy_(torch.from_numpy(std)[:, None, None])
        self.fitted_on = np.array(indices)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities to normalised ones."""
        if self.how == "channel":
            return (images - self.mean) / self.std
        centred = images - images.mean(dim=(2, 3), keepdim=True)
        spread = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        return centred / torch.maximum(spread, 0.01 * self.std)


def channel_statistics(
    images: NDArray[Any], indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel over cells and px, in two passes.

    Returns:
        Two (C,) float32; a standard deviation of 0 is given as 1.
    """
    ordered = np.sort(indices)
    channels = images.shape[1]
    pixels = float(len(ordered) * images.shape[2] * images.shape[3])
    chunks = [ordered[at : at + CELLS_AT_ONCE] for at in range(0, len(ordered), CELLS_AT_ONCE)]
    total = np.zeros(channels)
    for chunk in chunks:
        total += images[chunk].sum(axis=(0, 2, 3), dtype=np.float64)
    mean = total / pixels
    squares = np.zeros(channels)
    for chunk in chunks:
        centred = images[chunk].astype(np.float32) - mean.astype(np.float32)[:, None, None]
        squares += np.square(centred, out=centred).sum(axis=(0, 2, 3), dtype=np.float64)
    std = np.sqrt(squares / pixels)
    return mean.astype(np.float32), np.where(std > 0, std, 1.0).astype(np.float32)
