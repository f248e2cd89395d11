"""Generated cells that look like those of a microscope; honest about being generated.

No cell of these was ever alive: the models of ``data.drawing`` draw them. They serve to try a
search out, not to publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from cellsearch.data.drawing import MODELS, ModelName
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.options import ReaderOptions
from cellsearch.errors import ConfigError
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Options(ReaderOptions):
    """Options of generated cells."""

    model: ModelName = Field("cells", description="what is drawn")
    counts: Mapping[str, Count] | None = Field(
        None, description="cells of each class; default: the model's own"
    )
    size: int | None = Field(
        None, ge=16, le=512, description="side of the crops, px; default: the model's own"
    )
    seed: int = Field(0, ge=0, description="the same seed gives the same bytes")


def files(root: Path, options: Options) -> list[Path]:
    """No files: everything is in the options."""
    del root, options
    return []


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Generate the cells that the options ask for; ``root`` is not looked at."""
    del root
    cells = generate(
        options.counts,
        model=options.model,
        seed=options.seed,
        size=options.size,
        on_progress=on_progress,
    )
    return replace(cells, channels=options.channels or cells.channels)


def generate(
    counts: Mapping[str, int] | None = None,
    *,
    model: ModelName = "cells",
    seed: int,
    size: int | None = None,
    on_progress: Progress | None = None,
) -> RawCells:
    """Draw cells; every class has its own stream, so one count does not change other classes.

    Args:
        counts: class name to cells, in the order of the classes; None takes the model's own.
        model: one of ``MODELS``, which says what its classes are.
        seed: the same seed gives the same bytes.
        size: side of the crops, px; cells grow with it; None takes the model's own.
        on_progress: called after every batch of cells.

    Returns:
        RawCells with (N, C, size, size) images, channels and dtype as the model says.

    Raises:
        ConfigError: a class that the model does not have, or a count below 1.
    """
    drawing = MODELS[model]
    counts = drawing.counts if counts is None else counts
    side = drawing.size if size is None else size
    known = tuple(drawing.counts)
    for name, count in counts.items():
        if name not in known:
            raise ConfigError(f"{model}: no class {name!r} to generate{near_miss(name, known)}")
        if count < 1:
            raise ConfigError(f"cells of {name} to generate: expected 1 or more, got {count}")
    total = sum(counts.values())
    images = np.empty((total, len(drawing.channels), side, side), drawing.dtype)
    done = 0
    for name, count in counts.items():
        for start in range(0, count, drawing.at_once):
            cells = min(drawing.at_once, count - start)
            rng = np.random.default_rng([seed, known.index(name), start])
            images[done : done + cells] = drawing.draw(name, cells, side, rng)
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
        channels=drawing.channels,
        classes=tuple(counts),
        name="demo",
    )
