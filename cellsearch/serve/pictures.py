"""Cells as PNG: channels in grey with the sample's contrast, or side by side."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellsearch.data.readers.images import RGB
from cellsearch.serve.store import Sample

PIXELS = 2_000_000
GAP = 2
BETWEEN = 128
Bounds = NDArray[np.float64]


def contrast(sample: Sample) -> Bounds:
    """(2, C) intensities drawn black and white: percentiles 0.5 and 99.5 of the sample's pixels.

    So cells of a sample compare by eye. They are found anew when the sample has doubled.
    """
    return _contrast(sample)[1]


def contrast_cells(sample: Sample) -> int:
    """How many cells the sample had when its contrast was found; 0 of an empty one."""
    return _contrast(sample)[0] if len(sample) else 0


def _contrast(sample: Sample) -> tuple[int, Bounds]:
    kept = sample.kept.get("contrast")
    if kept is not None and len(sample) < 2 * kept[0]:
        return int(kept[0]), np.asarray(kept[1])
    images = sample.images()
    most = max(1, PIXELS // int(np.prod(images.shape[1:])))
    cells = np.unique(np.linspace(0, len(images) - 1, min(len(images), most)).astype(np.int64))
    bounds = np.percentile(np.asarray(images[cells]), (0.5, 99.5), axis=(0, 2, 3))
    bounds[1] = np.maximum(bounds[1], bounds[0] + 1e-9)
    sample.kept["contrast"] = (len(images), bounds)
    return len(images), np.asarray(bounds)


def drawn(cell: NDArray[Any], bounds: Bounds, channels: tuple[str, ...]) -> NDArray[np.uint8]:
    """(C, H, W) raw intensities as 8 bits; those of an 8-bit colour picture as they are."""
    if channels == RGB and cell.dtype == np.uint8:
        return np.asarray(cell)
    low, high = bounds[0][:, None, None], bounds[1][:, None, None]
    scaled = (np.asarray(cell, np.float64) - low) / (high - low)
    return np.asarray((255 * np.clip(scaled, 0.0, 1.0)).round(), np.uint8)


def montage(cell: NDArray[np.uint8], channels: tuple[str, ...]) -> NDArray[np.uint8]:
    """(C, H, W) side by side, (H, C W + gaps); red, green and blue are one picture (H, W, 3)."""
    if channels == RGB:
        return np.ascontiguousarray(np.moveaxis(cell, 0, 2))
    gap = np.full((cell.shape[1], GAP), BETWEEN, np.uint8)
    parts = [part for plane in cell for part in (plane, gap)]
    return np.concatenate(parts[:-1], axis=1)


def png(picture: NDArray[np.uint8]) -> bytes:
    """(H, W) or (H, W, 3) as PNG."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(out, "PNG")
    return out.getvalue()
