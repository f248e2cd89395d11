"""The window about an object: how large it is, and what stands in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.crop_sizes import STEP
from cellsearch.data.cropping.label_images import Object

Background = Literal["keep", "mask"]
HELD = 95
"""Percentile of the objects' extents that a window holds with its margin."""

MARGIN_SHARE = 0.1
LEAST_MARGIN = 2


def default_margin(extents: Sequence[int]) -> int:
    """A tenth of the 95th percentile of the extents, at least 2 px."""
    return max(LEAST_MARGIN, round(MARGIN_SHARE * float(np.percentile(extents, HELD))))


def side_for(extents: Sequence[int], margin: int) -> int:
    """The 95th percentile of the extents with a margin on both sides, in steps of 8 px."""
    return STEP * math.ceil((float(np.percentile(extents, HELD)) + 2 * margin) / STEP)


def cut(
    image: NDArray[Any], labels: NDArray[Any], one: Object, side: int, background: Background
) -> NDArray[Any]:
    """The square window about the middle of an object's bounding box.

    What lies outside of the image, and with ``mask`` all but the object, gets the median of the
    window's background in each channel; where all of the window is objects, that of its rim.

    Args:
        image: (C, H, W).
        labels: (H, W).
        one: the object.
        side: px.
        background: ``keep`` or ``mask``.

    Returns:
        (C, side, side) in the dtype of the image.
    """
    top = (one.top + one.bottom - side) // 2
    left = (one.left + one.right - side) // 2
    rows = slice(max(top, 0), min(top + side, image.shape[1]))
    columns = slice(max(left, 0), min(left + side, image.shape[2]))
    seen, numbers = image[:, rows, columns], labels[rows, columns]
    if background == "keep" and numbers.shape == (side, side):
        return seen
    level = _level(seen, numbers)[:, None]
    if background == "mask":
        seen = np.where(numbers == one.number, seen, level[..., None])
    crop = np.empty((len(image), side, side), image.dtype)
    crop[:] = level[..., None]
    at = rows.start - top, columns.start - left
    crop[:, at[0] : at[0] + numbers.shape[0], at[1] : at[1] + numbers.shape[1]] = seen
    return crop


def _level(seen: NDArray[Any], numbers: NDArray[Any]) -> NDArray[Any]:
    """(C,) medians in the dtype of the image."""
    free = numbers == 0
    if not free.any():
        free = np.ones_like(free)
        free[1:-1, 1:-1] = False
    median = np.median(seen[:, free], axis=1)
    level: NDArray[Any] = np.rint(median) if seen.dtype.kind in "iu" else median
    return level.astype(seen.dtype)
