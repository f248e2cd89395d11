"""A digest of each cell's pixels: the same cell is known again whatever it is called."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.near_duplicates import flat_channels
from cellsearch.data.storage import rows_per_chunk

NO_PICTURE = np.uint64(0)
"""In place of the digest of a channel that holds no picture, by which no cell is known."""


def cell_digests(images: NDArray[Any]) -> NDArray[np.uint64]:
    """(N,) uint64 digests of (N, C, H, W) images, of all channels together."""
    digests = [
        int.from_bytes(blake2b(np.ascontiguousarray(cell).data, digest_size=8).digest(), "big")
        for cell in images
    ]
    return np.array(digests, dtype=np.uint64)


def channel_digests(images: NDArray[Any], cells: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(M, C) uint64 digests of each channel of some cells; ``NO_PICTURE`` of one without any.

    Args:
        images: (N, C, H, W); may be memory-mapped.
        cells: (M,) of them.
    """
    found = np.empty((len(cells), images.shape[1]), np.uint64)
    for start in range(0, len(cells), step := rows_per_chunk(images)):
        part = images[cells[start : start + step]]
        for channel in range(part.shape[1]):
            found[start : start + step, channel] = cell_digests(part[:, channel])
        found[start : start + step][flat_channels(part)] = NO_PICTURE
    return found
