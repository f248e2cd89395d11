"""BackboneModule: from raw intensities through a frozen network to class probabilities."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.errors import TrialError
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.models.backbone_net import (
    build_backbone,
    features_of_view,
    pretrained_state,
)
from cellsearch.learn.normalise import Normalise
from cellsearch.learn.view import View
from cellsearch.space.models import ClassicalModel
from cellsearch.space.sections import Input
from cellsearch.util.progress import Progress

CELLS_AT_ONCE = 8
"""Always so many, the last ones filled up: a cell's features are those of any company."""

TAIL = 0.005
"""Share of a cell's px that may lie beyond each limit of its own scale."""


class CellScale(nn.Module):
    """Raw intensities to 0 .. 1, by nothing but the cell itself or the limits of its type.

    ``cell``: from the cell's own 0.5th to its 99.5th percentile, of each channel by itself or of
    all together. ``dtype``: from 0 to the largest integer of the type; fractional intensities have
    no such limit and are scaled as with ``cell``. ``auto``: ``dtype`` for 8 bits, which are mostly
    filled, ``cell`` for deeper images, which are not.

    Attributes:
        limits: (2,) float32 buffer; both 0 until ``fit``, and where each cell has its own.
    """

    limits: Tensor

    def __init__(self, how: Literal["auto", "cell", "dtype"], *, together: bool) -> None:
        super().__init__()
        self.how = how
        self.dims = (1, 2, 3) if together else (2, 3)
        self.register_buffer("limits", torch.zeros(2))

    def fit(self, dtype: np.dtype[Any]) -> None:
        """Take the limits of a type of image."""
        shallow = self.how == "dtype" or (self.how == "auto" and dtype.itemsize == 1)
        if shallow and dtype.kind in "ui":
            self.limits[1] = float(np.iinfo(dtype).max)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 to 0 .. 1."""
        flat = images.flatten(self.dims[0])
        beyond = max(1, round(TAIL * flat.shape[-1]))
        high = flat.topk(beyond, dim=-1).values[..., -1]
        low = flat.topk(beyond, dim=-1, largest=False).values[..., -1]
        if self.how != "cell":
            fixed = self.limits[1] > self.limits[0]
            high = torch.where(fixed, self.limits[1], high)
            low = torch.where(fixed, self.limits[0], low)
        shape = high.shape + (1,) * (images.ndim - high.ndim)
        low, high = low.reshape(shape), high.reshape(shape)
        # A flat cell has no contrast to be spread.
        spread = torch.where(high > low, high - low, torch.ones_like(high))
        return ((images - low) / spread).clamp(0.0, 1.0)


class BackboneModule(CellModule):
    """A cell module whose network judges the features that a frozen backbone makes of a cell.

    The graph of a card takes raw crops: backbone and head are both in it. Features are
    standardised as channels of one px, over the training cells.

    Attributes:
        name: of the backbone, as timm spells it.
        backbone: frozen; random until ``begin`` or a card fills it.
        scale: of the intensities, by each cell itself.
        features: F of a cell.

    Raises:
        TrialError: timm does not know the network, or it takes no such images.
    """

    def __init__(
        self, model: ClassicalModel, channels: int, size: tuple[int, int], crop: float
    ) -> None:
        colour = model.colour if model.colour != "auto" else ("rgb" if channels == 3 else "grey")
        if colour == "rgb" and channels != 3:
            raise TrialError(
                f"model.colour: rgb takes images of 3 channels; these have {channels}: use grey"
            )
        views = 1 if colour == "rgb" else channels
        features = views * features_of_view(model.backbone, model.side)
        super().__init__(
            View(size, Input(crop=crop, size=model.side)),
            Normalise(features, "channel"),
            nn.Identity(),
            test_flips=False,
        )
        self.name, self.side = model.backbone, model.side
        self.colour, self.features = colour, features
        self.scale = CellScale(model.scaling, together=colour == "rgb")
        self.backbone = build_backbone(model.backbone, model.side)

    def begin(self, dtype: np.dtype[Any]) -> None:
        """Load the backbone's weights, and take the limits of the images' type.

        Raises:
            TrialError: the weights are not on this machine.
        """
        self.scale.fit(dtype)
        self.backbone.load_state_dict(pretrained_state(self.name, self.side))

    def measure(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities to (B, F) float32 features."""
        scaled = self.scale(self.view(images))
        if self.colour == "rgb":
            found: Tensor = self.backbone(scaled)
            return found
        cells = scaled.shape[0]
        views = scaled.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1)
        of_views: Tensor = self.backbone(views)
        return of_views.reshape(cells, -1)

    def judge(self, features: Tensor) -> Tensor:
        """(B, F) float32 features to (B, K) float32 probabilities."""
        logits: Tensor = self.network(self.standardised(features))
        return logits.float().softmax(dim=1)

    def standardised(self, features: Tensor) -> Tensor:
        """(B, F) with a mean of 0 and a standard deviation of 1 over the training cells."""
        seen: Tensor = self.normalise(features[:, :, None, None])
        return seen[:, :, 0, 0]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities to (B, K) float32 probabilities."""
        return self.judge(self.measure(images))

    def features_of(
        self, images: NDArray[Any], on_stage: Progress | None = None
    ) -> NDArray[np.float32]:
        """(n, F) float32 features of (n, C, H, W) raw intensities of any dtype."""
        out = np.empty((len(images), self.features), dtype=np.float32)
        with torch.inference_mode():
            for at in range(0, len(images), CELLS_AT_ONCE):
                piece = np.asarray(images[at : at + CELLS_AT_ONCE], dtype=np.float32)
                full = np.zeros((CELLS_AT_ONCE, *piece.shape[1:]), dtype=np.float32)
                full[: len(piece)] = piece
                rows = self.measure(torch.from_numpy(full)).numpy()
                out[at : at + len(piece)] = rows[: len(piece)]
                if on_stage is not None:
                    on_stage(f"features of {self.name}", at + len(piece), len(images))
        return out
