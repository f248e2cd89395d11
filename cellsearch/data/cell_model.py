"""How a generated cell is drawn: a simple model of imaging flow cytometry.

An outline of one or two lobes, a nucleus or a division figure, granules, defocus and noise, with
grey levels, sizes and DNA contents near those of Jurkat cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.optics import Floats, defocus, grain, noise, smooth, step
from cellsearch.data.phases import Phase


def draw_cells(phase: Phase, cells: int, size: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Draw cells of one phase.

    Args:
        phase: what they look like.
        cells: how many.
        size: side of the crops, px; at 40 px a pixel is as on the real instrument.
        rng: consumed.

    Returns:
        (cells, 3, size, size) uint16 of 12 bits: brightfield, dna, darkfield.
    """
    scale = size / 40

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    radius = np.clip(normal(*phase.radius), 6.0, 13.5)
    apart = np.maximum(normal(*phase.apart), 0) if phase.apart[0] else np.zeros_like(radius)
    if phase.upright > 90:
        angle = rng.uniform(0, np.pi, (cells, 1, 1)).astype(np.float32)
    else:
        angle = normal(np.pi / 2, np.deg2rad(phase.upright))
    grid = ((np.arange(size, dtype=np.float32) - (size - 1) / 2) / scale).astype(np.float32)
    across = grid[None, None, :] - normal(0, 1.1)
    down = grid[None, :, None] - normal(0, 1.1)
    # u runs along the axis of division, v across it.
    u = across * np.cos(angle) + down * np.sin(angle)
    v = down * np.cos(angle) - across * np.sin(angle)
    depth = _depth(u, v, radius, apart, rng)

    # A third of the cells are visibly out of focus, as in flow, where none waits for the lens.
    blur = np.where(
        rng.random(cells) < 0.34, rng.uniform(0.7, 2.6, cells), rng.uniform(0, 0.5, cells)
    )
    granularity = rng.lognormal(0, 0.45, (cells, 1, 1)).astype(np.float32) * phase.granules
    chromatin = _chromatin(phase, u, v, radius, apart, normal(*phase.clumps), scale, rng)
    figure = _figure(chromatin)
    brightfield = _brightfield(depth, figure, granularity, blur, scale, rng, phase)
    dna = _dna(chromatin, normal(*phase.dna), blur, scale, rng)
    darkfield = _darkfield(depth, across, radius, granularity, blur, scale, rng)
    stack = np.stack([brightfield, dna, darkfield], axis=1)
    return np.clip(np.rint(stack), 0, 4095).astype(np.uint16)


def _depth(u: Floats, v: Floats, radius: Floats, apart: Floats, rng: np.random.Generator) -> Floats:
    """Distance from the outline, positive inside, px of a 40 px crop: one lobe, or two joined."""
    cells = len(u)
    lobes = []
    for side in (-0.5, 0.5):
        along = u - side * apart
        turn = np.arctan2(v, along)
        edge = radius * rng.normal(1, 0.02, (cells, 1, 1)).astype(np.float32)
        for order, amount in ((2, 0.045), (3, 0.022), (4, 0.014), (5, 0.01)):
            bump = rng.normal(0, amount, (cells, 1, 1)).astype(np.float32)
            edge = edge + radius * bump * np.cos(
                order * turn + rng.uniform(0, 2 * np.pi, (cells, 1, 1)).astype(np.float32)
            )
        lobes.append(edge - np.hypot(along, v))
        if not apart.any():
            return lobes[0]
    # Smooth maximum: the furrow between the lobes is rounded, and closes as they part.
    width = np.clip(6.5 - 0.33 * apart, 0.8, None)
    overlap = np.maximum(width - np.abs(lobes[0] - lobes[1]), 0) / width
    joined: Floats = np.maximum(lobes[0], lobes[1]) + np.square(overlap) * width / 4
    return joined


def _chromatin(
    phase: Phase,
    u: Floats,
    v: Floats,
    radius: Floats,
    apart: Floats,
    clumps: Floats,
    scale: float,
    rng: np.random.Generator,
) -> Floats:
    """Where the DNA is, each image summing to 1."""
    cells = len(u)

    def normal(mean: float, sd: float) -> Floats:
        return rng.normal(mean, sd, (cells, 1, 1)).astype(np.float32)

    texture = grain(u.shape, 1.3 * scale, rng)
    if phase.plate is None:
        off = normal(0, 0.8), normal(0, 0.8)
        stretch = np.exp(normal(0, 0.09))
        spread = np.hypot((u - off[0]) * stretch, (v - off[1]) / stretch)
        inside = step(radius * phase.nucleus * normal(1, 0.05) - spread, 0.9)
    else:
        length = radius * normal(0.86 if phase.plates_apart[0] == 0 else 0.78, 0.06)
        width = length * np.maximum(normal(phase.plate, 0.06), 0.15)
        gap = np.maximum(normal(*phase.plates_apart), 0) if phase.plates_apart[0] else 0 * apart
        inside = np.zeros_like(u)
        for side in (-0.5, 0.5) if phase.plates_apart[0] else (0.0,):
            tilt = normal(0, 0.12)
            bend = normal(0, 0.03) - 0.035 * side * np.float32(phase.plates_apart[0] > 0)
            along = u - side * gap - tilt * v - bend * np.square(v)
            edge = 1 - np.hypot(along / width, v / length) + 0.16 * grain(u.shape, 1.2 * scale, rng)
            inside = np.maximum(inside, step(edge * width, 0.6) * np.exp(normal(0, 0.1)))
    density = inside * np.exp(clumps * texture)
    share: Floats = density / (density.sum((1, 2), keepdims=True) + np.float32(1e-6))
    return share


