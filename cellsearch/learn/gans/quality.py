"""Whether generated cells are copies of those learnt from, or copies of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEMORISES = 0.5
"""Ratio of distances below which generated cells lie closer to real ones than real ones do."""

COLLAPSED = 0.05
"""Share of the real cells' spread below which generated ones are all but the same."""

JUDGED = 256
"""Cells of either kind that are judged; more would not move a median."""

NEAR = 0.01
"""Root mean square difference, in standard deviations, of cells that are taken for one another.

More than the rounding of a fast distance in float32, less than any camera's noise."""

CHUNK = 128
"""Real cells compared with at a time."""


@dataclass(frozen=True)
class Quality:
    """What is said of generated cells.

    Attributes:
        nearest_ratio: median distance of a generated cell to the nearest real one, over the
            median distance of a real cell to the nearest other; Euclidean, pixels standardised
            by channel.
        notes: plain sentences; empty when all is well.
    """

    nearest_ratio: float
    notes: tuple[str, ...]


def judge(real: NDArray[Any], generated: NDArray[Any]) -> Quality:
    """Compare generated cells with those that they were learnt from.

    Real cells are not compared with their duplicates, which say nothing of how far cells of the
    class lie from each other. Where there is nothing but duplicates, the ratio is 1.

    Args:
        real: (n, C, H, W) raw.
        generated: (m, C, H, W) raw, at random.
    """
    places = np.unique(np.linspace(0, len(real) - 1, min(len(real), JUDGED)).round().astype(int))
    mean = real.mean(axis=(0, 2, 3), dtype=np.float64)
    spread = np.array([real[:, c].std(dtype=np.float64) for c in range(real.shape[1])])
    columns = [
        torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
        for values in (mean, np.where(spread > 0, spread, 1.0))
    ]

    def standardised(cells: NDArray[Any]) -> Tensor:
        return (torch.from_numpy(cells.astype(np.float32)) - columns[0]) / columns[1]

    made, some = standardised(generated[:JUDGED]), standardised(real[places])
    to_real = torch.full((len(made),), torch.inf)
    to_other = torch.full((len(some),), torch.inf)
    for start in range(0, len(real), CHUNK):
        chunk = standardised(real[start : start + CHUNK]).flatten(1)
        to_real = to_real.minimum(_distances(made, chunk).amin(dim=1))
        others = _distances(some, chunk)
        # A cell is its own duplicate.
        others = others.masked_fill(others < NEAR * chunk.shape[1] ** 0.5, torch.inf)
        to_other = to_other.minimum(others.amin(dim=1))
    apart = to_other[to_other.isfinite()]
    ratio = float(to_real.median() / apart.median()) if len(apart) else 1.0

    notes: list[str] = []
    variety = float(_variety(made) / max(float(_variety(some)), 1e-12))
    if variety < COLLAPSED:
        notes.append(
            f"collapsed: generated cells vary {100 * variety:.1f} % as much as the real ones; "
            "they are nearly the same cell"
        )
    if ratio < MEMORISES:
        notes.append(
            f"memorises: the nearest real cell is {ratio:.2f} times as far from a generated cell "
            "as from another real one (medians); they are nearly copies"
        )
    return Quality(ratio, tuple(notes))


def _distances(cells: Tensor, chunk: Tensor) -> Tensor:
    """(a, C, H, W) and (b, C*H*W) to (a, b) Euclidean distances."""
    return torch.cdist(cells.flatten(1), chunk)


def _variety(cells: Tensor) -> Tensor:
    """Root mean square, over pixels, of the standard deviation over cells."""
    return cells.var(dim=0, correction=0).mean().sqrt()
