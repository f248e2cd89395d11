"""Many image files to one array: every bad file named at once, one size, one dtype."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellsearch.data.arrays import MAX_CHANNELS, listed
from cellsearch.data.readers import Progress
from cellsearch.data.readers.background import filled
from cellsearch.data.readers.images import RGB, TIFF_SUFFIXES, read_image
from cellsearch.data.readers.options import ImageOptions
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.util.messages import Message, Setting, joined

LARGEST_CROP = 1000
"""Side in px beyond which an image is rather a field of view; an explicit size overrules it."""


def read_all(
    root: Path,
    cells: Sequence[Sequence[Path]],
    read: Callable[[Path], NDArray[Any]],
    on_progress: Progress | None,
) -> list[NDArray[Any]]:
    """Decode the files of each cell and join their planes.

    Returns:
        N arrays (C, H, W).

    Raises:
        ReadError: one line that names every file that cannot be read (at most 10) and why.
    """
    crops: list[NDArray[Any]] = []
    bad: list[tuple[str, ReadError]] = []
    for done, files in enumerate(cells):
        if on_progress and done % 256 == 0:
            on_progress("reading images", done, len(cells))
        planes: list[NDArray[Any]] = []
        for file in files:
            try:
                planes.append(read(file))
            except ReadError as error:
                bad.append((relative(file, root), error))
        if len(planes) == len(files):
            shapes = {plane.shape[1:] for plane in planes}
            if len(shapes) > 1 or len({plane.dtype for plane in planes}) > 1:
                differ = ReadError("its channel files differ in size or dtype")
                bad.append((relative(files[0], root), differ))
            else:
                crops.append(np.concatenate(planes) if len(planes) > 1 else planes[0])
    if bad:
        raise unreadable(bad)
    if on_progress:
        on_progress("reading images", len(cells), len(cells))
    return crops


def unreadable(bad: Sequence[tuple[str, ReadError]]) -> ReadError:
    """One error that names every file (at most 10) and why; a remedy stands once, after its files.

    Args:
        bad: each file and what is wrong with it.
    """
    alike: dict[str, list[str]] = {}
    errors: dict[str, ReadError] = {}
    for number, (file, error) in enumerate(bad):
        remedied = any(isinstance(part, Setting) for part in error.message.parts)
        key = str(error) if remedied else str(number)
        alike.setdefault(key, []).append(file)
        errors.setdefault(key, error)
    shown = list(errors)[:10]
    named = [Message.of(f"{listed(alike[key])}: ", errors[key].message) for key in shown]
    left = len(bad) - sum(len(alike[key]) for key in shown)
    return ReadError(
        f"{len(bad)} unreadable {'file' if len(bad) == 1 else 'files'}: ",
        joined(named, ", "),
        f" and {left} more" if left else "",
    )


def relative(file: Path, root: Path) -> str:
    """``file`` as seen from ``root``, with forward slashes; its whole path where it is outside."""
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return file.as_posix()


def stack(
    crops: Sequence[NDArray[Any]], options: ImageOptions, sources: Sequence[str]
) -> NDArray[Any]:
    """N crops (C, H, W) as one array (N, C, H, W).

    Raises:
        DataError: dtypes, channel counts, or (without ``size``) sizes differ; what there is, and
            how often, is listed. NaN pixels, and no ``nan`` that says what they become.
    """
    crops = filled(crops, options, sources)
    _same([str(crop.dtype) for crop in crops], sources, "dtypes", "convert them to one")
    _same([f"{len(crop)}" for crop in crops], sources, "channel counts", "save them alike")
    if options.size is None:
        sizes = [f"{crop.shape[1]}x{crop.shape[2]}" for crop in crops]
        height = max(crop.shape[1] for crop in crops)
        width = max(crop.shape[2] for crop in crops)
        remedy = _choose(height, width)
        _same(sizes, sources, "sizes (height x width, px)", remedy)
        if max(height, width) > LARGEST_CROP:
            raise DataError(
                f"images of {height}x{width} px are large for single cells; montages are read "
                "with --option layout=montage --option tile=HEIGHTxWIDTH; for crops that are "
                f"meant to be so, give --option size={height}x{width} or smaller with --option "
                "fit=resize"
            )
        return np.stack(crops)
    if options.fit == "resize":
        return np.stack([resize(crop, options.size) for crop in crops])
    if options.cut:
        return np.stack([pad_or_cut(crop, options.size) for crop in crops])
    height, width = options.size
    large = [
        f"{source} {crop.shape[1]}x{crop.shape[2]}"
        for crop, source in zip(crops, sources, strict=True)
        if crop.shape[1] > height or crop.shape[2] > width
    ]
    if large:
        raise DataError(
            f"{len(large)} images are larger than size={height}x{width}, which fit=pad cannot "
            f"shrink; take a larger size, cut=true or fit=resize: {listed(large)}"
        )
    return np.stack([pad(crop, options.size) for crop in crops])


def refuse_sizes(
    sizes: Sequence[tuple[int, int]], options: ImageOptions, sources: Sequence[str]
) -> None:
    """Refuse what ``stack`` would, before pixels are decoded that take long.

    Raises:
        DataError: sizes (height, width) differ and no ``size`` is given.
    """
    if options.size is None:
        height, width = (max(side) for side in zip(*sizes, strict=True))
        remedy = _choose(height, width)
        texts = [f"{height}x{width}" for height, width in sizes]
        _same(texts, sources, "sizes (height x width, px)", remedy)


def _choose(height: int, width: int) -> str:
    return (
        f"choose one, such as --option size={height}x{width} with --option fit=pad or fit=resize "
        "(in a manifest and in Python without --option)"
    )


def _same(values: Sequence[str], sources: Sequence[str], what: str, remedy: str) -> None:
    counts = Counter(values)
    if len(counts) > 1:
        parts = [
            f"{value} ({count} images, such as {sources[values.index(value)]})"
            for value, count in counts.most_common()
        ]
        raise DataError(f"images of {len(counts)} {what}: {listed(parts)}; {remedy}")


def pad(crop: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Centre a (C, h, w) crop in (C, H, W); the rest is the median of each channel's border."""
    _, height, width = crop.shape
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    border = np.concatenate([crop[:, 0], crop[:, -1], crop[:, :, 0], crop[:, :, -1]], axis=1)
    padded = np.empty((len(crop), *size), crop.dtype)
    padded[:] = np.median(border, axis=1).astype(crop.dtype)[:, None, None]
    padded[:, top : top + height, left : left + width] = crop
    return padded


