"""How a generated DAPI nucleus is drawn, at a place in the cell cycle that its class only bounds.

The cycle is continuous, as Billard, Boudouh and Dumoncel (EPFL, 2023) found of their 493 nuclei:
early S looks like G1 and late S like G2. What is drawn follows from the place, not from the class.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.optics import Floats, defocus, grain, noise, smooth, step

NUCLEI: Mapping[str, tuple[float, float]] = {
    "G1": (-0.3, 0.3),
    "S": (0.12, 0.95),
    "G2": (0.75, 1.3),
    "M": (1.3, 1.3),
}
"""Phase to the range of its places in the cycle: DNA doubles from 0 to 1."""


def draw_nuclei(name: str, cells: int, size: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Draw nuclei of one phase.

    Args:
        name: one of ``NUCLEI``.
        cells: how many.
        size: side of the crops, px; nuclei grow with it, a G1 nucleus has a radius of 14 of 64 px.
        rng: consumed.

    Returns:
        (cells, 1, size, size) uint16 of 12 bits: DAPI.
    """
    scale = size / 64

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    place = rng.uniform(*NUCLEI[name], (cells, 1, 1)).astype(np.float32)
    content = (1 + np.clip(place, 0, 1)) * np.exp(normal(0, 0.09))
    radius = 14 * (1 + np.clip(place, 0, 1.2)) ** 0.36 * np.exp(normal(0, 0.07))
    grid = ((np.arange(size, dtype=np.float32) - (size - 1) / 2) / scale).astype(np.float32)
    across, down = grid[None, None, :] - normal(0, 1.5), grid[None, :, None] - normal(0, 1.5)
    angle = rng.uniform(0, 2 * np.pi, (cells, 1, 1)).astype(np.float32)
    u = across * np.cos(angle) + down * np.sin(angle)
    v = down * np.cos(angle) - across * np.sin(angle)
    if name == "M":
        density = _dividing(u, v, radius, scale, rng)
    else:
        density = _resting(u, v, radius, place, scale, rng)
    share = density / (density.sum((1, 2), keepdims=True) + np.float32(1e-6))
    # Stain and lamp differ from slide to slide, and hide a part of what the content would tell.
    light = share * content * np.exp(normal(0, 0.12)) * (370_000 * scale**2)
    light = light + _neighbours(across, down, scale, rng)
    blur = np.where(
        rng.random(cells) < 0.3, rng.uniform(0.8, 2.5, cells), rng.uniform(0, 0.6, cells)
    )
    haze = smooth(light, 6 * scale)
    light = defocus(smooth(light, 0.9 * scale), blur, scale) + 0.18 * haze
    signal = 110 + np.abs(normal(0, 30)) + light
    picture = signal + noise(signal.shape, rng) * np.sqrt(40 + 0.9 * signal)
    return np.clip(np.rint(picture), 0, 4095).astype(np.uint16)[:, None]


def _outline(u: Floats, v: Floats, radius: Floats, rng: np.random.Generator) -> Floats:
    """Distance from the edge of a lumpy ellipse, positive inside, px of a 64 px crop."""
    cells = len(radius)
    stretch = np.exp(rng.normal(0.1, 0.07, (cells, 1, 1))).astype(np.float32)
    turn = np.arctan2(v * stretch, u / stretch)
    edge = radius
    for order, amount in ((2, 0.025), (3, 0.03), (4, 0.02), (5, 0.012)):
        bump, start = rng.normal(0, amount, (cells, 1, 1)), rng.uniform(0, 7, (cells, 1, 1))
        edge = edge + radius * (bump * np.cos(order * turn + start)).astype(np.float32)
    inside: Floats = edge - np.hypot(u / stretch, v * stretch)
    return inside


