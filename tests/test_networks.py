"""What is known of single networks: their papers' sizes, and what their layers do."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.errors import TrialError
from cellsearch.learn.cost import cost
from cellsearch.learn.models import build_network
from cellsearch.learn.models.resnet import Block
from cellsearch.learn.models.vit import Attention, SimpleViT, sine_cosine
from cellsearch.space.models import (
    CnnModel,
    LogregModel,
    MlpModel,
    Model,
    NagaoModel,
    ResnetModel,
    TimmModel,
    VitModel,
    XgboostModel,
)
from cellsearch.space.recipe import Recipe, brief


def network_of(model: Model, channels: int = 2, size: tuple[int, int] = (32, 32)) -> nn.Module:
    torch.manual_seed(0)
    return build_network(model, channels=channels, classes=3, size=size)


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


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (CnnModel(residual=True), "cnn 2x16, residual"),
        (MlpModel(), "mlp 100-50"),
        (MlpModel(head_layers=0, head=()), "softmax regression on pixels"),
        (ResnetModel(blocks=2), "ResNet-14, 16 wide"),
        (ResnetModel(residual=False, width=8), "plain net-8, 8 wide"),
        (NagaoModel(depth=5), "nagao 5x16"),
        (VitModel(), "ViT, 2 blocks of 32, patch 8"),
        (TimmModel(), "resnet18 (timm)"),
        (
            TimmModel(name="resnet50", pretrained=True, trainable="head"),
            "resnet50 (timm, pretrained, head trained)",
        ),
        (LogregModel(l2=10.0), "logistic regression, L2 10, pixels"),
        (XgboostModel(features="measured"), "XGBoost, 100 rounds, measured"),
    ],
)
def test_a_model_in_a_few_words(model: Model, words: str) -> None:
    assert model.brief() == words


def test_recipes_that_differ_in_what_they_learn_from_do_not_read_the_same() -> None:
    balanced = {"balance.method": "over"}
    rows = [
        {},
        balanced,
        balanced | {"gan.kind": "wgan-gp"},
        balanced | {"gan.kind": "wgan-div"},
        {"augment.rotate90": True},
        {"augment.rotate90": True, "augment.sharpen": 1.0},
        {"model.family": "logreg"},
    ]
    lines = [brief(Recipe.from_params(row)) for row in rows]
    assert len(set(lines)) == len(rows)
    # A regression has neither optimiser nor epochs.
    assert lines[-1] == "logistic regression, L2 1, pixels"
    # Without balance there is nothing to generate for.
    assert brief(Recipe.from_params({"gan.kind": "wgan-gp"})) == lines[0]
