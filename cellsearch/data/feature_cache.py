"""computed_once: a table of numbers for the cells of a data set, kept in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.cache import built_once
from cellsearch.util.atomic import whole_file
from cellsearch.util.user_folders import cache_folder

Floats = NDArray[np.float32]


def computed_once(name: str, shape: tuple[int, int], compute: Callable[[], Floats]) -> Floats:
    """The table of that name, memory-mapped; computed where the cache does not hold it.

    Processes that ask for the same wait for the first.

    Args:
        name: of the content: whatever changes a number changes it.
        shape: (N, F).
        compute: gives (N, F) float32.

    Returns:
        (N, F) float32, read-only.

    Raises:
        DataError: the cache cannot be written.
    """
    cache = cache_folder()
    path = cache / "features" / f"{name}.npy"

    def computed() -> Floats:
        _write(path, compute())
        kept: Floats = np.load(path, mmap_mode="r")
        return kept

    return built_once(cache, f"features-{name[:16]}", lambda: _opened(path, shape), computed)


def _opened(path: Path, shape: tuple[int, int]) -> Floats | None:
    try:
        found: Floats = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


def _write(path: Path, values: Floats) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        np.save(file, values, allow_pickle=False)
