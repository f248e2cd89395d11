"""The drawing models by name: what each of them draws, and how much of it by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.cell_model import draw_cells
from cellsearch.data.embryo_model import STAGES, draw_embryo
from cellsearch.data.microtubule_model import DOSES, draw_microtubules
from cellsearch.data.nuclei_model import NUCLEI, draw_nuclei
from cellsearch.data.phases import PHASES

ModelName: TypeAlias = Literal["cells", "nuclei", "embryo", "microtubules"]


@dataclass(frozen=True)
class DrawingModel:
    """One kind of generated picture.

    Attributes:
        draw: (class name, cells, size, rng) to (cells, channels, size, size) of ``dtype``.
        channels: names of the planes.
        counts: every class it knows, in the order of the labels, and cells of it by default.
        size: side of the crops by default, px.
        dtype: of the pixels.
        at_once: cells drawn in one call; bounds the memory, and is a part of what a seed means.
    """

    draw: Callable[[str, int, int, np.random.Generator], NDArray[Any]]
    channels: tuple[str, ...]
    counts: Mapping[str, int]
    size: int
    dtype: type[np.uint8] | type[np.uint16]
    at_once: int


def _draw_phase(name: str, cells: int, size: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    return draw_cells(PHASES[name], cells, size, rng)


MODELS: Mapping[ModelName, DrawingModel] = {
    "cells": DrawingModel(
        _draw_phase,
        channels=("brightfield", "dna", "darkfield"),
        counts=dict(zip(PHASES, (720, 180, 180, 120, 40, 20, 24), strict=True)),
        size=40,
        dtype=np.uint16,
        at_once=1024,
    ),
    "nuclei": DrawingModel(
        draw_nuclei,
        channels=("dapi",),
        counts=dict(zip(NUCLEI, (257, 166, 49, 21), strict=True)),
        size=64,
        dtype=np.uint16,
        at_once=512,
    ),
    "embryo": DrawingModel(
        draw_embryo,
        channels=("brightfield",),
        counts=dict(zip(STAGES, (300, 60), strict=True)),
        size=224,
        dtype=np.uint8,
        at_once=32,
    ),
    "microtubules": DrawingModel(
        draw_microtubules,
        channels=("tubulin",),
        counts=dict.fromkeys(DOSES, 300),
        size=300,
        dtype=np.uint8,
        at_once=50,
    ),
}
