"""cell_masks: where in a crop the cell lies, found in each channel of each cell by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LEVELS = 256
SMOOTHING = 1.0
"""Sigma in px of the Gaussian before the threshold."""

# Cells are planes of one stack: no neighbour lies in another plane.
EIGHT = np.zeros((3, 3, 3), dtype=bool)
EIGHT[1] = True
FOUR = np.zeros((3, 3, 3), dtype=bool)
FOUR[1] = ndimage.generate_binary_structure(2, 1)


def border_median(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) median of the outermost px of (n, H, W) crops: what lies around the cell."""
    edges = (pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1])
    median: NDArray[np.float64] = np.median(np.concatenate(edges, axis=1), axis=1)
    return median


def cell_masks(signal: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The cell in each crop: smoothed, above Otsu's threshold, largest piece, holes filled.

    Args:
        signal: (n, H, W) distance of each px from the background, >= 0.

    Returns:
        (n, H, W) bool, at least one px each; the whole crop where nothing stands out.
    """
    smooth = ndimage.gaussian_filter(signal, (0.0, SMOOTHING, SMOOTHING), mode="nearest")
    peak = smooth.max(axis=(1, 2), keepdims=True)
    # Rounded before it is cut into levels, so that the last bit of a sum decides nothing.
    scaled = np.round(smooth / np.where(peak > 0, peak, 1.0) * (LEVELS - 1), 6)
    levels = np.floor(scaled + 0.5).astype(np.int64)
    found = _filled(_largest(levels > _otsu(levels)[:, None, None]))
    blank = ~found.any(axis=(1, 2)) | (peak[:, 0, 0] <= 0)
    found[blank] = True
    return found


def histograms(
    values: NDArray[np.int64], bins: int, weights: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """(n, bins) counts, or sums of weights, of each row of (n, P) values in ``0 .. bins - 1``."""
    cells = len(values)
    places = (values + bins * np.arange(cells)[:, None]).ravel()
    flat = None if weights is None else weights.ravel()
    counts = np.bincount(places, weights=flat, minlength=cells * bins)
    return counts.reshape(cells, bins).astype(np.float64)


def _otsu(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) level that best parts the px of each crop in two: above it lies the cell (Otsu 1979)."""
    counts = histograms(levels.reshape(len(levels), -1), LEVELS)
    below = counts.cumsum(axis=1)
    mass = (counts * np.arange(LEVELS)).cumsum(axis=1)
    above = below[:, -1:] - below
    gap = mass[:, -1:] * below - mass * below[:, -1:]
    between = gap**2 / np.maximum(below * above, 1.0)
    best: NDArray[np.int64] = between.argmax(axis=1)
    return best


def _largest(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of each plane."""
    pieces, _ = ndimage.label(masks, EIGHT)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    owner = np.zeros(len(sizes), dtype=np.int64)
    owner[pieces] = np.arange(len(masks))[:, None, None]
    order = np.argsort(sizes, kind="stable")[1:]
    best = np.zeros(len(masks), dtype=np.int64)
    # Of several pieces of one cell the last assigned stays: the largest.
    best[owner[order]] = order
    kept: NDArray[np.bool_] = (pieces == best[:, None, None]) & masks
    return kept


def _filled(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Planes without holes: what cannot be reached from the edge belongs to the cell."""
    pieces, count = ndimage.label(~masks, FOUR)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1]):
        outside[edge] = True
    outside[0] = False
    filled: NDArray[np.bool_] = ~outside[pieces]
    return filled
