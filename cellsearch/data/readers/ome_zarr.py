"""One OME-Zarr image whose first axis is the cell: (t|n, c, y, x); needs the extra zarr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.folder_walk import every_file
from cellsearch.data.holes import ranged
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.cell_table import LabelOptions, labelled_by, table_of
from cellsearch.data.readers.self_described import KEY, Described, parted
from cellsearch.data.readers.spool import spooled_to_size
from cellsearch.data.zarr_gaps import Gaps, chunks_there, differing, shadow
from cellsearch.errors import CellsearchError, DataError, ReadError
from cellsearch.util.progress import Progress
from cellsearch.util.spelling import reason_of

CHUNK_BYTES = 16 * 2**20
CELL_AXES = ("t", "n", "z")
HARDLY = 100
"""A store that holds less than one in so many of its cells is not gone through to name them."""

MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "angstrom": 1e-4}


class Options(LabelOptions):
    """Options of an OME-Zarr image of crops."""

    image: str = Field("", description="path of the image within; default: the group itself")


def files(root: Path, options: Options) -> list[Path]:
    """Every file of the store, and the table of labels."""
    inner = every_file(root)
    table = table_of(root, options)
    return [*inner, table] if table else inner


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read the largest resolution, cell by cell.

    Labels are those that ``cellsearch convert`` wrote; else a table beside (``<name>.csv``); else
    the image's attribute ``labels`` (with ``classes``).

    Raises:
        ReadError: not a Zarr group, truncated, written in a way that zarr does not read, or cells
            of which nothing was written.
        DataError: no OME-Zarr image in it, or axes that do not fit.
    """
    try:
        import zarr
    except ImportError:
        raise DataError("OME-Zarr needs the extra 'zarr': pip install 'cellsearch[zarr]'") from None
    if not root.is_dir():
        raise ReadError(f"{root}: no such folder")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            group = zarr.open_group(root, path=options.image or None, mode="r")
            return _read(root, group, options, on_progress)
    except (CellsearchError, MemoryError):
        raise
    except Exception as error:  # zarr and its codecs raise anything when bytes are changed
        raise ReadError(f"{root}: not an OME-Zarr, or truncated ({reason_of(error)})") from None


def _read(root: Path, group: Any, options: Options, on_progress: Progress | None) -> RawCells:
    attributes = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales")
    if not scales:
        raise DataError(
            f"{root.name}: no OME-Zarr image (attribute multiscales); it holds "
            f"{listed(sorted(group.keys())) or 'nothing'}; name one with option image"
        )
    array = group[scales[0]["datasets"][0]["path"]]
    axes = _axes(root, scales[0].get("axes"), array.ndim)
    described = Described({}, {})
    if KEY in attributes:
        inner = dict(group["cells"].attrs) if "cells" in group else {}
        described = parted({**attributes[KEY], "cells": inner}, root.name)
        # Others leave chunks out that are all zero; ours are all written.
        if (missing := array.nchunks - chunks_there(array)) > 0:
            raise ReadError(f"{root}: truncated ({missing} of {array.nchunks} chunks are missing)")
    elif "labels" in attributes and isinstance(attributes["labels"], list):
        described = Described(
            {"labels": attributes["labels"]}, {"classes": attributes.get("classes")}
        )
    count = array.shape[axes.index(_cell_axis(axes))] if _cell_axis(axes) else 1
    there = chunks_there(array)
    if array.shards is None and there * array.chunks[0] * HARDLY < array.shape[0]:
        raise ReadError(
            f"{root.name}: {there:,} of {array.nchunks:,} chunks are there, for "
            f"{array.shape[0]:,} cells: copy the store again"
        )
    gaps = Gaps(array.fill_value)
    chunks = _chunks(array, axes, gaps)
    pixels, fitting = spooled_to_size(chunks, count, options, root.name, on_progress)
    names = options.channels or _channel_names(ome, pixels.shape[1])
    raw = described.raw(
        pixels,
        file=root.name,
        stem=root.name.removesuffix(".zarr").removesuffix(".ome"),
        channels=options.channels if KEY in attributes else names,
        class_names=options.class_names,
        labelled=options.labelled,
        fitting=fitting,
        provenance=Provenance(pixel_size_um=_pixel_size(scales[0])),
    )
    labelled = labelled_by(table_of(root, options), raw, options)
    # Cells that the table leaves out may be missing.
    kept = set(labelled.ids)
    gone = [cell for cell in gaps.cells if raw.ids[cell] in kept]
    torn = [cell for cell in gaps.partly if raw.ids[cell] in kept]
    if gone or (torn and gaps.odd):
        what = "nothing" if gone else "a part alone"
        raise ReadError(
            f"{root.name}: {what} was written of cells {ranged(gone or torn)} of "
            f"{len(raw.ids):,}: their chunks are missing and would read as {gaps.fill}; copy the "
            "store again"
            ", or leave these cells out of the table of labels"
        )
    if not torn:
        return labelled
    note = (
        f"chunks are missing in {len(torn):,} of {len(labelled.ids):,} cells and read as "
        f"{gaps.fill}, as writers leave out chunks that hold nothing else"
    )
    origin = (labelled.provenance or Provenance()).with_notes(note)
    return replace(labelled, provenance=origin)


