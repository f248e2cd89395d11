"""The cnn family: shapes for every choice, and the equalities that its speed rests on."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.errors import TrialError
from cellsearch.learn.cost import cost
from cellsearch.learn.models import FAMILIES, build_network
from cellsearch.learn.models.cnn import stage_widths
from cellsearch.learn.normalise import Normalise, channel_statistics
from cellsearch.learn.predictor import build_module
from cellsearch.space.models import NetworkModel
from cellsearch.space.recipe import CnnModel, Input, Recipe

CHOICES = list(
    itertools.product(("none", "max", "avg"), (False, True), (False, True), ("flatten", "average"))
)


@pytest.mark.parametrize(("pooling", "batch_norm", "residual", "reduce"), CHOICES)
def test_every_choice_gives_logits_and_gradients(
    pooling: str, batch_norm: bool, residual: bool, reduce: str
) -> None:
    model = CnnModel(
        depth=3,
        width=8,
        kernel=(2, 5, 4),
        pooling=pooling,
        batch_norm=batch_norm,
        residual=residual,
        reduce=reduce,
        head_layers=2,
        head=(8, 6),
        dropout=0.1,
    )
    network = build_network(model, channels=3, classes=5, size=(9, 7))
    logits = network(torch.randn(4, 3, 9, 7))
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == batch_norm


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 10])
def test_even_and_odd_kernels_keep_the_size(kernel: int) -> None:
    model = CnnModel(depth=1, width=8, kernel=(kernel,), pooling="none", head_layers=0, head=())
    network = build_network(model, channels=1, classes=3, size=(6, 8))
    output = network[-1]
    assert isinstance(output, nn.Linear)
    assert output.in_features == 8 * 6 * 8
    assert network(torch.zeros(2, 1, 6, 8)).shape == (2, 3)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("stem", [1, 2, 4])
def test_the_stem_shrinks_the_map_and_the_cost_follows(
    stem: int, residual: bool, kernel: int
) -> None:
    def model(stride: int, width: int = 8) -> CnnModel:
        settings = {"depth": 2, "width": width, "kernel": (kernel,) * 2, "residual": residual}
        plain = {"pooling": "none", "head_layers": 0, "head": ()}
        return CnnModel.model_validate(settings | plain | {"stem": stride})

    network = build_network(model(stem), channels=1, classes=3, size=(17, 24))
    output = network[-1]
    assert isinstance(output, nn.Linear)
    assert output.in_features == 16 * -(-17 // stem) * (24 // stem)
    assert network(torch.zeros(2, 1, 17, 24)).shape == (2, 3)
    whole, part = (cost(Recipe(model=model(s)), (1, 32, 32), 3) for s in (1, stem))
    assert 0.8 < whole.multiply_adds / part.multiply_adds / stem**2 <= 1
    # As many channels before as after: a skip that keeps the size would not fit.
    assert build_network(model(stem), channels=8, classes=2, size=(9, 9))(
        torch.zeros(1, 8, 9, 9)
    ).shape == (1, 2)


def test_pooling_stops_before_the_map_is_gone() -> None:
    model = CnnModel(depth=6, width=8, growth=1.0, kernel=(3,) * 6)
    network = build_network(model, channels=2, classes=3, size=(8, 5))
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in network.modules()) == 2
    assert network(torch.zeros(1, 2, 8, 5)).shape == (1, 3)


def test_widths_grow_and_are_capped() -> None:
    model = CnnModel(depth=4, width=10, growth=1.5, max_width=30, kernel=(3,) * 4)
    assert stage_widths(model) == (10, 15, 22, 30)


def test_pooling_before_relu_is_the_same_as_after() -> None:
    maps = torch.randn(3, 4, 8, 8)
    relu, pool = nn.functional.relu, nn.functional.max_pool2d
    torch.testing.assert_close(relu(pool(maps, 2)), pool(relu(maps), 2), rtol=0, atol=0)


def test_average_pooling_comes_after_relu() -> None:
    model = CnnModel(depth=1, width=8, kernel=(3,), pooling="avg", head_layers=0, head=())
    kinds = [type(layer) for layer in build_network(model, channels=1, classes=2, size=(8, 8))]
    assert kinds.index(nn.ReLU) < kinds.index(nn.AvgPool2d)


def test_a_residual_stage_adds_its_input() -> None:
    model = CnnModel(
        depth=1, width=8, kernel=(3,), residual=True, pooling="none", head_layers=0, head=()
    )
    stage = build_network(model, channels=8, classes=2, size=(5, 5))[0]
    with torch.no_grad():
        for parameter in stage.body.parameters():
            parameter.zero_()
    images = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(stage(images), images)


def test_an_unknown_family_is_refused_by_name() -> None:
    model = CnnModel.model_construct(**{**CnnModel().model_dump(), "family": "perceiver"})
    with pytest.raises(TrialError, match=r"must be one of cnn, mlp.*'perceiver'"):
        build_network(model, channels=1, classes=2, size=(8, 8))


def test_every_network_of_a_recipe_has_a_builder() -> None:
    assert set(FAMILIES) == {kind.model_fields["family"].default for kind in get_args(NetworkModel)}


@pytest.mark.parametrize(("pooling", "batch_norm", "residual", "reduce"), CHOICES[::5])
def test_cost_counts_what_the_layers_do(
    pooling: str, batch_norm: bool, residual: bool, reduce: str
) -> None:
    model = CnnModel(
        depth=2,
        width=8,
        kernel=(4, 3),
        pooling=pooling,
        batch_norm=batch_norm,
        residual=residual,
        reduce=reduce,
    )
    network = build_network(model, channels=2, classes=3, size=(12, 10)).eval()
    counted = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += output[0].numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.zeros(1, 2, 12, 10))
    found = cost(Recipe(model=model), (2, 12, 10), 3)
    assert found.multiply_adds == counted
    assert found.parameters == sum(p.numel() for p in network.parameters())


def test_cost_of_a_giant_needs_no_memory() -> None:
    giant = CnnModel(depth=6, width=256, max_width=512, kernel=(10,) * 6, residual=True)
    found = cost(Recipe(model=giant), (2, 40, 40), 7)
    assert found.parameters > 200_000_000
    assert found.multiply_adds > 10**10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_statistics_are_those_of_the_indices_alone(dtype: type) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (600, 2, 5, 4)).astype(dtype)
    images[:, 1] += 50
    indices = rng.permutation(600)[:520]
    mean, std = channel_statistics(images, indices)
    np.testing.assert_allclose(mean, images[indices].mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(std, images[indices].std(axis=(0, 2, 3)), rtol=1e-4)


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    normalise = Normalise(1, "channel")
    normalise.fit(np.full((4, 1, 3, 3), 7, dtype=np.uint8), np.arange(4))
    assert normalise(torch.full((2, 1, 3, 3), 7.0)).abs().max() == 0


def test_per_image_normalisation_ignores_light_and_spares_empty_channels() -> None:
    normalise = Normalise(1, "image")
    normalise.fit(np.random.default_rng(0).integers(0, 255, (9, 1, 8, 8)), np.arange(9))
    image = torch.rand(1, 1, 8, 8) * 200
    torch.testing.assert_close(normalise(image), normalise(3 * image + 40), atol=1e-4, rtol=1e-4)
    empty = torch.full((1, 1, 8, 8), 5.0) + 1e-3 * torch.randn(1, 1, 8, 8)
    assert normalise(empty).abs().max() < 0.1


def test_a_module_is_rebuilt_from_recipe_and_weights() -> None:
    recipe = Recipe(
        model=CnnModel(batch_norm=True), input=Input(normalise="image", test_flips=True)
    )
    first, second = (
        build_module(recipe, channels=2, classes=3, size=(16, 16)).eval() for _ in range(2)
    )
    first.normalise.fit(np.random.default_rng(0).integers(0, 255, (5, 2, 16, 16)), np.arange(5))
    images = torch.rand(4, 2, 16, 16) * 255
    with torch.no_grad():
        assert not torch.equal(first(images), second(images))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))
    assert {"normalise.mean", "normalise.std"} < set(first.state_dict())


def test_test_flips_make_the_prediction_blind_to_flips() -> None:
    images = torch.rand(3, 1, 8, 8)
    for flips in (True, False):
        recipe = Recipe(input=Input(test_flips=flips))
        module = build_module(recipe, channels=1, classes=3, size=(8, 8)).eval()
        with torch.no_grad():
            straight, mirrored = module(images), module(images.flip(3))
        assert torch.allclose(straight, mirrored, atol=1e-6) == flips
        torch.testing.assert_close(straight.sum(dim=1), torch.ones(3))
