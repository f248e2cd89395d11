"""Duplicates: the same picture twice, byte for byte or nearly so, wherever in a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.moved_copies import Alignment, moved_copies
from cellsearch.data.storage import rows_per_chunk

NEAR_TOLERANCE = 0.3
"""On imaging flow cytometry and blood smears, repeated cells lie below 0.28 of the typical
neighbour distance, different cells above 0.37 (in every channel alone and in all together)."""

FEWEST_VALUES = 16
"""Values of a picture from which near-duplicates and blank ones are told: with fewer, cells come to
lie so close by chance. Where neighbours fill d dimensions evenly, 5 N x 0.3^d of N cells do."""

_GRID = 8
_DIMENSIONS = 24
_SAMPLE = 128
_SAMPLE_AGAINST = 20_000
_NEIGHBOUR = 5


@dataclass(frozen=True)
class DuplicatePair:
    """Two cells that show the same picture.

    Attributes:
        a: index of the one, smaller than ``b``.
        b: index of the other.
        kind: ``exact``: equal byte for byte; ``near``: equal but for noise, compression, or how the
            one was turned, mirrored, shifted or made brighter.
        largest_difference: largest absolute difference of a pixel in any channel, grey levels; once
            they are aligned.
        alignment: what was done to the one to give the other; None where they lie on each other.
    """

    a: int
    b: int
    kind: Literal["exact", "near"]
    largest_difference: float
    alignment: Alignment | None = None


def flat_channels(images: NDArray[Any]) -> NDArray[np.bool_]:
    """Channels without a picture: one value, or stripes (all rows or all columns alike).

    Images of one row or one column hold a picture unless they hold one value. Of fewer than
    ``FEWEST_VALUES`` nothing is said.

    Args:
        images: (N, C, H, W).

    Returns:
        (N, C) bool.
    """
    height, width = images.shape[2:]
    flat = np.zeros(images.shape[:2], np.bool_)
    if np.prod(images.shape[1:]) < FEWEST_VALUES:
        return flat
    for rows in _chunks(images):
        block = images[rows]
        # The corner test spares nearly all cells the comparison of every pixel.
        alike_rows = (block[..., 0, :] == block[..., -1, :]).all(-1)
        alike_columns = (block[..., :, 0] == block[..., :, -1]).all(-1)
        for n, c in np.argwhere(alike_rows):
            alike_rows[n, c] = (block[n, c] == block[n, c, :1, :]).all()
        for n, c in np.argwhere(alike_columns):
            alike_columns[n, c] = (block[n, c] == block[n, c, :, :1]).all()
        flat[rows] = (alike_rows & (height > 1)) | (alike_columns & (width > 1))
    return flat


def find_duplicates(
    images: NDArray[Any],
    *,
    near_tolerance: float = NEAR_TOLERANCE,
    flat: NDArray[np.bool_] | None = None,
) -> list[DuplicatePair]:
    """Pairs of cells that show the same picture; cells without any picture are passed over.

    The distance of two cells is, in the channel where they differ most, the root mean square
    difference of their pixels over the larger of their standard deviations, so that it asks how
    much of the picture differs, whatever the exposure. Near-duplicates lie within
    ``near_tolerance`` of the data set's typical distance to a 5th neighbour (the median over a
    sample): what is close is read off the data, and holds for any dtype, noise and number of
    channels. The search misses no such pair: block means bound the distance from below and prune,
    pixels decide. Copies that were turned, mirrored, shifted by up to 2 px or made brighter are
    near-duplicates, too; ``moved_copies`` says how they are found.

    Args:
        images: (N, C, H, W), uint8, uint16 or float32; may be memory-mapped.
        near_tolerance: 0 finds exact duplicates only, as do pictures of fewer than
            ``FEWEST_VALUES``.
        flat: (N, C) bool as from ``flat_channels``, where it is known already.

    Returns:
        Pairs in the order of ``(a, b)``. Of m equal cells the first is paired with each of the
        other m - 1.
    """
    pictures = np.flatnonzero(~(flat_channels(images) if flat is None else flat).all(axis=1))
    first = _first_of_equals(images, pictures)
    exact = [
        DuplicatePair(int(a), int(b), "exact", 0.0)
        for a, b in zip(first, pictures, strict=True)
        if a != b
    ]
    distinct = np.unique(first)
    told = near_tolerance > 0 and np.prod(images.shape[1:]) >= FEWEST_VALUES
    near = _near(images, distinct, near_tolerance) if told else []
    known = {(pair.a, pair.b) for pair in near}
    moved = [
        DuplicatePair(each.a, each.b, "near", each.largest_difference, each.alignment)
        for each in (moved_copies(images, distinct) if told else ())
        if (each.a, each.b) not in known
    ]
    return sorted([*exact, *near, *moved], key=lambda pair: (pair.a, pair.b))


def _chunks(images: NDArray[Any]) -> Iterator[slice]:
    step = rows_per_chunk(images)
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def _first_of_equals(images: NDArray[Any], cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of ``cells``, the first cell of the same bytes."""
    seen: dict[bytes, int] = {}
    first = [
        seen.setdefault(hashlib.blake2b(images[cell].tobytes(), digest_size=16).digest(), int(cell))
        for cell in cells
    ]
    return np.array(first, np.int64)


