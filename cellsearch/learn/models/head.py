"""What the families share: activations by name, and the dense layers before the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from cellsearch.space.models import Activation, Headed

ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "tanh": nn.Tanh,
    }
)

MONOTONE: frozenset[Activation] = frozenset({"relu", "leaky_relu", "elu", "tanh"})
"""Activations f with f(max(x)) = max(f(x))."""


def dense_layers(
    model: Headed,
    features: int,
    classes: int,
    *,
    activation: Activation = "relu",
    batch_norm: bool = False,
) -> list[nn.Module]:
    """Dense layers [batch norm] activation [dropout], and the output; without one, the output.

    Args:
        model: units of each layer, and the dropout behind it.
        features: of what enters, (B, features).
        classes: K; the last layer gives (B, K).
        activation: after each layer but the output.
        batch_norm: normalise before each activation.
    """
    layers: list[nn.Module] = []
    for units in model.head:
        # Batch norm has a bias already, but the papers' networks keep both.
        layers.append(nn.Linear(features, units))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(ACTIVATIONS[activation]())
        if model.dropout > 0:
            layers.append(nn.Dropout(model.dropout))
        features = units
    layers.append(nn.Linear(features, classes))
    return layers
