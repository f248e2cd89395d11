"""The ``vit`` family: a plain vision transformer on square patches."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cellsearch.space.models import VitModel

TEMPERATURE = 10_000.0
"""Longest wave of the positions, in patches, divided by 2 pi."""


class Attention(nn.Module):
    """softmax(q k' / sqrt(d)) v of each head (Vaswani et al. 2017, equation 1)."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Three of (B, heads, T, d) to one."""
        return functional.scaled_dot_product_attention(query, key, value)


class Block(nn.Module):
    """x + attention(norm(x)), then x + dense(norm(x)).

    Args:
        model: widths and heads.
    """

    def __init__(self, model: VitModel) -> None:
        super().__init__()
        inner = model.heads * model.head_dim
        self.heads = model.heads
        self.norm1 = nn.LayerNorm(model.dim)
        self.qkv = nn.Linear(model.dim, 3 * inner, bias=False)
        self.attention = Attention()
        self.out = nn.Linear(inner, model.dim, bias=False)
        self.norm2 = nn.LayerNorm(model.dim)
        self.dense = nn.Sequential(
            nn.Linear(model.dim, model.mlp), nn.GELU(), nn.Linear(model.mlp, model.dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, dim) to the same."""
        cells, count, _ = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(cells, count, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = self.attention(query, key, value).transpose(1, 2).reshape(cells, count, -1)
        tokens = tokens + self.out(seen)
        total: Tensor = tokens + self.dense(self.norm2(tokens))
        return total


class SimpleViT(nn.Module):
    """Patches, positions, blocks, norm, mean of the tokens, dense output.

    Args:
        model: patch, widths and depth.
        channels: C of the images.
        classes: K.
        size: (H, W), px; padded with zeros at the right and the bottom to whole patches.
    """

    positions: Tensor

    def __init__(self, model: VitModel, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.patch = model.patch
        self.rows, self.columns = (math.ceil(side / model.patch) for side in size)
        down, right = (-side % model.patch for side in size)
        self.padding = (0, right, 0, down)
        self.embed = nn.Linear(channels * model.patch**2, model.dim)
        positions = torch.from_numpy(sine_cosine(self.rows, self.columns, model.dim))
        # Made of sizes alone: nothing to keep with the weights.
        self.register_buffer("positions", positions, persistent=False)
        self.blocks = nn.Sequential(*(Block(model) for _ in range(model.blocks)))
        self.norm = nn.LayerNorm(model.dim)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(model.dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K)."""
        tokens = self.norm(self.blocks(self.embed(self.patches(images)) + self.positions))
        logits: Tensor = self.head(self.dropout(tokens.mean(dim=1)))
        return logits

    def patches(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to the flattened patches, (B, rows x columns, C x patch x patch)."""
        if any(self.padding):
            images = functional.pad(images, self.padding)
        cells, channels = images.shape[:2]
        side = self.patch
        cut = images.reshape(cells, channels, self.rows, side, self.columns, side)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(cells, self.rows * self.columns, -1)


def build(model: VitModel, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Simple ViT: Beyer, Zhai and Kolesnikov, Better plain ViT baselines for ImageNet-1k (2022).

    Sizes of a head and of the dense layers are those of the recipe, so that the network of
    Espinosa (2022, section 4.3) can be had to the last weight.

    Args:
        model: patch, widths, heads and depth.
        channels: C of the images.
        classes: K.
        size: (H, W), px, of at least 1.

    Returns:
        A module from (B, C, H, W), of that size alone, to logits (B, K).
    """
    return SimpleViT(model, channels, classes, size)


def sine_cosine(rows: int, columns: int, dim: int) -> NDArray[np.float32]:
    """Fixed positions: sines and cosines of the column, then of the row, of falling frequency.

    Args:
        rows, columns: of patches.
        dim: numbers of a position, a multiple of 4.

    Returns:
        (rows x columns, dim) float32, row by row.
    """
    waves = TEMPERATURE ** -(np.arange(dim // 4) / max(1, dim // 4 - 1))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    across, down = (place.reshape(-1, 1) * waves for place in (column, row))
    parts = (np.sin(across), np.cos(across), np.sin(down), np.cos(down))
    return np.concatenate(parts, axis=1).astype(np.float32)
