"""Features: numbers measured on each cell by itself, computed once for a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data import measures
from cellsearch.data.cell_mask import border_median, cell_masks
from cellsearch.data.dataset import CellDataset
from cellsearch.data.feature_cache import computed_once
from cellsearch.errors import DataError

FEATURES_VERSION = 1
"""Raised whenever any feature changes: a model knows which ones it was trained on."""

SMALLEST = 8
"""Px of the shorter side that texture and rings need."""

PIXELS_AT_ONCE = 200_000
LARGEST = 1e18
"""Beyond it the square of a feature would overflow in float32."""


def feature_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of the F features of images with these channels, in order."""
    own = [f"{channel}: {name}" for channel in channels for name in measures.CHANNEL]
    pairs = [(a, b) for at, a in enumerate(channels) for b in channels[at + 1 :]]
    return (*own, *(f"{a} and {b}: correlation" for a, b in pairs))


def measure(images: NDArray[Any]) -> NDArray[np.float32]:
    """Features of each cell, measured on that cell alone.

    In each channel the cell is found (``cell_masks``) and its intensity, shape, texture and
    radial profile are measured; then the correlation of each pair of channels.

    Args:
        images: (n, C, H, W) raw intensities, of any dtype, finite; sides of at least 8 px.

    Returns:
        (n, F) float32, finite; columns as ``feature_names``.

    Raises:
        DataError: another number of axes, or crops below 8 px.
    """
    if images.ndim != 4 or min(images.shape[2:]) < SMALLEST:
        raise DataError(
            f"features: measured on (cells, channels, height, width) of at least {SMALLEST} x "
            f"{SMALLEST} px; got shape {images.shape}"
        )
    cells, channels, height, width = images.shape
    out = np.empty((cells, len(feature_names([""] * channels))), dtype=np.float32)
    step = max(1, PIXELS_AT_ONCE // (height * width))
    for at in range(0, cells, step):
        pixels = np.asarray(images[at : at + step], dtype=np.float64)
        columns = [_of_channel(np.ascontiguousarray(pixels[:, c])) for c in range(channels)]
        columns.append(measures.correlations(pixels))
        out[at : at + step] = np.clip(np.concatenate(columns, axis=1), -LARGEST, LARGEST)
    return out


def _of_channel(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    background = border_median(pixels)
    signal = np.abs(pixels - background[:, None, None])
    masks = cell_masks(signal)
    return np.concatenate(
        [
            measures.intensity(pixels, masks, background),
            measures.shape(masks),
            measures.texture(pixels, masks, signal),
            measures.radial(pixels, masks, background),
        ],
        axis=1,
    )


def measured(dataset: CellDataset) -> NDArray[np.float32]:
    """Features of all cells of a data set, memory-mapped from the cache.

    Measured once for each content (``dataset.sha256``) and ``FEATURES_VERSION``: processes that
    ask for the same wait for the first. Each cell is measured alone, so nothing passes from one
    to another.

    Returns:
        (N, F) float32, read-only.

    Raises:
        DataError: crops below 8 px, or the cache cannot be written.
    """
    return computed_once(
        f"{dataset.sha256}-v{FEATURES_VERSION}",
        (len(dataset), len(feature_names(dataset.channels))),
        lambda: measure(dataset.images),
    )


def features_of(dataset: CellDataset, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, F) float32 features of some cells, in the order of ``indices``.

    A data set that lies in no folder has only these cells measured, and nothing is kept.

    Raises:
        DataError: as ``measured``.
    """
    if dataset.folder is not None:
        return np.asarray(measured(dataset)[indices])
    chosen, places = np.unique(indices, return_inverse=True)
    return measure(dataset.images[chosen])[places]
