"""One OME-Zarr image (version 0.5) of axes (t, c, y, x), a cell a time point."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.self_described import KEY
from cellsearch.data.writers.self_description import columns_of, facts_of
from cellsearch.errors import DataError
from cellsearch.util.progress import Progress

CHUNK_BYTES = 2**20
COLOURS = ("FFFFFF", "00FF00", "FF0000", "0000FF", "FFFF00", "FF00FF", "00FFFF")


def write(cells: CellDataset, path: Path, on_progress: Progress | None = None) -> None:
    """Write the image without smaller copies (crops are small), and labels and ids in ``cells``.

    OME-Zarr has no axis for cells: they take the place of time, as viewers expect.
    """
    try:
        with warnings.catch_warnings():
            # ome-zarr's own deprecated scaler, which it makes as it is imported.
            warnings.simplefilter("ignore", DeprecationWarning)
            import zarr
            from ome_zarr.format import FormatV05
            from ome_zarr.writer import write_multiscales_metadata
    except ImportError:
        raise DataError("OME-Zarr needs the extra 'zarr': pip install 'cellsearch[zarr]'") from None
    images = cells.images
    size = cells.provenance.pixel_size_um
    unit = {} if size is None else {"unit": "micrometer"}
    axes: list[dict[str, str]] = [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", **unit},
        {"name": "x", "type": "space", **unit},
    ]
    group = zarr.open_group(path, mode="w-", zarr_format=3)
    rows = max(1, min(len(images), CHUNK_BYTES // max(1, images[0].nbytes)))
    array = group.create_array(
        "0",
        shape=images.shape,
        dtype=images.dtype,
        chunks=(rows, *images.shape[1:]),
        dimension_names=["t", "c", "y", "x"],
        config={"write_empty_chunks": True},
    )
    step = rows * max(1, 16 * CHUNK_BYTES // (rows * images[0].nbytes))
    for start in range(0, len(images), step):
        array[start : start + step] = np.ascontiguousarray(images[start : start + step])
        if on_progress:
            on_progress("writing cells", min(start + step, len(images)), len(images))
    scale = [1.0, 1.0, size or 1.0, size or 1.0]
    write_multiscales_metadata(
        group,
        [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
        fmt=FormatV05(),
        axes=axes,
        name=cells.name,
    )
    ome = dict(group.attrs["ome"])
    ome["omero"] = {"channels": [_channel(cells, k) for k in range(images.shape[1])]}
    group.attrs["ome"] = ome
    group.attrs[KEY] = facts_of(cells)
    inner = group.create_group("cells")
    inner.attrs.update({name: column.tolist() for name, column in columns_of(cells).items()})


def _channel(cells: CellDataset, k: int) -> dict[str, Any]:
    # A viewer's window, from few cells: their extremes only set the first contrast.
    shown = np.asarray(cells.images[:: max(1, len(cells) // 200), k])
    low, high = float(shown.min()), float(shown.max())
    return {
        "label": cells.channels[k],
        "color": COLOURS[k % len(COLOURS)],
        "active": True,
        "window": {"start": low, "end": max(high, low + 1), "min": low, "max": max(high, low + 1)},
    }
