"""Pixels of as many cells as time and memory allow; what cannot be read is listed, not raised."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.crop_sizes import LARGEST_CROP
from cellsearch.data.readers.channel_files import read_plane
from cellsearch.data.readers.images import TIFF_SUFFIXES, read_image
from cellsearch.errors import ReadError
from cellsearch.util.messages import Message
from cellsearch.util.progress import Progress

MOST_SECONDS = 60.0
MOST_BYTES = 2**30


@dataclass
class Crops:
    """What was read of some cells.

    Attributes:
        cells: positions of the cells that were read, in their order.
        images: (C, H, W) of each of these.
        bad: positions of cells that cannot be read, with file and reason.
        looked_at: cells that were opened, readable or not.
        total: cells there are.
    """

    cells: list[int] = field(default_factory=list)
    images: list[NDArray[Any]] = field(default_factory=list)
    bad: dict[int, tuple[Path, Message]] = field(default_factory=dict)
    looked_at: int = 0
    total: int = 0

    @property
    def whole(self) -> bool:
        """Whether every cell was opened."""
        return self.looked_at == self.total

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """Height and width, px."""
        return Counter((image.shape[1], image.shape[2]) for image in self.images)

    @property
    def dtypes(self) -> Counter[str]:
        """How numbers are held."""
        return Counter(str(image.dtype) for image in self.images)

    @property
    def depths(self) -> Counter[int]:
        """Channels of an image."""
        return Counter(len(image) for image in self.images)

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest pixel."""
        low = min(float(image.min()) for image in self.images)
        return low, max(float(image.max()) for image in self.images)

    @property
    def grey_in_colour(self) -> bool:
        """Whether each of the images has three channels that are alike."""
        return bool(self.images) and all(
            len(image) == 3
            and np.array_equal(image[0], image[1])
            and np.array_equal(image[1], image[2])
            for image in self.images
        )


def read_crops(
    cells: Sequence[tuple[Path, ...]],
    on_progress: Progress | None = None,
    *,
    most_seconds: float = MOST_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> Crops:
    """Open cells in random order until all are seen, or time or memory is spent.

    Args:
        cells: files of each cell, one for each channel.
        on_progress: told how many were opened.
        most_seconds: after which no more are opened.
        most_bytes: of pixels kept.
    """
    found = Crops(total=len(cells))
    began, kept = time.monotonic(), 0
    for position in np.random.default_rng(0).permutation(len(cells)).tolist():
        if time.monotonic() - began > most_seconds or kept > most_bytes:
            break
        if on_progress and found.looked_at % 256 == 0:
            on_progress("looking at images", found.looked_at, len(cells))
        found.looked_at += 1
        planes = []
        for file in cells[position]:
            try:
                planes.append(read_plane(file) if len(cells[position]) > 1 else read_image(file))
            except ReadError as error:
                found.bad[position] = (file, error.message)
        if position in found.bad:
            continue
        if len({(plane.shape[1:], plane.dtype) for plane in planes}) > 1:
            differ = Message.of("its channel files differ in size or dtype")
            found.bad[position] = (cells[position][0], differ)
            continue
        image = np.concatenate(planes) if len(planes) > 1 else planes[0]
        found.cells.append(position)
        found.images.append(image)
        # Of fields of view the size is enough to know.
        kept += image.nbytes if max(image.shape[1:]) <= LARGEST_CROP else 16 * image.nbytes
    if on_progress:
        on_progress("looking at images", found.looked_at, found.looked_at)
    order = np.argsort(found.cells, kind="stable").tolist()
    found.cells = [found.cells[k] for k in order]
    found.images = [found.images[k] for k in order]
    return found


def from_camera_colour(files: Sequence[tuple[Path, ...]]) -> bool:
    """Whether three planes of a file are red, green and blue, as the readers name them."""
    return any(file.suffix.lower() not in TIFF_SUFFIXES for cell in files for file in cell)
