"""Backbones under new heads: from a card, and from another task on the same training cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import TrialError
from cellsearch.learn.fit import fit
from cellsearch.learn.precision import Precision
from cellsearch.learn.predictor import build_module
from cellsearch.learn.transfer import Backbone, against_others, begin_with, head_of
from cellsearch.space.recipe import Recipe

PARAMS = {"model.depth": 2, "model.width": 8, "model.head": 16, "train.epochs": 1}
RECIPE = Recipe.from_params(PARAMS)
PLAIN = Precision()


def module_of(classes: int, seed: int = 0, channels: int = 1) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_module(RECIPE, channels=channels, classes=classes, size=(12, 12))


def test_all_but_the_head_is_copied() -> None:
    first, second = module_of(2, seed=1), module_of(4, seed=2)
    fresh = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    copied = begin_with(second, Backbone(RECIPE.model, first.state_dict()))  # type: ignore[arg-type]
    head = head_of(second.network)  # type: ignore[arg-type]
    names = [name for name in second.state_dict() if name.startswith("network.")]
    of_head = [name for name in names if name.removeprefix("network.") in head]
    assert len(of_head) == 2
    assert copied == len(names) - 2
    for name in names:
        source = fresh if name in of_head else first.state_dict()
        assert torch.equal(second.state_dict()[name], source[name])


def test_weights_that_do_not_fit_are_refused() -> None:
    first, second = module_of(2, channels=2), module_of(4)
    with pytest.raises(TrialError, match="channels and the size"):
        begin_with(second, Backbone(RECIPE.model, first.state_dict()))  # type: ignore[arg-type]


def test_one_class_against_the_others(tiny_dataset: CellDataset) -> None:
    name = tiny_dataset.classes[-1]
    binary = against_others(tiny_dataset, name)
    assert binary.classes == (f"not {name}", name)
    np.testing.assert_array_equal(
        binary.labels, tiny_dataset.labels == len(tiny_dataset.classes) - 1
    )


def test_pretraining_changes_where_training_begins(tiny_dataset: CellDataset) -> None:
    cells = np.arange(len(tiny_dataset))
    plain = fit(RECIPE, tiny_dataset, cells, seed=0, device="cpu", precision=PLAIN)
    params = {**PARAMS, "train.pretrain": tiny_dataset.classes[0], "train.pretrain_epochs": 2}
    first = fit(
        Recipe.from_params(params), tiny_dataset, cells, seed=0, device="cpu", precision=PLAIN
    )
    again = fit(
        Recipe.from_params(params), tiny_dataset, cells, seed=0, device="cpu", precision=PLAIN
    )
    weights = {k: v for k, v in first.module.state_dict().items() if k.startswith("network.")}
    assert all(torch.equal(again.module.state_dict()[k], v) for k, v in weights.items())
    assert any(not torch.equal(plain.module.state_dict()[k], v) for k, v in weights.items())


def test_pretraining_on_no_class_of_theirs_fails_the_trial(tiny_dataset: CellDataset) -> None:
    recipe = Recipe.from_params({**PARAMS, "train.pretrain": "anaphase"})
    with pytest.raises(TrialError, match=r"train\.pretrain: must be one of"):
        fit(recipe, tiny_dataset, np.arange(len(tiny_dataset)), seed=0, device="cpu")


def test_pretraining_begins_with_the_weights_of_a_card(tiny_dataset: CellDataset) -> None:
    cells = np.arange(len(tiny_dataset))
    params = {**PARAMS, "train.pretrain": tiny_dataset.classes[0], "train.pretrain_epochs": 1}
    recipe = Recipe.from_params(params)
    torch.manual_seed(5)
    other = build_module(recipe, channels=2, classes=4, size=(16, 16))
    found = [
        fit(recipe, tiny_dataset, cells, seed=0, device="cpu", precision=PLAIN, backbone=backbone)
        for backbone in (None, Backbone(recipe.model, other.state_dict()))
    ]
    first, second = (predictor.module.state_dict() for predictor in found)
    # Far from random: one epoch moves weights less than a new draw of them would.
    name = "network.0.weight"
    assert (second[name] - other.state_dict()[name]).abs().mean() < 0.5 * (
        first[name] - other.state_dict()[name]
    ).abs().mean()


@pytest.mark.parametrize("name", ["dla34", "deit_tiny_distilled_patch16_224"])
def test_heads_of_timm_that_are_not_the_last_dense_layer(name: str) -> None:
    pytest.importorskip("timm")
    recipe = Recipe.from_params({"model.family": "timm", "model.name": name, "input.size": 32})
    two, four = (build_module(recipe, channels=1, classes=k, size=(32, 32)) for k in (2, 4))
    assert begin_with(four, Backbone(recipe.model, two.state_dict())) > 100
