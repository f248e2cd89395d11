"""Label-preserving transforms of a batch of cells, drawn per cell, on the device.

Parameters are drawn from one numpy generator whatever the device, so a seed gives the same
transforms everywhere. Flips, rotations and shifts are one gather of pixels; blur is two small
matrix products; no transform interpolates pixels that it does not have to.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.space.recipe import Augment

SHARP = 0.05
"""Sigma in px below which blur is none: a neighbour's weight would be e^-200."""


class Augmenter:
    """Transforms batches of raw intensities as a recipe says.

    Args:
        augment: the recipe's section.
        size: (H, W), px. Right-angle rotations of crops that are not square are by 180 degrees.
        device: where the batches lie.
        rng: source of chance.
    """

    def __init__(
        self,
        augment: Augment,
        *,
        size: tuple[int, int],
        device: torch.device,
        rng: np.random.Generator,
    ) -> None:
        self._augment = augment
        self._size = size
        self._device = device
        self._rng = rng
        self._orientations = torch.from_numpy(
            orientations(size, flip=augment.flip, rotate90=augment.rotate90)
        ).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities to the same, transformed."""
        augment = self._augment
        if len(self._orientations) > 1 or augment.shift:
            images = self._move(images)
        if augment.blur:
            sigma = self._rng.uniform(0.0, augment.blur, len(images))
            images = blur(images, self._send(sigma), reach=reach_of(augment.blur))
        if augment.brightness:
            draw = self._rng.uniform(-augment.brightness, augment.brightness, (2, len(images)))
            images = relight(images, self._send(draw[0]), self._send(draw[1]))
        return images

    def _move(self, images: Tensor) -> Tensor:
        """Orient and shift: one gather of pixels, with the nearest px beyond the edge."""
        cells, channels, height, width = images.shape
        which = self._rng.integers(len(self._orientations), size=cells)
        source = self._orientations[torch.from_numpy(which).to(self._device)]
        if self._augment.shift:
            far = self._augment.shift
            down, right = self._rng.integers(-far, far + 1, (2, cells, 1))
            rows = np.clip(np.arange(height) - down, 0, height - 1)
            columns = np.clip(np.arange(width) - right, 0, width - 1)
            pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(cells, -1)
            source = source.gather(1, torch.from_numpy(pixels).to(self._device))
        source = source[:, None, :].expand(cells, channels, -1)
        return images.reshape(cells, channels, -1).gather(2, source).view_as(images)

    def _send(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)


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


def relight(images: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Contrast and level of a cell: its mean stays the pivot, so that background stays background.

    x' = m + (x - m)(1 + gain) + offset s, with mean m and standard deviation s of each channel
    of the cell.

    Args:
        images: (B, C, H, W) float32.
        gain: (B,) float32, relative.
        offset: (B,) float32, in standard deviations.
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    centred = images - mean
    spread = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    level = mean + offset[:, None, None, None] * spread
    return torch.addcmul(level, centred, 1.0 + gain[:, None, None, None])


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
