"""Rotation, zoom, sharpening, colour and noise: what they change of a cell and what they keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cellsearch.learn.augment import (
    Augmenter,
    add_noise,
    blur,
    grey,
    orientations,
    reach_of,
    recolour,
    relight,
    sharpen,
    turn,
)
from cellsearch.space.sections import Augment

CPU = torch.device("cpu")
NEW = {"rotate": 90.0, "zoom": 0.2, "sharpen": 1.0, "colour": 0.3, "grey": 0.5, "noise": 0.2}


def augmenter(size: tuple[int, int], seed: int = 0, **options: float) -> Augmenter:
    rng = np.random.default_rng(seed)
    return Augmenter(Augment(**options), size=size, device=CPU, rng=rng)


def cells(n: int, size: tuple[int, int] = (12, 12), channels: int = 3) -> torch.Tensor:
    scale = np.array([1.0, 40.0, 3000.0])[:channels, None, None]
    images = np.random.default_rng(1).normal(5, 1, (n, channels, *size)) * scale
    return torch.from_numpy(images.astype(np.float32))


def blob(size: tuple[int, int], row: float, column: float) -> torch.Tensor:
    """One bright spot, its middle in px from that of the crop."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in size)
    spot = np.exp(-((rows[:, None] - row) ** 2 + (columns - column) ** 2) / 8)
    return torch.from_numpy(100 * spot.astype(np.float32))[None, None]


