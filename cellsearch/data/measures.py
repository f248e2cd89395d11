"""What is measured on one channel of a cell: intensity, shape, texture, radial profile.

Each function takes a stack of crops and gives one row a crop, which depends on that crop alone.
Sums run over contiguous rows in float64, so a row is the same to the last bit in any company.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops_table

from cellsearch.data.cell_mask import histograms

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

GREY_LEVELS = 16
DISTANCES = (1, 2)
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
CO_OCCURRENCE = ("contrast", "homogeneity", "energy", "correlation")
OPENINGS = (1, 2, 4)
RINGS = 8
PATTERNS = 10

INTENSITY = ("mean", "sd", "low", "high", "skew", "kurtosis", "background", "integrated")
SHAPE = (
    *("area", "perimeter", "solidity", "extent"),
    *("major axis", "minor axis", "eccentricity"),
    *(f"Hu {k}" for k in range(1, 8)),
)
TEXTURE = (
    *(f"{name} at {far} px" for name in CO_OCCURRENCE for far in DISTANCES),
    *(f"local pattern {k}" for k in range(PATTERNS)),
    *(f"granularity {radius} px" for radius in OPENINGS),
)
RADIAL = tuple(f"ring {k}" for k in range(1, RINGS + 1))
CHANNEL = (*INTENSITY, *SHAPE, *TEXTURE, *RADIAL)


def intensity(pixels: Floats, masks: Masks, background: Floats) -> Floats:
    """(n, 8): of the px of the cell; ``low`` and ``high`` are their 1st and 99th percentile.

    ``integrated`` is the sum over the cell of px less background. Skew and excess kurtosis of a
    cell without contrast are 0.
    """
    flat, inside = _flat(pixels), _flat(masks)
    area = inside.sum(axis=1)
    mean = (flat * inside).sum(axis=1) / area
    centred = (flat - mean[:, None]) * inside
    sd = np.sqrt((centred**2).sum(axis=1) / area)
    sd = np.where(sd > 1e-9 * np.abs(flat).max(axis=1), sd, 0.0)
    z = centred / np.where(sd > 0, sd, np.inf)[:, None]
    low, high = _ends(flat, inside).T
    squared = z * z
    skew = (squared * z).sum(axis=1) / area
    kurtosis = np.where(sd > 0, (squared * squared).sum(axis=1) / area - 3.0, 0.0)
    total = ((flat - background[:, None]) * inside).sum(axis=1)
    return np.stack(
        [mean, sd, low, high, np.round(skew, 6), np.round(kurtosis, 6), background, total], axis=1
    )


def _ends(flat: Floats, inside: NDArray[np.bool_]) -> Floats:
    """(n, 2): the 1st and the 99th percentile of each row's px inside, of those that are there."""
    ends = np.empty((len(flat), 2))
    for cell, (row, own) in enumerate(zip(flat, inside, strict=True)):
        values = row[own]
        places = [int(np.rint(q * (len(values) - 1))) for q in (0.01, 0.99)]
        ends[cell] = np.partition(values, places)[places]
    return ends


def shape(masks: Masks) -> Floats:
    """(n, 14): px of area, perimeter and axes; solidity, extent, eccentricity; Hu's moments.

    Of the degree-d Hu moment (Hu 1962) its d-th root is taken, with its sign: raw ones span ten
    orders of magnitude.
    """
    cells, height, width = masks.shape
    # One tall picture of all cells, a blank row between them, each under its own number.
    tall = np.zeros((cells, height + 1, width), dtype=np.int64)
    tall[:, :height] = masks * np.arange(1, cells + 1)[:, None, None]
    table = regionprops_table(tall.reshape(-1, width), properties=("area", "perimeter", "extent"))
    solidity = table["area"] / np.array([_hull_area(mask) for mask in masks])
    columns = [table["area"], table["perimeter"], solidity, table["extent"]]
    return np.concatenate([np.stack(columns, axis=1), _ellipse_and_hu(masks)], axis=1)


def _hull_area(mask: NDArray[np.bool_]) -> int:
    """Px whose centres lie within the convex hull of the edge points of all px of a cell.

    A px has four such points, half a px off its centre, as in scikit-image; but the hull is
    followed row by row, in a tenth of the time.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    within = np.arange(rows[0], rows[-1] + 1)
    low = np.interp(within, *_lower_hull(rows, first))
    high = -np.interp(within, *_lower_hull(rows, -last))
    # A centre on the hull counts, whatever the last bit of an interpolation is.
    return int((np.floor(high + 1e-9) - np.ceil(low - 1e-9) + 1).sum())


def _lower_hull(rows: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Corners of the convex curve below the edge points of each row's end (Andrew 1979)."""
    # Twice the numbers, so that all of them are whole and no rounding decides.
    span = 2 * int(rows[-1] - rows[0]) + 3
    lowest = np.full(span, np.iinfo(np.int64).max)
    for offset, above in ((0, 0), (1, -1), (2, 0)):
        np.minimum.at(lowest, 2 * (rows - rows[0]) + offset, 2 * ends + above)
    xs: list[int] = []
    ys: list[int] = []
    for u, v in enumerate(lowest.tolist()):
        while len(xs) > 1 and (ys[-1] - ys[-2]) * (u - xs[-2]) >= (v - ys[-2]) * (xs[-1] - xs[-2]):
            xs.pop()
            ys.pop()
        xs.append(u)
        ys.append(v)
    return np.array(xs) / 2 + (rows[0] - 0.5), np.array(ys) / 2


