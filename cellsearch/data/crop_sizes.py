"""Crops of many sizes brought to one: the rule for the size, the change of a crop, and its words.

Readers, cards, the page and the first look all ask here, so that a new crop is changed exactly as
those that a model was trained on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellsearch.data.arrays import listed
from cellsearch.data.notes import Note
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting

Size = tuple[int, int]
Fit = Literal["pad", "resize", "shrink"]
"""``pad``: centred, edges filled with the border's median; ``resize``: interpolated to the whole
size; ``shrink``: padded, and what is larger shrunk first, its aspect kept."""

LARGEST_CROP = 1000
"""Side in px beyond which an image is rather a field of view; an explicit size overrules it, except
with ``shrink``, which would make a cell of it."""

LARGEST_SIDE = 256
"""Side in px of the square that crops of many sizes are brought to, at most."""

STEP = 8
ONE_LARGER_OF = 100
"""Of so many crops one may be larger than the square, and is shrunk."""

FAR_LARGER = 4
"""How many times larger than the square an image is that may be a field of view."""

LOST_SHARE = 0.2
"""Share of a class's cells that are shrunk, from which on it is told."""


@dataclass(frozen=True)
class Fitting:
    """How crops are brought to one size.

    Attributes:
        size: height and width of each afterwards, px.
        fit: how.
        cut: with ``pad``, what is larger is cut about its centre.
        larger: positions of the crops that are shrunk or cut.
        cells: crops that were looked at.
        note: what is done, with counts, in a line; "" where every crop has the size already.
        chosen: the size was not asked for but chosen by the crops.
    """

    size: Size
    fit: Fit
    cut: bool = False
    larger: tuple[int, ...] = ()
    cells: int = 0
    note: str = ""
    chosen: bool = False

    def picked(self, cells: Sequence[int]) -> Fitting:
        """The same for the cells at these positions, in that order."""
        larger = set(self.larger)
        kept = tuple(place for place, cell in enumerate(cells) if cell in larger)
        return replace(self, larger=kept, cells=len(cells))

    def apply(self, crop: NDArray[Any]) -> NDArray[Any]:
        """A crop (C, h, w) as (C, H, W)."""
        if crop.shape[1:] == self.size:
            return crop
        if self.fit == "resize":
            return resize(crop, self.size)
        if self.fit == "pad":
            return pad_or_cut(crop, self.size)
        return pad(shrink(crop, self.size), self.size)


