"""The ``mlp`` family: dense layers on all pixels."""

from __future__ import annotations

from torch import nn

from cellsearch.learn.models.head import dense_layers
from cellsearch.space.models import MlpModel


def build(model: MlpModel, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Flattened pixels, dense layers [batch norm] activation [dropout], the output.

    Without a layer it is a softmax regression. Layers of 100 and 50 units with batch norm are the
    network of Espinosa (2022, section 4.1).

    Args:
        model: units of the layers and the like.
        channels: C of the images.
        classes: K.
        size: (H, W), px, of at least 1.

    Returns:
        A module from (B, C, H, W) to logits (B, K).
    """
    pixels = channels * size[0] * size[1]
    layers = dense_layers(
        model, pixels, classes, activation=model.activation, batch_norm=model.batch_norm
    )
    return nn.Sequential(nn.Flatten(), *layers)
