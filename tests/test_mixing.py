"""Mixup and CutMix: shares, px, labels and the loss that they lead to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.learn.augment import cutmix, mix, mixup
from cellsearch.learn.losses import ClassLoss
from cellsearch.space.sections import Augment, Loss


def numbered(cells: int, size: tuple[int, int] = (20, 30)) -> tuple[torch.Tensor, torch.Tensor]:
    """Each cell's px are its number, and so is its label."""
    labels = torch.arange(cells)
    return labels.float()[:, None, None, None].repeat(1, 2, *size), labels


def test_the_share_of_cutmix_is_that_of_the_px_kept() -> None:
    images, labels = numbered(200)
    mixed, other, share = cutmix(images, labels, alpha=1.0, rng=np.random.default_rng(0))
    assert sorted(other.tolist()) == labels.tolist()
    own = mixed == images
    moved = labels != other
    torch.testing.assert_close(own.float().mean(dim=(1, 2, 3))[moved], share[moved])
    assert torch.equal(mixed[~own], other[:, None, None, None].expand_as(mixed)[~own].float())
    assert share.dtype == torch.float32
    assert 0.0 <= float(share.min()) < 0.2
    assert float(share.max()) > 0.95


def test_cutmix_takes_one_rectangle_shaped_as_the_crop_in_all_channels() -> None:
    images, labels = numbered(300)
    mixed = cutmix(images, labels, alpha=1.0, rng=np.random.default_rng(1))[0]
    taken = (mixed != images).numpy()
    assert (taken[:, 0] == taken[:, 1]).all()
    rows, columns = taken[:, 0].any(axis=2), taken[:, 0].any(axis=1)
    assert (taken[:, 0] == rows[:, :, None] & columns[:, None, :]).all()
    for line in (*rows, *columns):
        assert (np.diff(np.flatnonzero(line)) == 1).all()
    # One that touches no edge has its full sides, in the proportion of the crop.
    whole = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1]) & rows.any(axis=1)
    assert whole.sum() > 20
    assert (np.abs(rows.sum(1) * 1.5 - columns.sum(1))[whole] <= 1.5).all()
    places = [taken[:, 0].mean(axis=0)[place] for place in ((10, 15), (10, 3), (3, 15))]
    assert min(places) > 0.1


def test_the_loss_of_cutmix_is_that_of_a_target_in_two_classes() -> None:
    images, _ = numbered(12)
    labels = torch.arange(12) % 3
    _, other, share = cutmix(images, labels, alpha=1.0, rng=np.random.default_rng(2))
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    one, two = (nn.functional.one_hot(which, 3) for which in (labels, other))
    target = share[:, None] * one + (1 - share)[:, None] * two
    plain = ClassLoss(np.ones(3, np.float32), Loss(label_smoothing=0.1))
    torch.testing.assert_close(
        plain(logits, labels, other, share),
        nn.functional.cross_entropy(logits, target, label_smoothing=0.1),
    )
    weights = np.array([0.5, 1.0, 4.0], dtype=np.float32)
    each = -(target * torch.from_numpy(weights) * logits.log_softmax(1)).sum(1)
    weighted = ClassLoss(weights, Loss())(logits, labels, other, share)
    torch.testing.assert_close(weighted, each.mean())


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_the_one_asked_for_is_the_one_made(way: str) -> None:
    images, labels = numbered(40)
    function = {"mixup": mixup, "cutmix": cutmix}[way]
    made = mix(images, labels, Augment(**{way: 0.7}), rng=np.random.default_rng(3))
    expected = function(images, labels, alpha=0.7, rng=np.random.default_rng(3))
    for found, wanted in zip(made, expected, strict=True):
        assert torch.equal(found, wanted)


def test_where_both_are_asked_for_each_makes_half_of_the_batches() -> None:
    images, labels = numbered(20, (8, 8))
    rng = np.random.default_rng(4)
    blended = 0
    for _ in range(60):
        mixed, _, share = mix(images, labels, Augment(mixup=1.0, cutmix=1.0), rng=rng)
        # CutMix leaves every px one of two cells: whole numbers here.
        blended += bool((mixed != mixed.round()).any())
        assert share is not None
    assert 18 <= blended <= 42


def test_without_mixtures_nothing_is_drawn() -> None:
    images, labels = numbered(4)
    rng = np.random.default_rng(5)
    assert mix(images, labels, Augment(), rng=rng) == (images, None, None)
    assert rng.integers(10**9) == np.random.default_rng(5).integers(10**9)
