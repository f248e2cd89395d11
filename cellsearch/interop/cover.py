"""The cover of a package: test cells side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 8, 4
MOST_SIDE = 80


def write_cover(path: Path, images: NDArray[Any]) -> None:
    """Write a PNG twice as wide as high: up to 32 cells, their channels one after the other.

    Each channel is scaled by its own 1st and 99.5th percentile.

    Args:
        path: of the PNG.
        images: (N, C, H, W) raw intensities.
    """
    from PIL import Image

    tiles = [scaled for channel in range(images.shape[1]) for scaled in _scaled(images[:, channel])]
    # Cell by cell, the channels of one beside each other.
    cells, channels = len(images), images.shape[1]
    order = [c * cells + n for n in range(cells) for c in range(channels)]
    columns = max(channels, COLUMNS // channels * channels)
    rows = max(1, columns // 2)
    side = max(8, min(MOST_SIDE, 640 // columns))
    page = np.full((rows * side, columns * side), 255, np.uint8)
    for place, index in enumerate(order[: rows * columns]):
        top, left = place // columns * side, place % columns * side
        tile = Image.fromarray(tiles[index]).resize((side - 2, side - 2))
        page[top + 1 : top + side - 1, left + 1 : left + side - 1] = np.asarray(tile)
    Image.fromarray(page[:, : 2 * len(page)]).save(path, optimize=True)


def _scaled(plane: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(plane, (1, 99.5))
    share = (plane.astype(np.float64) - low) / max(high - low, 1e-12)
    levels: NDArray[np.uint8] = (share.clip(0, 1) * 255).round().astype(np.uint8)
    return levels
