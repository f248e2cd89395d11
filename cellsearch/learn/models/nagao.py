"""The ``nagao`` family: convolution + max-pool stages and a dense head."""

from __future__ import annotations

from torch import nn

from cellsearch.learn.models.head import dense_layers
from cellsearch.space.models import NagaoModel


def build(model: NagaoModel, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """An input convolution, ``depth`` stages of convolution and max-pool, and a dense head.

    After Nagao, Sakamoto, Chinen, Okada and Takao (Molecular Biology of the Cell 31, 2020) as
    retold for four cell-cycle phases at EPFL (2023, section III-D): 3 x 3 convolutions of one
    width, ReLU, dropout 0.5 in the head. Pooling stops when a side would fall below 1 px; later
    stages are convolutions alone, so that any depth fits any crop.

    Args:
        model: depth, width and head.
        channels: C of the images.
        classes: K.
        size: (H, W), px, of at least 1.

    Returns:
        A module from (B, C, H, W) to logits (B, K).
    """
    height, width = size
    layers: list[nn.Module] = [nn.Conv2d(channels, model.width, 3, padding=1), nn.ReLU()]
    for _ in range(model.depth):
        layers.append(nn.Conv2d(model.width, model.width, 3, padding=1))
        if min(height, width) >= 2:
            # max(relu(x)) = relu(max(x)), of a quarter of the pixels.
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        layers.append(nn.ReLU())
    layers += [nn.Flatten(), *dense_layers(model, model.width * height * width, classes)]
    return nn.Sequential(*layers)
