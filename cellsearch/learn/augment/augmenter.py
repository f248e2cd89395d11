"""Augmenter: the transforms that a recipe asks for, one after the other."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellsearch.learn.augment.focus import add_noise, blur, reach_of, sharpen
from cellsearch.learn.augment.light import grey, recolour, relight
from cellsearch.learn.augment.moves import gather, orientations, turn
from cellsearch.space.sections import Augment


class Augmenter:
    """Transforms batches of raw intensities as a recipe says.

    The order is that of a microscope: where the cell lies, focus, light, and last the noise of the
    camera. What the recipe leaves out draws nothing.

    Args:
        augment: the recipe's section.
        size: (H, W), px. Right-angle rotations of crops that are not square are by 180 degrees.
        device: where the batches lie.
        rng: source of chance.
    """

    def __init__(
        self,
        augment: Augment,
        *,
        size: tuple[int, int],
        device: torch.device,
        rng: np.random.Generator,
    ) -> None:
        self._augment = augment
        self._device = device
        self._rng = rng
        self._noise = torch.Generator(device)
        self._orientations = torch.from_numpy(
            orientations(size, flip=augment.flip, rotate90=augment.rotate90)
        ).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities to the same, transformed."""
        return self._light(self._focus(self._move(images)))

    def _move(self, images: Tensor) -> Tensor:
        augment = self._augment
        if len(self._orientations) > 1 or augment.shift:
            images = self._gather(images)
        if augment.rotate or augment.zoom:
            angle, scale = np.zeros(len(images)), np.ones(len(images))
            if augment.rotate:
                angle = np.deg2rad(self._uniform(-augment.rotate, augment.rotate, len(images)))
            if augment.zoom:
                scale = np.exp(np.log1p(augment.zoom) * self._uniform(-1.0, 1.0, len(images)))
            images = turn(images, self._send(angle), self._send(scale))
        return images

    def _focus(self, images: Tensor) -> Tensor:
        augment = self._augment
        if augment.blur:
            sigma = self._uniform(0.0, augment.blur, len(images))
            images = blur(images, self._send(sigma), reach=reach_of(augment.blur))
        if augment.sharpen:
            amount = self._uniform(0.0, augment.sharpen, len(images))
            images = sharpen(images, self._send(amount))
        return images

    def _light(self, images: Tensor) -> Tensor:
        augment = self._augment
        cells, channels = images.shape[:2]
        if augment.brightness:
            draw = self._uniform(-augment.brightness, augment.brightness, (2, cells))
            images = relight(images, self._send(draw[0]), self._send(draw[1]))
        if augment.colour:
            gain = self._uniform(-augment.colour, augment.colour, (cells, channels))
            images = recolour(images, self._send(gain))
        if augment.grey:
            chosen = torch.from_numpy(self._rng.random(cells) < augment.grey)
            images = grey(images, chosen.to(self._device))
        if augment.noise:
            amount = self._uniform(0.0, augment.noise, cells)
            self._noise.manual_seed(int(self._rng.integers(2**63)))
            images = add_noise(images, self._send(amount), generator=self._noise)
        return images

    def _gather(self, images: Tensor) -> Tensor:
        """Orient and shift, with the nearest px beyond the edge."""
        cells, (height, width) = len(images), images.shape[2:]
        which = self._rng.integers(len(self._orientations), size=cells)
        source = self._orientations[torch.from_numpy(which).to(self._device)]
        if self._augment.shift:
            far = self._augment.shift
            down, right = self._rng.integers(-far, far + 1, (2, cells, 1))
            rows = np.clip(np.arange(height) - down, 0, height - 1)
            columns = np.clip(np.arange(width) - right, 0, width - 1)
            pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(cells, -1)
            source = source.gather(1, torch.from_numpy(pixels).to(self._device))
        return gather(images, source)

    def _uniform(self, low: float, high: float, size: int | tuple[int, int]) -> NDArray[np.float64]:
        return self._rng.uniform(low, high, size)

    def _send(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)