def _ellipse_and_hu(masks: Masks) -> Floats:
    """(n, 10): axes and eccentricity of the ellipse of the same second moments, Hu's moments."""
    # Offsets are the same along a row and along a column, so the sums run over one, then the other.
    down, across = (_powers(offsets) for offsets in centroid_offsets(masks))
    inside = masks.astype(np.float64)
    area = _flat(inside).sum(axis=1)
    moments = np.matmul(down.transpose(0, 2, 1), np.matmul(inside, across))
    central = {(p, q): moments[:, p, q] for p in range(4) for q in range(4) if 2 <= p + q <= 3}
    # A px is a square of side 1, so even a line has a second moment of 1/12 across.
    yy, xx = (central[pq] / area + 1 / 12 for pq in ((2, 0), (0, 2)))
    xy = central[1, 1] / area
    spread = np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    first, second = (yy + xx) / 2 + spread, np.maximum((yy + xx) / 2 - spread, 0.0)
    eccentricity = np.sqrt(np.maximum(1.0 - second / first, 0.0))
    axes = np.stack([4 * np.sqrt(first), 4 * np.sqrt(second), eccentricity], axis=1)
    # Roots would turn the last bit of a moment that is 0 by symmetry into a figure.
    eta = {pq: np.round(mu / area ** (1 + sum(pq) / 2), 12) for pq, mu in central.items()}
    return np.round(np.concatenate([axes, _hu(eta)], axis=1), 6)


def _powers(offsets: Floats) -> Floats:
    """(n, L, 4): 1, x, x squared, x cubed."""
    squared = offsets * offsets
    return np.stack([np.ones_like(offsets), offsets, squared, squared * offsets], axis=2)


def _hu(eta: dict[tuple[int, int], Floats]) -> Floats:
    """(n, 7) from normalised central moments (Hu 1962), each as its signed root."""
    a, b = eta[2, 0] - eta[0, 2], 2 * eta[1, 1]
    c, d = eta[3, 0] - 3 * eta[1, 2], 3 * eta[2, 1] - eta[0, 3]
    e, f = eta[3, 0] + eta[1, 2], eta[2, 1] + eta[0, 3]
    moments = (
        (eta[2, 0] + eta[0, 2], 1),
        (a**2 + b**2, 2),
        (c**2 + d**2, 2),
        (e**2 + f**2, 2),
        (c * e * (e**2 - 3 * f**2) + d * f * (3 * e**2 - f**2), 4),
        (a * (e**2 - f**2) + 2 * b * e * f, 3),
        (d * e * (e**2 - 3 * f**2) - c * f * (3 * e**2 - f**2), 4),
    )
    return np.stack([np.sign(m) * np.abs(m) ** (1 / degree) for m, degree in moments], axis=1)


def texture(pixels: Floats, masks: Masks, signal: Floats) -> Floats:
    """(n, 21): grey-level co-occurrence, local binary patterns, granularity."""
    return np.round(
        np.concatenate(
            [_co_occurrence(pixels), _patterns(pixels, masks), _granularity(signal)], axis=1
        ),
        6,
    )


def _co_occurrence(pixels: Floats) -> Floats:
    """(n, 8): Haralick's (1973) contrast, homogeneity, energy, correlation, mean of 4 angles.

    Grey levels span each crop's own 1st to 99th percentile: texture, whatever the exposure.
    """
    low, high = np.percentile(pixels, (1, 99), axis=(1, 2), method="nearest")[:, :, None, None]
    share = np.round((pixels - low) / np.where(high > low, high - low, np.inf), 6)
    levels = np.clip(share * GREY_LEVELS, 0, GREY_LEVELS - 1).astype(np.uint8)
    pairs = np.stack(
        [
            graycomatrix(crop, DISTANCES, ANGLES, levels=GREY_LEVELS, symmetric=True)
            for crop in levels
        ],
        axis=2,
    )
    # (levels, levels, cells, distances, angles); graycoprops takes four axes.
    flat = pairs.reshape(GREY_LEVELS, GREY_LEVELS, -1, len(ANGLES))
    columns = [graycoprops(flat, name).mean(axis=1) for name in CO_OCCURRENCE]
    rows = [column.reshape(len(pixels), len(DISTANCES)) for column in columns]
    return np.concatenate(rows, axis=1)


