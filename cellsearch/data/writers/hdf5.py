"""One HDF5 file: ``images`` (N, C, H, W), a dataset a column, names and provenance beside."""

from __future__ import annotations

import json
from pathlib import Path

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.self_described import KEY
from cellsearch.data.storage import rows_per_chunk
from cellsearch.data.writers.self_description import columns_of, facts_of
from cellsearch.errors import DataError
from cellsearch.util.progress import Progress


def write(cells: CellDataset, path: Path, on_progress: Progress | None = None) -> None:
    """Write the images in chunks, compressed, a cell to a chunk of the file."""
    try:
        import h5py
    except ImportError:
        raise DataError("HDF5 needs the extra 'hdf5': pip install 'cellsearch[hdf5]'") from None
    images = cells.images
    with h5py.File(path, "x") as file:
        stored = file.create_dataset(
            "images",
            images.shape,
            images.dtype,
            chunks=(1, *images.shape[1:]),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        stored.attrs["axes"] = "NCHW"
        step = rows_per_chunk(images)
        for start in range(0, len(images), step):
            stored[start : start + step] = images[start : start + step]
            if on_progress:
                on_progress("writing cells", min(start + step, len(images)), len(images))
        for name, column in columns_of(cells).items():
            file[name] = column.astype(object) if column.dtype.kind == "U" else column
        text = h5py.string_dtype()
        file.create_dataset("classes", data=list(cells.classes), dtype=text)
        file.create_dataset("channels", data=list(cells.channels), dtype=text)
        file.attrs[KEY] = json.dumps(facts_of(cells))
