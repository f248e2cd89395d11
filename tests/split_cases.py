"""Cells of noise, and how many of each class a part of them holds."""

from __future__ import annotations

import numpy as np

from cellsearch.data.dataset import CellDataset


def noise(
    counts: tuple[int, ...], *, groups: list[str] | None = None, seed: int = 0
) -> CellDataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(seed).integers(0, 255, (len(labels), 1, 8, 8), np.uint8)
    names = ["G1", "S", "mitosis", "rare", "rarer"][: len(counts)]
    return CellDataset.from_arrays(images, labels, classes=names, groups=groups, name="noise")


def held(dataset: CellDataset, cells: np.ndarray) -> list[int]:
    return np.bincount(dataset.labels[cells], minlength=len(dataset.classes)).tolist()
