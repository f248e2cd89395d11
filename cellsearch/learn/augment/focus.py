"""Focus and grain of a cell: blur, unsharp masking, noise of the camera."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cellsearch.learn.augment.light import moments

SHARP = 0.05
"""Sigma in px below which blur is none: a neighbour's weight would be e^-200."""

MASK_SIGMA = 1.0
"""Sigma in px of the blur that unsharp masking takes away."""


def blur(images: Tensor, sigma: Tensor, *, reach: int) -> Tensor:
    """Gaussian blur with a sigma for each cell, the nearest px beyond the edge.

    Each axis is a product with a banded (side, side) matrix: for crops of cells that is cheaper
    than a grouped convolution.

    Args:
        images: (B, C, H, W) float32.
        sigma: (B,) float32, px, >= 0; 0 leaves the cell as it is.
        reach: px to each side that the kernels extend, as by ``reach_of`` the largest sigma.
    """
    height, width = images.shape[2:]
    down = _gaussian_matrix(sigma, height, reach)[:, None]
    across = down if height == width else _gaussian_matrix(sigma, width, reach)[:, None]
    return down @ images @ across.transpose(2, 3)


def reach_of(sigma: float) -> int:
    """Px at which a Gaussian is cut: 4 sigma, as in ``scipy.ndimage``."""
    return max(1, int(4.0 * sigma + 0.5))


def sharpen(images: Tensor, amount: Tensor) -> Tensor:
    """Unsharp mask: x' = x + a (x - G x), G a Gaussian blur of ``MASK_SIGMA``.

    Args:
        images: (B, C, H, W) float32.
        amount: (B,) float32, a; 0 leaves the cell as it is.
    """
    sigma = torch.full((1,), MASK_SIGMA, device=images.device)
    soft = blur(images, sigma, reach=reach_of(MASK_SIGMA))
    return torch.addcmul(images, images - soft, amount[:, None, None, None])


def add_noise(images: Tensor, amount: Tensor, *, generator: torch.Generator) -> Tensor:
    """Gaussian noise, in each channel in proportion to the cell's own spread there.

    Args:
        images: (B, C, H, W) float32.
        amount: (B,) float32, standard deviation of the noise in those of the cell.
        generator: on the device of the images.
    """
    spread = moments(images)[2]
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return torch.addcmul(images, noise, spread * amount[:, None, None, None])


def _gaussian_matrix(sigma: Tensor, side: int, reach: int) -> Tensor:
    """(B, side, side): row i holds the weights with which px j enters px i."""
    steps = torch.arange(-reach, reach + 1, device=sigma.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (steps / sigma.clamp_min(SHARP)[:, None]).square().clamp_max(160.0))
    weights = weights / weights.sum(dim=1, keepdim=True)
    # Row i of the padded matrix is the kernel moved i px to the right.
    padded = nn.functional.pad(weights, (0, side))
    moved = padded.repeat(1, side)[:, : side * (side + 2 * reach)].view(-1, side, side + 2 * reach)
    inside = moved[:, :, reach : reach + side].clone()
    inside[:, :, 0] += moved[:, :, :reach].sum(dim=2)
    inside[:, :, -1] += moved[:, :, reach + side :].sum(dim=2)
    return inside