def _resting(
    u: Floats, v: Floats, radius: Floats, place: Floats, scale: float, rng: np.random.Generator
) -> Floats:
    """An interphase nucleus: nucleoli are holes, foci grow finer in S and coarser in G2."""
    cells = len(u)
    depth = _outline(u, v, radius, rng)
    dome = np.sqrt(np.clip(depth / radius, 0, 1) + 0.25)
    replicating = np.exp(-np.square((place - 0.5) / 0.35))
    condensing = np.clip(place - 0.8, 0, 0.5) * 2
    spread = rng.lognormal(0, 0.3, (3, cells, 1, 1)).astype(np.float32)
    fine = grain(u.shape, 0.9 * scale, rng) * (0.1 + 0.12 * replicating) * spread[0]
    coarse = grain(u.shape, 2.2 * scale, rng) * (0.14 + 0.2 * condensing) * spread[1]
    density: Floats = step(depth, 1.0) * dome * np.exp(fine + coarse)
    for _ in range(4):
        far, way = rng.uniform(0, 0.65, (cells, 1, 1)), rng.uniform(0, 7, (cells, 1, 1))
        hole_u = u - (radius * far * np.cos(way)).astype(np.float32)
        hole_v = v - (radius * far * np.sin(way)).astype(np.float32)
        # Many small nucleoli after division fuse to a few.
        width = rng.uniform(0.9, 2.1, (cells, 1, 1)).astype(np.float32) * (1 + 0.25 * place)
        there = rng.random((cells, 1, 1), np.float32) < 0.65
        dark = 0.6 * there * np.exp(-np.square(np.hypot(hole_u, hole_v) / width))
        density = density * (1 - dark * spread[2] / (0.5 + spread[2]))
    return density


def _dividing(
    u: Floats, v: Floats, radius: Floats, scale: float, rng: np.random.Generator
) -> Floats:
    """Prophase, a plate seen from its side or its pole, or two plates that part; one in each."""
    cells = len(u)

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    kind = rng.choice(4, (cells, 1, 1), p=(0.3, 0.35, 0.15, 0.2))
    ragged = np.where(kind == 2, 0.1, 0.22) * grain(u.shape, 1.9 * scale, rng)
    threads = np.exp(normal(0.7, 0.12) * grain(u.shape, 1.5 * scale, rng))
    early = step(_outline(u, v, 0.93 * radius, rng), 1.0) * threads
    long = radius * normal(0.8, 0.07)
    wide = long * np.where(kind == 1, normal(0.33, 0.05), normal(0.85, 0.06))
    plate = step((1 - np.hypot(u / wide, v / long) + ragged) * wide, 0.8)
    # Seen from its pole, a plate is a ring.
    plate = plate * np.where(
        kind == 2, 1 - 0.55 * np.exp(-np.square(np.hypot(u, v) / (0.4 * long))), 1
    )
    apart = radius * np.abs(normal(1.05, 0.3))
    thin, half = 0.24 * radius, 0.66 * radius
    pair = np.zeros_like(u)
    for side in (-0.5, 0.5):
        along = u - side * apart - side * 0.03 * np.square(v)
        reach = (1 - np.hypot(along / thin, v / half) + ragged) * thin
        pair = np.maximum(pair, step(reach, 0.7) * np.exp(normal(0, 0.08)))
    density: Floats = np.where(kind == 0, early, np.where(kind == 3, pair, plate)).astype(
        np.float32
    )
    return density


def _neighbours(across: Floats, down: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """The edge of another nucleus, in a third of the crops."""
    cells = len(across)
    way = rng.uniform(0, 2 * np.pi, (cells, 1, 1))
    far = rng.uniform(33, 42, (cells, 1, 1))
    there = rng.random((cells, 1, 1)) < 0.35
    u = across - (far * np.cos(way)).astype(np.float32)
    v = down - (far * np.sin(way)).astype(np.float32)
    size = rng.normal(15, 1.5, (cells, 1, 1)).astype(np.float32)
    shape = step(_outline(u, v, size, rng), 1.0)
    bright = (there * rng.lognormal(6.3, 0.25, (cells, 1, 1))).astype(np.float32)
    texture = np.exp(0.2 * grain(shape.shape, 1.5 * scale, rng))
    light: Floats = shape * bright * texture
    return light