def _figure(chromatin: Floats) -> Floats:
    """The shape of the chromatin: 1 where it is denser than it mostly is."""
    mostly = np.square(chromatin).sum((1, 2), keepdims=True)
    figure: Floats = np.clip(chromatin / (1.3 * mostly), 0, 1)
    return figure


def _brightfield(
    depth: Floats,
    figure: Floats,
    granularity: Floats,
    blur: NDArray[np.float64],
    scale: float,
    rng: np.random.Generator,
    phase: Phase,
) -> Floats:
    cells, size, _ = depth.shape

    def strength(mean: float, spread: float) -> Floats:
        return (mean * rng.lognormal(0, spread, (cells, 1, 1))).astype(np.float32)

    inside = step(depth - 0.6, 0.8)
    outline = -strength(150, 0.22) * np.exp(-np.square((depth + 0.4) / 1.05))
    halo = strength(16, 0.4) * np.exp(-np.square((depth + 4.2) / 1.8))
    rim = strength(70, 0.4) * np.exp(-np.square((depth - 2.2) / 1.3))
    body = inside * (strength(62, 0.3) + 32 * grain(depth.shape, 0.75 * scale, rng))
    # Granules stay out of the nucleus, and more so out of condensed chromosomes.
    room = inside * (1 - (0.45 if phase.plate is None else 0.75) * smooth(figure, 0.7 * scale))
    rate = 0.055 * granularity / scale**2
    granules = (rng.random(depth.shape, np.float32) < rate) * room
    lens = rng.choice(np.array([1, 1, -1], np.float32), depth.shape)
    dots = smooth(granules * lens * np.abs(noise(depth.shape, rng) + 1.2), 0.48 * scale)
    nucleus = figure * strength(phase.shade, 0.3)
    nucleus = nucleus - strength(phase.envelope, 0.4) * (4 * figure * (1 - figure))
    cell = outline + halo + rim + body + nucleus + dots * 250 * scale
    # A cell out of focus shines in its middle and throws a wider, softer ring.
    far = (blur / 2.6).astype(np.float32)[:, None, None]
    cell = cell * (1 + 0.5 * far) + far * (
        70 * step(depth - 3.5, 2.5) - 110 * np.exp(-np.square((depth + 1.5) / 2.2))
    )
    stripes = rng.normal(0, 1.6, (cells, 1, size)).astype(np.float32)
    level = rng.normal(680, 2, (cells, 1, 1)).astype(np.float32)
    picture: Floats = (
        level + defocus(cell, 0.6 * blur, scale) + stripes + 5 * noise(depth.shape, rng)
    )
    return picture


def _dna(
    chromatin: Floats,
    content: Floats,
    blur: NDArray[np.float64],
    scale: float,
    rng: np.random.Generator,
) -> Floats:
    # Fluorescence is wider than the lens alone makes it: stained chromatin above and below.
    light = defocus(smooth(chromatin, 2.2 * scale), 1.3 * blur, scale)
    signal = light * np.maximum(content, 0.5) * 135_000 * scale**2
    picture: Floats = 42 + signal + noise(signal.shape, rng) * np.sqrt(6.5 + 0.4 * signal)
    return picture


def _darkfield(
    depth: Floats,
    across: Floats,
    radius: Floats,
    granularity: Floats,
    blur: NDArray[np.float64],
    scale: float,
    rng: np.random.Generator,
) -> Floats:
    # The camera's background subtraction leaves a shadow; the laser comes from the left.
    background = 27 - 34 * step(depth - 0.2, 1.2)
    lit = np.clip(0.45 - 0.6 * across / radius, 0.06, None) * step(depth + 1.0, 0.8)
    rate = 0.085 * granularity * lit / scale**2
    grains = (rng.random(depth.shape, np.float32) < rate).astype(np.float32)
    light = grains * rng.lognormal(0, 0.8, depth.shape).astype(np.float32) * radius / 9
    spots = smooth(light * 190 * scale**2, 0.55 * scale, across=0.85 * scale)
    signal = background + defocus(spots, 0.5 * blur, scale)
    return signal + 1.8 * noise(depth.shape, rng)