def _near(images: NDArray[Any], cells: NDArray[np.int64], tolerance: float) -> list[DuplicatePair]:
    if len(cells) < 3:
        return []
    blocks, spread = _fingerprints(images, cells)
    limit = tolerance * _typical_distance(images, cells, spread)
    # The fingerprints have mean 0 and length 1: pictures within d of each other (relative to the
    # longer) enclose an angle of at most arcsin(d), and their fingerprints are its chord apart.
    reach = 2 * float(np.sin(np.arcsin(limit) / 2)) if limit < 1 else 2.0
    duplicates: list[DuplicatePair] = []
    for pairs in _candidates(blocks, reach * np.sqrt(images.shape[1])):
        left, right = cells[pairs[:, 0]], cells[pairs[:, 1]]
        scale = np.maximum(spread[pairs[:, 0]], spread[pairs[:, 1]])
        for start in range(0, len(pairs), step := rows_per_chunk(images)):
            part = slice(start, start + step)
            difference = images[left[part]].astype(np.float32) - images[right[part]]
            distance = _relative(np.square(difference).mean((2, 3)), scale[part]).max(1)
            largest = np.abs(difference).max((1, 2, 3))
            duplicates += [
                DuplicatePair(int(min(a, b)), int(max(a, b)), "near", float(most))
                for a, b, most in zip(
                    left[part][distance <= limit],
                    right[part][distance <= limit],
                    largest[distance <= limit],
                    strict=True,
                )
            ]
    return duplicates


def _relative(mean_square: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square over scale; 0 where both are 0, infinite where only the scale is."""
    root = np.sqrt(np.maximum(mean_square, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(root > 0, root / scale, np.float32(0)).astype(np.float32)


def _fingerprints(
    images: NDArray[Any], cells: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Block means of each standardised picture, and (M, C) standard deviation before.

    A difference of fingerprints is never longer than the root mean square difference of the
    pictures summed over channels.
    """
    channels, height, width = images.shape[1:]
    rows = np.linspace(0, height, min(_GRID, height) + 1).astype(int)
    columns = np.linspace(0, width, min(_GRID, width) + 1).astype(int)
    area = np.outer(np.diff(rows), np.diff(columns)).astype(np.float32)
    weight = np.sqrt(area / area.sum())
    blocks = np.empty((len(cells), channels * area.size), np.float32)
    spread = np.empty((len(cells), channels), np.float32)
    for start in range(0, len(cells), step := rows_per_chunk(images)):
        part = slice(start, start + step)
        pixels = images[cells[part]].astype(np.float32)
        pixels -= pixels.mean((2, 3), keepdims=True)
        spread[part] = np.sqrt(np.square(pixels).mean((2, 3)))
        sums = np.add.reduceat(np.add.reduceat(pixels, rows[:-1], 2), columns[:-1], 3)
        scale = np.where(spread[part] > 0, spread[part], np.float32(1))
        blocks[part] = (sums / area * weight / scale[..., None, None]).reshape(len(pixels), -1)
    return blocks, spread


def _typical_distance(
    images: NDArray[Any], cells: NDArray[np.int64], spread: NDArray[np.float32]
) -> float:
    """Median over a sample of the distance to the 5th nearest other cell.

    The 5th, so that a data set in which each cell comes up to five times still has a scale.
    """
    rng = np.random.default_rng(0)
    others = np.sort(rng.permutation(len(cells))[:_SAMPLE_AGAINST])
    sample = np.sort(rng.permutation(others)[:_SAMPLE])
    pixels = images.shape[2] * images.shape[3]
    picked = images[cells[sample]].astype(np.float32)
    centre = picked.mean((0, 2, 3), keepdims=True)
    picked = (picked - centre).reshape(len(sample), images.shape[1], pixels)
    own = np.einsum("scp,scp->cs", picked, picked)
    farthest = np.empty((len(others), len(sample)), np.float32)
    for start in range(0, len(others), step := rows_per_chunk(images)):
        part = others[start : start + step]
        block = images[cells[part]].astype(np.float32) - centre
        block = block.reshape(len(part), images.shape[1], pixels)
        worst = np.zeros((len(part), len(sample)), np.float32)
        for channel in range(images.shape[1]):
            pixel_sums = np.square(block[:, channel]).sum(1)[:, None] + own[channel]
            square = (pixel_sums - 2 * block[:, channel] @ picked[:, channel].T) / pixels
            scale = np.maximum(spread[part, channel][:, None], spread[sample, channel])
            np.maximum(worst, _relative(square, scale), out=worst)
        farthest[start : start + step] = worst
    farthest[np.searchsorted(others, sample), np.arange(len(sample))] = np.inf
    rank = min(_NEIGHBOUR, len(others) - 1) - 1
    nearest = np.partition(farthest, rank, axis=0)[rank]
    typical = float(np.median(nearest))
    return typical if np.isfinite(typical) else 0.0


def _candidates(blocks: NDArray[np.float32], reach: float) -> Iterator[NDArray[np.int64]]:
    """Pairs of rows at most ``reach`` apart along the principal axes, in (P, 2) parts."""
    centred = blocks - blocks.mean(0)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    points = centred @ axes[:, ::-1][:, :_DIMENSIONS].astype(np.float32)
    # Sorted along the longest axis, a cell need only be compared with those within reach of it.
    order = np.argsort(points[:, 0], kind="stable")
    points = points[order]
    squares = np.square(points).sum(1)
    last = np.searchsorted(points[:, 0], points[:, 0] + np.float32(reach), side="right")
    for start in range(0, len(points), 512):
        stop = min(start + 512, len(points))
        end = int(last[stop - 1])
        gap = squares[start:stop, None] + squares[None, start:end]
        gap -= 2 * points[start:stop] @ points[start:end].T
        left, right = np.nonzero(gap <= reach**2 * 1.001 + 1e-5)
        ahead = right > left
        if ahead.any():
            yield np.stack([order[start + left[ahead]], order[start + right[ahead]]], 1)
