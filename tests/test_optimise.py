"""Optimisers by timm's names and schedules of the learning rate."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.data.dataset import CellDataset
from cellsearch.learn.fit import fit
from cellsearch.learn.optimise import POLY_POWER, epoch_scheduler, optimiser, scheduler
from cellsearch.learn.precision import Precision
from cellsearch.space.recipe import CnnModel, Recipe
from cellsearch.space.sections import Augment, Optim, OptimiserName, Train

NAMES = get_args(OptimiserName)
PLAIN = Precision("float32", channels_last=False)


def test_every_name_is_one_of_timms() -> None:
    from timm.optim import list_optimizers

    assert set(NAMES) <= set(list_optimizers())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    ).to(memory_format=torch.channels_last)


def loss_of(module: nn.Module) -> torch.Tensor:
    images = torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(6) % 3
    return nn.functional.cross_entropy(module(images.to(memory_format=torch.channels_last)), labels)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_changes_what_may_change(name: str, momentum: float) -> None:
    module = network()
    module[0].requires_grad_(requires_grad=False)
    before = {key: value.clone() for key, value in module.named_parameters()}
    steps = optimiser(module, Optim(name=name, lr=0.01, weight_decay=1e-3, momentum=momentum))
    held = {id(p) for group in steps.param_groups for p in group["params"]}
    assert held == {id(p) for p in module.parameters() if p.requires_grad}
    assert {group["lr"] for group in steps.param_groups} == {0.01}
    assert {group["weight_decay"] for group in steps.param_groups} == {1e-3}
    assert all(group.get("momentum", momentum) == momentum for group in steps.param_groups)
    for _ in range(2):
        loss_of(module).backward()
        with torch.no_grad():
            steps.step()
        steps.zero_grad()
    for key, value in module.named_parameters():
        assert value.isfinite().all()
        assert torch.equal(value, before[key]) == (key == "0.weight")


@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_learns(name: str) -> None:
    module = network()
    # Those that scale by the weights or by a running mean of updates need rates of their own.
    rate = {"adadelta": 1.0, "adagrad": 0.05, "lars": 1.0, "rmsprop": 1e-3, "rmsproptf": 1e-3}
    steps = optimiser(module, Optim(name=name, lr=rate.get(name, 0.01)))
    first = loss_of(module).item()
    for _ in range(25):
        loss_of(module).backward()
        with torch.no_grad():
            steps.step()
        steps.zero_grad()
    assert loss_of(module).item() < 0.8 * first


def rates(optim: Optim, epochs: int, scores: list[float] | None = None) -> list[float]:
    """The learning rate of each epoch."""
    steps = optimiser(nn.Linear(2, 2), optim)
    after = epoch_scheduler(steps, optim, epochs=epochs)
    assert after is not None
    found = []
    for epoch in range(1, epochs + 1):
        found.append(steps.param_groups[0]["lr"])
        after(epoch, 1.0 / epoch, None if scores is None else scores[epoch - 1])
    return found


def test_step_falls_by_its_factor_every_so_many_epochs() -> None:
    found = rates(Optim(lr=0.2, schedule="step", decay=0.5, decay_epochs=3), 10)
    assert found == pytest.approx([0.2 * 0.5 ** (epoch // 3) for epoch in range(10)])


def test_poly_and_tanh_follow_their_curves() -> None:
    share = np.arange(12) / 12
    poly = rates(Optim(lr=0.2, schedule="poly"), 12)
    assert poly == pytest.approx(0.2 * (1 - share) ** POLY_POWER)
    tanh = rates(Optim(lr=0.2, schedule="tanh"), 12)
    assert tanh == pytest.approx(0.1 * (1 - np.tanh(10 * share - 7)))
    assert tanh[-1] < 0.01 < 0.19 < tanh[0]


def test_plateau_falls_after_so_many_epochs_without_gain() -> None:
    optim = Optim(lr=0.2, schedule="plateau", decay=0.1, decay_epochs=2)
    #        gains in epochs 1, 2 and 5; an equal score is none
    scores = [0.5, 0.6, 0.6, 0.4, 0.7, 0.7, 0.7, 0.6, 0.7]
    expected = [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert rates(optim, 9, scores) == pytest.approx([0.2 * share for share in expected])


def test_plateau_without_a_watched_score_watches_the_loss() -> None:
    optim = Optim(lr=0.2, schedule="plateau", decay=0.1, decay_epochs=2)
    assert rates(optim, 8) == [0.2] * 8
    steps = optimiser(nn.Linear(2, 2), optim)
    after = epoch_scheduler(steps, optim, epochs=4)
    assert after is not None
    for epoch, loss in enumerate([0.5, 0.9, 0.5], start=1):
        after(epoch, loss, None)
    assert steps.param_groups[0]["lr"] == pytest.approx(0.02)


def test_cosine_ends_near_nothing_and_leaves_epochs_alone() -> None:
    optim = Optim(lr=0.2, schedule="cosine")
    steps = optimiser(nn.Linear(2, 2), optim)
    assert epoch_scheduler(steps, optim, epochs=5) is None
    each = scheduler(steps, optim, steps=50)
    found = []
    for _ in range(50):
        found.append(steps.param_groups[0]["lr"])
        steps.step()
        each.step()
    assert found == pytest.approx(0.1 * (1 + np.cos(np.pi * np.arange(50) / 50)))
    assert found[-1] < 0.001


@pytest.mark.parametrize("schedule", ["step", "poly", "tanh", "plateau"])
@pytest.mark.parametrize("patience", [0, 12])
def test_a_training_moves_the_rate_after_its_epochs(
    tiny_dataset: CellDataset, schedule: str, patience: int
) -> None:
    recipe = Recipe(
        model=CnnModel(depth=2, width=8, kernel=(3, 3), head_layers=0, head=()),
        # Mixtures make a loss that does not gain in every epoch.
        augment=Augment(mixup=1.0, noise=1.0),
        optim=Optim(name="momentum", lr=0.05, schedule=schedule, decay=0.5, decay_epochs=1),
        train=Train(batch_size=16, epochs=12, patience=patience),
    )
    indices = np.arange(len(tiny_dataset), dtype=np.int64)
    found = fit(recipe, tiny_dataset, indices, seed=0, device="cpu", precision=PLAIN)
    seen = [record["lr"] for record in found.history]
    if schedule == "plateau":
        score = [record["watched"] if patience else -record["loss"] for record in found.history]
        best, expected, lr = -np.inf, [], 0.05
        for value in score:
            expected.append(lr)
            lr = lr if value > best else lr * 0.5
            best = max(best, value)
    else:
        expected = rates(recipe.optim, 12)
    assert len(seen) == 12
    assert seen == pytest.approx(expected)
    assert len(set(seen)) > 1
