"""Samples that clients have sent: images on disk, predictions in memory, the oldest dropped."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.serve.limits import Limits, size
from cellsearch.serve.problems import Problem

IMAGES = "images.bin"


@dataclass(frozen=True)
class Named:
    """What a cell is called; none of it is ever used as a path.

    Attributes:
        id: unique in its sample.
        source: the label of its file.
        number: its number in the file, from 1; 0 where the file holds one cell.
    """

    id: str
    source: str
    number: int


@dataclass(eq=False)
class Sample:
    """Cells of one client.

    Attributes:
        token: by which it is asked for; not to be guessed.
        folder: of its images.
        shape: (C, H, W) of a cell.
        dtype: of its pixels.
        classes: K, how many.
        cells: their names, in the order they came.
        probabilities: (N, K) float32.
        kept: what was worked out from the first so many cells.
    """

    token: str
    folder: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    classes: int
    cells: list[Named] = field(default_factory=list)
    probabilities: NDArray[np.float32] = field(init=False)
    kept: dict[str, tuple[int, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _ids: set[str] = field(default_factory=set)
    _again: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.probabilities = np.empty((0, self.classes), np.float32)

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def cell_bytes(self) -> int:
        """Of one image."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        """Of its images, on disk."""
        return len(self) * self.cell_bytes

    def append(
        self,
        images: NDArray[Any],
        probabilities: NDArray[np.float32],
        sources: Sequence[str],
        numbers: Sequence[int],
    ) -> None:
        """Add (n, C, H, W) images in the card's size and dtype, with their (n, K) probabilities.

        Raises:
            Problem: 404, the sample was dropped meanwhile.
            OSError: the disk refuses; the sample is as it was.
        """
        with self.lock:
            try:
                with (self.folder / IMAGES).open("ab") as file:
                    # What a write that failed half-way left behind.
                    file.truncate(self.bytes)
                    file.seek(0, 2)
                    file.write(np.ascontiguousarray(images, self.dtype).data)
            except FileNotFoundError:
                raise gone() from None
            # In this order: who reads takes as many cells as there are probabilities.
            self.cells += [
                Named(self._unique(source, number), source, number)
                for source, number in zip(sources, numbers, strict=True)
            ]
            self.probabilities = np.concatenate([self.probabilities, probabilities])

    def images(self) -> NDArray[Any]:
        """(N, C, H, W), memory-mapped."""
        count = len(self)
        if not count:
            return np.empty((0, *self.shape), self.dtype)
        try:
            return np.memmap(self.folder / IMAGES, self.dtype, "r", shape=(count, *self.shape))
        except FileNotFoundError:
            raise gone() from None

    def _unique(self, source: str, number: int) -> str:
        name = f"{source}#{number}" if number else source
        # Counted on from where the same name was last: thousands may bear it.
        again, found = self._again.get(name, 2), name
        while found in self._ids:
            found, again = f"{name} ({again})", again + 1
        if again > 2 or found != name:
            self._again[name] = again
        self._ids.add(found)
        return found


@dataclass(frozen=True)
class Room:
    """How many cells more a sample takes, and the rule that says so."""

    cells: int
    reason: str


def gone() -> Problem:
    """404 of a sample that is not there."""
    return Problem(
        404,
        "no such sample: it was deleted, or dropped to make room for newer ones",
        "make a new one with POST /api/samples and send the files again",
    )


class Store:
    """All samples, in one temporary folder.

    Args:
        limits: of their number and bytes.
        shape: (C, H, W) of a cell.
        dtype: of its pixels.
        classes: K, how many.
    """

    def __init__(
        self, limits: Limits, shape: tuple[int, int, int], dtype: np.dtype[Any], classes: int
    ) -> None:
        self._limits, self._shape, self._dtype, self._classes = limits, shape, dtype, classes
        self._home = tempfile.TemporaryDirectory(prefix="cellsearch-serve-")
        self._samples: OrderedDict[str, Sample] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where everything temporary lies."""
        return Path(self._home.name)

    def new(self) -> Sample:
        """An empty sample; the least recently used one makes room where there are too many."""
        sample = self.unlisted()
        with self._lock:
            self._samples[sample.token] = sample
        self.make_room()
        return sample

    def unlisted(self) -> Sample:
        """An empty sample that nobody can ask for; whoever makes it drops it."""
        token = secrets.token_urlsafe(24)
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return Sample(token, folder, self._shape, self._dtype, self._classes)

    def get(self, token: str) -> Sample:
        """The sample of a token.

        Raises:
            Problem: 404, there is none.
        """
        with self._lock:
            sample = self._samples.get(token)
            if sample is None:
                raise gone()
            self._samples.move_to_end(token)
            return sample

    def delete(self, token: str) -> None:
        """Drop a sample and its images.

        Raises:
            Problem: 404, there is none.
        """
        with self._lock:
            sample = self._samples.pop(token, None)
        if sample is None:
            raise gone()
        drop(sample)

    def make_room(self, wanted: int = 0, *, keep: Sample | None = None) -> None:
        """Drop least recently used samples until ``wanted`` more bytes find room."""
        with self._lock:
            while len(self._samples) > 1 and (
                len(self._samples) > self._limits.samples
                or self._bytes() + wanted > self._limits.store_bytes
            ):
                oldest = next((t for t, s in self._samples.items() if s is not keep), None)
                if oldest is None:
                    break
                drop(self._samples.pop(oldest))

    def room_in(self, sample: Sample) -> Room:
        """How many cells more a sample takes."""
        limits = self._limits
        by_number = limits.sample_cells - len(sample)
        by_bytes = (limits.sample_bytes - sample.bytes) // sample.cell_bytes
        if by_number <= by_bytes:
            return Room(
                max(0, by_number), f"a sample may hold {limits.sample_cells:,} cells; make another"
            )
        return Room(
            max(0, by_bytes),
            f"a sample may hold {size(limits.sample_bytes)} of images; make another",
        )

    def figures(self) -> tuple[int, int]:
        """How many samples there are, and the bytes of their images."""
        with self._lock:
            return len(self._samples), self._bytes()

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            self._samples.clear()
        self._home.cleanup()

    def _bytes(self) -> int:
        return sum(sample.bytes for sample in self._samples.values())


def drop(sample: Sample) -> None:
    """Remove a sample's images."""
    shutil.rmtree(sample.folder, ignore_errors=True)
