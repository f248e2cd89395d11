"""Cells as pictures: contrast, colour, and pages of many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

_COLOURS = ("red", "green", "blue")
_CONTRAST = (0.3, 99.7)


def views(channels: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Title and channels of each way a cell is shown: one channel in grey, or three in colour."""
    names = [name.lower() for name in channels]
    if not set(_COLOURS) <= set(names):
        return [(name, [place]) for place, name in enumerate(channels)]
    colour = [names.index(name) for name in _COLOURS]
    others = [(name, [place]) for place, name in enumerate(channels) if place not in colour]
    return [("colour", colour), *others]


def contrast(images: NDArray[Any], shown: Sequence[int]) -> tuple[float, float]:
    """The intensities drawn black and white, the same for all cells; robust to a few px.

    Args:
        images: (n, C, H, W), n at least 1.
        shown: channels of the view.
    """
    if len(shown) == 3 and images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(images[:, list(shown)], _CONTRAST)
    if high <= low:
        low, high = images[:, list(shown)].min(), images[:, list(shown)].max()
    return float(low), float(high) if high > low else float(low) + 1.0


def pictures(images: NDArray[Any], shown: Sequence[int], limits: tuple[float, float]) -> Picture:
    """(n, C, H, W) cells as (n, H, W, 3) float32 in 0 .. 1."""
    low, high = limits
    pixels = np.moveaxis(np.asarray(images[:, list(shown)], dtype=np.float32), 1, -1)
    scaled = np.clip((pixels - low) / (high - low), 0.0, 1.0)
    return np.broadcast_to(scaled, (*scaled.shape[:3], 3)).astype(np.float32)


def page(rows: Sequence[Sequence[Picture | None]], gap: int) -> Picture:
    """Rows of (H, W, 3) pictures on white, ``gap`` px apart; None leaves a place free."""
    height, width = next(p.shape[:2] for row in rows for p in row if p is not None)
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3)
    whole = np.ones(shape, np.float32)
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            if picture is not None:
                top, left = down * (height + gap), across * (width + gap)
                whole[top : top + height, left : left + width] = picture
    return whole
