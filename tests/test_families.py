"""What every family of networks must do, and what is known of some of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.card.export import export
from cellsearch.errors import TrialError
from cellsearch.learn.cost import cost
from cellsearch.learn.models import FAMILIES, build_network
from cellsearch.learn.models.resnet import Block
from cellsearch.learn.models.vit import Attention, SimpleViT, sine_cosine
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


@every_family
def test_export_gives_the_same_probabilities(family: str, tmp_path: Path) -> None:
    size = (32, 32) if family == "timm" else (17, 12)
    torch.manual_seed(0)
    recipe = Recipe(model=least(family), input=Input(normalise="image"))
    module = build_module(recipe, channels=3, classes=4, size=size).eval()
    cells = np.random.default_rng(0).integers(0, 255, (5, 3, *size), dtype=np.uint8)
    done = export(module, cells, tmp_path)
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


# Papers: parameters of their networks.


def parameters_of(model: Model, channels: int, size: tuple[int, int], classes: int) -> int:
    return cost(Recipe(model=model), (channels, *size), classes).parameters


def test_parameters_of_the_papers() -> None:
    # Espinosa 2022, sections 4.1 and 4.3.
    dense = MlpModel(batch_norm=True, dropout=0.25)
    assert parameters_of(dense, 3, (66, 66), 5) == 1_312_505
    assert parameters_of(VitModel(patch=16, mlp=32), 3, (64, 64), 5) == 160_389
    # He et al. 2016, table 6: ResNet-20, -32, -44 and -56.
    for blocks, millions in ((3, 0.27), (5, 0.46), (7, 0.66), (9, 0.85)):
        found = parameters_of(ResnetModel(blocks=blocks), 3, (32, 32), 10)
        assert round(found / 1e6, 2) == millions
    # As torchvision gives it: 11.69 M parameters, 1.81 G multiply-adds.
    found = cost(Recipe(model=TimmModel(name="resnet18")), (3, 224, 224), 1000)
    assert found.parameters == 11_689_512
    assert round(found.multiply_adds / 1e9, 2) == 1.81


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_resnet_has_six_layers_a_block_and_two(blocks: int) -> None:
    model = ResnetModel(blocks=blocks, width=8)
    plain = model.model_copy(update={"residual": False})
    layers = [m for m in network_of(model).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6 * blocks + 2
    first, second = network_of(model), network_of(plain)
    assert {n: v.shape for n, v in first.state_dict().items()} == {
        n: v.shape for n, v in second.state_dict().items()
    }


@pytest.mark.parametrize("residual", [True, False])
def test_a_block_adds_its_input_or_not(residual: bool) -> None:
    block = Block(3, 5, 2, residual=residual).eval()
    nn.init.zeros_(block.conv2.weight)
    images = torch.rand(2, 3, 7, 6)
    out = block(images)
    assert out.shape == (2, 5, 4, 3)
    assert (out[:, 3:] == 0).all()
    expected = images[:, :, ::2, ::2] if residual else torch.zeros(2, 3, 4, 3)
    torch.testing.assert_close(out[:, :3], expected)


def test_resnet_maps_halve_twice() -> None:
    body = network_of(ResnetModel(width=8), size=(17, 23))[:-2]
    assert isinstance(body[-1], nn.AdaptiveAvgPool2d | Block)
    blocks = [layer for layer in body if isinstance(layer, Block)]
    maps = body[:3](torch.randn(1, 2, 17, 23))
    for block in blocks:
        maps = block(maps)
    assert maps.shape == (1, 32, 5, 6)


def test_nagao_pools_until_a_side_is_one_px() -> None:
    model = NagaoModel(depth=6, width=8)
    network = network_of(model, size=(20, 9))
    kinds = [type(layer) for layer in network]
    assert kinds.count(nn.Conv2d) == 7
    assert kinds.count(nn.MaxPool2d) == 3
    assert any(isinstance(layer, nn.Dropout) and layer.p == 0.5 for layer in network)
    dense = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in dense] == [8 * 2 * 1, 128]


def test_max_pooling_goes_before_monotone_activations_alone() -> None:
    activations = {
        "relu": nn.functional.relu,
        "leaky_relu": nn.functional.leaky_relu,
        "elu": nn.functional.elu,
        "tanh": torch.tanh,
        "gelu": nn.functional.gelu,
    }
    for name, activation in activations.items():
        model = CnnModel(depth=1, kernel=(3,), activation=name, head_layers=0, head=())
        convolution, first, second, *_ = network_of(model, size=(8, 8))
        maps = convolution(torch.randn(2, 2, 8, 8))
        assert isinstance(first, nn.MaxPool2d) == (name != "gelu")
        expected = nn.functional.max_pool2d(activation(maps), 2)
        torch.testing.assert_close(second(first(maps)), expected)


def test_widths_may_shrink_to_one_channel() -> None:
    model = CnnModel(depth=6, width=8, growth=0.5, kernel=(3,) * 6)
    network = network_of(model)
    widths = [layer.out_channels for layer in network if isinstance(layer, nn.Conv2d)]
    assert widths == [8, 4, 2, 1, 1, 1]


def test_patches_cover_the_crop_and_padding_is_zero() -> None:
    network = network_of(VitModel(patch=8), channels=2, size=(17, 23))
    assert isinstance(network, SimpleViT)
    images = torch.randn(3, 2, 17, 23)
    patches = network.patches(images)
    assert patches.shape == (3, 3 * 3, 2 * 64)
    torch.testing.assert_close(patches[:, 4], images[:, :, 8:16, 8:16].reshape(3, -1))
    last = patches[:, 8].reshape(3, 2, 8, 8)
    torch.testing.assert_close(last[:, :, :1, :7], images[:, :, 16:, 16:])
    assert (last[:, :, 1:] == 0).all()
    assert (last[:, :, :, 7:] == 0).all()


def test_positions_differ_and_repeat_along_rows_and_columns() -> None:
    positions = sine_cosine(3, 4, 16).reshape(3, 4, 16)
    assert len(np.unique(positions.reshape(12, 16), axis=0)) == 12
    np.testing.assert_array_equal(positions[0, :, :8], positions[2, :, :8])
    np.testing.assert_array_equal(positions[:, 0, 8:], positions[:, 3, 8:])
    np.testing.assert_allclose(positions[1, 2, 0], np.sin(2.0), rtol=1e-6)


def test_attention_is_the_equation() -> None:
    query, key, value = torch.randn(3, 2, 4, 5, 6).unbind(0)
    weights = (query @ key.transpose(-1, -2) / 6**0.5).softmax(dim=-1)
    torch.testing.assert_close(Attention()(query, key, value), weights @ value)


# timm


@pytest.mark.parametrize("trainable", ["all", "last", "head"])
def test_only_what_is_trainable_changes(trainable: str) -> None:
    network = network_of(TimmModel(name="test_resnet", trainable=trainable)).train()
    before = copy.deepcopy(network.state_dict())
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        nn.functional.cross_entropy(
            network(torch.randn(4, 2, 32, 32)), torch.tensor([0, 1, 2, 0])
        ).backward()
        optimiser.step()
    after = network.state_dict()
    changed = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    expected = {
        "head": {"fc"},
        "last": {"layer4", "fc"},
        "all": {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"},
    }
    assert changed == expected[trainable]
    statistics = [name for name in after if "running_mean" in name]
    moved = {n.split(".")[1] for n in statistics if not torch.equal(after[n], before[n])}
    assert moved == expected[trainable] - {"fc"}


def test_frozen_layers_stay_in_evaluation_mode() -> None:
    network = network_of(TimmModel(name="test_resnet", trainable="last"))
    for _ in range(2):
        network.train()
        modes = {n: m.training for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        assert {n for n, training in modes.items() if training} == {
            n for n in modes if n.startswith("net.layer4")
        }
        network.eval()
        assert not any(module.training for module in network.modules())


def test_crops_are_padded_to_whole_patches() -> None:
    network = network_of(TimmModel(name="test_vit"), size=(33, 40)).eval()
    assert network.net.patch_embed.img_size == (48, 48)
    images = torch.randn(1, 2, 33, 40)
    changed = images.clone()
    changed[:, :, 32:] += 1.0
    with torch.no_grad():
        assert not torch.allclose(network(images), network(changed))


def test_what_timm_cannot_build_is_a_failed_trial() -> None:
    with pytest.raises(TrialError, match=r"^model.name resnet1800: Unknown model"):
        network_of(TimmModel(name="resnet1800"))
