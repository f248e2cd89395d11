"""One ``.npz`` with ``images`` and ``labels`` as MedMNIST shapes them, and what else is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.self_described import KEY
from cellsearch.data.writers.self_description import columns_of, facts_of
from cellsearch.util.progress import Progress


def write(cells: CellDataset, path: Path, on_progress: Progress | None = None) -> None:
    """Write (N, H, W) or (N, H, W, C) images and (N, 1) labels, -1 where not known."""
    if on_progress:
        on_progress("writing arrays", 0, 1)
    images = cells.images
    single = images.shape[1] == 1
    arrays: dict[str, Any] = {
        **columns_of(cells),
        "labels": cells.labels[:, None],
        "images": images[:, 0] if single else np.moveaxis(images, 1, 3),
        "axes": np.array("NHW" if single else "NHWC"),
        "classes": np.array(cells.classes, np.str_),
        "channels": np.array(cells.channels, np.str_),
        KEY: np.array(json.dumps(facts_of(cells))),
    }
    with path.open("xb") as file:
        np.savez(file, **arrays)
    if on_progress:
        on_progress("writing arrays", 1, 1)
