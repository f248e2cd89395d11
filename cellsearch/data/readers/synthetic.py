"""Generated cells that look like imaging flow cytometry; honest about being generated.

No cell of these was ever alive: ``data.cell_model`` draws them. They serve to try a search out, not
to publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from cellsearch.catalog import near_miss
from cellsearch.data.cell_model import draw_cells
from cellsearch.data.phases import PHASES
from cellsearch.data.readers import Progress, RawCells
from cellsearch.data.readers.options import ReaderOptions
from cellsearch.errors import ConfigError

Count = Annotated[int, Field(ge=1, le=1_000_000)]

CHANNELS = ("brightfield", "dna", "darkfield")
DEFAULT_COUNTS: Mapping[str, int] = {
    "G1": 720,
    "S": 180,
    "G2": 180,
    "Prophase": 120,
    "Metaphase": 40,
    "Anaphase": 20,
    "Telophase": 24,
}
_CELLS_AT_ONCE = 1024


class Options(ReaderOptions):
    """Options of generated cells."""

    counts: Mapping[str, Count] = Field(
        default_factory=lambda: dict(DEFAULT_COUNTS), description="cells of each phase"
    )
    size: int = Field(40, ge=16, le=256, description="side of the crops, px")
    seed: int = Field(0, ge=0, description="the same seed gives the same bytes")


def files(root: Path, options: Options) -> list[Path]:
    """No files: everything is in the options."""
    del root, options
    return []


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Generate the cells that the options ask for; ``root`` is not looked at."""
    del root
    cells = generate(options.counts, seed=options.seed, size=options.size, on_progress=on_progress)
    return replace(cells, channels=options.channels or CHANNELS)


def generate(
    counts: Mapping[str, int],
    *,
    seed: int,
    size: int = 40,
    on_progress: Progress | None = None,
) -> RawCells:
    """Draw cells; every phase has its own stream, so one count does not change other phases.

    Args:
        counts: phase name to cells, from ``PHASES``; its order is that of the classes.
        seed: the same seed gives the same bytes.
        size: side of the crops, px; cells grow with it.
        on_progress: called after every thousand cells.

    Returns:
        RawCells with (N, 3, size, size) uint16 images: brightfield, dna, darkfield.

    Raises:
        ConfigError: a phase that does not exist, or a count below 1.
    """
    for name, count in counts.items():
        if name not in PHASES:
            raise ConfigError(f"no phase {name!r} to generate{near_miss(name, tuple(PHASES))}")
        if count < 1:
            raise ConfigError(f"cells of {name} to generate: expected 1 or more, got {count}")
    total = sum(counts.values())
    images = np.empty((total, len(CHANNELS), size, size), np.uint16)
    done = 0
    for name, count in counts.items():
        for start in range(0, count, _CELLS_AT_ONCE):
            cells = min(_CELLS_AT_ONCE, count - start)
            rng = np.random.default_rng([seed, list(PHASES).index(name), start])
            images[done : done + cells] = draw_cells(PHASES[name], cells, size, rng)
            done += cells
            if on_progress is not None:
                on_progress("generating cells", done, total)
    numbers = [number for count in counts.values() for number in range(count)]
    labels = [name for name, count in counts.items() for _ in range(count)]
    return RawCells(
        images=images,
        labels=labels,
        ids=[f"{name}-{number:05d}" for name, number in zip(labels, numbers, strict=True)],
        sources=[f"generated/{name}" for name in labels],
        object_numbers=numbers,
        channels=CHANNELS,
        classes=tuple(counts),
        name="demo",
    )
