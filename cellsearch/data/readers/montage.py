"""Montages: large images that are a grid of equal tiles, one file a channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cellsearch.data.folder_walk import images_below, walk
from cellsearch.data.names import COMMA, readings
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.images import read_image
from cellsearch.data.readers.options import Names, ReaderOptions, Size, known_names
from cellsearch.data.readers.stack import relative
from cellsearch.errors import DataError, ReadError
from cellsearch.util.messages import Message, some
from cellsearch.util.named_path import named_path
from cellsearch.util.progress import Progress

CHANNEL = "{channel}"


class Montage(BaseModel):
    """One montage: a file for each channel, and how many cells it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="file, with {channel} where the channel's code stands")
    label: str = Field(description="class of all its cells")
    cells: int | None = Field(None, ge=1, description="tiles that are cells; null: all not blank")
    group: str | None = Field(None, description="what its cells share with other montages")


class Options(ReaderOptions):
    """Options of montages."""

    tile: Size = Field(description="HEIGHTxWIDTH of a tile, px")
    grid: Size | None = Field(None, description="ROWSxCOLUMNS; default: as many as fit")
    order: Literal["column-major", "row-major"] = Field(
        "column-major", description="the order in which the cells fill the grid"
    )
    codes: Names = Field(description="channel codes in the file names, such as Ch3,Ch4")
    montages: tuple[Montage, ...] | None = Field(
        None,
        description="default: every <class>/<code>_<name> below the root, blank tiles left out",
    )


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Cut every montage into its cells; object numbers are tiles, from 0.

    Raises:
        ReadError: files that are missing, truncated or not of the grid's size; all are named.
        DataError: no montage is found, or the channels' names and codes differ in number.
    """
    options = _with_codes(root, options)
    channels = options.channels or tuple(options.codes)
    if len(channels) != len(options.codes):
        raise DataError(f"{len(channels)} channel names, but {len(options.codes)} channel codes")
    montages = found_montages(root, options)
    notes = walk(root).notes() if options.montages is None else []
    images: list[NDArray[Any]] = []
    labels: list[str] = []
    ids: list[str] = []
    sources: list[str] = []
    numbers: list[int] = []
    groups: list[str] = []
    bad: list[Message] = []
    for done, montage in enumerate(montages):
        if on_progress:
            on_progress("cutting montages", done, len(montages))
        tiles = _tiles(root, montage, options, bad)
        if tiles is None:
            continue
        kept = _cells(tiles, montage)
        images.append(tiles[kept])
        labels += [montage.label] * len(kept)
        stem = montage.path.replace(f"{CHANNEL}_", "").rsplit(".", 1)[0].replace(CHANNEL, "")
        ids += [f"{stem}/{tile:03d}" for tile in kept]
        sources += [montage.path.replace(CHANNEL, options.codes[0])] * len(kept)
        numbers += [int(tile) for tile in kept]
        groups += [montage.group or ""] * len(kept)
    if bad:
        raise ReadError(
            f"{len(bad)} unreadable {'file' if len(bad) == 1 else 'files'}: ", some(bad)
        )
    if on_progress:
        on_progress("cutting montages", len(montages), len(montages))
    return RawCells(
        images=np.concatenate(images),
        labels=labels,
        ids=ids,
        sources=sources,
        object_numbers=numbers,
        channels=channels,
        groups=groups if all(groups) else None,
        classes=tuple(dict.fromkeys(montage.label for montage in montages)),
        name=root.resolve().name,
        provenance=Provenance().with_notes(*notes),
    )


def files(root: Path, options: Options) -> list[Path]:
    """Every montage that would be read."""
    options = _with_codes(root, options)
    return [
        named_path(root / montage.path.replace(CHANNEL, code))
        for montage in found_montages(root, options)
        for code in options.codes
    ]


def _with_codes(root: Path, options: Options) -> Options:
    """The options with each code for itself, a text read by the names of the files."""
    if not isinstance(options.codes, str):
        return options
    names = {path.name for path in images_below(root)}
    begins = {name[:at] for name in names for at, sign in enumerate(name) if sign == "_"}
    codes: tuple[str, ...] | None = tuple(map(str.strip, options.codes.split(COMMA)))
    if readings(options.codes, begins, COMMA):
        codes = known_names(options.codes, begins, option="codes", what="channel code")
    # Codes of no file stay as they are: which files they lack is said where files are read.
    return options.model_copy(update={"codes": codes})


def found_montages(root: Path, options: Options) -> Sequence[Montage]:
    """The montages of the options, or those that lie below the root."""
    if options.montages is not None:
        return options.montages
    first = f"{options.codes[0]}_"
    found = [
        Montage(
            path=relative(path.with_name(path.name.replace(first, f"{CHANNEL}_", 1)), root),
            label=path.parent.name,
        )
        for path in walk(root).images
        if path.name.startswith(first) and path.parent != root
    ]
    if not found:
        raise DataError(f"{root}: no montages; expected {root.name}/<class>/{first}<name>.tif")
    return found


def _tiles(
    root: Path, montage: Montage, options: Options, bad: list[Message]
) -> NDArray[Any] | None:
    """(tiles, C, height, width), or None with the reasons added to ``bad``."""
    planes: list[NDArray[Any]] = []
    for code in options.codes:
        name = montage.path.replace(CHANNEL, code)
        try:
            image = read_image(named_path(root / name), named=True)
            planes.append(cut(image, options))
        except DataError as error:
            bad.append(Message.of(f"{name}: ", error.message))
            continue
        if planes[-1].dtype != planes[0].dtype or len(planes[-1]) != len(planes[0]):
            other = "another dtype or size than the montage's other channels"
            bad.append(Message.of(f"{name}: {other}"))
        if montage.cells and montage.cells > len(planes[-1]):
            few = f"{montage.cells} cells, but {len(planes[-1])} tiles"
            bad.append(Message.of(f"{name}: {few}"))
    return None if bad else np.stack(planes, axis=1)


def cut(image: NDArray[Any], options: Options) -> NDArray[Any]:
    """(1, rows * height, columns * width) to (tiles, height, width), in the order of the cells.

    Raises:
        ReadError: several planes, or a size that is no multiple of the tile or not the grid's.
    """
    depth, height, width = image.shape
    tile_height, tile_width = options.tile
    rows, columns = options.grid or (height // tile_height, width // tile_width)
    if depth != 1 or (height, width) != (rows * tile_height, columns * tile_width) or not rows:
        raise ReadError(
            f"{depth} x {height} x {width} px, expected 1 x {rows * tile_height} x "
            f"{columns * tile_width} for {rows} x {columns} tiles of {tile_height} x {tile_width}"
        )
    grid = image.reshape(rows, tile_height, columns, tile_width)
    axes = (2, 0, 1, 3) if options.order == "column-major" else (0, 2, 1, 3)
    return grid.transpose(axes).reshape(rows * columns, tile_height, tile_width)


def _cells(tiles: NDArray[Any], montage: Montage) -> NDArray[np.int64]:
    """Numbers of the tiles that are cells."""
    if montage.cells is not None:
        return np.arange(montage.cells)
    # Padding repeats one row or one column of pixels; no cell does.
    rows = (tiles == tiles[:, :, :1]).all(axis=(1, 2, 3))
    columns = (tiles == tiles[:, :, :, :1]).all(axis=(1, 2, 3))
    return np.flatnonzero(~(rows | columns)).astype(np.int64)
