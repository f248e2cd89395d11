"""A table of cells with a column of labels and one of donors, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import Finding
from cellsearch.data.readers.registry import detect, layout

CELLS = 36
CLASSES = ["a", "b"]
RNG = np.random.default_rng(3)
CROPS = RNG.integers(0, 255, (CELLS, 1, 20, 18), np.uint8)
LABELS = [CLASSES[k % 2] for k in range(CELLS)]
DONORS = [f"d{k // 2 % 6}" for k in range(CELLS)]


def table(folder: Path, **columns: Sequence[object]) -> Path:
    """``T.csv`` with a path and the columns, and its images."""
    for k, planes in enumerate(CROPS):
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(planes[0]).save(folder / "images" / f"{k:02d}.png")
    rows = zip(*columns.values(), strict=True)
    text = ["path," + ",".join(columns)]
    text += [f"images/{k:02d}.png," + ",".join(map(str, row)) for k, row in enumerate(rows)]
    (folder / "T.csv").write_text("\n".join(text) + "\n")
    return folder / "T.csv"


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout(detect(path), options).read(path))


def undeclared(cells: CellDataset) -> list[Finding]:
    return [each for each in check_dataset(cells).findings if each.kind == "undeclared-groups"]
