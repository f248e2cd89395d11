"""What a TIFF declares, told without decoding it; what may lie about its size is refused."""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.errors import ReadError

PLAIN = frozenset({1, 5, 32773})
"""None, LZW and PackBits: no decoder gives more than the page declares, or much of it."""

DEFLATE = frozenset({8, 32946})
SUSPECT = 100_000
"""Bytes of a deflated strip that could grow to a hundred MB."""


@dataclass(frozen=True)
class Declared:
    """Of all pages that are not reduced copies.

    Attributes:
        pages: how many.
        samples: of a pixel, on the first page.
        height: of the largest page, px.
        width: of the largest page, px.
        bytes: of all pixels once decoded.
    """

    pages: int
    samples: int
    height: int
    width: int
    bytes: int


@dataclass(frozen=True)
class Axes:
    """Axes of a stack's pages, slowest first.

    Attributes:
        lengths: of each.
        channel: which one is the channels.
    """

    lengths: tuple[int, ...]
    channel: int


def look_at(path: Path, *, most: int = 50_000) -> Declared:
    """Count pages and pixels of a TIFF.

    Raises:
        ReadError: no TIFF, damaged, more than ``most`` pages, or packed in a way whose decoder
            cannot be bounded.
    """
    with _opened(path) as tiff:
        count = len(tiff.pages)
        if count > most:
            raise ReadError(f"{count:,} pages, far too many for one file")
        pages = [page for page in tiff.pages if not page.is_reduced]
        if not pages:
            raise ReadError("a TIFF without an image")
        for page in pages:
            _require_bounded(page, path)
        return Declared(
            pages=len(pages),
            samples=int(pages[0].samplesperpixel),
            height=max(int(page.imagelength) for page in pages),
            width=max(int(page.imagewidth) for page in pages),
            bytes=sum(_bytes(page) for page in pages),
        )


def axes_of(path: Path) -> Axes | None:
    """Axes that OME or ImageJ metadata name; None where they name no channel axis."""
    with _opened(path) as tiff:
        if not (tiff.is_ome or tiff.is_imagej) or len(tiff.series) != 1:
            return None
        series = tiff.series[0]
        names, lengths = str(series.axes), tuple(int(n) for n in series.shape)
    if not names.endswith("YX") or names.count("C") != 1 or "S" in names:
        return None
    return Axes(lengths[:-2], names.index("C"))


def slices_of(path: Path) -> int:
    """Slices (Z) that OME or ImageJ metadata name; 1 where they name none."""
    with _opened(path) as tiff:
        if not (tiff.is_ome or tiff.is_imagej):
            return 1
        pairs = [pair for s in tiff.series for pair in zip(s.axes, s.shape, strict=True)]
        return max((int(n) for axis, n in pairs if axis == "Z"), default=1)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    except ReadError:
        raise
    except Exception:  # a damaged header makes it raise anything
        raise ReadError("a damaged TIFF, or truncated") from None


def _bytes(page: Any) -> int:
    bits = max(8, int(page.bitspersample))
    return int(page.imagelength) * int(page.imagewidth) * int(page.samplesperpixel) * bits // 8


def _require_bounded(page: Any, path: Path) -> None:
    """Refuse strips that unpack to more than they declare: tifffile alone does not look."""
    packing = int(page.compression)
    if packing in PLAIN:
        return
    if packing not in DEFLATE:
        raise ReadError(
            f"a TIFF packed by {getattr(page.compression, 'name', packing)} is not read here; "
            "save it without compression, or with LZW or deflate"
        )
    most = int(np.prod(page.chunks, dtype=np.int64)) * max(1, int(page.bitspersample) // 8) + 1024
    with path.open("rb") as file:
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            if length < SUSPECT:
                continue
            file.seek(offset)
            unpacking = zlib.decompressobj()
            try:
                unpacking.decompress(file.read(length), most)
            except zlib.error:
                raise ReadError("a damaged TIFF, or truncated") from None
            if unpacking.unconsumed_tail:
                raise ReadError("a strip of it unpacks to more pixels than it declares")
