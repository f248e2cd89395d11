"""How a generated cell of a nematode embryo is drawn: transmitted light, at rest or in mitosis.

After the live-cell set of Mahesh and others (INCOFT 2025): 224 x 224 px, two classes. Condensation
is continuous, so late interphase and early prophase overlap, and in some cells the nucleus lies
out of the plane of focus.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.optics import Floats, grain, noise, smooth, step

STAGES = ("interphase", "mitosis")

_NEIGHBOURS = 3


def draw_embryo(name: str, cells: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw cells of one stage, each among its neighbours in the embryo.

    Args:
        name: one of ``STAGES``; the cell in the middle bears it, its neighbours are at rest.
        cells: how many.
        size: side of the crops, px; a cell has a radius of about 72 of 224 px.
        rng: consumed.

    Returns:
        (cells, 1, size, size) uint8: brightfield, lit from the upper left.
    """
    scale = size / 224

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    grid = ((np.arange(size, dtype=np.float32) - (size - 1) / 2) / scale).astype(np.float32)
    across, down = grid[None, None, :] - normal(0, 5), grid[None, :, None] - normal(0, 5)
    angle = rng.uniform(0, np.pi, (cells, 1, 1)).astype(np.float32)
    u = across * np.cos(angle) + down * np.sin(angle)
    v = down * np.cos(angle) - across * np.sin(angle)
    radius = normal(72, 6)
    inside, membrane, shell, other = _embryo(across, down, radius, rng)
    in_focus = np.where(
        rng.random((cells, 1, 1)) < 0.2,
        rng.uniform(0.1, 0.4, (cells, 1, 1)),
        rng.uniform(0.6, 1, (cells, 1, 1)),
    ).astype(np.float32)
    figure = _resting if name == "interphase" else _dividing
    clear, dark, height = figure(u, v, radius, scale, rng)
    room = inside * (1 - 0.9 * in_focus * clear) * (1 - 0.75 * other) * (1 - 0.7 * membrane)
    relief = in_focus * height + 14 * other + 10 * inside + 5 * membrane
    relief = relief + _granules(room, scale, rng)
    shade = in_focus * (9 * clear - dark) + 8 * other - 9 * membrane - 34 * shell
    # Granules absorb too, so that cytoplasm is darker than what is free of them.
    shade = shade - 5 * inside * (1 + 0.3 * grain(u.shape, 9 * scale, rng)) - 7 * smooth(room, 3)
    picture = np.exp(normal(0, 0.16)) * (shade + 5.5 * _lit(relief, scale))
    picture = smooth(picture, float(rng.uniform(0.7, 1.3)) * scale)
    slope = normal(0, 0.05) * across + normal(0, 0.05) * down
    picture = picture + normal(150, 5) + slope + 3.2 * noise(u.shape, rng)
    pixels: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return pixels[:, None]


def _lit(relief: Floats, scale: float) -> Floats:
    """Slope towards the light, as oblique light or DIC shows it, grey levels a px of height."""
    down, across = np.gradient(relief, axis=(1, 2))
    slope: Floats = (np.asarray(down) + np.asarray(across)) * np.float32(scale)
    return slope


