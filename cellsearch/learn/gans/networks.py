"""Generator and critic of the size of DCGAN (Radford, Metz & Chintala 2016, arXiv 1511.06434).

Sides are halved, rounding up, until the longest is at most 8 px: 40 -> 20 -> 10 -> 5, or
66 -> 33 -> 17 -> 9 -> 5. The critic goes down these sides and the generator up, cutting the odd
row or column off again, so any crop of 16 to 160 px comes out at its own size, square or not.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

LATENT = 64
"""Entries of the vector that a cell is made from."""

LONGEST_START = 8
"""Longest side of the generator's first maps, px."""

FEWEST_MAPS = 16
"""Maps at full size, where ``width`` is no less."""

SLOPE = 0.2
"""Of the leaky rectifiers, as in DCGAN."""

Size = tuple[int, int]


def sides(size: Size) -> list[Size]:
    """(H, W) of the maps from the smallest to the crop, px."""
    found = [size]
    while max(found[0]) > LONGEST_START:
        height, width = found[0]
        found.insert(0, ((height + 1) // 2, (width + 1) // 2))
    return found


def widths(width: int, levels: int) -> list[int]:
    """Maps at each of the sides, from the smallest: halved each time, down to 16."""
    return [max(width >> level, min(width, FEWEST_MAPS)) for level in range(levels)]


class Generator(nn.Module):
    """Latent vectors (B, 64) to cells (B, C, H, W) in [-1, 1].

    Transposed 4 x 4 convolutions of stride 2, batch normalisation and leaky rectifiers; tanh at
    the end.

    Args:
        channels: C.
        size: (H, W), px.
        width: maps at the smallest side.
    """

    def __init__(self, channels: int, size: Size, *, width: int) -> None:
        super().__init__()
        self.sides = sides(size)
        maps = widths(width, len(self.sides) - 1)
        height, across = self.sides[0]
        self.start = nn.Linear(LATENT, maps[0] * height * across, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in maps)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=last)
            for before, after, last in zip(
                maps,
                [*maps[1:], channels],
                [False] * (len(maps) - 1) + [True],
                strict=True,
            )
        )
        self.apply(_small_weights)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, 64) float32, standard normal, to (B, C, H, W) float32."""
        height, across = self.sides[0]
        maps = self.start(latent).view(len(latent), -1, height, across)
        for norm, up, (tall, wide) in zip(self.norms, self.ups, self.sides[1:], strict=True):
            maps = nn.functional.leaky_relu(norm(maps), SLOPE)
            maps = up(maps)[:, :, :tall, :wide]
        return torch.tanh(maps)


class Critic(nn.Module):
    """Cells (B, C, H, W) to scores (B,); the higher, the more like a real one.

    4 x 4 convolutions of stride 2 and leaky rectifiers. Nothing normalises over the batch: the
    gradient penalty is on the critic of each cell by itself (Gulrajani et al. 2017, section 4).

    Args:
        channels: C.
        size: (H, W), px.
        width: maps at the smallest side.
    """

    def __init__(self, channels: int, size: Size, *, width: int) -> None:
        super().__init__()
        levels = sides(size)[::-1]
        maps = [channels, *widths(width, len(levels) - 1)[::-1]]
        self.downs = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=(1 + tall % 2, 1 + wide % 2))
            for (before, after), (tall, wide) in zip(pairwise(maps), levels[:-1], strict=True)
        )
        height, across = levels[-1]
        self.end = nn.Linear(maps[-1] * height * across, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] to (B,) float32."""
        maps = cells
        for down in self.downs:
            maps = nn.functional.leaky_relu(down(maps), SLOPE)
        scores: Tensor = self.end(maps.flatten(1))[:, 0]
        return scores


def _small_weights(module: nn.Module) -> None:
    # DCGAN, section 3: all weights from a normal law of standard deviation 0.02.
    if isinstance(module, nn.Linear | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
