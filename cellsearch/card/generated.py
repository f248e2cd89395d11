"""Generated cells of a class: real ones beside them, and how their critic went."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellsearch.card.metrics import GeneratedEntry
from cellsearch.card.tiles import Picture, contrast, page, pictures, views
from cellsearch.errors import CardError

SHOWN = 12
MOST_VIEWS = 4
TILE_INCHES = 0.78


@dataclass(frozen=True, eq=False)
class GeneratorFigures:
    """What a generator of one class learned from, and what it makes.

    Attributes:
        class_name: the class.
        kind: of the generator, as ``wgan-gp``.
        real: (n, C, H, W) all training cells of the class that it learned from, n at least 1.
        generated: (m, C, H, W) cells it made, in the same intensities.
        critic: (steps,) float32, the critic's estimate of the distance between the two; may be
            empty.
        nearest_ratio: distance of a generated cell to its nearest real one over that of a real
            cell to its nearest other; far below 1 means copies. NaN where it is not known.
        notes: each a short sentence.

    Raises:
        CardError: real and generated cells do not have the same channels and size.
    """

    class_name: str
    kind: str
    real: NDArray[Any]
    generated: NDArray[Any]
    critic: NDArray[np.float32]
    nearest_ratio: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = self.real.shape, self.generated.shape
        if self.real.ndim != 4 or shapes[0][1:] != shapes[1][1:] or not shapes[0][0]:
            raise CardError(
                f"generated cells of {self.class_name}: real and generated ones must be "
                f"(n, C, H, W) of one C, H and W with at least one real, got {shapes}"
            )


def file_names(figures: Sequence[GeneratorFigures]) -> list[str]:
    """``generated_<class>`` of each, without suffix, in plain letters; no two alike."""
    names: list[str] = []
    for one in figures:
        name = "generated_" + (
            re.sub(r"[^A-Za-z0-9_-]+", "_", one.class_name).strip("_") or "class"
        )
        # Some disks take "a" and "A" for the same file.
        taken = {other.lower() for other in names}
        number = 2
        unique = name
        while unique.lower() in taken:
            unique = f"{name}_{number}"
            number += 1
        names.append(unique)
    return names


def draw_generated(one: GeneratorFigures, channels: tuple[str, ...]) -> Figure:
    """Up to 12 real cells above 12 generated ones, each channel, and the critic's curve.

    Args:
        one: of a class.
        channels: C names.
    """
    sheets = views(channels)[:MOST_VIEWS]
    sets = (("real", one.real), ("generated", one.generated))
    rows: list[list[Picture | None]] = []
    titles = []
    for what, images in sets:
        some = images[np.linspace(0, len(images) - 1, min(len(images), SHOWN)).astype(int)]
        for name, shown in sheets:
            # The contrast of the real cells: a generator that is too bright shows it.
            drawn = list(pictures(some, shown, contrast(one.real, shown))) if len(some) else []
            rows.append([*drawn, *[None] * (SHOWN - len(drawn))])
            titles.append(f"{what}\n{name}")
    height, width = one.real.shape[2:]
    gap = max(1, round(width / 20))
    whole = page(rows, gap)
    figure, axes, below = _sheet(whole, TILE_INCHES / width, curve=bool(np.size(one.critic)))
    for row, title in enumerate(titles):
        y = row * (height + gap) + height / 2
        axes.text(-3 * gap, y, title, fontsize=8.5, ha="right", va="center")
    shown_of = (f"{min(len(images), SHOWN)} of {len(images):,} {what}" for what, images in sets)
    axes.set_title(f"{one.class_name} ({one.kind}): {', '.join(shown_of)}", fontsize=11)
    if below is not None:
        _draw_critic(below, one.critic)
    return figure


def _sheet(whole: Picture, scale: float, *, curve: bool) -> tuple[Figure, Axes, Axes | None]:
    down, across = whole.shape[0] * scale, whole.shape[1] * scale
    left, top, bottom, panel = 1.15, 0.45, 0.2, 2.3 if curve else 0.0
    wide, tall = left + across + 0.2, top + down + bottom + panel
    figure = Figure(figsize=(wide, tall))
    axes = figure.add_axes((left / wide, (bottom + panel) / tall, across / wide, down / tall))
    axes.imshow(whole, interpolation="nearest")
    axes.set_axis_off()
    if not curve:
        return figure, axes, None
    below = figure.add_axes((left / wide, 0.55 / tall, across / wide, (panel - 0.65) / tall))
    return figure, axes, below


def _draw_critic(axes: Axes, critic: NDArray[np.float32]) -> None:
    values = np.asarray(critic, dtype=np.float64).ravel()
    steps = np.arange(1, len(values) + 1)
    known = np.isfinite(values)
    axes.plot(steps[known], values[known], color="#0072B2", linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("critic's distance,\nreal to generated", fontsize=9)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def entries(figures: Sequence[GeneratorFigures]) -> list[GeneratedEntry]:
    """What ``metrics.json`` says of them."""
    return [
        GeneratedEntry(
            class_name=one.class_name,
            kind=one.kind,
            real=len(one.real),
            nearest_ratio=one.nearest_ratio if math.isfinite(one.nearest_ratio) else None,
            notes=[note.rstrip(".") for note in one.notes],
            picture=name,
        )
        for one, name in zip(figures, file_names(figures), strict=True)
    ]
