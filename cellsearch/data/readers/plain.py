"""Images without labels: one file, a folder of them, or channel files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from cellsearch.data.folder_walk import visible, walk
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.channel_files import (
    group_by_cell,
    object_number,
    read_cells,
    split_name,
)
from cellsearch.data.readers.folders import unique_ids
from cellsearch.data.readers.images import is_image, read_image
from cellsearch.data.readers.options import ImageOptions, Names
from cellsearch.data.readers.stack import read_images
from cellsearch.errors import ReadError
from cellsearch.util.named_path import require_no_pipe, taken_for
from cellsearch.util.progress import Progress


class Options(ImageOptions):
    """Options of images without labels."""

    codes: Names | None = Field(
        None, description="channel codes in the file names, in order; default: all that occur"
    )


def read(
    root: Path, channels: int | None, options: Options, on_progress: Progress | None = None
) -> RawCells:
    """Read what a path names; labels are empty.

    Args:
        root: an image file, or a folder of them, however deep.
        channels: how many a cell must have, if that is known; files of one channel each belong
            together where it is more than theirs, or not known.
        options: size, fit, and channel codes.
        on_progress: told what is being done, how many are done, how many there are.

    Raises:
        ReadError: nothing there, no images, unreadable ones, a channel missing for a cell.
        DataError: sizes that differ and cannot be brought to one.
    """
    if not root.exists():
        raise ReadError(f"{root}: no such file or folder{taken_for(root)}")
    if not root.is_dir():
        require_no_pipe(root)
        return _read(root, root.parent, [root], channels, options, on_progress)
    found = walk(root)
    found.require_whole()
    if not found.images:
        raise ReadError("; ".join([f"{root}: no images in it", *map(str, found.notes())]))
    raw = _read(root, root, found.images, channels, options, on_progress)
    return replace(raw, provenance=Provenance().with_notes(*found.notes()))


def _read(
    root: Path,
    base: Path,
    paths: Sequence[Path],
    channels: int | None,
    options: Options,
    on_progress: Progress | None,
) -> RawCells:
    if _in_channel_files(paths, channels, options):
        return _channel_files(base, paths, options, on_progress)
    pixels, names, sources, fitting = read_images(base, paths, options, on_progress, pages=channels)
    return RawCells(
        images=pixels,
        labels=[""] * len(paths),
        ids=unique_ids(sources),
        sources=sources,
        object_numbers=[0] * len(paths),
        channels=names,
        name=root.stem,
        fitting=fitting,
    )


def lie_loose(path: Path) -> bool:
    """Whether a folder holds images, neither a table of them nor another folder."""
    if not path.is_dir():
        return False
    there = visible(path)
    alone = not any(each.is_dir() or each.suffix.lower() in (".csv", ".tsv") for each in there)
    return alone and any(is_image(each) for each in there)


def _in_channel_files(paths: Sequence[Path], channels: int | None, options: Options) -> bool:
    named = sum(split_name(path) is not None for path in paths)
    if options.codes is None and 2 * named <= len(paths):
        return False
    if channels is None:
        return True
    if options.codes is not None or channels == 1:
        return options.codes is not None
    # A stack of all channels may bear such a name too.
    try:
        return len(read_image(paths[0], named=True, finite=False)) != channels
    except ReadError as error:
        raise ReadError(f"{paths[0]}: ", error) from None


def _channel_files(
    base: Path, paths: Sequence[Path], options: Options, on_progress: Progress | None
) -> RawCells:
    if len(paths) == 1:
        wanted = split_name(paths[0])
        beside = [path for path in visible(paths[0].parent) if is_image(path)]
        paths = [
            path
            for path in beside
            if wanted and (parts := split_name(path)) and parts[0] == wanted[0]
        ]
    cells, codes = group_by_cell(base, paths, options.codes)
    pixels, names, sources, fitting = read_cells(base, cells, codes, options, on_progress)
    return RawCells(
        images=pixels,
        labels=[""] * len(cells),
        ids=[cell.name for cell in cells],
        sources=sources,
        object_numbers=[object_number(cell.name) for cell in cells],
        channels=names,
        name=base.name,
        fitting=fitting,
    )
