"""Class weights and losses."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.learn.losses import ClassLoss, class_weights, loss_of_a_cell
from cellsearch.space.recipe import Loss
from cellsearch.space.sections import LossName

COUNTS = np.array([900, 90, 10, 0])


@pytest.mark.parametrize("weighting", ["none", "sqrt", "inv", "effective"])
def test_weights_have_a_mean_of_one_over_the_training_cells(weighting: str) -> None:
    weights = class_weights(COUNTS, Loss(weighting=weighting))
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1.0, rel=1e-6)
    assert weights[3] == 0
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(("weighting", "power"), [("none", 0.0), ("sqrt", -0.5), ("inv", -1.0)])
def test_weights_follow_their_power_of_the_counts(weighting: str, power: float) -> None:
    weights = class_weights(COUNTS, Loss(weighting=weighting))
    assert weights[2] / weights[0] == pytest.approx((10 / 900) ** power, rel=1e-5)


def test_effective_weights_are_those_of_cui_et_al() -> None:
    weights = class_weights(COUNTS, Loss(weighting="effective", beta=0.99))
    expected = (1 - 0.99**900) / (1 - 0.99**10)
    assert weights[2] / weights[0] == pytest.approx(expected, rel=1e-5)


every_loss = pytest.mark.parametrize("kind", get_args(LossName))


@every_loss
def test_a_loss_gives_one_finite_value_per_cell(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(16, 4, generator=generator)
    labels = torch.arange(16) % 4
    found = loss_of_a_cell(kind)(logits, labels, Loss(kind=kind))
    assert (found.shape, found.dtype) == ((16,), torch.float32)
    assert torch.isfinite(found).all()
    order = torch.randperm(16, generator=generator)
    again = loss_of_a_cell(kind)(logits[order], labels[order], Loss(kind=kind))
    torch.testing.assert_close(again, found[order])


@every_loss
@pytest.mark.parametrize("size", [0.0, 1.0, 80.0])
def test_a_loss_has_finite_gradients_for_sure_and_wrong_cells(kind: str, size: float) -> None:
    logits = torch.tensor([[size, -size, 0.0], [-size, size, 0.0]], requires_grad=True)
    loss_of_a_cell(kind)(logits, torch.tensor([0, 0]), Loss(kind=kind)).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@every_loss
def test_a_better_answer_has_a_lower_loss(kind: str) -> None:
    right = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
    logits = torch.stack([right, torch.zeros(5), torch.zeros(5)], dim=1)
    found = loss_of_a_cell(kind)(logits, torch.zeros(5, dtype=torch.int64), Loss(kind=kind))
    assert (found.diff() < 0).all()


@every_loss
def test_a_loss_is_multiplied_by_the_weight_of_the_class(kind: str) -> None:
    logits, labels = logits_and_labels()
    each = loss_of_a_cell(kind)(logits, labels, Loss(kind=kind))
    weights = np.array([0.5, 1.0, 4.0], dtype=np.float32)
    expected = (each * torch.from_numpy(weights)[labels]).sum() / len(labels)
    torch.testing.assert_close(ClassLoss(weights, Loss(kind=kind))(logits, labels), expected)


def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, generator=generator), torch.tensor([0, 1, 2, 0, 0, 1, 2, 2])


def test_cross_entropy_weighs_cells_and_divides_by_their_number() -> None:
    logits, labels = logits_and_labels()
    weights = np.array([0.5, 1.0, 4.0], dtype=np.float32)
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = (each * torch.from_numpy(weights)[labels]).sum() / 8
    torch.testing.assert_close(ClassLoss(weights, Loss())(logits, labels), expected)


def test_focal_loss_is_that_of_lin_et_al() -> None:
    logits, labels = logits_and_labels()
    p = logits.softmax(1)[torch.arange(8), labels]
    expected = (-((1 - p) ** 2.5) * p.log()).mean()
    found = ClassLoss(np.ones(3, np.float32), Loss(kind="focal", gamma=2.5))(logits, labels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 5.0])
def test_focal_loss_of_a_sure_cell_has_a_finite_gradient(gamma: float) -> None:
    logits = torch.tensor([[80.0, -80.0, -80.0]], requires_grad=True)
    loss = ClassLoss(np.ones(3, np.float32), Loss(kind="focal", gamma=gamma))
    loss(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gamma_counts_for_the_focal_loss_alone() -> None:
    logits, labels = logits_and_labels()
    ones = np.ones(3, np.float32)
    plain = nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(ClassLoss(ones, Loss(gamma=5.0))(logits, labels), plain)


def test_label_smoothing_is_that_of_torch() -> None:
    logits, labels = logits_and_labels()
    expected = nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    found = ClassLoss(np.ones(3, np.float32), Loss(label_smoothing=0.2))(logits, labels)
    torch.testing.assert_close(found, expected)


def test_mixup_shares_the_loss_between_both_labels() -> None:
    logits, labels = logits_and_labels()
    loss = ClassLoss(np.array([1, 2, 3], np.float32), Loss())
    other, share = labels.flip(0), torch.linspace(0, 1, 8)
    each = torch.stack([loss(logits[i : i + 1], labels[i : i + 1]) for i in range(8)])
    mixed = torch.stack([loss(logits[i : i + 1], other[i : i + 1]) for i in range(8)])
    expected = (share * each + (1 - share) * mixed).mean()
    torch.testing.assert_close(loss(logits, labels, other, share), expected)