def square_side(sizes: Mapping[Size, int], *, most: int = LARGEST_SIDE) -> int:
    """Side in px of the square that holds 99 % of the crops, in steps of 8, at most ``most``.

    Fewer than 100 crops are all held, unless ``most`` is in the way.

    Args:
        sizes: (height, width) to how many crops.
        most: the largest side.
    """
    longest = sorted(max(size) for size, count in sizes.items() for _ in range(count))
    held = longest[len(longest) - len(longest) // ONE_LARGER_OF - 1]
    return min(most, STEP * math.ceil(held / STEP))


def choose_fitting(
    sizes: Sequence[Size],
    sources: Sequence[str],
    *,
    size: Size | None = None,
    fit: Fit | Literal["refuse"] | None = None,
    cut: bool = False,
) -> Fitting | None:
    """How crops are brought to one size; None where they have one and none is asked for.

    Args:
        sizes: N times height and width, px.
        sources: N files, for messages.
        size: that is asked for; by default, where crops differ, a square that holds 99 % of them.
        fit: how; by default ``pad`` where a size is asked for, else ``shrink``. ``refuse`` takes
            crops of one size alone.
        cut: with ``pad``, cut what is larger.

    Raises:
        DataError: sizes that differ and are refused, images that are fields of view rather than
            crops, or crops larger than what ``pad`` can take.
    """
    if not sizes:
        return None
    if fit == "refuse":
        _require_one(sizes, sources, size)
        if size is not None:
            return None
        fit = None
    counts = Counter(sizes)
    if size is None and len(counts) == 1:
        _refuse_large(*sizes[0])
        return None
    how: Fit = fit or ("shrink" if size is None else "pad")
    if size is None or how == "shrink":
        _refuse_fields(sizes, sources, size)
    wanted = _size_for(counts, how, cut=cut) if size is None else size
    larger = tuple(
        k for k, (height, width) in enumerate(sizes) if height > wanted[0] or width > wanted[1]
    )
    if how == "pad" and not cut and larger:
        _refuse_larger(sizes, sources, larger, wanted)
    fitting = Fitting(wanted, how, cut, () if how == "resize" else larger, len(sizes))
    return replace(fitting, note=_told(counts, sizes, sources, fitting), chosen=size is None)


def bring(crops: Sequence[NDArray[Any]] | NDArray[Any], fitting: Fitting) -> NDArray[Any]:
    """Crops (C, h, w) of one dtype and depth as one array (N, C, H, W), each made in its place."""
    found = np.empty((len(crops), len(crops[0]), *fitting.size), crops[0].dtype)
    for place, crop in zip(found, crops, strict=True):
        place[:] = fitting.apply(np.asarray(crop))
    return found


def ragged(images: Any) -> list[NDArray[Any]] | None:
    """Crops (h, w) or (C, h, w) of several sizes, which no one array holds; None for all else.

    Args:
        images: a list, a tuple, or an array of objects, of arrays of numbers.
    """
    if isinstance(images, np.ndarray):
        several = images.dtype == object and images.ndim == 1
    elif isinstance(images, list | tuple):
        several = len({getattr(image, "shape", None) for image in images}) > 1
    else:
        return None
    if not several:
        return None
    try:
        crops = [np.asarray(image) for image in images]
    except (TypeError, ValueError, RuntimeError):  # as of tensors on a GPU
        return None
    plain = all(
        crop.ndim in (2, 3) and crop.dtype.kind in "biuf" and crop.size > 0 for crop in crops
    )
    return crops if crops and plain else None


def sizes_of(crops: Sequence[NDArray[Any]] | NDArray[Any]) -> list[Size]:
    """Height and width of each crop (C, h, w), px."""
    return [(crop.shape[1], crop.shape[2]) for crop in crops]


def lost_scale(fitting: Fitting, labels: Sequence[str]) -> str:
    """A note on classes of which many cells were shrunk, so that their size is lost; "" for none.

    Args:
        fitting: of the cells.
        labels: N class names; "" where not known.
    """
    every = Counter(label for label in labels if label)
    if fitting.fit != "shrink" or len(labels) != fitting.cells or len(every) < 2:
        return ""
    shrunk = Counter(labels[k] for k in fitting.larger)
    lost = [
        f"{name} ({count:,} of {every[name]:,})"
        for name, count in shrunk.items()
        if count > LOST_SHARE * every[name]
    ]
    # Where every class is shrunk alike, the counts say it already.
    if not 0 < len(lost) < len(every):
        return ""
    return f"crops were shrunk of {listed(lost)}: how large these cells are cannot be learnt"


def size_notes(fitting: Fitting, labels: Sequence[str] = ()) -> list[Note]:
    """Notes on what was done to the crops, and on what was lost by it.

    Args:
        fitting: of the cells.
        labels: N class names; "" where not known.
    """
    notes = []
    if fitting.note:
        remedy = _CHOICE if fitting.chosen else None
        notes.append(Note("crop-sizes", fitting.note, remedy=remedy))
    if lost := lost_scale(fitting, labels):
        notes.append(Note("crop-sizes", lost, "warning", _LARGER))
    return notes


_SIZE = Setting("size", "SIDE", reader=True)
_CHOICE = Message.of("choose otherwise with ", _SIZE, " and ", Setting("fit", "RULE", reader=True))
_LARGER = Message.of("a larger ", _SIZE, " keeps it")


def _told(
    counts: Counter[Size],
    sizes: Sequence[Size],
    sources: Sequence[str],
    fitting: Fitting,
) -> str:
    if set(counts) == {fitting.size}:
        return ""
    text = (
        f"{len(sizes):,} {_plural('crop', len(sizes))} of {len(counts):,} "
        f"{_plural('size', len(counts))} ({span_of(counts)} px): "
        f"{'resized' if fitting.fit == 'resize' else 'padded'} to {_px(fitting.size)}"
    )
    if fitting.larger:
        done = "cut" if fitting.fit == "pad" else "shrunk"
        text += f", {len(fitting.larger):,} larger {_plural('one', len(fitting.larger))} {done}"
        most = max(fitting.larger, key=lambda k: max(sizes[k]))
        if max(sizes[most]) > FAR_LARGER * max(fitting.size):
            text += (
                f" (the largest, {sources[most]}, of {_px(sizes[most])} px, may be a field of "
                "view: leave it out then)"
            )
    return text


def span_of(sizes: Iterable[Size]) -> str:
    """``12x15 to 180x96``: the lowest and the narrowest, to the highest and the widest."""
    heights, widths = zip(*sizes, strict=True)
    low, high = (min(heights), min(widths)), (max(heights), max(widths))
    return _px(low) if low == high else f"{_px(low)} to {_px(high)}"


def _px(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _size_for(counts: Counter[Size], fit: Fit, *, cut: bool) -> Size:
    if fit == "pad" and not cut:
        return max(height for height, _ in counts), max(width for _, width in counts)
    side = square_side(counts)
    return side, side


def listed_sizes(sizes: Sequence[Size], sources: Sequence[str]) -> str:
    """``images of 2 sizes (height x width, px): 6x8 (5 images, such as a.png), ...``."""
    parts = [
        f"{_px(size)} ({count} {_plural('image', count)}, such as {sources[sizes.index(size)]})"
        for size, count in Counter(sizes).most_common()
    ]
    kinds = f"{len(parts)} {_plural('size', len(parts))}"
    return f"images of {kinds} (height x width, px): {listed(parts)}"


def _require_one(sizes: Sequence[Size], sources: Sequence[str], size: Size | None) -> None:
    if len({*sizes, *([] if size is None else [size])}) == 1:
        return
    one = "one size" if size is None else f"{_px(size)} px"
    raise DataError(
        f"{listed_sizes(sizes, sources)}; ",
        Setting("fit", "refuse", reader=True),
        f" takes {one} alone: choose ",
        *_ways(),
    )


def _ways() -> list[str | Setting | Message]:
    return [
        Setting("fit", "shrink", reader=True),
        " (smaller ones padded, larger ones shrunk), ",
        Setting("fit", "pad", reader=True),
        " or ",
        Setting("fit", "resize", reader=True),
        " (stretched to the size)",
    ]


def _refuse_large(height: int, width: int) -> None:
    """Refuse images of one size that are rather fields of view."""
    if max(height, width) <= LARGEST_CROP:
        return
    raise DataError(
        f"images of {height}x{width} px are large for single cells; to read montages, use ",
        Setting("layout", "montage", reader=True),
        " and ",
        Setting("tile", "HEIGHTxWIDTH", reader=True),
        "; if the crops are meant to be this large, give ",
        Setting("size", f"{height}x{width}", reader=True),
        " or smaller with ",
        Setting("fit", "resize", reader=True),
    )


def _refuse_fields(sizes: Sequence[Size], sources: Sequence[str], size: Size | None) -> None:
    """Refuse to make a cell of a field of view.

    Raises:
        DataError: images beyond ``LARGEST_CROP``; each is named.
    """
    large = fields_of_view(sizes, sources)
    if not large:
        return
    raise DataError(
        f"{len(large)} of {len(sizes)} images {'is' if len(large) == 1 else 'are'} more than "
        f"{LARGEST_CROP} px wide or high, so probably fields of view or montages, not single cells "
        f"({listed(large)}): leave them out, or cut the cells out of them first; if the crops are "
        "meant to be this large,"
        " choose ",
        *(() if size else _AND_SIZE),
        Setting("fit", "resize", reader=True),
    )


_AND_SIZE: tuple[Setting | str, ...] = (Setting("size", "HEIGHTxWIDTH", reader=True), " and ")


def fields_of_view(sizes: Sequence[Size], sources: Sequence[str]) -> list[str]:
    """``file HxW`` of each image beyond ``LARGEST_CROP``."""
    return [
        f"{source} {_px(size)}"
        for size, source in zip(sizes, sources, strict=True)
        if max(size) > LARGEST_CROP
    ]


def _refuse_larger(
    sizes: Sequence[Size], sources: Sequence[str], larger: Sequence[int], size: Size
) -> None:
    named = [f"{sources[k]} {_px(sizes[k])}" for k in larger]
    raise DataError(
        f"{len(larger)} {_plural('image', len(larger))} "
        f"{'is' if len(larger) == 1 else 'are'} larger than ",
        Setting("size", _px(size), reader=True),
        ", and ",
        Setting("fit", "pad", reader=True),
        " cannot shrink; take a larger size, ",
        Setting("fit", "shrink", reader=True),
        " (aspect kept, then padded), ",
        Setting("cut", True, reader=True),
        " or ",
        Setting("fit", "resize", reader=True),
        f": {listed(named)}",
    )


def pad(crop: NDArray[Any], size: Size) -> NDArray[Any]:
    """Centre a (C, h, w) crop in (C, H, W); the rest is the median of each channel's border."""
    if crop.shape[1:] == size:
        return crop
    _, height, width = crop.shape
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    border = np.concatenate([crop[:, 0], crop[:, -1], crop[:, :, 0], crop[:, :, -1]], axis=1)
    padded = np.empty((len(crop), *size), crop.dtype)
    padded[:] = np.median(border, axis=1).astype(crop.dtype)[:, None, None]
    padded[:, top : top + height, left : left + width] = crop
    return padded


def pad_or_cut(crop: NDArray[Any], size: Size) -> NDArray[Any]:
    """Centre a (C, h, w) crop on (C, H, W): cut what is larger, pad what is smaller."""
    for axis, wanted in enumerate(size, start=1):
        spare = crop.shape[axis] - wanted
        if spare > 0:
            crop = crop.take(range(spare // 2, spare // 2 + wanted), axis=axis)
    return pad(crop, size)


def shrink(crop: NDArray[Any], size: Size) -> NDArray[Any]:
    """A (C, h, w) crop that fits into (H, W): its aspect is kept, and it is never enlarged."""
    _, height, width = crop.shape
    scale = min(size[0] / height, size[1] / width)
    if scale >= 1:
        return crop
    return resize(crop, (max(1, round(scale * height)), max(1, round(scale * width))))


def resize(crop: NDArray[Any], size: Size) -> NDArray[Any]:
    """Bilinear, anti-aliased, in float32; integers are rounded. (C, h, w) to (C, H, W)."""
    if crop.shape[1:] == size:
        return crop
    planes = np.stack(
        [
            np.asarray(
                Image.fromarray(plane.astype(np.float32)).resize(
                    (size[1], size[0]), Image.Resampling.BILINEAR
                )
            )
            for plane in crop
        ]
    )
    if crop.dtype.kind in "iu":
        limits = np.iinfo(crop.dtype)
        planes = planes.round().clip(limits.min, limits.max)
    return planes.astype(crop.dtype)
