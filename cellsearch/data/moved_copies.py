"""Copies of a cell that were turned, mirrored, shifted by a pixel or two, or made brighter.

Candidates are neighbours by the low frequencies of their power spectra, which a shift leaves as
they are; of the frequencies that turning and mirroring exchange, the values are sorted. Pixels
decide: a pair is laid over each other in the 8 orientations and all small shifts, and must agree as
only copies do, in the picture and in its finest detail. Different cells that look alike have the
first without the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cellsearch.data.storage import rows_per_chunk

Floats = NDArray[np.float32]

TOLERANCE = 0.4
"""Of the typical distance to a neighbour; where a copy was saved anew or cut off by the camera's
range, it lies up to 0.36 (``benchmarks/near_duplicates.py``)."""

DETAIL = 0.45
"""Least correlation of the finest detail; of copies it is 0.6 and more, of other cells within
``TOLERANCE`` at most 0.3, where pictures hold the noise of a camera."""

BEYOND = 4.0
"""Standard deviations by which the detail must agree better than that of look-alikes does. Crops
that were made smaller hold no noise, and the finest detail of different cells agrees better."""

PLAIN = (0.1, 0.95)
"""Distance and detail of a copy that nothing was done to but moving it and changing its gain; no
two different cells come so close, however smooth they are."""

FEWEST_CELLS = 100
"""Of fewer cells, whose neighbours may be of another class, only copies as in ``PLAIN`` are
told."""

SHIFT = 2
"""Largest shift that is tried, px."""

SMALLEST = 16
"""Least side of a crop; what is left of a smaller one after a shift is too little to go by."""

_WORKING = 128
_SPECTRUM_SIDE = 48
_FREQUENCY = 8
_AXES = 32
_AXES_FROM = 4096
_NEIGHBOURS = 5
_REACH = 0.8
_SAMPLE = 160
_CROWD = 0.5
_FEWEST_ALIKE = 20
_BLANK = 1e-6


@dataclass(frozen=True)
class Alignment:
    """How the one picture is laid over the other.

    Attributes:
        mirrored: left and right are exchanged, before it is turned.
        turns: quarter turns, counterclockwise.
        shift: (down, right), px.
        gain: contrast of the other, as a multiple of the one's.
    """

    mirrored: bool
    turns: int
    shift: tuple[int, int]
    gain: float

    @property
    def words(self) -> str:
        """``mirrored, shifted by 1 px, 3 % brighter``; empty where nothing was done."""
        parts = ["mirrored"] if self.mirrored else []
        if self.turns % 2 or (self.turns and not self.mirrored):
            parts.append(f"turned by {180 if self.turns == 2 else 90} degrees")
        if far := max(map(abs, self.shift)):
            parts.append(f"shifted by {far} px")
        if percent := round(100 * abs(self.gain - 1)):
            parts.append(f"{percent} % {'brighter' if self.gain > 1 else 'darker'}")
        return ", ".join(parts)


@dataclass(frozen=True)
class MovedCopy:
    """Two cells of which one is a copy of the other.

    Attributes:
        a: index of the one, smaller than ``b``.
        b: index of the other.
        alignment: of the one to the other.
        largest_difference: of a pixel in any channel, once they are aligned, grey levels.
    """

    a: int
    b: int
    alignment: Alignment
    largest_difference: float


def moved_copies(images: NDArray[Any], cells: NDArray[np.int64]) -> list[MovedCopy]:
    """Pairs of which one is a turned, mirrored, shifted or brighter copy of the other.

    Of crops that are not square the central square is compared, of crops above 128 px means of
    blocks of pixels.

    Args:
        images: (N, C, H, W); may be memory-mapped.
        cells: (M,) of them that hold a picture, no two the same.
    """
    if min(images.shape[2:]) < SMALLEST or len(cells) < _NEIGHBOURS + 2:
        return []
    near, distance = _neighbours(_projected(images, cells))
    rows = np.arange(len(cells))
    scale = float(np.median(distance[:, -1]))
    left, rank = np.nonzero(distance <= _REACH * scale)
    both = np.stack([rows[left], near[left, rank]], 1)
    pairs = np.unique(np.sort(both, axis=1), axis=0)
    if not len(pairs):
        return []
    sample = np.random.default_rng(0).permutation(len(cells))[:_SAMPLE]
    against = np.stack([sample, near[sample, -1]], 1)
    typical = max(float(np.median(_aligned(images, cells[against])[0])), _BLANK)
    # Among cells that all look alike, as smooth round nuclei do, a pair must be closer than that.
    # A cell of which there are many copies is its own crowd, hence the bound.
    crowd = np.clip(distance[:, -1][pairs].max(1) / max(scale, _BLANK), _CROWD, 1.0)
    distances, places = _aligned(images, pairs := cells[pairs])
    distances /= np.float32(typical) * crowd
    alike = (distances > TOLERANCE) & (distances <= 2 * TOLERANCE)
    least = (
        _least_detail(images, pairs[alike], places[alike]) if len(cells) >= FEWEST_CELLS else np.inf
    )
    close = np.flatnonzero(distances <= TOLERANCE)
    found = []
    for pair, place, apart in zip(pairs[close], places[close], distances[close], strict=True):
        one, other, alignment = _laid_over(images, pair, int(place))
        detail = _same_detail(one, other)
        plain = apart <= PLAIN[0] and detail >= PLAIN[1]
        if plain or detail >= least:
            gain, difference = _fitted(one, other)
            moved = replace(alignment, gain=gain)
            found.append(MovedCopy(int(pair[0]), int(pair[1]), moved, difference))
    return found


def _least_detail(
    images: NDArray[Any], pairs: NDArray[np.int64], places: NDArray[np.int64]
) -> float:
    """What the detail of look-alikes does not reach; ``DETAIL`` where there are hardly any."""
    some = np.random.default_rng(0).permutation(len(pairs))[:_SAMPLE]
    if len(some) < _FEWEST_ALIKE:
        return DETAIL
    found = [
        _same_detail(*_laid_over(images, pair, int(place))[:2])
        for pair, place in zip(pairs[some], places[some], strict=True)
    ]
    centre = float(np.median(found))
    spread = 1.4826 * float(np.median(np.abs(np.array(found) - centre)))
    return max(DETAIL, centre + BEYOND * spread)


def _parts(images: NDArray[Any], pairs: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Pairs of cells, as many at a time as their shifted windows leave in memory."""
    step = max(1, rows_per_chunk(images) // (2 * SHIFT + 1) ** 2)
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step]


