"""From raw intensities to class probabilities, as one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cellsearch.learn.normalise import Normalise
from cellsearch.learn.view import View


class CellModule(nn.Module):
    """Raw intensities to class probabilities: view, normalisation, network, test flips, softmax.

    Attributes:
        view: what the network sees of a crop.
        normalise: fitted on training cells, its statistics are buffers.
        network: normalised images to logits.
        test_flips: probabilities are the mean over the cell and its three flips.
        measures: whether it takes measured features, (B, F), in place of pixels.
    """

    measures = False

    def __init__(
        self, view: View, normalise: Normalise, network: nn.Module, *, test_flips: bool
    ) -> None:
        super().__init__()
        self.view = view
        self.normalise = normalise
        self.network = network
        self.test_flips = test_flips

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities to (B, K) float32 probabilities."""
        normalised = self.normalise(self.view(images))
        views = [normalised]
        if self.test_flips:
            views += [normalised.flip(dims) for dims in ((2,), (3,), (2, 3))]
        probabilities = [self.network(view).float().softmax(dim=1) for view in views]
        return torch.stack(probabilities).mean(dim=0) if self.test_flips else probabilities[0]