def _patterns(pixels: Floats, masks: Masks) -> Floats:
    """(n, 10): shares of the cell's px by local binary pattern (Ojala et al. 2002, riu2).

    The 8 neighbours are the adjoining px themselves: nothing is interpolated, so equal grey
    values stay equal. Pattern k < 9 has k brighter neighbours in one arc, pattern 9 several arcs.
    """
    _, height, width = pixels.shape
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    round_about = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    brighter = [padded[:, y : y + height, x : x + width] >= pixels for y, x in round_about]
    arcs = np.zeros(pixels.shape, dtype=np.int8)
    count = np.zeros(pixels.shape, dtype=np.int8)
    for here, following in zip(brighter, brighter[1:] + brighter[:1], strict=True):
        arcs += here != following
        count += here
    code = np.where(arcs <= 2, count, PATTERNS - 1)
    inside = _flat(masks).astype(np.float64)
    shares: Floats = histograms(_flat(code), PATTERNS, inside) / inside.sum(axis=1)[:, None]
    return shares


def _granularity(signal: Floats) -> Floats:
    """(n, 3): share of the signal that an opening by a square of side 2 r + 1 takes away.

    Each opening is of the last one's outcome, so the shares add up to what all three take.
    """
    whole = _flat(signal).sum(axis=1)
    left, opened, losses = whole, signal, []
    for radius in OPENINGS:
        side = 2 * radius + 1
        opened = _window(_window(opened, side, np.minimum), side, np.maximum)
        remaining = _flat(opened).sum(axis=1)
        losses.append((left - remaining) / np.where(whole > 0, whole, np.inf))
        left = remaining
    return np.stack(losses, axis=1)


def _window(stack: Floats, side: int, extreme: np.ufunc) -> Floats:
    """The least or the greatest px of a square about each one; edges go on as they end."""
    for axis in (1, 2):
        width = stack.shape[axis]
        pads = [(0, 0)] * 3
        pads[axis] = (side // 2, side // 2)
        # Windows of 1, 2, 4, ... px, each made of two of the last.
        found, reach = np.pad(stack, pads, mode="edge"), 1
        while reach < side:
            step = min(reach, side - reach)
            length = found.shape[axis] - step
            found = extreme(_part(found, axis, 0, length), _part(found, axis, step, step + length))
            reach += step
        stack = _part(found, axis, 0, width)
    return stack


def _part(stack: Floats, axis: int, start: int, stop: int) -> Floats:
    return stack[:, start:stop] if axis == 1 else stack[:, :, start:stop]


def radial(pixels: Floats, masks: Masks, background: Floats) -> Floats:
    """(n, 8): mean of px less background in rings about the cell's centroid.

    Rings are equally wide and reach the cell's farthest px; values are relative to the mean
    distance from the background within them. A ring without px has 0.
    """
    down, across = centroid_offsets(masks)
    distance = _flat(np.sqrt((down**2)[:, :, None] + (across**2)[:, None, :]))
    farthest = np.maximum((distance * _flat(masks)).max(axis=1, keepdims=True), 1.0)
    ring = np.floor(np.round(distance / farthest * RINGS, 6)).astype(np.int64)
    ring = np.where(ring == RINGS, RINGS - 1, ring)
    within = (ring < RINGS).astype(np.float64)
    ring = np.minimum(ring, RINGS - 1)
    above = (_flat(pixels) - background[:, None]) * within
    scale = np.abs(above).sum(axis=1) / within.sum(axis=1)
    counts = np.maximum(histograms(ring, RINGS, within), 1.0)
    means = histograms(ring, RINGS, above) / counts
    return np.round(means / np.where(scale > 0, scale, np.inf)[:, None], 6)


def correlations(pixels: Floats) -> Floats:
    """(n, C (C - 1) / 2): Pearson's correlation of each pair of channels over the crop's px.

    Args:
        pixels: (n, C, H, W). A channel without contrast is correlated with none.
    """
    cells, channels = pixels.shape[:2]
    flat = pixels.reshape(cells, channels, -1)
    centred = flat - flat.mean(axis=2, keepdims=True)
    products = np.matmul(centred, centred.transpose(0, 2, 1))
    norm = np.sqrt(np.diagonal(products, axis1=1, axis2=2))
    floor = 1e-9 * np.sqrt(np.einsum("ncp,ncp->nc", flat, flat))
    norm = np.where(norm > floor, norm, np.inf)
    pairs = [
        products[:, a, b] / (norm[:, a] * norm[:, b])
        for a in range(channels)
        for b in range(a + 1, channels)
    ]
    return np.round(np.stack(pairs, axis=1), 6) if pairs else np.empty((cells, 0))


def centroid_offsets(masks: Masks) -> tuple[Floats, Floats]:
    """(n, H) and (n, W): how far each row lies below and each column right of the centroid."""
    found = []
    for axis in (2, 1):
        counts = masks.sum(axis=axis, dtype=np.float64)
        places = np.arange(counts.shape[1], dtype=np.float64)
        centroid = (counts * places).sum(axis=1, keepdims=True)
        found.append(places - centroid / counts.sum(axis=1, keepdims=True))
    return found[0], found[1]


def _flat(stack: NDArray[Any]) -> NDArray[Any]:
    return stack.reshape(len(stack), -1)