def _squares(images: NDArray[Any], cells: NDArray[np.int64], most: int) -> Floats:
    """Central squares as float32, of means of blocks where a side is longer than ``most``."""
    height, width = images.shape[2:]
    block = -(-min(height, width) // most)
    side = min(height, width) // block
    top, left = (height - side * block) // 2, (width - side * block) // 2
    picked = images[cells, :, top : top + side * block, left : left + side * block]
    pixels: Floats = picked.astype(np.float32)
    if block > 1:
        pixels = pixels.reshape(*picked.shape[:2], side, block, side, block).mean(3).mean(-1)
    return pixels


def _projected(images: NDArray[Any], cells: NDArray[np.int64]) -> Floats:
    """(M, axes) spectra along their principal axes."""
    some = np.sort(np.random.default_rng(0).permutation(len(cells))[:_AXES_FROM])
    first = np.concatenate([_spectra(images, cells[part]) for part in _chunks(images, some)])
    centre = first.mean(0)
    _, axes = np.linalg.eigh(((first - centre).T @ (first - centre)).astype(np.float64))
    axes = axes[:, ::-1][:, :_AXES].astype(np.float32)
    every = _chunks(images, np.arange(len(cells)))
    found = [(_spectra(images, cells[part]) - centre) @ axes for part in every]
    return np.concatenate(found)


def _chunks(images: NDArray[Any], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    # float32 and its spectrum take several times the room of the pixels.
    step = max(1, rows_per_chunk(images) // 4)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _spectra(images: NDArray[Any], cells: NDArray[np.int64]) -> Floats:
    """(M, C * F) roots of the magnitudes of low frequencies, sorted within orbits.

    The frequencies (u, v), (u, -v), (v, u) and (v, -u) are an orbit: turning and mirroring exchange
    them. The taper keeps what a shift brings in at the edges small.
    """
    from scipy.signal.windows import tukey

    pixels = _squares(images, cells, _SPECTRUM_SIDE)
    side = pixels.shape[-1]
    edge = tukey(side, 0.5).astype(np.float32)
    taper = np.outer(edge, edge)
    pixels -= (pixels * taper).sum((2, 3), keepdims=True) / taper.sum()
    pixels *= taper
    length = np.sqrt(np.square(pixels).sum((2, 3), keepdims=True))
    pixels /= np.maximum(length, np.float32(_BLANK))
    most = min(_FREQUENCY, (side - 1) // 2)
    waves = np.exp(-2j * np.pi / side * np.outer(np.arange(-most, most + 1), np.arange(side)))
    waves = waves.astype(np.complex64)
    magnitude = np.sqrt(np.abs(waves @ pixels @ waves.T[:, most:]) / side)
    orbits = [
        np.sort(magnitude[:, :, [most + u, most - u, most + v, most - v], [v, v, u, u]], axis=-1)
        for u in range(1, most + 1)
        for v in range(u + 1)
        if u * u + v * v <= (most + 0.5) ** 2
    ]
    found: Floats = np.concatenate(orbits, axis=-1).reshape(len(cells), -1)
    return found


def _neighbours(points: Floats) -> tuple[NDArray[np.int64], Floats]:
    """(M, 5) nearest other rows, and their distances."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=_NEIGHBOURS, algorithm="brute").fit(points)
    distance, near = search.kneighbors()
    return near, distance.astype(np.float32)


def _orientations(pictures: Floats) -> list[Floats]:
    """The 8 of (..., S, S): as they are and mirrored, each turned by 0, 90, 180 and 270 degrees."""
    return [
        np.rot90(each, turns, (-2, -1))
        for each in (pictures, pictures[..., ::-1])
        for turns in range(4)
    ]


def _aligned(images: NDArray[Any], pairs: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Least distance of each pair over orientations and shifts, and which it is of.

    The distance is the part of the one's standard deviation that the other does not explain by a
    gain above 0 and an offset, in the channel where that is most: sqrt(1 - r^2).

    Returns:
        (P,) distances, 0 to 1, and (P,) shift times 8 plus orientation.
    """
    distances, places = [], []
    for part in _parts(images, pairs):
        first, second = (_squares(images, cells, _WORKING) for cells in part.T)
        margin = _margin(images)
        side = first.shape[-1] - 2 * margin
        worst = np.zeros((len(part), (2 * margin + 1) ** 2, 8), np.float32)
        for channel in range(first.shape[1]):
            inner = first[:, channel, margin : margin + side, margin : margin + side]
            turned = np.stack([each.reshape(len(part), -1) for each in _orientations(inner)], -1)
            turned -= turned.mean(1, keepdims=True)
            windows = sliding_window_view(second[:, channel], (side, side), (1, 2))
            windows = windows.reshape(len(part), -1, side * side)
            windows = windows - windows.mean(2, keepdims=True)
            lengths = (
                np.sqrt(np.einsum("pks,pks->pk", windows, windows))[:, :, None],
                np.sqrt(np.einsum("pso,pso->po", turned, turned))[:, None],
            )
            blank = (lengths[0] <= _BLANK * side) & (lengths[1] <= _BLANK * side)
            product = np.maximum(lengths[0] * lengths[1], np.float32(_BLANK))
            agreement = np.where(blank, 1.0, (windows @ turned) / product)
            square = np.square(np.clip(agreement, 0.0, 1.0))
            np.maximum(worst, np.sqrt(1.0 - square), out=worst)
        flat = worst.reshape(len(part), -1)
        places.append(flat.argmin(1))
        distances.append(flat.min(1))
    return np.concatenate(distances), np.concatenate(places)


def _margin(images: NDArray[Any]) -> int:
    """``SHIFT`` in pixels of ``_squares``, rounded up."""
    return -(-SHIFT // _block(images))


def _block(images: NDArray[Any]) -> int:
    """Side of the blocks of pixels whose means are compared."""
    return -(-int(min(images.shape[2:])) // _WORKING)


def _laid_over(
    images: NDArray[Any], pair: NDArray[np.int64], place: int
) -> tuple[Floats, Floats, Alignment]:
    """The part that both show, the one turned as the other, by a place of ``_aligned``."""
    margin = _margin(images)
    block = _block(images)
    first, second = _squares(images, pair, _WORKING)
    side = first.shape[-1] - 2 * margin
    shift, orientation = divmod(place, 8)
    down, right = divmod(shift, 2 * margin + 1)
    one = _orientations(first[:, margin : margin + side, margin : margin + side])[orientation]
    other = second[:, down : down + side, right : right + side]
    moved = ((down - margin) * block, (right - margin) * block)
    return one, other, Alignment(orientation >= 4, orientation % 4, moved, 1.0)


def _same_detail(one: Floats, other: Floats) -> float:
    """Correlation of what is left of (C, S, S) without the mean of 3 x 3 pixels, over channels."""
    from scipy.ndimage import uniform_filter

    found = []
    for pictures in zip(one, other, strict=True):
        fine = [(each - uniform_filter(each, 3))[1:-1, 1:-1].ravel() for each in pictures]
        first, second = (each - each.mean() for each in fine)
        length = float(np.sqrt(first @ first) * np.sqrt(second @ second))
        if length > _BLANK * len(first):
            found.append(float(first @ second) / length)
    return float(np.mean(found)) if found else 0.0


def _fitted(one: Floats, other: Floats) -> tuple[float, float]:
    """Gain of (C, S, S), the mean of the channels', and the largest difference that it leaves."""
    gains, largest = [], 0.0
    for first, second in zip(one, other, strict=True):
        centred = first - first.mean()
        spread = float(np.square(centred).sum())
        if spread <= _BLANK:
            continue
        gain = float((centred * second).sum()) / spread
        gains.append(gain)
        rest = np.abs(second - second.mean() - gain * centred)
        largest = max(largest, float(rest.max()))
    return float(np.mean(gains)) if gains else 1.0, largest
