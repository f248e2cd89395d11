"""What every family of networks must do."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.card.export import export, inputs_of
from cellsearch.errors import TrialError
from cellsearch.learn.cost import cost
from cellsearch.learn.models import FAMILIES, build_network
from cellsearch.learn.models.cnn import Projection
from cellsearch.learn.models.vit import Attention
from cellsearch.learn.predictor import build_module
from cellsearch.space.models import (
    MODELS,
    CnnModel,
    LogregModel,
    MlpModel,
    Model,
    NagaoModel,
    ResnetModel,
    TimmModel,
    VitModel,
)
from cellsearch.space.recipe import Input, Recipe

TINY: Mapping[str, Model] = {
    "resnet": ResnetModel(width=8),
    "timm": TimmModel(name="test_resnet"),
}
"""In place of the default settings, where those are slow."""

OTHERS: tuple[Model, ...] = (
    CnnModel(width=32, growth=0.5, activation="gelu", batch_norm=True, residual=True),
    MlpModel(head_layers=0, head=()),
    MlpModel(batch_norm=True, activation="elu", dropout=0.3),
    ResnetModel(blocks=2, width=8, residual=False, dropout=0.3),
    NagaoModel(depth=6, width=8, head_layers=2, head=(16, 8)),
    VitModel(patch=7, dim=16, heads=3, head_dim=8, blocks=1, mlp=16, dropout=0.2),
    TimmModel(name="test_vit", dropout=0.2),
    TimmModel(name="test_efficientnet", trainable="last"),
    TimmModel(name="test_convnext", trainable="head"),
)
SIZES = ((16, 16), (17, 23), (40, 40), (66, 66))
TIMM_SIZES = ((32, 32), (33, 47), (64, 64))


def least(family: str) -> Model:
    return TINY.get(family) or MODELS[family]()


def title(model: Model) -> str:
    return "-".join(map(str, model.model_dump(exclude_defaults=True).values())) or model.family


every_family = pytest.mark.parametrize("family", FAMILIES)
every_model = pytest.mark.parametrize("model", [*map(least, FAMILIES), *OTHERS], ids=title)


def network_of(
    model: Model, channels: int = 2, size: tuple[int, int] = (32, 32), classes: int = 3
) -> nn.Module:
    torch.manual_seed(0)
    return build_network(model, channels=channels, classes=classes, size=size)


def test_every_family_of_the_settings_has_a_network_or_a_fit() -> None:
    assert MODELS.keys() - FAMILIES.keys() == {"logreg", "xgboost", "hist-gbdt", "dense"}


@pytest.mark.parametrize("family", MODELS)
def test_a_family_says_what_it_is_in_a_few_words(family: str) -> None:
    words = MODELS[family]().brief()
    assert 3 <= len(words) <= 60
    assert "\n" not in words
    assert words not in {MODELS[other]().brief() for other in MODELS if other != family}


@pytest.fixture(autouse=True)
def _same_chance() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


@every_model
def test_logits_of_any_channels_and_size(model: Model) -> None:
    sizes = TIMM_SIZES if model.family == "timm" else SIZES
    for channels in (1, 2, 3, 5):
        for size in sizes if channels == 2 else sizes[1:2]:
            network = network_of(model, channels, size, classes=4)
            logits = network(torch.randn(3, channels, *size))
            assert logits.shape == (3, 4), (channels, size)
            assert logits.dtype == torch.float32
            assert logits.isfinite().all()


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"timm"}))
def test_one_pixel_is_enough_but_for_timm(family: str) -> None:
    network = network_of(MODELS[family](), size=(1, 1))
    assert network(torch.randn(2, 2, 1, 1)).isfinite().all()


@every_model
def test_gradients_reach_what_is_trained_and_nothing_else(model: Model) -> None:
    network = network_of(model).train()
    network(torch.randn(8, 2, 32, 32)).square().sum().backward()
    trained = {n for n, p in network.named_parameters() if p.requires_grad}
    reached = {
        n for n, p in network.named_parameters() if p.grad is not None and p.grad.isfinite().all()
    }
    assert trained
    assert reached == trained


@every_model
def test_a_cell_is_judged_alone_and_always_alike(model: Model) -> None:
    network = network_of(model).eval()
    images = torch.randn(5, 2, 32, 32)
    with torch.no_grad():
        together, again = network(images), network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.std(dim=0).max() > 1e-6


@every_model
def test_weights_make_the_network_and_the_seed_makes_the_weights(model: Model) -> None:
    first, same = network_of(model), network_of(model)
    other = build_network(model, channels=2, classes=3, size=(32, 32))
    state = copy.deepcopy(first.state_dict())
    assert all(torch.equal(v, state[n]) for n, v in same.state_dict().items())
    assert not all(torch.equal(v, state[n]) for n, v in other.state_dict().items())
    other.load_state_dict(state)
    images = torch.randn(2, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(first.eval()(images), other.eval()(images))


@every_family
def test_eight_cells_are_learnt_by_heart(family: str) -> None:
    model = least(family)
    network = network_of(model, classes=2).train()
    images, labels = torch.randn(8, 2, 32, 32), torch.tensor([0, 1] * 4)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert (network(images).argmax(dim=1) == labels).all()


@pytest.mark.slow
@every_family
def test_export_gives_the_same_probabilities(family: str, tmp_path: Path) -> None:
    size = (32, 32) if family == "timm" else (17, 12)
    torch.manual_seed(0)
    recipe = Recipe(model=least(family), input=Input(normalise="image"))
    module = build_module(recipe, channels=3, classes=4, size=size).eval()
    cells = np.random.default_rng(0).integers(0, 255, (5, 3, *size), dtype=np.uint8)
    done = export(module, inputs_of(module, cells), tmp_path)
    assert done.largest_difference < 1e-5
    assert done.parameters == sum(p.numel() for p in module.parameters())


@every_model
def test_cost_is_that_of_the_network(model: Model) -> None:
    size = (33, 47)
    network = network_of(model, size=size).eval()
    counted = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, Attention):
            tokens = inputs[0].shape[2]
            counted += 2 * inputs[0].numel() * tokens
        else:
            counted += output[0].numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | Attention):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 2, *size))
    before = torch.get_rng_state()
    found = cost(Recipe(model=model), (2, *size), 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.multiply_adds == counted > 0
    assert found.parameters == sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_cost_is_of_the_size_that_is_seen() -> None:
    small = Recipe(model=MlpModel(), input=Input(size=8))
    assert cost(small, (1, 40, 40), 2) == cost(Recipe(model=MlpModel()), (1, 8, 8), 2)


def test_a_classical_family_has_no_network_until_it_is_fitted() -> None:
    assert cost(Recipe(model=LogregModel()), (1, 8, 8), 2).parameters == 0
    with pytest.raises(TrialError, match=r"network must be one of .*got 'logreg'"):
        build_network(LogregModel(), channels=1, classes=2, size=(8, 8))


def test_a_projection_is_the_convolution_with_a_stride() -> None:
    torch.manual_seed(0)
    ours = Projection(5, 26, 2)
    theirs = nn.Conv2d(5, 26, 1, stride=2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    for size in ((40, 40), (17, 12)):
        maps = torch.randn(4, 5, *size)
        torch.testing.assert_close(ours(maps), theirs(maps))


STEP = """
import torch
from cellsearch.learn.models.cnn import Projection
torch.set_num_threads(1)
layer = Projection(3, 26, 2).to(memory_format=torch.channels_last)
maps = torch.rand(64, 3, 80, 80).contiguous(memory_format=torch.channels_last)
for _ in range(5):
    layer(maps).square().mean().backward()
"""


@pytest.mark.slow
def test_a_projection_of_few_channels_kills_no_process() -> None:
    """torch's own does, with a stride, on some processors."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
