"""One file a channel, ``root/<class>/<id>_Ch<k>.ome.tif``, as imaging flow cytometers export."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.file_traits import traits_of
from cellsearch.data.natural_order import natural
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.folders import ClassFolders, class_folders
from cellsearch.data.readers.images import read_image
from cellsearch.data.readers.options import ImageOptions, Names
from cellsearch.data.readers.stack import (
    Stacked,
    find_groups,
    name_channels,
    read_all,
    relative,
    stack,
)
from cellsearch.errors import DataError, ReadError
from cellsearch.util.progress import Progress

_NAME = re.compile(r"(?P<cell>.+)_(?P<code>ch\d+)(\.ome)?\.[^.]+", re.IGNORECASE)


class Options(ImageOptions):
    """Options of channel files in class folders."""

    classes: Names | None = Field(None, description="class folders, in order; default: all, sorted")
    codes: Names | None = Field(
        None, description="channel codes in the file names, in order; default: all that occur"
    )


@dataclass(frozen=True)
class Cell:
    """One cell: its name, and its files in the order of the codes."""

    name: str
    files: tuple[Path, ...]


def split_name(path: Path) -> tuple[str, str] | None:
    """``("17", "Ch3")`` of ``17_Ch3.ome.tif``; None for another kind of name."""
    match = _NAME.fullmatch(path.name)
    return (match["cell"], f"Ch{int(match['code'][2:])}") if match else None


def group_by_cell(
    root: Path, paths: Iterable[Path], codes: tuple[str, ...] | str | None
) -> tuple[list[Cell], tuple[str, ...]]:
    """Put the channel files of each cell together; other files are left out.

    Returns:
        Cells in natural order of their names, and the channel codes.

    Raises:
        DataError: no channel files, or two files for one channel of a cell.
        ReadError: a cell lacks a channel; each is named.
    """
    found: dict[str, dict[str, Path]] = {}
    twice: list[str] = []
    for path in paths:
        parts = split_name(path)
        if parts is None:
            continue
        cell = relative(path.with_name(parts[0]), root)
        files = found.setdefault(cell, {})
        if parts[1] in files:
            twice.append(f"{files[parts[1]].name} and {path.name} of {cell}")
        files[parts[1]] = path
    if not found:
        raise DataError(f"{root}: no channel files; expected names such as 17_Ch3.ome.tif")
    if twice:
        raise DataError(f"two files for one channel: {listed(twice)}")
    every = sorted({code for files in found.values() for code in files}, key=natural)
    # No code holds a comma.
    asked = tuple(map(str.strip, codes.split(","))) if isinstance(codes, str) else codes
    wanted = tuple(
        f"Ch{int(c[2:])}" if re.fullmatch(r"(?i)ch\d{1,9}", c) else c for c in asked or every
    )
    lacking = [
        f"{cell} has no {code}"
        for cell, files in found.items()
        for code in wanted
        if code not in files
    ]
    if lacking:
        raise ReadError(f"missing channel files ({len(lacking)}): {listed(lacking)}")
    cells = [
        Cell(cell, tuple(found[cell][code] for code in wanted))
        for cell in sorted(found, key=natural)
    ]
    return cells, wanted


def read_plane(path: Path, *, finite: bool = True) -> NDArray[Any]:
    """(1, H, W); a grey image that was saved as RGB is taken as grey.

    Args:
        path: the file of one channel.
        finite: whether NaN and infinite pixels are refused.

    Raises:
        ReadError: several planes, or colours.
    """
    # Slices would be told as too many planes below.
    image = read_image(path, named=True, finite=finite)
    if len(image) == 3 and np.array_equal(image[0], image[1]) and np.array_equal(*image[1:]):
        return image[:1]
    if len(image) != 1:
        raise ReadError(f"{len(image)} planes in the file of one channel")
    return image


def object_number(cell: str) -> int:
    """The cell's number, where its name is one; else 0."""
    name = cell.rsplit("/", 1)[-1]
    return int(name) if name.isdecimal() and len(name) < 19 else 0


def read_cells(
    root: Path,
    cells: Sequence[Cell],
    codes: tuple[str, ...],
    options: ImageOptions,
    on_progress: Progress | None,
) -> Stacked:
    """One file a channel; the source of a cell is the file of its first channel."""
    crops = read_all(
        root, [cell.files for cell in cells], partial(read_plane, finite=False), on_progress
    )
    sources = [relative(cell.files[0], root) for cell in cells]
    names = name_channels(options.channels or codes, len(codes), colour=False)
    pixels, fitting = stack(crops, options, sources)
    return Stacked(pixels, names, sources, fitting)


def _cells(
    root: Path, options: Options
) -> tuple[dict[str, list[Cell]], tuple[str, ...], ClassFolders]:
    folders = class_folders(root, options.classes)
    paths = [path for found in folders.images.values() for path in found]
    cells, codes = group_by_cell(root, paths, options.codes)
    class_of = {path: name for name, found in folders.images.items() for path in found}
    of_class: dict[str, list[Cell]] = {name: [] for name in folders.images}
    for cell in cells:
        of_class[class_of[cell.files[0]]].append(cell)
    empty = [name for name, members in of_class.items() if not members]
    if empty:
        raise DataError(f"{root}: no channel files in the class folder {listed(empty)}")
    return of_class, codes, folders


def files(root: Path, options: Options) -> list[Path]:
    """Every image that would be read, and what would be passed over."""
    of_class, _, folders = _cells(root, options)
    read = [file for cells in of_class.values() for cell in cells for file in cell.files]
    return [*read, *folders.passed]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read every cell of every class folder, its channels in the order of the codes."""
    of_class, codes, folders = _cells(root, options)
    cells = [cell for members in of_class.values() for cell in members]
    pixels, channels, sources, fitting = read_cells(root, cells, codes, options, on_progress)
    return RawCells(
        images=pixels,
        labels=[name for name, members in of_class.items() for _ in members],
        ids=[cell.name for cell in cells],
        sources=sources,
        object_numbers=[object_number(cell.name) for cell in cells],
        channels=channels,
        groups=find_groups(options.group_pattern, sources),
        classes=tuple(of_class),
        name=root.resolve().name,
        provenance=Provenance().with_notes(*folders.notes),
        fitting=fitting,
        file_traits=traits_of([cell.files for cell in cells], on_progress),
    )