def pad_or_cut(crop: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Centre a (C, h, w) crop on (C, H, W): cut what is larger, pad what is smaller."""
    for axis, wanted in enumerate(size, start=1):
        spare = crop.shape[axis] - wanted
        if spare > 0:
            crop = crop.take(range(spare // 2, spare // 2 + wanted), axis=axis)
    return crop if crop.shape[1:] == size else pad(crop, size)


def resize(crop: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
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


def name_channels(named: tuple[str, ...] | None, depth: int, *, colour: bool) -> tuple[str, ...]:
    """The names given, or red, green, blue, or channel-1 ...

    Raises:
        DataError: too many channels, or another number of names.
    """
    if depth > MAX_CHANNELS:
        raise DataError(f"{depth} channels in an image; 1 to {MAX_CHANNELS} are taken")
    if named is None:
        return RGB if colour and depth == 3 else tuple(f"channel-{k + 1}" for k in range(depth))
    if len(named) != depth:
        raise DataError(
            f"{len(named)} channel names ({', '.join(named)}), but {depth} channels in the images"
        )
    return named


def find_groups(pattern: str | None, sources: Sequence[str]) -> list[str] | None:
    """What the pattern's group catches in each path; None without a pattern.

    Raises:
        ConfigError: the pattern is not a regular expression with one group.
        DataError: paths in which it catches nothing.
    """
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"option group_pattern: {error}: {pattern!r}") from None
    if compiled.groups != 1:
        raise ConfigError(f"option group_pattern: needs one (group), got {pattern!r}")
    found = [compiled.search(source) for source in sources]
    missed = [source for source, match in zip(sources, found, strict=True) if not match]
    if missed:
        raise DataError(f"group_pattern {pattern!r} catches nothing in {listed(missed)}")
    return [match[1] or "" for match in found if match]


def read_images(
    root: Path,
    files: Sequence[Path],
    options: ImageOptions,
    on_progress: Progress | None,
    *,
    pages: int | None = None,
) -> tuple[NDArray[Any], tuple[str, ...], list[str]]:
    """One file a cell: (N, C, H, W) pixels, channel names, and N sources.

    ``pages`` is how many a multi-page TIFF must have; by default as many as channels are named.
    """
    expected = len(options.channels) if options.channels else pages
    crops = read_all(
        root,
        [[file] for file in files],
        partial(read_image, pages=expected, named=options.channels is not None, finite=False),
        on_progress,
    )
    sources = [relative(file, root) for file in files]
    pixels = stack(crops, options, sources)
    colour = any(file.suffix.lower() not in TIFF_SUFFIXES for file in files)
    return pixels, name_channels(options.channels, pixels.shape[1], colour=colour), sources
