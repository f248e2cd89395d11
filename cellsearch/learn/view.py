"""View: the part of a crop that a network sees, at the size that it takes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.space.sections import Input
from cellsearch.space.seen import cropped_size, seen_size


class View(nn.Module):
    """Crop, then resize: at random while training, about the centre otherwise.

    Resizing is two matrix products with the weights of an antialiased triangle filter, as Pillow's
    bilinear one. So it runs on the device, batch by batch, is the same in torch and in ONNX, and
    no enlarged copy of the data set exists anywhere.

    Args:
        size: (H, W) of the crops, px.
        settings: the recipe's ``input`` section.
    """

    down: Tensor
    across: Tensor

    def __init__(self, size: tuple[int, int], settings: Input) -> None:
        super().__init__()
        self.size = size
        self.cropped = cropped_size(size, settings.crop)
        self.seen = seen_size(size, settings)
        self.resizes = self.seen != self.cropped
        if self.resizes:
            # Made of sizes alone: nothing to keep with the weights.
            for name, before, after in zip(
                ("down", "across"), self.cropped, self.seen, strict=True
            ):
                matrix = torch.from_numpy(resizing_matrix(before, after))
                self.register_buffer(name, matrix, persistent=False)

    @property
    def changes(self) -> bool:
        """Whether the network sees anything but the whole crop as it is."""
        return self.resizes or self.cropped != self.size

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 to (B, C, *seen), about the centre."""
        top, left = ((a - b) // 2 for a, b in zip(self.size, self.cropped, strict=True))
        return self._resized(self._cut(images, top, left))

    def draw(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """The same with a place drawn for each cell."""
        rooms = [a - b for a, b in zip(self.size, self.cropped, strict=True)]
        if not any(rooms):
            return self._resized(images)
        cells, channels = images.shape[:2]
        top, left = (rng.integers(0, room + 1, (cells, 1)) for room in rooms)
        rows = top + np.arange(self.cropped[0])
        columns = left + np.arange(self.cropped[1])
        pixels = rows[:, :, None] * self.size[1] + columns[:, None, :]
        source = torch.from_numpy(pixels.reshape(cells, 1, -1)).to(images.device)
        taken = images.reshape(cells, channels, -1).gather(2, source.expand(-1, channels, -1))
        return self._resized(taken.view(cells, channels, *self.cropped))

    def _cut(self, images: Tensor, top: int, left: int) -> Tensor:
        if self.cropped == self.size:
            return images
        height, width = self.cropped
        return images[:, :, top : top + height, left : left + width]

    def _resized(self, images: Tensor) -> Tensor:
        return self.down @ images @ self.across.T if self.resizes else images


def resizing_matrix(before: int, after: int) -> NDArray[np.float32]:
    """(after, before) float32: each row the weights of the old px in a new one, summing to 1.

    A triangle filter as wide as one new px where the image shrinks, one old px where it grows
    (Pillow's and torchvision's antialiased bilinear).
    """
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    distances = np.abs(np.arange(before)[None, :] + 0.5 - centres[:, None]) / reach
    weights: NDArray[np.float64] = np.clip(1.0 - distances, 0.0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)
