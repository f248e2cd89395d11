"""Model families, by the name that a recipe gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from cellsearch.errors import TrialError
from cellsearch.learn.models import cnn
from cellsearch.space.recipe import CnnModel

Builder = Callable[[CnnModel, int, int, tuple[int, int]], nn.Module]

FAMILIES: Mapping[str, Builder] = MappingProxyType({"cnn": cnn.build})


def build_network(
    model: CnnModel, *, channels: int, classes: int, size: tuple[int, int]
) -> nn.Module:
    """The network of a recipe, with fresh weights from torch's global generator.

    Args:
        model: the recipe's ``model`` section.
        channels: C of the images.
        classes: K.
        size: (H, W) of the images, px.

    Returns:
        A module from normalised float images (B, C, H, W) to logits (B, K).

    Raises:
        TrialError: no family of that name, or the family cannot take such images.
    """
    builder = FAMILIES.get(model.family)
    if builder is None:
        raise TrialError(
            f"model.family: must be one of {', '.join(FAMILIES)}; got {model.family!r}"
        )
    return builder(model, channels, classes, size)