def _axes(root: Path, named: Any, depth: int) -> tuple[str, ...]:
    # Version 0.3 names axes by letters, later ones by mappings, earlier ones not at all.
    found = [axis["name"] if isinstance(axis, Mapping) else axis for axis in named or ()]
    axes = tuple(str(name) for name in found) or ("t", "c", "z", "y", "x")[-depth:]
    cells = [axis for axis in axes if axis not in ("c", "y", "x")]
    if len(axes) != depth or axes[-2:] != ("y", "x") or set(cells) - set(CELL_AXES):
        raise DataError(
            f"{root.name}: axes {', '.join(axes)} of an array of {depth}; expected cells, "
            "channels, y, x: (t, c, y, x), (n, c, y, x), (t, y, x) or (c, y, x)"
        )
    return axes


def _cell_axis(axes: tuple[str, ...]) -> str | None:
    return next((axis for axis in axes if axis in CELL_AXES), None)


def _chunks(array: Any, axes: tuple[str, ...], gaps: Gaps) -> Iterator[NDArray[Any]]:
    """Blocks (n, C, H, W), along the cells where they are the first axis; gaps are counted."""
    other = shadow(array)
    done = 0
    cells = [k for k, axis in enumerate(axes) if axis not in ("c", "y", "x")]
    row = int(np.prod(array.shape[1:])) * array.dtype.itemsize
    step = max(1, CHUNK_BYTES // max(1, row))
    # Chunks that hold several cells are decoded once.
    step = max(1, step // array.chunks[0]) * array.chunks[0]
    if cells[:1] != [0]:
        step = array.shape[0]
    for start in range(0, array.shape[0], step):
        block = _cells(np.asarray(array[start : start + step]), axes)
        if other is not None:
            again = _cells(np.asarray(other[start : start + step]), axes)
            gaps.add(block, differing(block, again), done)
        done += len(block)
        yield block


def _cells(block: NDArray[Any], axes: tuple[str, ...]) -> NDArray[Any]:
    """(n, C, H, W) of a block with these axes."""
    block = block.astype(block.dtype.newbyteorder("="), copy=False)
    channel = axes.index("c") if "c" in axes else None
    block = block[..., None, :, :] if channel is None else np.moveaxis(block, channel, -3)
    return block.reshape(-1, *block.shape[-3:])


def _channel_names(ome: Mapping[str, Any], depth: int) -> tuple[str, ...] | None:
    channels = (ome.get("omero") or {}).get("channels") or ()
    names = tuple(str(channel.get("label") or "") for channel in channels)
    return names if len(names) == depth and all(names) and len(set(names)) == depth else None


def _pixel_size(scale: Mapping[str, Any]) -> float | None:
    axes = scale.get("axes") or ()
    if not axes or not isinstance(axes[-1], Mapping):
        return None
    unit = MICROMETRES.get(str(axes[-1].get("unit")))
    for transformation in scale["datasets"][0].get("coordinateTransformations") or ():
        if unit and transformation.get("type") == "scale":
            return float(transformation["scale"][-1]) * unit
    return None