def middle(image: torch.Tensor) -> tuple[float, float]:
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in image.shape)
    whole = image.sum()
    return float((image.sum(1) * rows).sum() / whole), float((image.sum(0) * columns).sum() / whole)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_turn_by_right_angles_is_that_of_rot90(turns: int) -> None:
    images = cells(2, (12, 12))
    angle = torch.full((2,), turns * np.pi / 2)
    found = turn(images, angle, torch.ones(2))
    expected = torch.rot90(images, turns, (2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("size", [(61, 61), (61, 80), (80, 61)])
def test_each_cell_turns_anticlockwise_by_its_own_angle(size: tuple[int, int]) -> None:
    degrees = torch.tensor([0.0, 30.0, -75.0, 160.0])
    images = blob(size, -3.0, 4.0).repeat(4, 1, 1, 1)
    found = turn(images, degrees.deg2rad(), torch.ones(4))
    for image, angle in zip(found, degrees.deg2rad(), strict=True):
        # Anticlockwise for the eye, where rows grow downwards.
        row = -(4 * torch.sin(angle) + 3 * torch.cos(angle))
        column = 4 * torch.cos(angle) - 3 * torch.sin(angle)
        assert middle(image[0]) == pytest.approx((float(row), float(column)), abs=0.06)


def test_zoom_moves_px_away_from_the_middle_and_keeps_their_brightness() -> None:
    images = blob((41, 33), 4.0, -2.0).repeat(2, 1, 1, 1)
    found = turn(images, torch.zeros(2), torch.tensor([1.5, 0.75]))
    for image, scale in zip(found, (1.5, 0.75), strict=True):
        assert middle(image[0]) == pytest.approx((4 * scale, -2 * scale), abs=0.06)
        assert float(image.max()) == pytest.approx(100, rel=0.1)
        assert float(image.sum()) == pytest.approx(float(images[0].sum()) * scale**2, rel=0.03)


def test_beyond_the_edge_the_crop_is_mirrored() -> None:
    ramp = torch.arange(8.0).repeat(8, 1)[None, None] + 10
    found = turn(ramp, torch.zeros(1), torch.tensor([0.5]))
    torch.testing.assert_close(
        found[0, 0, 3], torch.tensor([12.5, 10.5, 10.5, 12.5, 14.5, 16.5, 16.5, 14.5])
    )
    assert float(turn(ramp, torch.tensor([0.7]), torch.tensor([0.6])).min()) >= 10


def test_angles_and_scales_fill_their_range() -> None:
    """Read back off the middle of a spot on the right of the crop's."""
    images = blob((41, 41), 0.0, 6.0).repeat(400, 1, 1, 1)
    turned = augmenter((41, 41), rotate=40.0, zoom=0.5)(images)
    # Without the margin, where the mirrored spot comes in.
    places = np.array([middle(image[0, 4:-4, 4:-4]) for image in turned])
    angle = np.rad2deg(np.arctan2(-places[:, 0], places[:, 1]))
    scale = np.hypot(*places.T) / 6
    assert -41 < angle.min() < -36
    assert 36 < angle.max() < 41
    assert 1 / 1.5 - 0.02 < scale.min() < 0.7
    assert 1.43 < scale.max() < 1.52
    assert np.median(np.log(scale)) == pytest.approx(0.0, abs=0.06)
    only = augmenter((41, 41), rotate=40.0)(images)
    apart = [np.hypot(*middle(image[0])) for image in only]
    np.testing.assert_allclose(apart, 6.0, atol=0.06)


def test_sharpening_adds_what_the_blur_takes_away() -> None:
    images = cells(3)
    found = sharpen(images, torch.tensor([0.0, 1.0, 2.5])).numpy()
    np.testing.assert_array_equal(found[0], images[0])
    for index, amount in ((1, 1.0), (2, 2.5)):
        for channel in range(3):
            image = images[index, channel].numpy().astype(np.float64)
            expected = image + amount * (image - gaussian_filter(image, 1.0, mode="nearest"))
            np.testing.assert_allclose(found[index, channel], expected, rtol=2e-5)


def test_a_constant_crop_stays_constant_when_sharpened() -> None:
    images = torch.full((2, 1, 9, 9), 1234.5)
    torch.testing.assert_close(sharpen(images, torch.tensor([1.0, 3.0])), images)


def test_colour_keeps_every_mean_and_scales_each_channel_alone() -> None:
    images = cells(2)
    gain = torch.tensor([[0.0, 0.5, -0.5], [0.2, 0.0, 0.0]])
    found = recolour(images, gain)
    torch.testing.assert_close(found.mean(dim=(2, 3)), images.mean(dim=(2, 3)))
    torch.testing.assert_close(
        found.std(dim=(2, 3)), images.std(dim=(2, 3)) * (1 + gain), rtol=1e-4, atol=0.0
    )


def test_grey_shows_the_same_in_every_channel_on_its_own_scale() -> None:
    images = cells(3)
    found = grey(images, torch.tensor([True, False, True]))
    assert torch.equal(found[1], images[1])
    torch.testing.assert_close(found.mean(dim=(2, 3)), images.mean(dim=(2, 3)))

    def standard(image: torch.Tensor) -> torch.Tensor:
        return (image - image.mean(dim=(1, 2), keepdim=True)) / image.std(
            dim=(1, 2), keepdim=True, correction=0
        )

    for index in (0, 2):
        seen = standard(found[index])
        torch.testing.assert_close(seen[0], seen[1], rtol=0.0, atol=1e-3)
        torch.testing.assert_close(seen[0], seen[2], rtol=0.0, atol=1e-3)
        expected = standard(images[index]).mean(dim=0)
        spread = images[index].std(dim=(1, 2), correction=0)
        centred = found[index] - found[index].mean(dim=(1, 2), keepdim=True)
        torch.testing.assert_close(
            centred / spread[:, None, None], expected.expand(3, 12, 12), rtol=0.0, atol=1e-3
        )


def test_grey_leaves_one_channel_and_takes_a_dead_one() -> None:
    single = cells(2, channels=1)
    assert grey(single, torch.tensor([True, True])) is single
    dead = cells(2, channels=2)
    dead[:, 1] = 7.0
    found = grey(dead, torch.tensor([True, True]))
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, 1], dead[:, 1])


def test_grey_meets_its_share_of_the_cells() -> None:
    images = cells(600, (4, 4))
    changed = (augmenter((4, 4), grey=0.3)(images) != images).any(3).any(2).any(1)
    assert 0.24 < float(changed.float().mean()) < 0.36


