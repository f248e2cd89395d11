"""Moves of a cell in its crop: exact ones by a gather of px, others by interpolation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def orientations(size: tuple[int, int], *, flip: bool, rotate90: bool) -> NDArray[np.int64]:
    """The distinct flips and right-angle rotations, each as the source of every px.

    Returns:
        (M, H * W) int64; the first is the identity.
    """
    height, width = size
    pixels = np.arange(height * width).reshape(height, width)
    turns = (0,) if not rotate90 else (0, 1, 2, 3) if height == width else (0, 2)
    turned = [np.rot90(pixels, turn) for turn in turns]
    if flip:
        turned += [side[::-1] for side in turned] + [side[:, ::-1] for side in turned]
        turned += [side[::-1, ::-1] for side in turned[: len(turns)]]
    unique = dict.fromkeys(side.tobytes() for side in turned)
    return np.stack([np.frombuffer(side, dtype=pixels.dtype) for side in unique]).astype(np.int64)


def gather(images: Tensor, source: Tensor) -> Tensor:
    """Each px taken from another, the same in all channels.

    Args:
        images: (B, C, H, W).
        source: (B, H * W) int64, the px of the cell that comes to each place.
    """
    cells, channels = images.shape[:2]
    source = source[:, None, :].expand(cells, channels, -1)
    return images.reshape(cells, channels, -1).gather(2, source).view_as(images)


def turn(images: Tensor, angle: Tensor, scale: Tensor) -> Tensor:
    """Rotate and scale about the middle of the crop in one bilinear resampling.

    Beyond the edge the crop is mirrored: background goes on with its own grain, where the nearest
    px would be drawn out to streaks.

    Args:
        images: (B, C, H, W) float32.
        angle: (B,) float32, radians, anticlockwise.
        scale: (B,) float32, > 0; above 1 enlarges the cell.
    """
    height, width = images.shape[2:]
    cos, sin, none = torch.cos(angle) / scale, torch.sin(angle) / scale, torch.zeros_like(angle)
    # Each axis of the grid is in half sides, so that rows and columns of a crop that is not
    # square have different units.
    to_column = torch.stack([cos, -sin * (height / width), none], dim=1)
    to_row = torch.stack([sin * (width / height), cos, none], dim=1)
    grid = nn.functional.affine_grid(
        torch.stack([to_column, to_row], dim=1), list(images.shape), align_corners=False
    )
    return nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
