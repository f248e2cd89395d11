"""What a network sees: crops and resizing, in torch and in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cellsearch.learn.view import View, resizing_matrix
from cellsearch.space.sections import Input


def random_images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32))


@pytest.mark.parametrize(("before", "after"), [(40, 64), (224, 100), (17, 17), (30, 31), (7, 1)])
def test_rows_of_the_matrix_are_weights(before: int, after: int) -> None:
    matrix = resizing_matrix(before, after)
    assert matrix.shape == (after, before)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5)
    assert matrix.min() >= 0
    if before == after:
        np.testing.assert_allclose(matrix, np.eye(before), atol=1e-6)


@pytest.mark.parametrize(("size", "after"), [((40, 40), 64), ((60, 50), 24), ((33, 47), 20)])
def test_resizing_agrees_with_pillow(size: tuple[int, int], after: int) -> None:
    images = random_images(1, 1, *size)
    view = View(size, Input(size=after))
    mine = view(images)[0, 0].numpy()
    whole = Image.fromarray(images[0, 0].numpy(), mode="F")
    theirs = np.asarray(whole.resize((after, after), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(mine, theirs, atol=1e-2)


def test_the_centre_at_prediction_and_any_place_in_training() -> None:
    images = torch.arange(100, dtype=torch.float32).reshape(1, 1, 10, 10).repeat(400, 1, 1, 1)
    view = View((10, 10), Input(crop=0.8))
    assert view.seen == (8, 8)
    assert view(images)[0, 0, 0, 0] == 11
    drawn = view.draw(images, np.random.default_rng(0))
    assert drawn.shape == (400, 1, 8, 8)
    corners = drawn[:, 0, 0, 0].numpy()
    assert set(corners.tolist()) == {10.0 * row + column for row in range(3) for column in range(3)}
    # Each is a connected piece of the crop: rows and columns follow one another.
    np.testing.assert_array_equal(drawn[:, 0, 7, 7].numpy() - corners, 77)


def test_nothing_asked_is_nothing_done() -> None:
    images = random_images(3, 2, 9, 12)
    view = View((9, 12), Input())
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert not view.changes
    assert view(images) is images
    assert view.draw(images, rng) is images
    assert rng.bit_generator.state == before


def test_a_card_of_resized_crops_gives_the_same_in_onnx(tmp_path: Path) -> None:
    from cellsearch.card.export import export
    from cellsearch.learn.predictor import build_module
    from cellsearch.space.recipe import Recipe

    recipe = Recipe.from_params(
        {"model.depth": 1, "model.width": 8, "input.crop": 0.9, "input.size": 24}
    )
    torch.manual_seed(0)
    module = build_module(recipe, channels=2, classes=3, size=(40, 30)).eval()
    images = random_images(5, 2, 40, 30).numpy()
    assert export(module, {"image": images}, tmp_path).largest_difference < 1e-5
    # The matrices follow from sizes; they are not weights to be kept.
    assert not any("view" in name for name in module.state_dict())


@pytest.mark.parametrize(
    ("size", "most", "seen"),
    [
        ((200, 200), 96, (96, 96)),
        ((200, 100), 96, (96, 48)),
        ((99, 200), 64, (32, 64)),
        ((40, 96), 96, (40, 96)),
        ((40, 30), 96, (40, 30)),
        ((200, 100), 0, (200, 100)),
        ((400, 1), 64, (64, 1)),
    ],
)
def test_large_views_are_scaled_down_and_small_ones_left(
    size: tuple[int, int], most: int, seen: tuple[int, int]
) -> None:
    view = View(size, Input(most=most))
    assert view.seen == seen
    assert view(random_images(2, 1, *size)).shape == (2, 1, *seen)
    assert view.changes == (seen != size)


def test_the_largest_side_counts_after_the_crop_and_not_beside_a_size() -> None:
    assert View((120, 100), Input(crop=0.5, most=64)).seen == (60, 50)
    cut = View((200, 160), Input(crop=0.5, most=64))
    assert (cut.cropped, cut.seen) == ((100, 80), (64, 51))
    assert cut.draw(random_images(3, 1, 200, 160), np.random.default_rng(0)).shape[2:] == (64, 51)
    assert View((200, 160), Input(size=32, most=64)).seen == (32, 32)


def test_a_card_of_a_strided_network_on_scaled_views_gives_the_same_in_onnx(tmp_path: Path) -> None:
    from cellsearch.card.export import export
    from cellsearch.learn.predictor import build_module
    from cellsearch.space.recipe import Recipe

    recipe = Recipe.from_params(
        {"model.depth": 2, "model.width": 8, "model.residual": True, "model.stem": 2}
        | {"input.crop": 0.9, "input.most": 20}
    )
    torch.manual_seed(0)
    module = build_module(recipe, channels=2, classes=3, size=(40, 30)).eval()
    images = random_images(5, 2, 40, 30).numpy()
    assert export(module, {"image": images}, tmp_path).largest_difference < 1e-5
