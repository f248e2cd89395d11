"""Rows of pixels kept on disk while they are read, so that a large file fits a small memory."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.crop_sizes import Fitting, Size, sizes_of
from cellsearch.data.readers.options import ImageOptions
from cellsearch.data.readers.stack import fitting_for, stack
from cellsearch.errors import DataError
from cellsearch.util.progress import Progress


def spooled(
    chunks: Iterable[NDArray[Any]],
    cells: int,
    options: ImageOptions,
    name: str,
    on_progress: Progress | None,
) -> NDArray[Any]:
    """As ``spooled_to_size``, the pixels alone."""
    return spooled_to_size(chunks, cells, options, name, on_progress)[0]


def spooled_to_size(
    chunks: Iterable[NDArray[Any]],
    cells: int,
    options: ImageOptions,
    name: str,
    on_progress: Progress | None,
) -> tuple[NDArray[Any], Fitting | None]:
    """Chunks (n, C, h, w) of ``cells`` crops as one memory-mapped array (N, C, H, W).

    Crops are brought to ``options.size`` chunk by chunk. The file has no name and is gone with
    the array.

    Args:
        chunks: at least one; all of one dtype and, without ``options.size``, of one shape.
        cells: N, for the progress.
        options: size and fit.
        name: the source, for messages.
        on_progress: told after each chunk.

    Returns:
        The array, and how the crops were brought to the size; None where they have it.

    Raises:
        DataError: crops that ``size`` and ``fit`` cannot take, or a full disk.
    """
    sizes: list[Size] = []
    try:
        with tempfile.TemporaryFile(dir=_folder()) as file:
            row, dtype = (0,), np.dtype(np.uint8)
            for chunk in chunks:
                sizes += sizes_of(chunk)
                crops, _ = stack(list(chunk), options, [name] * len(chunk))
                fitted = np.ascontiguousarray(crops)
                file.write(fitted.data)
                row, dtype = fitted.shape[1:], fitted.dtype
                if on_progress:
                    on_progress("reading cells", min(len(sizes), cells), cells)
            file.flush()
            pixels = np.memmap(file, dtype, mode="r", shape=(len(sizes), *row))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{name}: the disk of {_folder()} is full; name another folder with "
                "CELLSEARCH_CACHE"
            ) from None
        raise
    return pixels, fitting_for(sizes, options, [name] * len(sizes))


def _folder() -> Path:
    # The cache imports the data sets, which import the readers.
    from cellsearch.util.user_folders import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
