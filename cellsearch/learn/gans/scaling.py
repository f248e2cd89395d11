"""Scaling: raw intensities of one class to [-1, 1], where the generator's tanh lives, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PERCENTILES = (0.1, 99.9)
"""Of a channel's pixels; one hot pixel must not squeeze all the others together."""

SAMPLED = 1000
"""Cells that the percentiles are taken of, evenly spaced, where there are more."""


@dataclass(frozen=True)
class Scaling:
    """Per channel: what becomes 0, what becomes 1 above it, and the bounds of what was seen."""

    centre: tuple[float, ...]
    half: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    @classmethod
    def of(cls, cells: NDArray[Any]) -> Self:
        """From (n, C, H, W) raw cells."""
        some = cells[:: -(-len(cells) // SAMPLED)]
        low, high = (
            np.array([np.percentile(some[:, c], q) for c in range(cells.shape[1])], np.float64)
            for q in PERCENTILES
        )
        return cls(
            centre=tuple(((low + high) / 2).tolist()),
            half=tuple(((high - low) / 2).tolist()),
            lowest=tuple(float(v) for v in cells.min(axis=(0, 2, 3))),
            highest=tuple(float(v) for v in cells.max(axis=(0, 2, 3))),
        )

    def scaled(self, cells: NDArray[Any], device: torch.device) -> Tensor:
        """(B, C, H, W) raw cells to float32 in [-1, 1]."""
        # A channel without any contrast is 0 throughout, and comes back as it was.
        half = [value if value > 0 else 1.0 for value in self.half]
        raw = torch.from_numpy(np.array(cells)).to(device).to(torch.float32)
        return ((raw - _column(self.centre, device)) / _column(half, device)).clamp_(-1.0, 1.0)

    def raw(self, cells: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
        """(B, C, H, W) in [-1, 1] to ``dtype``: rounded, and within what was seen."""
        values = cells * _column(self.half, cells.device) + _column(self.centre, cells.device)
        return self.bounded(values.cpu().numpy(), dtype)

    def bounded(self, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """(B, C, H, W) raw intensities as ``dtype``, rounded if whole, clipped by channel."""
        low, high = (np.array(v).reshape(-1, 1, 1) for v in (self.lowest, self.highest))
        if dtype.kind in "ui":
            values = np.rint(values)
        # Float32 bounds, so that no rounding of the bounds themselves leaves them.
        return values.clip(low.astype(dtype), high.astype(dtype)).astype(dtype)


def _column(values: tuple[float, ...] | list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
