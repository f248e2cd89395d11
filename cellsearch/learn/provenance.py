"""Provenance: from which cells the parts of a trained model were made; read without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import RunError
from cellsearch.util.json_text import from_json

Indices = NDArray[np.int64]
_PARTS = ("trained", "watched", "normalised")


@dataclass(frozen=True, eq=False)
class GeneratorTrace:
    """From which cells a generator learnt.

    Attributes:
        class_name: of the class that it makes.
        indices_sha256: as kept with the generator in the cache.
        learnt_from: (n,) int64, sorted.
    """

    class_name: str
    indices_sha256: str
    learnt_from: Indices


@dataclass(frozen=True, eq=False)
class Provenance:
    """What a fit was made from, written down where it happens rather than where it was planned.

    Attributes:
        cells: N of the data set.
        trained: (n,) int64, sorted: cells whose pixels and labels the weights learnt from.
        watched: (w,) int64, sorted: cells that early stopping watched.
        normalised: (m,) int64, sorted: cells whose mean and deviation the normalisation has.
        generators: one for each class that had one.
    """

    cells: int
    trained: Indices
    watched: Indices
    normalised: Indices
    generators: tuple[GeneratorTrace, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Plain values beside ``arrays``; the digest of the training cells is for a reader."""
        return {
            "cells": self.cells,
            "trained_sha256": indices_sha256(self.trained),
            "generators": [
                {"class": each.class_name, "indices_sha256": each.indices_sha256}
                for each in self.generators
            ],
        }

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """A bit for each cell of the data set: 1 kB a part for 8,000 cells."""
        parts = {name: getattr(self, name) for name in _PARTS}
        parts |= {f"generator{n}": each.learnt_from for n, each in enumerate(self.generators)}
        return {name: self._packed(part) for name, part in parts.items()}

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[np.uint8]]) -> Self:
        """The inverse of ``facts`` and ``arrays``."""
        cells = int(facts["cells"])
        generators = tuple(
            GeneratorTrace(
                each["class"], each["indices_sha256"], _unpacked(arrays[f"generator{n}"], cells)
            )
            for n, each in enumerate(facts["generators"])
        )
        parts = {name: _unpacked(arrays[name], cells) for name in _PARTS}
        return cls(cells, **parts, generators=generators)

    def save(self, path: Path) -> None:
        """Write a file of its own."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = self.arrays() | {"facts": np.array(json.dumps(self.facts()))}
        with path.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            RunError: the file is missing or not one of ours.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls.of(from_json(str(stored["facts"])), stored)
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise RunError(f"{path}: says not from which cells ({error})") from error

    def _packed(self, indices: Indices) -> NDArray[np.uint8]:
        mask = np.zeros(self.cells, dtype=np.bool_)
        mask[indices] = True
        return np.packbits(mask)


def indices_sha256(indices: Indices) -> str:
    """Hex digest of sorted cell numbers, as the cache of generators has it."""
    ordered = np.ascontiguousarray(np.unique(indices), dtype="<i8")
    return hashlib.sha256(ordered.tobytes()).hexdigest()


def _unpacked(bits: NDArray[np.uint8], cells: int) -> Indices:
    return np.flatnonzero(np.unpackbits(bits, count=cells)).astype(np.int64)
