"""Chunks that a Zarr array does not have: they read as its fill value, without a word.

Writers leave out chunks that hold the fill value alone, so that a missing chunk is no fault by
itself. A cell that lies in missing chunks alone is one: no picture is of one value. So are missing
parts of a cell where the pixels that were written never have that value as their background.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = re.compile(r"(c|(c[/.])?\d+([/.]\d+)*)")
"""Names of chunks in a store, of versions 2 and 3."""

BACKGROUND_SHARE = 0.01
"""Share of the written pixels from which the fill value counts as a background."""


def is_zarr_array(value: object) -> bool:
    """Whether a value is an array of zarr, without importing it."""
    return type(value).__module__.partition(".")[0] == "zarr" and hasattr(value, "store_path")


def shadow(array: Any) -> Any:
    """The same array with another fill value, so that both differ where a chunk is missing.

    Returns:
        A zarr array; None where every chunk is there.
    """
    import zarr

    # In a shard, chunks may be missing that the store does not show.
    if array.shards is None and chunks_there(array) >= array.nchunks:
        return None
    kind = array.dtype.kind
    if kind not in "biuf":
        return None
    fill = array.fill_value
    other: Any = 1 if fill is None else 0 if fill != fill or fill else 1
    facts = array.metadata.to_dict()
    facts["fill_value"] = bool(other) if kind == "b" else float(other) if kind == "f" else other
    metadata = type(array.metadata).from_dict(facts)
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))


def chunks_there(array: Any) -> int:
    """How many chunks the store has of an array."""
    root = getattr(array.store_path.store, "root", None)
    if array.shards is not None or root is None:
        return int(array.nchunks_initialized)
    # zarr itself looks every chunk up in a list, which takes hours for a million.
    folder = Path(root) / array.store_path.path
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sum(CHUNK.fullmatch(name) is not None for name in files)


def differing(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Where two arrays differ; two NaN are the same."""
    differs: NDArray[np.bool_] = first != second
    if first.dtype.kind == "f":
        differs &= ~(np.isnan(first) & np.isnan(second))
    return differs


class Gaps:
    """What is missing of cells, counted block by block.

    Attributes:
        fill: the fill value.
        cells: positions of cells of which nothing was written.
        partly: positions of cells of which parts were not written.
        missing: pixels of those that are missing.
        alike: pixels that were written and have the fill value.
        written: pixels that were written.
    """

    def __init__(self, fill: Any) -> None:
        self.fill = 0 if fill is None else fill
        self.cells: list[int] = []
        self.partly: list[int] = []
        self.missing = self.alike = self.written = 0

    def add(self, pixels: NDArray[Any], absent: NDArray[np.bool_], start: int) -> None:
        """Count a block (n, C, H, W) whose first cell is the one at ``start``."""
        count = absent.reshape(len(absent), -1).sum(axis=1)
        size = absent[0].size
        self.cells += (start + np.flatnonzero(count == size)).tolist()
        self.partly += (start + np.flatnonzero((count > 0) & (count < size))).tolist()
        self.missing += int(count[count < size].sum())
        same = np.isnan(pixels) if self.fill != self.fill else pixels == self.fill
        self.alike += int((same & ~absent).sum())
        self.written += int((~absent).sum())

    @property
    def odd(self) -> bool:
        """Whether parts are missing though what was written hardly ever has the fill value."""
        return bool(self.partly) and self.alike < BACKGROUND_SHARE * self.written


def gaps_of(array: Any) -> Gaps:
    """What is missing of a whole array whose first axis counts cells."""
    found = Gaps(array.fill_value)
    other = shadow(array)
    if other is not None and array.ndim:
        pixels = np.asarray(array[...])
        found.add(pixels, differing(pixels, np.asarray(other[...])), 0)
    return found
