"""What every drawn picture is made of: soft edges, grain, noise and blur, on stacks of images.

Stacks are float32 (N, H, W); every random number comes from the generator that is handed in.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]

_BLURS = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.5)


def smooth(images: Floats, sigma: float, *, across: float | None = None) -> Floats:
    """Gaussian blur of each image by ``sigma`` px, or ``across`` px along the rows."""
    from scipy.ndimage import gaussian_filter

    if sigma <= 0:
        return images
    widths = (0, sigma, sigma if across is None else across)
    return np.asarray(gaussian_filter(images, widths, mode="nearest", truncate=3), np.float32)


def defocus(images: Floats, blur: NDArray[np.float64], scale: float) -> Floats:
    """Blur each image by its own width, (N,) of 0 to 2.5 px, rounded to a few; times ``scale``."""
    nearest = np.abs(blur[:, None] - np.array(_BLURS)).argmin(axis=1)
    result = images.copy()
    for place, sigma in enumerate(_BLURS):
        if (chosen := nearest == place).any():
            result[chosen] = smooth(images[chosen], sigma * scale)
    return result


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Normal noise of mean 0 and variance 1, independent in each pixel."""
    return rng.standard_normal(shape, np.float32)


def grain(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Floats:
    """Smooth noise of mean 0 and variance 1, its spots about ``sigma`` px wide."""
    rough = smooth(noise(shape, rng), sigma)
    scaled: Floats = rough / (rough.std((1, 2), keepdims=True) + np.float32(1e-6))
    return scaled


def step(distance: Floats, width: float) -> Floats:
    """From 0 to 1 as ``distance`` passes 0 on a length of about ``width``."""
    rise: Floats = 0.5 + 0.5 * np.tanh(distance / np.float32(width))
    return rise
