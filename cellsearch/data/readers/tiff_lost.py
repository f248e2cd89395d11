"""TIFF whose pixels are not all in the file, where decoders fill the rest with zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cellsearch.errors import ReadError

MOST_BYTES = 2**33
"""Of pixels that one file may declare; a damaged header declares anything."""

# Compressions by their numbers in the standard.
JPEG = frozenset({7, 33007, 34892})
LERC = 34887


def refuse_gaps(tiff: Any, pages: Sequence[Any]) -> None:
    """Refuse what the library would fill with zeros: pixels that are not in the file.

    Args:
        tiff: an open ``TiffFile``.
        pages: of it, those that are read.

    Raises:
        ReadError: cut, sparse, or strips (tiles) that overlap or lie beyond the file.
    """
    if _is_cut(tiff):
        raise ReadError("truncated: its last page names another, which is not there")
    if sum(int(page.keyframe.nbytes) for page in pages) > MOST_BYTES:
        raise ReadError(f"it declares more than {MOST_BYTES // 2**30} GB of pixels")
    taken: dict[str, list[tuple[int, int]]] = {}
    for page in pages:
        # The pages of an OME-TIFF may lie in several files.
        file = page.parent.filehandle
        length = int(file.size)
        offsets, counts = page.dataoffsets, page.databytecounts
        wanted = math.prod(page.keyframe.chunked)
        if not len(offsets) == len(counts) == wanted:
            raise ReadError(f"truncated: {len(offsets)} of {wanted} strips or tiles")
        empty = sum(not count or not offset for offset, count in zip(offsets, counts, strict=True))
        if empty:
            raise ReadError(
                f"a sparse TIFF: {empty} of {wanted} strips or tiles hold no pixels; "
                "write it again in full"
            )
        if any(a + b > length for a, b in zip(offsets, counts, strict=True)):
            raise ReadError("truncated: pixels that lie beyond the end of the file")
        _require_length(page)
        taken.setdefault(str(file.path), []).extend(zip(offsets, counts, strict=True))
    if any(a + n > b for each in taken.values() for (a, n), (b, _) in pairwise(sorted(each))):
        raise ReadError("a damaged TIFF: its strips or tiles overlap")


def refuse_hidden(pages: Sequence[Any]) -> None:
    """Refuse images of full size in SubIFDs, which are neither pages nor reduced copies.

    Raises:
        ReadError: there are such.
    """
    for page in pages:
        if page.subifds and any(
            not below.is_reduced and below.imagewidth >= page.imagewidth for below in page.pages
        ):
            raise ReadError("images in SubIFDs of a page; save one page a channel")


def refuse_unsound(page: Any) -> None:
    """Refuse packed strips whose decoder fills what is lost without a word.

    Raises:
        ReadError: JPEG without an end, or LERC with masked pixels.
    """
    packing = int(page.keyframe.compression)
    if packing not in JPEG and packing != LERC:
        return
    import imagecodecs

    handle = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        handle.seek(offset)
        data = handle.read(count)
        if packing in JPEG and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ReadError("truncated: a strip or tile of JPEG has no end")
        if packing == LERC:
            _, valid = imagecodecs.lerc_decode(data, masks=True)
            if valid is not None and not np.all(valid):
                raise ReadError("pixels that LERC masks as missing; fill them before it is saved")


def _is_cut(tiff: Any) -> bool:
    """Whether the last page that can be read points to another: tifffile stops there in silence."""
    # Counting the pages walks to the last.
    if not len(tiff.pages):
        return False
    place = tiff.pages.next_page_offset
    if not place:
        return True
    tiff.filehandle.seek(place)
    return any(tiff.filehandle.read(tiff.tiff.offsetsize))


def _require_length(page: Any) -> None:
    """Strips that are not packed must be as long as their pixels."""
    frame = page.keyframe
    if int(frame.compression) != 1 or not isinstance(frame.bitspersample, int):
        return
    if not frame.is_tiled and len(page.databytecounts) == 1:
        rows = int(frame.imagelength) * int(frame.imagedepth)
        bits = int(frame.imagewidth) * int(frame.bitspersample) * int(frame.samplesperpixel)
        if page.databytecounts[0] < rows * ((bits + 7) // 8):
            raise ReadError("truncated: a strip that is shorter than its pixels")
