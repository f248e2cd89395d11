"""Small pictures of cells: which are shown, in which colours, with which contrast."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import UNLABELLED

Picture = NDArray[np.float32]


_COLOURS = ("red", "green", "blue")


_CONTRAST = (0.3, 99.7)


class LabelledImages(Protocol):
    """What is asked of a data set to choose what to show of it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""

    @property
    def channels(self) -> tuple[str, ...]:
        """C names."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) positions among the classes, -1 where not known."""


def chosen_rows(
    dataset: LabelledImages, most: int, seed: int
) -> list[tuple[str, NDArray[np.int64]]]:
    """Row title and cells of each row."""
    rng = np.random.default_rng(seed)
    named = [*enumerate(dataset.classes), (UNLABELLED, "unlabelled")]
    rows = []
    for label, name in named:
        cells = np.flatnonzero(dataset.labels == label)
        if len(cells) or label != UNLABELLED:
            shown = np.sort(rng.permutation(cells)[:most])
            rows.append((f"{name}\n{len(cells):,}", shown))
    return rows


def colour_blocks(dataset: LabelledImages) -> list[tuple[str, list[int]]]:
    """Title and channels of each block: one channel in grey, or three in colour."""
    names = [name.lower() for name in dataset.channels]
    if not set(_COLOURS) <= set(names):
        return [(name, [k]) for k, name in enumerate(dataset.channels)]
    colour = [names.index(name) for name in _COLOURS]
    others = [(name, [k]) for k, name in enumerate(dataset.channels) if k not in colour]
    return [("colour", colour), *others]


def scaled(images: NDArray[Any]) -> Picture:
    """(M, 1 or 3, H, W) to (M, H, W, 3) in 0 .. 1; colours of 8 bits keep their values."""
    pixels = np.moveaxis(images, 1, -1).astype(np.float32)
    low, high = (0.0, 255.0)
    if images.dtype != np.uint8 or images.shape[1] == 1:
        low, high = np.percentile(pixels, _CONTRAST)
    if high <= low:
        low, high = float(pixels.min()), max(float(pixels.max()), float(pixels.min()) + 1)
    grey = np.clip((pixels - low) / (high - low), 0, 1)
    return np.broadcast_to(grey, (*grey.shape[:3], 3)).astype(np.float32)
