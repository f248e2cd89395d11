"""PortableNetwork: a trained recipe as plain bytes, which any process can open again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.precision import Precision, resolve_device
from cellsearch.learn.predictor import Predictor, build_module, probabilities
from cellsearch.space.recipe import ParamValue, Recipe


@dataclass(eq=False)
class PortableNetwork:
    """What a recipe became, without a live network in it until it is asked.

    Attributes:
        params: of the recipe, flat.
        weights: safetensors, statistics of the normalisation included.
        classes: K names.
        channels: C names.
        size: (H, W) of a crop, px.
    """

    params: dict[str, ParamValue]
    weights: bytes
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    size: tuple[int, int]
    _module: CellModule | None = field(default=None, repr=False)

    @classmethod
    def of(cls, predictor: Predictor, recipe: Recipe, dataset: CellDataset) -> Self:
        """Pack what ``fit`` made of a recipe on these cells."""
        from safetensors.torch import save

        state = {
            # safetensors refuses tensors that share memory.
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in predictor.module.state_dict().items()
        }
        _, height, width = (int(side) for side in dataset.images.shape[1:])
        return cls(
            params=recipe.to_params(),
            weights=save(state),
            classes=dataset.classes,
            channels=dataset.channels,
            size=(height, width),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_module": None}

    @property
    def module(self) -> CellModule:
        """The network in eval mode on the CPU, built at the first call."""
        from safetensors.torch import load

        if self._module is None:
            module = build_module(
                Recipe.from_params(self.params),
                channels=len(self.channels),
                classes=len(self.classes),
                size=self.size,
            )
            module.load_state_dict(load(self.weights))
            self._module = module.eval()
        return self._module

    def probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities of each class, computed in float32 on the CPU.

        Args:
            images: (N, C, H, W) raw intensities: uint8, uint16 or float32.

        Returns:
            (N, K) float32; rows add up to 1.

        Raises:
            DataError: pixels that are not finite.
            TrialError: memory is short.
        """
        count = len(images)
        cells = CellDataset.from_arrays(
            images,
            np.full(count, -1),
            classes=self.classes,
            channels=self.channels,
            name="asked",
            layout="NCHW",
        )
        return probabilities(self.module, cells, np.arange(count), device=torch.device("cpu"))


def repeatable_precision(device: str) -> Precision | None:
    """Float32 on a CPU, so that a seed always gives the same network; else the fastest (None).

    Raises:
        ConfigError: no such device.
    """
    place = resolve_device(device)
    return Precision("float32", channels_last=True) if place.type == "cpu" else None