def _granules(room: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Yolk granules of two sizes, heights in the units of ``_lit``."""
    total = np.zeros_like(room)
    crowd = rng.lognormal(0, 0.3, (len(room), 1, 1)).astype(np.float32)
    for rate, wide, high in ((0.03, 1.4, 8.0), (0.006, 2.5, 26.0)):
        there = rng.random(room.shape, np.float32) < rate * crowd * room / scale**2
        heights = np.where(there, rng.lognormal(0, 0.3, room.shape), 0).astype(np.float32)
        total += smooth(heights, wide * scale) * np.float32(high * (wide * scale) ** 2)
    return total


def _embryo(
    across: Floats, down: Floats, radius: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, Floats]:
    """Inside of the embryo, membranes, egg shell, nuclei of the neighbours; each 0 .. 1."""
    cells = len(radius)
    depths = [radius - np.hypot(across, down)]
    other = np.zeros_like(depths[0])
    first = rng.uniform(0, 2 * np.pi, (cells, 1, 1))
    for number in range(_NEIGHBOURS):
        way = first + number * 1.35 + rng.normal(0, 0.2, (cells, 1, 1))
        size = rng.normal(66, 8, (cells, 1, 1)).astype(np.float32)
        far = 0.82 * (radius + size)
        x = across - (far * np.cos(way)).astype(np.float32)
        y = down - (far * np.sin(way)).astype(np.float32)
        depths.append(size - np.hypot(x, y))
        seen = rng.uniform(0.15, 1, (cells, 1, 1)).astype(np.float32)
        other = np.maximum(other, seen * step(0.36 * size - np.hypot(x, y), 2.5))
    ranked = np.sort(np.stack(depths), axis=0)
    # A smooth maximum: the shell bridges the clefts between cells.
    merged = ranked[-1] + 24 * np.log(np.exp((ranked - ranked[-1]) / 24).sum(axis=0))
    width = rng.uniform(2.0, 4.0, (cells, 1, 1)).astype(np.float32)
    inside = step(merged + 4, 2.5)
    membrane = inside * np.exp(-np.square((ranked[-1] - ranked[-2]) / width))
    shell = np.exp(-np.square((merged + 11) / 3.2)) - 0.5 * np.exp(-np.square((merged + 19) / 5))
    return inside, membrane, shell.astype(np.float32), other


def _resting(
    u: Floats, v: Floats, radius: Floats, scale: float, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Free of granules, darkness, height: a round smooth nucleus, with a nucleolus in most."""
    cells = len(u)
    width = radius * rng.normal(0.36, 0.04, (cells, 1, 1)).astype(np.float32)
    offset = rng.normal(0, 5, (2, cells, 1, 1)).astype(np.float32)
    x, y = u - offset[0], v - offset[1]
    clear = step(width - np.hypot(x, 1.06 * y), 2.0)
    seen = (rng.random((cells, 1, 1)) < 0.7) * rng.uniform(0.4, 1, (cells, 1, 1))
    spot = rng.normal(0, 6, (2, cells, 1, 1)).astype(np.float32)
    nucleolus = np.exp(-(np.square(x - spot[0]) + np.square(y - spot[1])) / np.float32(2 * 5.5**2))
    condensing = np.square(rng.uniform(0, 0.75, (cells, 1, 1))).astype(np.float32)
    threads, dark = _threads(clear, condensing, scale, rng)
    height = 14 * clear + (12 * seen).astype(np.float32) * nucleolus + threads
    return clear, (4 * seen).astype(np.float32) * nucleolus + dark, height


def _threads(
    clear: Floats, condensing: Floats, scale: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Height and darkness of chromatin that condenses within a nucleus."""
    rough = np.maximum(grain(clear.shape, 2.6 * scale, rng), 0) * smooth(clear, 2 * scale)
    return 11 * condensing * rough, 26 * condensing * rough


def _dividing(
    u: Floats, v: Floats, radius: Floats, scale: float, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """As ``_resting``: prophase, metaphase, or anaphase with its two plates."""
    cells = len(u)

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    kind = rng.choice(3, (cells, 1, 1), p=(0.3, 0.4, 0.3))
    nucleus, _, _ = _resting(u, v, radius, scale, rng)
    condensing = rng.uniform(0.45, 1.2, (cells, 1, 1)).astype(np.float32)
    threads, early = _threads(nucleus, condensing, scale, rng)
    apart = radius * np.where(kind == 2, normal(0.42, 0.1), 0).astype(np.float32)
    long, thin = radius * normal(0.23, 0.03), normal(6.5, 1.0)
    poles = radius * normal(0.38, 0.04) + 0.4 * apart
    ragged = 0.25 * grain(u.shape, 2.5 * scale, rng)
    plates, asters = np.zeros_like(u), np.zeros_like(u)
    for side in (-1, 1):
        along = u - 0.5 * side * apart - 0.006 * side * np.square(v) * (kind == 2)
        plates = np.maximum(plates, step((1 - np.hypot(along / thin, v / long) + ragged) * 4, 1.5))
        asters = np.maximum(asters, np.exp(-np.hypot(u - side * poles, v) / (0.16 * radius)))
    # The spindle between the poles is free of granules, but has no edge as a nucleus has.
    spindle = step((1 - np.hypot(u / (poles + 4), v / (1.25 * long))) * 12, 6.0)
    loose = np.maximum(spindle, 0.9 * asters)
    clear = np.where(kind == 0, nucleus, loose)
    dark = np.where(kind == 0, early, 46 * plates)
    height = np.where(kind == 0, 11 * nucleus + threads, 5 * loose + 16 * plates)
    return clear.astype(np.float32), dark.astype(np.float32), height.astype(np.float32)
