"""What a TIFF declares, told without decoding it; what may lie about its size is refused."""

from __future__ import annotations

import contextlib
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from cellsearch.data.readers.tiff_pages import Alone
from cellsearch.errors import ReadError
from cellsearch.serve.limits import DEFAULT, size

IMAGEJ = {"T": "frames", "Z": "slices", "C": "channels"}
"""Axes of its stacks, slowest first."""

MOST_TAGS = 4096
MOST_TEXT = 10_000_000

PLAIN = frozenset({1, 5, 32773})
"""None, LZW and PackBits: no decoder gives more than the page declares, or much of it."""

DEFLATE = frozenset({8, 32946})
DEFLATE_RATIO = 1032
"""Most bytes that one deflated byte unpacks to."""

PIECE = 1_000_000
PADDED = 4
"""Strips and tiles may unpack to so many times the pixels that are shown: tiles are padded."""


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
    """Count pages and pixels of a TIFF; nothing is unpacked.

    Raises:
        ReadError: no TIFF, damaged, or more than ``most`` pages, reduced copies among them.
    """
    _require_few_pages(path, most)
    with _opened(path) as tiff:
        pages = _images(tiff)
        return Declared(
            pages=len(pages),
            samples=int(pages[0].samplesperpixel),
            height=max(int(page.imagelength) for page in pages),
            width=max(int(page.imagewidth) for page in pages),
            bytes=sum(_bytes(page) for page in pages),
        )


def require_bounded(path: Path, *, most_bytes: int = DEFAULT.decoded_bytes) -> None:
    """Refuse a TIFF that costs more to unpack than its pixels are worth.

    Args:
        path: of a file that ``look_at`` takes.
        most_bytes: of all pixels once decoded.

    Raises:
        ReadError: strips that overlap, are not as many as declared or unpack to more, or packed in
            a way whose decoder cannot be bounded.
    """
    with _opened(path) as tiff:
        pages = _images(tiff)
        unpacked = sum(_chunk_bytes(page) * math.prod(page.chunked) for page in pages)
        if unpacked > PADDED * most_bytes:
            raise ReadError(
                f"its strips or tiles declare {size(unpacked)} of pixels, most of them padding"
            )
        if any(math.prod(page.chunked) != len(page.dataoffsets) for page in pages):
            raise ReadError("a damaged TIFF, or truncated")
        _require_apart(pages)
        for page in pages:
            _require_bounded(page, path)


def _images(tiff: Any) -> list[Any]:
    pages = [page for page in tiff.pages if not page.is_reduced]
    if not pages:
        raise ReadError("a TIFF without an image")
    return pages


def axes_of(path: Path) -> Axes | None:
    """Axes that OME or ImageJ metadata name; None where they name no channel axis."""
    lengths = _named_axes(path)
    if lengths is None or "C" not in lengths:
        return None
    return Axes(tuple(lengths.values()), list(lengths).index("C"))


def slices_of(path: Path) -> int:
    """Slices (Z) that OME or ImageJ metadata name; 1 where they name none."""
    return (_named_axes(path, several=True) or {}).get("Z", 1)


def _named_axes(path: Path, *, several: bool = False) -> dict[str, int] | None:
    """Axes of the pages that are longer than 1, slowest first, as the metadata name them.

    Read here from the text: tifffile opens the files that an OME text names, and makes room for as
    many planes as it says.

    Args:
        path: of the TIFF.
        several: take the first image where there are several, whose pages tell no axes.
    """
    with _opened(path) as tiff:
        ome, text = tiff.ome_metadata, tiff.pages.first.description if tiff.is_imagej else ""
    if len(ome or text) > MOST_TEXT:
        raise ReadError("its metadata are far too long for an image of cells")
    try:
        found = _ome_axes(ome) if ome else [_imagej_axes(text)] if text else []
    except (ElementTree.ParseError, ValueError):
        return None
    return None if not found or (len(found) > 1 and not several) else found[0]


def _imagej_axes(text: str) -> dict[str, int]:
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    counts = {axis: int(facts.get(name, 1)) for axis, name in IMAGEJ.items()}
    return {axis: count for axis, count in counts.items() if count > 1}


def _ome_axes(text: str) -> list[dict[str, int]]:
    found = []
    for pixels in ElementTree.fromstring(text).iter():
        if pixels.tag.rsplit("}", 1)[-1] != "Pixels":
            continue
        order = pixels.attrib.get("DimensionOrder", "XYCZT")[:1:-1]
        lengths = {axis: int(pixels.attrib.get(f"Size{axis}", 1)) for axis in order}
        samples = [
            int(each.attrib.get("SamplesPerPixel", 1))
            for each in pixels
            if each.tag.rsplit("}", 1)[-1] == "Channel"
        ]
        if samples and samples[0] > 1 and "C" in lengths:
            lengths["C"] //= samples[0]
        found.append({axis: length for axis, length in lengths.items() if length > 1})
    return found


def _require_few_pages(path: Path, most: int) -> None:
    """Follow the pages' places alone: a page is a few bytes, and tifffile reads each of them."""
    with path.open("rb") as file:
        start = file.read(16)
        order: Literal["little", "big"] = "little" if start[:2] == b"II" else "big"
        big = start[2:4] in (b"+\0", b"\0+")
        at = int.from_bytes(start[8:16] if big else start[4:8], order)
        entry, count_size, place_size = (20, 8, 8) if big else (12, 2, 4)
        seen = 0
        while at:
            seen += 1
            if seen > most:
                raise ReadError(f"more than {most:,} pages, far too many for one file")
            file.seek(at)
            entries = int.from_bytes(file.read(count_size), order)
            if entries > MOST_TAGS:
                raise ReadError("a damaged TIFF, or truncated")
            file.seek(at + count_size + entries * entry)
            at = int.from_bytes(file.read(place_size), order)


def _require_apart(pages: Sequence[Any]) -> None:
    """Refuse strips that share bytes: a small file would unpack to as much as it likes."""
    taken = sorted(
        (int(offset), int(length))
        for page in pages
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True)
        if length
    )
    if any(start + length > following for (start, length), (following, _) in pairwise(taken)):
        raise ReadError("a damaged TIFF: its strips or tiles overlap")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with path.open("rb") as file, tifffile.TiffFile(Alone(file)) as tiff:
            yield tiff
    except ReadError:
        raise
    except Exception:  # a damaged header makes it raise anything
        raise ReadError("a damaged TIFF, or truncated") from None


def _bytes(page: Any) -> int:
    bits = max(8, int(page.bitspersample))
    return int(page.imagelength) * int(page.imagewidth) * int(page.samplesperpixel) * bits // 8


def _chunk_bytes(page: Any) -> int:
    """Of one strip or tile once unpacked."""
    return int(math.prod(page.chunks)) * max(8, int(page.bitspersample)) // 8


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
    most = _chunk_bytes(page) + 1024
    with path.open("rb") as file:
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            if length * DEFLATE_RATIO <= most:
                continue
            file.seek(offset)
            if not _unpacks_to_at_most(most, file.read(length)):
                raise ReadError("a strip of it unpacks to more pixels than it declares")


def _unpacks_to_at_most(most: int, data: bytes) -> bool:
    unpacking, so_far = zlib.decompressobj(), 0
    try:
        while data and not unpacking.eof:
            piece = unpacking.decompress(data, PIECE)
            so_far += len(piece)
            if so_far > most:
                return False
            data = unpacking.unconsumed_tail
            if not piece and not data:
                break
    except zlib.error:
        raise ReadError("a damaged TIFF, or truncated") from None
    return True
