"""How a generated microtubule network is drawn: filaments that paclitaxel frees and bundles.

After the CV-1 cells of Shpilman and others (IJCNN 2017), 300 x 300 px, fixed after doses of 0, 0.1
and 1: there a network told the three doses apart in 66 of 100 cells, an expert in 63. A cell's
response varies about its dose's, and it alone decides what is drawn; the upper two doses overlap.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.optics import Floats, defocus, grain, noise, smooth, step

DOSES: Mapping[str, tuple[float, float]] = {
    "0": (0.12, 0.12),
    "0.1": (0.5, 0.14),
    "1": (0.68, 0.14),
}
"""Dose to mean and sd of the cells' response, from 0, none, to 1."""

_PATHS = 210
_BUNDLE = 5
_STEPS = 115
_STRIDE = 1.5


def draw_microtubules(
    name: str, cells: int, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw cells of one dose.

    Args:
        name: one of ``DOSES``.
        cells: how many.
        size: side of the crops, px; a cell has a radius of about 120 of 300 px.
        rng: consumed.

    Returns:
        (cells, 1, size, size) uint8: tubulin, immunofluorescence.
    """
    scale = size / 300

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    response = np.clip(normal(*DOSES[name]), 0, 1)
    shape = _shape(cells, rng)
    x, y, weight = _filaments(response, shape, rng)
    lines = _splat(x, y, weight, size, scale)
    grid = ((np.arange(size, dtype=np.float32) - (size - 1) / 2) / scale).astype(np.float32)
    depth = _depth(grid[None, None, :], grid[None, :, None], shape)
    inside = step(depth, 4.0)
    blur = np.where(
        rng.random(cells) < 0.25, rng.uniform(1.0, 2.5, cells), rng.uniform(0, 0.8, cells)
    )
    sharp = defocus(smooth(lines, 0.9 * scale), blur, scale)
    # Free tubulin, and filaments above and below the plane of focus.
    free = inside * np.exp(normal(2.2, 0.25)) * (1 + 0.2 * grain(lines.shape, 7 * scale, rng))
    signal = sharp * 108 + smooth(lines, 7 * scale) * 100 + free
    level = 12 + np.exp(normal(0, 0.18)) * signal
    picture = level + noise(level.shape, rng) * np.sqrt(4 + 0.25 * np.maximum(level, 0))
    pixels: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return pixels[:, None]


def _shape(cells: int, rng: np.random.Generator) -> Mapping[str, Floats]:
    """Outline and centre of each cell, (N, 1, 1), px of a 300 px crop."""

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    turns = rng.uniform(0, 2 * np.pi, (3, cells, 1, 1)).astype(np.float32)
    return {
        "x": normal(0, 6),
        "y": normal(0, 6),
        "radius": normal(124, 10),
        "long": normal(0.17, 0.08),
        "three": normal(0.0, 0.07),
        "five": normal(0.0, 0.04),
        "turn": turns[0],
        "turn_three": turns[1],
        "turn_five": turns[2],
    }


def _depth(x: Floats, y: Floats, shape: Mapping[str, Floats]) -> Floats:
    """Distance from the outline, positive inside."""
    across, down = x - shape["x"], y - shape["y"]
    turn = np.arctan2(down, across)
    edge = 1 + shape["long"] * np.cos(2 * (turn - shape["turn"]))
    edge = edge + shape["three"] * np.cos(3 * turn + shape["turn_three"])
    edge = edge + shape["five"] * np.cos(5 * turn + shape["turn_five"])
    inside: Floats = shape["radius"] * edge - np.hypot(across, down)
    return inside


def _filaments(
    response: Floats, shape: Mapping[str, Floats], rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Points of the filaments and their brightness, (N, paths, steps)."""
    cells = len(response)
    each = (cells, _PATHS, 1)

    def uniform(low: float, high: float) -> Floats:
        return rng.uniform(low, high, each).astype(np.float32)

    # Without the drug filaments grow from the centrosome; with it they also start anywhere.
    way = rng.uniform(0, 2 * np.pi, (cells, 1, 1)).astype(np.float32)
    aside = rng.uniform(8, 32, (cells, 1, 1)).astype(np.float32)
    rooted = rng.random(each, np.float32) < 0.72 - 0.42 * response
    around = uniform(0, 2 * np.pi)
    far = shape["radius"] * np.sqrt(uniform(0.01, 0.85))
    spread = rng.normal(0, 6, (2, *each)).astype(np.float32)
    start_x = np.where(rooted, aside * np.cos(way) + spread[0], far * np.cos(around))
    start_y = np.where(rooted, aside * np.sin(way) + spread[1], far * np.sin(around))
    # Freed filaments lie along the edge, the more so the stronger the response.
    sideways = np.pi / 2 * np.sign(uniform(-1, 1)) * (rng.random(each) < 0.15 + 0.45 * response)
    heading = around + np.where(rooted, 0, sideways + rng.normal(0, 0.45, each))
    bend = rng.normal(0, 1, each) * (0.004 + 0.007 * response) + np.where(
        sideways != 0, np.sign(sideways) * _STRIDE / np.maximum(far, 45), 0
    ) * (~rooted)
    along = np.arange(_STEPS, dtype=np.float32)
    wander = np.cumsum(rng.standard_normal((cells, _PATHS, _STEPS), np.float32), axis=2)
    angle = (heading + bend * along).astype(np.float32) + wander * (0.035 + 0.02 * response)
    x = shape["x"] + start_x + _STRIDE * np.cumsum(np.cos(angle), axis=2)
    y = shape["y"] + start_y + _STRIDE * np.cumsum(np.sin(angle), axis=2)
    # The filaments of a bundle run beside the first of their group.
    bundled = rng.random(each, np.float32) < 0.06 + 0.42 * response
    first = np.arange(_PATHS) // _BUNDLE * _BUNDLE
    beside = rng.normal(0, 0.9, (2, *each)).astype(np.float32) * bundled
    x = np.where(bundled, x[:, first], x) + beside[0]
    y = np.where(bundled, y[:, first], y) + beside[1]
    length = np.where(rooted, uniform(0.35, 1.2), uniform(0.15, 0.9)) * _STEPS
    alive = np.minimum.accumulate(_depth(x, y, shape) > 2, axis=2) & (along < length)
    # The drug keeps tubulin in filaments.
    polymer = 0.72 + 0.66 * response
    nucleus = np.hypot(x - shape["x"], y - shape["y"]) < 26
    return x, y, (alive * np.where(nucleus, 0.45, 1) * polymer).astype(np.float32)


def _splat(x: Floats, y: Floats, weight: Floats, size: int, scale: float) -> Floats:
    """Points onto the pixels around them, (N, size, size)."""
    cells = len(x)
    column, row = x * scale + (size - 1) / 2, y * scale + (size - 1) / 2
    seen = (weight > 0) & (column >= 0) & (row >= 0) & (column < size - 1) & (row < size - 1)
    which = np.nonzero(seen)[0]
    column, row, light = column[seen], row[seen], weight[seen] * scale
    left, top = column.astype(np.int64), row.astype(np.int64)
    right, below = column - left, row - top
    first = (which * size + top) * size + left
    total = np.zeros(cells * size * size)
    for shift, share in (
        (0, (1 - right) * (1 - below)),
        (1, right * (1 - below)),
        (size, (1 - right) * below),
        (size + 1, right * below),
    ):
        total += np.bincount(first + shift, light * share, cells * size * size)
    return total.reshape(cells, size, size).astype(np.float32)
