"""Many image files to one array: every bad file named at once, one dtype, brought to one size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import MAX_CHANNELS, listed
from cellsearch.data.crop_sizes import Fitting, Size, bring, choose_fitting, sizes_of
from cellsearch.data.readers.background import filled
from cellsearch.data.readers.images import RGB, TIFF_SUFFIXES, read_image
from cellsearch.data.readers.options import ImageOptions
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.progress import Progress
from cellsearch.util.spelling import on_one_line


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
) -> tuple[NDArray[Any], Fitting | None]:
    """N crops (C, H, W) as one array (N, C, H, W), and how they were brought to one size.

    Raises:
        DataError: dtypes or channel counts differ; what there is, and how often, is listed. Sizes
            that cannot be brought to one. NaN pixels, and no ``nan`` that says what they become.
    """
    crops = filled(crops, options, sources)
    _same([str(crop.dtype) for crop in crops], sources, "dtypes", "convert them to one")
    _same([f"{len(crop)}" for crop in crops], sources, "channel counts", "save them alike")
    fitting = fitting_for(sizes_of(crops), options, sources)
    return (np.stack(crops) if fitting is None else bring(crops, fitting)), fitting


def fitting_for(
    sizes: Sequence[Size], options: ImageOptions, sources: Sequence[str]
) -> Fitting | None:
    """How ``stack`` brings crops to one size, which may be asked before pixels are decoded.

    Raises:
        DataError: sizes that cannot be brought to one.
    """
    return choose_fitting(sizes, sources, size=options.size, fit=options.fit, cut=options.cut)


def _same(values: Sequence[str], sources: Sequence[str], what: str, remedy: str) -> None:
    counts = Counter(values)
    if len(counts) > 1:
        parts = [
            f"{value} ({count} images, such as {sources[values.index(value)]})"
            for value, count in counts.most_common()
        ]
        raise DataError(f"images of {len(counts)} {what}: {listed(parts)}; {remedy}")


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
        said = (
            f"{len(named)} channel names ({', '.join(map(on_one_line, named))}), "
            f"but {depth} channels in the images"
        )
        if len(named) < depth:
            raise DataError(said)
        # Of a text such as "CD3, CD28", which may be one name.
        whole = (", ".join(named[: len(named) - depth + 1]), *named[len(named) - depth + 1 :])
        like = Setting("channels", list(whole), reader=True)
        raise DataError(f"{said}; a name that holds a comma is written in a list, such as ", like)
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


class Stacked(NamedTuple):
    """What image files of a cell each hold.

    Attributes:
        pixels: (N, C, H, W).
        channels: C names.
        sources: N files, relative to the root.
        fitting: how crops were brought to one size; None where they have one.
    """

    pixels: NDArray[Any]
    channels: tuple[str, ...]
    sources: list[str]
    fitting: Fitting | None


def read_images(
    root: Path,
    files: Sequence[Path],
    options: ImageOptions,
    on_progress: Progress | None,
    *,
    pages: int | None = None,
) -> Stacked:
    """One file a cell.

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
    pixels, fitting = stack(crops, options, sources)
    colour = any(file.suffix.lower() not in TIFF_SUFFIXES for file in files)
    channels = name_channels(options.channels, pixels.shape[1], colour=colour)
    return Stacked(pixels, channels, sources, fitting)
