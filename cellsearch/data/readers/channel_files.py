"""One file a channel, ``root/<class>/<id>_Ch<k>.ome.tif``, as imaging flow cytometers export."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.file_traits import traits_of
from cellsearch.data.readers import Progress, RawCells
from cellsearch.data.readers.folders import class_folders, natural
from cellsearch.data.readers.images import read_image
from cellsearch.data.readers.options import ImageOptions, Names
from cellsearch.data.readers.stack import find_groups, name_channels, read_all, relative, stack
from cellsearch.errors import DataError, ReadError

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
    root: Path, paths: Iterable[Path], codes: Sequence[str] | None
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
    wanted = tuple(
        f"Ch{int(c[2:])}" if re.fullmatch(r"(?i)ch\d+", c) else c for c in codes or every
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


def read_plane(path: Path) -> NDArray[Any]:
    """(1, H, W); a grey image that was saved as RGB is taken as grey.

    Raises:
        ReadError: several planes, or colours.
    """
    image = read_image(path)
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
) -> tuple[NDArray[Any], tuple[str, ...], list[str]]:
    """(N, C, H, W) pixels, channel names, and N sources (the file of the first channel)."""
    crops = read_all(root, [cell.files for cell in cells], read_plane, on_progress)
    sources = [relative(cell.files[0], root) for cell in cells]
    names = name_channels(options.channels or codes, len(codes), colour=False)
    return stack(crops, options, sources), names, sources


def _cells(root: Path, options: Options) -> tuple[dict[str, list[Cell]], tuple[str, ...]]:
    folders = class_folders(root, options.classes)
    paths = [path for found in folders.values() for path in found]
    cells, codes = group_by_cell(root, paths, options.codes)
    of_class: dict[str, list[Cell]] = {name: [] for name in folders}
    for cell in cells:
        of_class[cell.name.split("/", 1)[0]].append(cell)
    empty = [name for name, members in of_class.items() if not members]
    if empty:
        raise DataError(f"{root}: no channel files in the class folder {listed(empty)}")
    return of_class, codes


def files(root: Path, options: Options) -> list[Path]:
    """Every image that would be read."""
    of_class, _ = _cells(root, options)
    return [file for cells in of_class.values() for cell in cells for file in cell.files]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read every cell of every class folder, its channels in the order of the codes."""
    of_class, codes = _cells(root, options)
    cells = [cell for members in of_class.values() for cell in members]
    pixels, channels, sources = read_cells(root, cells, codes, options, on_progress)
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
        file_traits=traits_of([cell.files for cell in cells], on_progress),
    )
