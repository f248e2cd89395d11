"""Crops whose background is NaN, as programmes write that cut cells out by their outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import listed
from cellsearch.data.readers.options import ImageOptions
from cellsearch.errors import DataError
from cellsearch.util.messages import Setting


def filled(
    crops: Sequence[NDArray[Any]], options: ImageOptions, sources: Sequence[str]
) -> Sequence[NDArray[Any]]:
    """The crops with NaN pixels filled as the option ``nan`` says.

    Args:
        crops: N arrays (C, h, w).
        options: of the reader.
        sources: N files.

    Returns:
        The same arrays where nothing had to be filled.

    Raises:
        DataError: NaN and no option, infinite pixels, or a channel of NaN alone; says how many
            pixels of how many images, and with what to fill them.
    """
    if options.nan is None and len(crops) > len(set(sources)):
        # Many cells of one file are checked where they have ids by which they can be named.
        return crops
    floats = [k for k, crop in enumerate(crops) if crop.dtype.kind == "f"]
    odd = [k for k in floats if not np.isfinite(crops[k]).all()]
    if not odd:
        return crops
    infinite = [k for k in odd if np.isinf(crops[k]).any()]
    if infinite:
        raise DataError(
            f"{_where(infinite, crops, sources, np.isinf)} are infinite: mend the files, or leave "
            "these images out"
        )
    if options.nan is None:
        raise DataError(
            f"{_where(odd, crops, sources, np.isnan)} are NaN: fill the background with ",
            Setting("nan", "lowest", reader=True),
            " (the lowest value of each channel of an image), or with a number, such as ",
            Setting("nan", 0, reader=True),
        )
    without = [k for k in odd if np.isnan(crops[k]).all(axis=(1, 2)).any()]
    if without and options.nan == "lowest":
        raise DataError(
            f"{len(without)} images have a channel of NaN alone, and so no lowest value: "
            f"{listed([sources[k] for k in without])}"
        )
    result = list(crops)
    for k in odd:
        result[k] = _fill(crops[k], options.nan)
    return result


def _where(
    which: Sequence[int], crops: Sequence[NDArray[Any]], sources: Sequence[str], odd: Any
) -> str:
    bad = sum(int(odd(crops[k]).sum()) for k in which)
    all_pixels = sum(crops[k].size for k in which)
    files = list(dict.fromkeys(sources[k] for k in which))
    return (
        f"{len(which)} of {len(crops)} images ({listed(files, most=3)}): "
        f"{bad:,} of their {all_pixels:,} pixels"
    )


def _fill(crop: NDArray[Any], value: float | str) -> NDArray[Any]:
    fill = np.nanmin(crop, axis=(1, 2), keepdims=True) if value == "lowest" else value
    changed: NDArray[Any] = np.where(np.isnan(crop), fill, crop).astype(crop.dtype)
    return changed
