"""What arrays may become cells: shapes, dtypes, finite pixels, and their digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellsearch.data.columns import WORDS, column
from cellsearch.data.hdf5_gaps import gaps, is_dataset
from cellsearch.data.holes import ranged
from cellsearch.data.storage import rows_per_chunk
from cellsearch.data.zarr_gaps import gaps_of, is_zarr_array
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting, first_line
from cellsearch.util.spelling import Spellings

MAX_CHANNELS = 12


DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


EXACT_INTEGERS_OF_FLOAT32 = 2**24


Axes = Literal["NCHW", "NHWC"]


Layout = Literal["auto", "NCHW", "NHWC"]


COLOUR_DEPTHS = (1, 3, 4)
"""Channels of grey, colour, and colour with transparency: what a last axis of that length is."""


FILL = (
    "fill the background with one level, such as 0 or the median of the pixels around the cell: "
    "np.nan_to_num(images, nan=0); leave cells out that hold nothing else"
)


UNKNOWN_LABELS = "leave these cells out, or give integers, -1 where not known, and classes=[...]"


def listed(items: Sequence[object] | NDArray[Any], *, most: int = 10) -> str:
    """``a, b, c and 37 more``."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def slug(name: str) -> str:
    """A name as it may stand in a file's name: letters, digits, ``.``, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "cells"


def readings(shape: Sequence[int]) -> str:
    """What (N, A, B, C) may mean: ``12 channels of 12 x 3 px or 3 channels of 12 x 12 px``."""
    _, a, b, c = shape
    return (
        f"{a} channel{'s' * (a > 1)} of {b} x {c} px or {c} channel{'s' * (c > 1)} of {a} x {b} px"
    )


def seems_last(shape: Sequence[int]) -> bool:
    """Whether (N, A, B, C) may well hold its channels last.

    C is a colour's depth, A is not but might count channels, and crops of A x B px are no more
    oblong than of B x C.
    """
    _, a, b, c = shape
    if c not in COLOUR_DEPTHS or a in COLOUR_DEPTHS or a > MAX_CHANNELS or 0 in shape:
        return False
    return max(a, b) * min(b, c) <= max(b, c) * min(a, b)


def to_images(images: ArrayLike, layout: Layout = "NCHW") -> tuple[NDArray[Any], str]:
    """Bring pixels to (N, C, H, W) of uint8, uint16 or float32.

    Args:
        images: (N, H, W), or (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``.
        layout: what the axes of a four-dimensional array mean; ``auto`` takes (N, C, H, W) and
            refuses what may be (N, H, W, C) as well.

    Returns:
        (N, C, H, W) array, not copied where it already fits, and a note that says from which
        dtype it was converted ("" where it was not).

    Raises:
        DataError: wrong shape, more than 12 channels, or pixels that float32 cannot hold.
    """
    if layout not in ("auto", "NCHW", "NHWC"):
        raise DataError(f"layout must be 'auto', 'NCHW' or 'NHWC', got {layout!r}")
    array = array_of(images)
    if array.ndim == 4 and layout == "auto" and seems_last(array.shape):
        raise DataError(
            f"images of shape {array.shape} may be {readings(array.shape)}: say which with ",
            Setting("layout", "NCHW"),
            " for the first or ",
            Setting("layout", "NHWC"),
            " for the second, or give np.moveaxis(images, -1, 1)",
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and layout == "NHWC":
        array = np.moveaxis(array, 3, 1)
    if array.ndim != 4 or 0 in array.shape:
        raise DataError(
            "images must be (cells, height, width) or (cells, channels, height, width) and not "
            f"empty, got shape {tuple(np.shape(images))}"
        )
    if array.shape[1] > MAX_CHANNELS:
        hint: tuple[str | Setting, ...] = ()
        if array.shape[3] <= MAX_CHANNELS:
            hint = ("; channels-last arrays need ", Setting("layout", "NHWC"))
        raise DataError(f"1 to {MAX_CHANNELS} channels are taken, got {array.shape[1]}", *hint)
    return _to_dtype(array)


def array_of(images: ArrayLike) -> NDArray[Any]:
    """Pixels as one array.

    Raises:
        DataError: masked pixels, crops of several sizes, or a dataset of h5py or zarr of which
            parts were never written or lie in files that are gone.
    """
    if isinstance(images, np.ma.MaskedArray) and np.ma.getmaskarray(images).any():
        raise DataError("pixels are masked, and a network sees them all: images.filled(0), say")
    if isinstance(images, np.ndarray):
        return np.asarray(images)
    if is_dataset(images) and (found := gaps(images)):
        raise DataError(f"images are incomplete, and the gaps would be filled in: {found[0]}")
    if is_zarr_array(images) and (there := gaps_of(images)) and (there.cells or there.odd):
        raise DataError(
            f"images are incomplete: chunks of cells {ranged(there.cells or there.partly)} are "
            f"missing and would read as {there.fill}"
        )
    try:
        return np.asarray(images)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"images cannot be made one array ({first_line(error)}): give crops of one size and "
            "dtype, of a tensor its .detach().cpu().float().numpy()"
        ) from None


def _to_dtype(array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    native = array.dtype.newbyteorder("=")
    if native in DTYPES:
        return array.astype(native, copy=False), ""
    if native.kind == "b":
        return array.astype(np.uint8), "pixels converted from bool to uint8"
    if native.kind not in "iuf":
        raise DataError(
            f"pixels must be numbers (uint8, uint16, float32, or what converts), got {array.dtype}"
        )
    low, high = array.min(), array.max()
    if native.kind in "iu" and not (
        low >= -EXACT_INTEGERS_OF_FLOAT32 and high <= EXACT_INTEGERS_OF_FLOAT32
    ):
        raise DataError(
            f"pixels of {array.dtype} from {low} to {high} do not fit float32 without loss; "
            "rescale them to uint16 or float32"
        )
    largest = np.finfo(np.float32).max
    if native.kind == "f" and (low < -largest or high > largest) and np.isfinite([low, high]).all():
        raise DataError(f"pixels from {low} to {high} are beyond float32; rescale them")
    # What overflows beside a NaN is found, with the cell's name, by check_finite.
    with np.errstate(over="ignore"):
        return array.astype(np.float32), f"pixels converted from {array.dtype} to float32"


def check_finite(
    images: NDArray[Any], ids: NDArray[np.str_], *, remedy: Message | str = FILL
) -> None:
    """Raise DataError, naming the cells and a remedy, where a float pixel is NaN or infinite."""
    if images.dtype.kind != "f":
        return
    step = rows_per_chunk(images)
    nans, infinite = np.zeros(len(images), np.int64), np.zeros(len(images), np.int64)
    for start in range(0, len(images), step):
        block = images[start : start + step]
        nans[start : start + step] = np.isnan(block).sum(axis=(1, 2, 3))
        infinite[start : start + step] = np.isinf(block).sum(axis=(1, 2, 3))
    bad = np.flatnonzero(nans + infinite)
    if len(bad):
        counts = [f"{n.sum():,} {word}" for n, word in ((nans, "NaN"), (infinite, "infinite"))]
        raise DataError(
            f"NaN or infinite pixels in {len(bad)} of {len(images)} cells: {listed(ids[bad])} "
            f"({' and '.join(each for each in counts if not each.startswith('0 '))} of their "
            f"{len(bad) * images[0].size:,} pixels); ",
            remedy,
        )


def to_labels(
    labels: ArrayLike, classes: Sequence[str] | None, cells: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as (N,) int64 positions in the class names.

    Args:
        labels: (N,) class names, integers, or true and false. With ``classes``, integers are
            positions in it and -1 is "not known"; without, each distinct value becomes a class,
            in sorted order.
        classes: class names in order; None takes them from the labels.
        cells: N.

    Raises:
        DataError: another length, missing values, a name that is not in ``classes``, or a number
            beyond it.
    """
    given = column(labels, "labels", cells, remedy=UNKNOWN_LABELS)
    if given.dtype.kind not in "iubU":
        raise DataError(f"labels must be names or integers, got {given.dtype}")
    if given.dtype.kind == "b" and classes is None:
        given = given.astype(np.str_)
    named = given.dtype.kind == "U"
    if classes is None:
        _no_missing_words(given)
        values = np.unique(given.astype(np.str_) if named else given.astype(np.int64))
        if not named and values[0] < 0:
            raise DataError("labels below 0 (unknown) need the class names: classes=[...]")
        names = tuple(str(value) for value in values)
        positions = np.searchsorted(values, given.astype(values.dtype))
        return positions.astype(np.int64), check_names(names, "class")
    names = check_names(classes, "class")
    if named:
        position = {name: k for k, name in enumerate(names)}
        spellings = Spellings.of(names)
        unknown = []
        for label in sorted({str(value) for value in given} - set(position)):
            found = spellings.meant(label)
            if len(found) == 1:
                position[label] = position[found[0]]
            else:
                unknown.append(f"{label}{spellings.taken_for(label)}")
        if unknown:
            raise DataError(
                f"labels that are not among the classes ({', '.join(names)}): {listed(unknown)}"
            )
        return np.array([position[str(value)] for value in given], np.int64), names
    numbers = given.astype(np.int64)
    if numbers.min() < -1 or numbers.max() >= len(names):
        raise DataError(
            f"labels must lie in 0 .. {len(names) - 1} (-1: not known) for {len(names)} classes, "
            f"got {numbers.min()} .. {numbers.max()}"
        )
    return numbers, names


def _no_missing_words(given: NDArray[Any]) -> None:
    """Numpy turns a missing value among texts into a text; where classes are listed, one may be."""
    words = sorted({str(value).strip() for value in np.unique(given)} & WORDS)
    if words:
        raise DataError(
            f"labels: {', '.join(words)} means that a label is missing: {UNKNOWN_LABELS}; a class "
            "that is really called so is taken where classes=[...] names it"
        )


def to_known(
    labels: Sequence[str], classes: Sequence[str] | None
) -> tuple[Sequence[str] | NDArray[np.int64], Sequence[str] | None]:
    """Labels and classes as ``to_labels`` takes them, where "" means that a label is not known."""
    if all(labels):
        return list(labels), classes
    if not any(labels):
        return np.full(len(labels), -1, np.int64), tuple(classes or ())
    names = tuple(classes) if classes is not None else tuple(sorted(set(labels) - {""}))
    known, _ = to_labels([label or names[0] for label in labels], names, len(labels))
    return np.where([bool(label) for label in labels], known, -1), names


def check_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Names as a tuple; DataError where one is empty, not text, or given twice."""
    # A set has another order in every process, so names would change places.
    unordered = isinstance(names, str | Set | Mapping)
    if unordered or not all(isinstance(name, str) for name in names):
        raise DataError(f"{what} names must be a list of texts, got {names!r}")
    result = tuple(str(name) for name in names)
    if any(not name.strip() for name in result):
        raise DataError(f"a {what} name is empty: {listed([repr(name) for name in result])}")
    twice = sorted({name for name in result if result.count(name) > 1})
    if twice:
        raise DataError(f"{what} names given twice: {listed(twice)}")
    return result


def to_channels(
    names: Sequence[str], there: Sequence[str], owner: str
) -> tuple[tuple[str, ...], list[int]]:
    """Names and positions of channels; DataError where one is not there, or none is named."""
    wanted = check_names(names, "channel")
    unknown = [name for name in wanted if name not in there]
    if unknown or not wanted:
        raise DataError(
            f"no channel {listed(unknown) or 'is named'}; {owner} has {', '.join(there)}"
        )
    return wanted, [tuple(there).index(name) for name in wanted]


def to_texts(values: ArrayLike, what: str, cells: int) -> NDArray[np.str_]:
    """(N,) texts; DataError where the length is another, or values are missing."""
    given = column(values, what, cells, remedy="give one for every cell")
    return given if given.dtype.kind == "U" else given.astype(np.str_)


def to_groups(values: ArrayLike, cells: int) -> NDArray[np.str_]:
    """(N,) groups; DataError where the length is another, or a cell has none.

    Cells of unknown groups would make one group of their own, that is none.
    """
    remedy = "leave these cells out, or give each a group of its own"
    given = column(values, "groups", cells, remedy=remedy)
    texts = given if given.dtype.kind == "U" else given.astype(np.str_)
    stripped = np.char.strip(texts)
    empty = int((stripped == "").sum()) + int(np.isin(stripped, sorted(WORDS)).sum())
    if empty:
        raise DataError(
            f"groups are missing for {empty} of {cells} cells (empty, NA, nan, ...): {remedy}"
        )
    return texts


def to_numbers(values: ArrayLike | None, cells: int) -> NDArray[np.int64]:
    """(N,) object numbers, zeros by default; DataError where the length or type is another."""
    if values is None:
        return np.zeros(cells, np.int64)
    numbers = column(values, "object numbers", cells, remedy="give one for every cell")
    if numbers.shape != (cells,) or numbers.dtype.kind not in "iu":
        raise DataError(
            f"object numbers must be an integer a cell: {cells} cells, "
            f"got {numbers.shape} {numbers.dtype}"
        )
    return numbers.astype(np.int64)


def to_indices(values: ArrayLike, cells: int) -> NDArray[np.int64]:
    """(M,) cell numbers; DataError where there is none, one twice, or one beyond the cells."""
    picked = np.asarray(values)
    if picked.ndim != 1 or not len(picked) or picked.dtype.kind not in "iu":
        raise DataError(f"a subset needs a list of cell numbers, got {picked.shape} {picked.dtype}")
    if picked.min() < 0 or picked.max() >= cells:
        raise DataError(
            f"cell numbers must lie in 0 .. {cells - 1}, got {picked.min()} .. {picked.max()}"
        )
    if len(np.unique(picked)) != len(picked):
        raise DataError("a subset names a cell twice")
    return picked.astype(np.int64)


def check_unique(ids: NDArray[np.str_]) -> None:
    """Raise DataError, naming them, where ids occur more than once."""
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"ids given to more than one cell: {listed(values[counts > 1])}")


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A C-contiguous, read-only view; copied only where the memory is not contiguous."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def digest(header: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> str:
    """Hex sha256 of a JSON header and, in chunks, of dtype, shape and bytes of each array."""
    hasher = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in arrays:
        # A text's dtype is as wide as the longest of the array: hash the texts, not the width.
        if array.dtype.kind == "U":
            hasher.update(json.dumps(array.tolist()).encode())
            continue
        hasher.update(json.dumps([array.dtype.str, array.shape]).encode())
        step = rows_per_chunk(array)
        for start in range(0, len(array), step):
            hasher.update(np.ascontiguousarray(array[start : start + step]).tobytes())
    return hasher.hexdigest()


UNLABELLED = -1
