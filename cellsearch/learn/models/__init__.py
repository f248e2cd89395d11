"""Model families, by the name that a recipe gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cellsearch.errors import TrialError
from cellsearch.space.models import NETWORKS

if TYPE_CHECKING:
    from torch import nn

    from cellsearch.space.models import Model

Builder = Callable[[Any, int, int, tuple[int, int]], "nn.Module"]


def _of(module: str) -> Builder:
    """``build`` of a file of this folder, which is imported when it is first called."""

    def build(model: Any, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        found = import_module(f"{__name__}.{module}")
        network: nn.Module = found.build(model, channels, classes, size)
        return network

    return build


_FILES: Mapping[str, str] = {"timm": "timm_net"}
"""Families whose file has another name than the family."""

FAMILIES: Mapping[str, Builder] = MappingProxyType(
    {name: _of(_FILES.get(name, name.replace("-", "_"))) for name in NETWORKS}
)
"""Families of networks. A classical family is not among them: it is made by a fit."""


def build_network(model: Model, *, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """The network of a recipe, with fresh weights from torch's global generator.

    Args:
        model: the recipe's ``model`` section.
        channels: C of the images.
        classes: K.
        size: (H, W) that the network sees, px: after cropping and resizing.

    Returns:
        A module from normalised float images (B, C, H, W) to logits (B, K).

    Raises:
        TrialError: no family of networks has that name, or it cannot take such images.
    """
    builder = FAMILIES.get(model.family)
    if builder is None:
        raise TrialError(
            f"model.family: a network must be one of {', '.join(FAMILIES)}; got {model.family!r}"
        )
    return builder(model, channels, classes, size)