def test_noise_has_the_spread_asked_for_in_each_channel() -> None:
    images = cells(3, (60, 60))
    amount = torch.tensor([0.0, 0.1, 0.5])
    noise = add_noise(images, amount, generator=torch.Generator().manual_seed(0)) - images
    assert (noise[0] == 0).all()
    expected = amount[:, None] * images.std(dim=(2, 3), correction=0)
    torch.testing.assert_close(noise.std(dim=(2, 3))[1:], expected[1:], rtol=0.06, atol=0.0)
    assert (noise.mean(dim=(2, 3)).abs() <= 0.08 * expected + 1e-9).all()
    assert abs(np.corrcoef(noise[2, 0].flatten(), noise[2, 1].flatten())[0, 1]) < 0.08


@pytest.mark.parametrize("option", NEW)
def test_a_seed_repeats_each_transform(option: str) -> None:
    images = cells(8)
    options = {option: NEW[option]}
    torch.manual_seed(0)
    first = augmenter((12, 12), 3, **options)
    one, two = first(images), first(images)
    torch.manual_seed(1)
    again = augmenter((12, 12), 3, **options)(images)
    other = augmenter((12, 12), 4, **options)(images)
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.shape == images.shape
    assert one.dtype == torch.float32
    assert one.isfinite().all()


def test_torchs_own_chance_is_left_alone() -> None:
    before = torch.get_rng_state()
    augmenter((12, 12), **NEW)(cells(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_not_asked_for_draws_nothing() -> None:
    """The transforms of before take the chances of before, in their order."""
    images = cells(9)
    rng = np.random.default_rng(6)
    options = Augment(flip=True, rotate90=True, shift=2, blur=1.0, brightness=0.3)
    found = Augmenter(options, size=(12, 12), device=CPU, rng=rng)(images)

    repeated = np.random.default_rng(6)
    which = repeated.integers(8, size=9)
    down, right = repeated.integers(-2, 3, (2, 9, 1))
    sigma = repeated.uniform(0.0, 1.0, 9).astype(np.float32)
    gain, offset = repeated.uniform(-0.3, 0.3, (2, 9)).astype(np.float32)
    sources = orientations((12, 12), flip=True, rotate90=True)[which].reshape(9, 12, 12)
    rows = np.clip(np.arange(12) - down, 0, 11)
    columns = np.clip(np.arange(12) - right, 0, 11)
    moved = []
    for cell, source, r, c in zip(images.numpy(), sources, rows, columns, strict=True):
        moved.append(cell.reshape(3, -1)[:, source[np.ix_(r, c)]])
    expected = blur(torch.from_numpy(np.stack(moved)), torch.from_numpy(sigma), reach=reach_of(1.0))
    expected = relight(expected, torch.from_numpy(gain), torch.from_numpy(offset))
    assert torch.equal(found, expected)
    assert rng.integers(10**9) == repeated.integers(10**9)


def test_turned_real_cells_have_no_black_corners(mlcp_root: Path) -> None:
    """The background of brightfield goes on beyond the edge of the crop."""
    import tifffile

    montage = tifffile.imread(next((mlcp_root / "Experiment_1" / "G1").glob("Ch3_*.tif")))
    tiles = montage[:160].reshape(4, 40, 30, 40).transpose(0, 2, 1, 3).reshape(-1, 1, 40, 40)
    images = torch.from_numpy(tiles.astype(np.float32))
    turned = augmenter((40, 40), rotate=180.0, zoom=0.3)(images)

    def corners(batch: torch.Tensor) -> torch.Tensor:
        return torch.stack([batch[..., :3, :3], batch[..., -3:, -3:]]).mean(dim=(0, 2, 3, 4))

    spread = images.std(dim=(1, 2, 3))
    # The mirror image of a cell near the edge may come into a corner; black would be 677 away.
    apart = (corners(turned) - corners(images)).abs()
    assert float((apart / spread).median()) < 0.1
    assert float(apart.max()) < 100
    assert turned.amin() >= images.amin()
    torch.testing.assert_close(
        turned.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)), rtol=0.05, atol=0.0
    )
