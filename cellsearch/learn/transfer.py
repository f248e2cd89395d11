"""Weights that a network begins with: a backbone learnt on another task, under a new head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import TrialError
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.models.timm_net import TimmNet, head_parameters
from cellsearch.space.models import ClassicalModel, Model, unpretrained
from cellsearch.space.recipe import Recipe
from cellsearch.util.json_text import from_json


@dataclass(frozen=True, eq=False)
class Backbone:
    """Weights of a trained ``CellModule``, and the model section that they belong to."""

    model: Model
    state: Mapping[str, Tensor]


def read_backbone(card: Path) -> Backbone:
    """The weights of a card, from its ``config.json`` and ``model.safetensors``.

    They take the place of timm's, which its network need not have at hand any more.
    """
    from safetensors.torch import load_file

    config = from_json((card / "config.json").read_text(encoding="utf-8"))
    recipe, prefix = _network(config)
    state = load_file(card / "model.safetensors")
    own = {
        name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)
    }
    return Backbone(unpretrained(recipe.model), own)


def _network(config: Mapping[str, Any]) -> tuple[Recipe, str]:
    """The network of a card and the prefix of its weights; the heaviest one of an ensemble."""
    for place, member in enumerate(config.get("ensemble", ())):
        recipe = Recipe.from_params(member["recipe"])
        if not isinstance(recipe.model, ClassicalModel):
            return recipe, f"member.{place}."
    return Recipe.from_params(config["recipe"]), ""


def begin_with(module: CellModule, backbone: Backbone) -> int:
    """Copy all weights but the head's into a module of the same model; the head stays fresh.

    The normalisation is not copied: it is fitted on the training cells at hand.

    Returns:
        How many tensors were copied.

    Raises:
        TrialError: a weight is missing or of another shape, as with another number of channels.
    """
    head = head_of(module.network)
    own = {name: tensor for name, tensor in module.network.state_dict().items() if name not in head}
    unlike = [
        name
        for name, tensor in own.items()
        if (found := backbone.state.get(f"network.{name}")) is None or found.shape != tensor.shape
    ]
    if unlike:
        raise TrialError(
            f"the weights of the warm start do not fit the network: {unlike[0]} is missing or of "
            "another shape; channels and the size of crops must be those that it was trained on"
        )
    for name, tensor in own.items():
        tensor.copy_(backbone.state[f"network.{name}"])
    return len(own)


def head_of(network: nn.Module) -> frozenset[str]:
    """Names of the head's parameters: of what timm calls so, else of the last dense layer."""
    if isinstance(network, TimmNet):
        return frozenset(f"net.{name}" for name in head_parameters(network.net))
    dense = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    own = network.get_submodule(dense[-1]).named_parameters() if dense else ()
    return frozenset(f"{dense[-1]}.{name}" for name, _ in own)


def against_others(dataset: CellDataset, name: str) -> CellDataset:
    """The same cells with two classes, ``others`` and one of theirs, not to be saved."""
    chosen = dataset.classes.index(name)
    labels = np.where(dataset.labels < 0, dataset.labels, dataset.labels == chosen)
    return replace(
        dataset, labels=labels.astype(np.int64), classes=(f"not {name}", name), sha256=""
    )
