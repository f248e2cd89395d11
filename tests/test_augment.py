"""Batched transforms, held against one cell at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cellsearch.learn.augment import Augmenter, blur, mixup, orientations, reach_of, relight
from cellsearch.space.recipe import Augment

CPU = torch.device("cpu")


def augmenter(size: tuple[int, int], seed: int = 0, **options: float) -> Augmenter:
    rng = np.random.default_rng(seed)
    return Augmenter(Augment(**options), size=size, device=CPU, rng=rng)


def cells(n: int, size: tuple[int, int] = (6, 6), channels: int = 2) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(1).normal(100, 20, (n, channels, *size)).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("size", "flip", "rotate90", "expected"),
    [
        ((6, 6), False, False, 1),
        ((6, 6), True, False, 4),
        ((6, 6), False, True, 4),
        ((6, 6), True, True, 8),
        ((6, 5), True, False, 4),
        ((6, 5), False, True, 2),
        ((6, 5), True, True, 4),
    ],
)
def test_orientations_are_all_and_distinct(
    size: tuple[int, int], flip: bool, rotate90: bool, expected: int
) -> None:
    found = orientations(size, flip=flip, rotate90=rotate90)
    assert found.shape == (expected, size[0] * size[1])
    assert len(np.unique(found, axis=0)) == expected
    np.testing.assert_array_equal(found[0], np.arange(size[0] * size[1]))
    assert (np.sort(found, axis=1) == found[0]).all()


def test_cells_turn_one_by_one_and_channels_together() -> None:
    images = cells(1).repeat(64, 1, 1, 1)
    turned = augmenter((6, 6), flip=True, rotate90=True)(images)
    views = [
        torch.rot90(side, turns, (1, 2))
        for side in (images[0], images[0].flip(2))
        for turns in range(4)
    ]
    which = [[torch.equal(cell, view) for view in views] for cell in turned]
    assert (np.sum(which, axis=1) == 1).all()
    assert np.any(which, axis=0).all()


def test_shift_repeats_the_edge() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(200, 1, 1, 1)
    moved = augmenter((4, 4), shift=2)(image)
    padded = np.pad(image[0, 0].numpy(), 2, mode="edge")
    windows = {padded[r : r + 4, c : c + 4].tobytes() for r in range(5) for c in range(5)}
    found = {cell[0].numpy().tobytes() for cell in moved}
    assert found == windows


@pytest.mark.parametrize("size", [(13, 17), (12, 12)])
def test_blur_is_the_gaussian_of_scipy(size: tuple[int, int]) -> None:
    images = cells(4, size)
    sigma = torch.tensor([0.0, 0.4, 1.0, 2.0])
    found = blur(images, sigma, reach=reach_of(2.0)).numpy()
    np.testing.assert_allclose(found[0], images[0], rtol=1e-6)
    for index in (1, 2, 3):
        for channel in range(2):
            expected = gaussian_filter(
                images[index, channel].numpy(), float(sigma[index]), mode="nearest", radius=8
            )
            np.testing.assert_allclose(found[index, channel], expected, rtol=1e-5)


def test_relight_turns_about_the_mean() -> None:
    images = cells(3)
    gain, offset = torch.tensor([0.0, 0.5, 0.0]), torch.tensor([0.0, 0.0, 0.3])
    found = relight(images, gain, offset)
    torch.testing.assert_close(found[0], images[0])
    mean = images.mean(dim=(2, 3))
    spread = images.std(dim=(2, 3), correction=0)
    torch.testing.assert_close(found[1].mean(dim=(1, 2)), mean[1])
    torch.testing.assert_close(found[1].std(dim=(1, 2), correction=0), 1.5 * spread[1])
    torch.testing.assert_close(found[2].mean(dim=(1, 2)), mean[2] + 0.3 * spread[2])


def test_mixup_mixes_images_and_labels_alike() -> None:
    labels = torch.arange(6)
    images = labels.float()[:, None, None, None].expand(6, 1, 2, 2)
    mixed, other, share = mixup(images, labels, alpha=0.4, rng=np.random.default_rng(0))
    torch.testing.assert_close(mixed[:, 0, 0, 0], share * labels + (1 - share) * other)
    assert len(set(share.tolist())) == 6
    assert sorted(other.tolist()) == labels.tolist()


def test_nothing_asked_is_nothing_done() -> None:
    images = cells(3)
    assert augmenter((6, 6))(images) is images


def test_a_seed_repeats_the_transforms() -> None:
    options = {"flip": True, "rotate90": True, "shift": 2, "brightness": 0.3, "blur": 1.0}
    images = cells(8)
    first, again, other = (augmenter((6, 6), seed, **options)(images) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert first.dtype == torch.float32
