"""CellDataset: single-cell crops with labels, memory-mapped and the same for every worker."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import DataError

UNLABELLED = -1


@dataclass(frozen=True)
class Provenance:
    """What a reader of a result must know of where the cells came from."""

    title: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    synthetic: bool = False
    label_free: tuple[str, ...] = ()
    pixel_size_um: float | None = None
    notes: str = ""


@dataclass(frozen=True, eq=False)
class CellDataset:
    """Single-cell crops, their labels, and what ties them to their source.

    Attributes:
        name: short name, as in ``--dataset NAME``.
        images: (N, C, H, W), uint8, uint16 or float32; read-only, usually memory-mapped.
        labels: (N,) int64 in ``0 .. len(classes) - 1``; ``UNLABELLED`` (-1) where not known.
        classes: class names, in the order of the labels.
        channels: C channel names.
        ids: (N,) str, unique.
        sources: (N,) str, file each cell was read from, relative to the dataset's root.
        object_numbers: (N,) int64, the cell's number in its source (0 where there is none).
        groups: (N,) str, donor, plate, slide or montage; None where cells are independent.
        provenance: licence, citation and the like.
        sha256: hex digest of images, labels, groups, ids, class and channel names.
        folder: where the arrays lie as ``.npy``; None until saved.
    """

    name: str
    images: NDArray[Any]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    ids: NDArray[np.str_]
    sources: NDArray[np.str_]
    object_numbers: NDArray[np.int64]
    groups: NDArray[np.str_] | None = None
    provenance: Provenance = field(default_factory=Provenance)
    sha256: str = ""
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(K,) int64 cells of each class."""
        known = self.labels[self.labels >= 0]
        return np.bincount(known, minlength=len(self.classes)).astype(np.int64)
