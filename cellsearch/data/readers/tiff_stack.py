"""Pages of one TIFF as the channels of one cell; slices and times are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.readers import tiff_lost, tiff_pages
from cellsearch.errors import ReadError
from cellsearch.util.messages import Setting

LONG: Mapping[str, str] = {"Z": "slices (Z)", "T": "times (T)"}


def channels(tiff: Any, pages: int | None, *, named: bool) -> NDArray[Any]:
    """The channels of one cell.

    Args:
        tiff: an open ``TiffFile``.
        pages: how many there must be; None takes any.
        named: whether the user named the channels, so that slices or times may be channels.

    Returns:
        (C, H, W), in the order of the channels that the metadata name.

    Raises:
        ReadError: slices, times or several images, or pages that are not alike or not whole.
    """
    frames = _in_order(tiff, _frames(tiff), named=named)
    joined = _joined(tiff, frames)
    if len(frames) > 1 and pages is not None and len(joined) != pages:
        raise ReadError(
            f"{len(frames)} pages, but {pages} channels: pages are read as channels; to read a "
            "file of many cells, use"
            " ",
            Setting("layout", "ome_tiff", reader=True),
            " and ",
            Setting("axes", "TCYX", reader=True),
            " (TYX for one channel, TYXS for colour)",
        )
    return joined


def planes(tiff: Any) -> NDArray[Any]:
    """(pages * samples, H, W) in the order of the pages, whatever their axes mean.

    Raises:
        ReadError: pages that are not alike or not whole.
    """
    return _joined(tiff, _frames(tiff))


def _frames(tiff: Any) -> list[Any]:
    """Pages that are images, each whole."""
    # A reduced copy for viewers is no channel.
    frames = [page for page in tiff.pages if not page.is_reduced]
    if not frames:
        raise ReadError("a TIFF without an image, or truncated")
    tiff_lost.refuse_gaps(tiff, frames)
    tiff_lost.refuse_hidden(frames)
    return frames


def _joined(tiff: Any, frames: list[Any]) -> NDArray[Any]:
    parts = [tiff_pages.decoded(frame) for frame in frames]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ReadError("pages of different sizes")
    dtypes = sorted({str(part.dtype) for part in parts})
    if len(dtypes) > 1:
        raise ReadError(f"pages of different dtypes: {', '.join(dtypes)}")
    joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return tiff_pages.calibrated(joined, tiff)


def _in_order(tiff: Any, frames: list[Any], *, named: bool) -> list[Any]:
    """The pages in the order of their channels; slices and times are none, unless named so."""
    if len(frames) == 1 and not _may_hide_planes(frames[0]):
        return frames
    series = list(tiff.series)
    if len(series) > 1 and tiff.is_ome and len(frames) > 1:
        raise _many_cells(f"{len(series)} images in one file")
    one = series[0]
    if len(series) == 1 and int(one.size) > sum(int(frame.size) for frame in frames):
        raise _many_cells(f"an image of shape {tuple(one.shape)} (axes {one.axes}) behind one page")
    if len(series) > 1:
        return frames
    long = {a: n for a, n in zip(one.axes, one.shape, strict=True) if n > 1 and a not in "YXS"}
    # Q and I stand for axes without a name.
    others = {axis: n for axis, n in long.items() if axis not in "CQI"}
    if not others:
        order = [page.index for page in one.pages if page is not None]
        at = {frame.index: frame for frame in frames}
        known = len(order) == len(frames) and set(order) == set(at)
        return [at[index] for index in order] if known else frames
    if named and len(long) == 1:
        return frames
    words = " and ".join(f"{n} {LONG.get(a, f'planes of axis {a}')}" for a, n in others.items())
    raise ReadError(
        f"{words} in one file, and the planes of a cell are its channels: save one plane or a "
        "projection of them (ImageJ: Image > Stacks > Z Project)",
        *(_or_named(long) if len(long) == 1 else ()),
        "; where each plane is a cell, give ",
        Setting("layout", "ome_tiff", reader=True),
    )


def _may_hide_planes(page: Any) -> bool:
    """Whether planes may follow that no page names, as some programmes write them."""
    # Looking at the axes takes as long as decoding a small crop.
    text = page.description
    return page.is_stk or text.startswith("ImageJ=") or '"truncated": true' in text


def _or_named(long: Mapping[str, int]) -> tuple[str | Setting, ...]:
    names = ",".join(f"NAME{k + 1}" for k in range(min(3, sum(long.values()))))
    return ("; where they are channels, name them with ", Setting("channels", names, reader=True))


def _many_cells(what: str) -> ReadError:
    return ReadError(
        f"{what}, where one image of one cell is read; where each plane is a cell, give ",
        Setting("layout", "ome_tiff", reader=True),
    )
