"""One OME-TIFF of axes TCYX, a cell a time point; labels and ids in a comment annotation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.ome_tiff import NAMESPACE
from cellsearch.data.writers.self_description import columns_of, facts_of
from cellsearch.data.writers.tiff_images import ome_facts
from cellsearch.util.progress import Progress

BIG = 2**31


def write(cells: CellDataset, path: Path, on_progress: Progress | None = None) -> None:
    """Write a page a channel of a cell; a BigTIFF beyond 2 GiB."""
    import tifffile

    images = cells.images
    columns = {name: column.tolist() for name, column in columns_of(cells).items()}
    described = json.dumps({**facts_of(cells), "cells": columns})
    tifffile.imwrite(
        path,
        _pages(images, on_progress),
        shape=images.shape,
        dtype=images.dtype,
        ome=True,
        bigtiff=images.nbytes > BIG,
        photometric="minisblack",
        metadata={
            "axes": "TCYX",
            "Name": cells.name,
            **ome_facts(cells),
            "CommentAnnotation": {"Namespace": NAMESPACE, "Value": described},
        },
    )


def _pages(images: NDArray[Any], on_progress: Progress | None) -> Iterator[NDArray[Any]]:
    for cell in range(len(images)):
        if on_progress and cell % 256 == 0:
            on_progress("writing cells", cell, len(images))
        yield from np.ascontiguousarray(images[cell])
    if on_progress:
        on_progress("writing cells", len(images), len(images))
