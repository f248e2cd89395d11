"""Copies that were turned, mirrored, shifted or brightened are found, and look-alikes are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import CellDataset
from cellsearch.data.moved_copies import SMALLEST, Alignment, moved_copies
from cellsearch.data.near_duplicates import find_duplicates
from cellsearch.data.splits import draw_splits

from conftest import squares

Pixels = NDArray[np.float64]


def blobs(cells: int = 300, side: int = 32, channels: int = 2, noise: float = 2.0) -> Pixels:
    """Cells that differ, each in the middle of its crop, with the noise of a camera."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal((cells, channels, side, side)), (0, 0, 2, 2))
    away = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2)) / (0.3 * side)
    found: Pixels = 80 + (50 + 150 * smooth) * np.exp(-(away**4))
    return found + noise * rng.standard_normal(found.shape)


def shifted(cell: Pixels, down: int, right: int) -> Pixels:
    wide = np.pad(cell, ((0, 0), (2, 2), (2, 2)), mode="edge")
    height, width = cell.shape[1:]
    return wide[:, 2 + down : 2 + down + height, 2 + right : 2 + right + width]


CHANGES: dict[str, tuple[Callable[[Pixels], Pixels], str]] = {
    "mirrored": (lambda cell: cell[:, :, ::-1], "mirrored"),
    "upside down": (lambda cell: cell[:, ::-1], "mirrored"),
    "quarter": (lambda cell: np.rot90(cell, 1, (1, 2)), "turned by 90 degrees"),
    "half": (lambda cell: np.rot90(cell, 2, (1, 2)), "turned by 180 degrees"),
    "transposed": (lambda cell: cell.swapaxes(1, 2), "mirrored, turned by 90 degrees"),
    "one pixel": (lambda cell: shifted(cell, 1, 0), "shifted by 1 px"),
    "two pixels": (lambda cell: shifted(cell, -2, 2), "shifted by 2 px"),
    "brighter": (lambda cell: 1.05 * cell + 7, "5 % brighter"),
    "all": (
        lambda cell: 0.9 * shifted(np.rot90(cell, 3, (1, 2)), 1, -1),
        "turned by 90 degrees, shifted by 1 px, 10 % darker",
    ),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_each_change_is_found_and_named_and_nothing_else(dtype: type) -> None:
    cells = blobs()
    copies = [change(cells[at]) for at, (change, _) in enumerate(CHANGES.values())]
    images = np.concatenate([cells, copies]).clip(0, 255).astype(dtype)
    found = {(pair.a, pair.b): pair for pair in find_duplicates(images)}
    assert list(found) == [(at, 300 + at) for at in range(len(CHANGES))]
    for pair, (_, words) in zip(found.values(), CHANGES.values(), strict=True):
        assert pair.kind == "near"
        assert pair.alignment is not None
        assert pair.alignment.words == words
        assert pair.largest_difference < 3


def test_crops_that_are_not_square_or_are_large_are_compared_too() -> None:
    cells = blobs(60, 150, 1)
    for images in (cells, cells[..., :120]):
        copies = [shifted(images[3], 2, 0), images[8][:, ::-1]]
        whole = np.concatenate([images, copies]).clip(0, 255).astype(np.uint8)
        found = [(each.a, each.b) for each in moved_copies(whole, np.arange(len(whole)))]
        assert found == [(3, 60), (8, 61)]


def test_a_shift_of_more_than_two_pixels_is_another_crop() -> None:
    wide = blobs(200, 48)
    images = np.concatenate([wide[:, :, :32, :32], wide[:1, :, 6:38, 6:38]]).astype(np.uint8)
    assert moved_copies(images, np.arange(len(images))) == []


def test_look_alikes_without_the_same_noise_are_other_cells() -> None:
    # Round nuclei of one size: the pictures agree to a few per cent, the noise does not.
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:32, :32] - 15.5
    radii = rng.normal(9, 0.4, (400, 1, 1))
    disc = 1 / (1 + np.exp(np.hypot(rows, columns)[None] - radii))
    images = 40 + 120 * disc[:, None] + rng.normal(0, 3, (400, 1, 32, 32))
    copy = np.rot90(images[5], 1, (1, 2))[None]
    whole = np.concatenate([images, copy]).clip(0, 255).astype(np.uint8)
    assert [(each.a, each.b) for each in moved_copies(whole, np.arange(401))] == [(5, 400)]


def test_few_cells_that_look_alike_are_no_copies() -> None:
    for seed in range(20):
        images = squares((4, 4), seed).images
        assert moved_copies(images, np.arange(8)) == []
        copied = np.concatenate([images, images[:1, ..., ::-1]])
        assert [(each.a, each.b) for each in moved_copies(copied, np.arange(9))] == [(0, 8)]


def test_noise_small_crops_and_few_cells_give_nothing() -> None:
    noise = np.random.default_rng(2).integers(0, 255, (500, 1, SMALLEST, SMALLEST), np.uint8)
    assert moved_copies(noise, np.arange(500)) == []
    small = np.concatenate([noise, noise[:1, ..., ::-1]])[..., : SMALLEST - 1]
    assert moved_copies(small, np.arange(501)) == []
    assert moved_copies(noise[:5], np.arange(5)) == []


def test_pictures_in_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = blobs()
    images = np.concatenate([cells, cells[:3, :, ::-1]]).clip(0, 255).astype(np.uint8)
    whole = moved_copies(images, np.arange(303))
    assert len(whole) == 3
    monkeypatch.setattr("cellsearch.data.moved_copies.rows_per_chunk", lambda array: 50)
    assert moved_copies(images, np.arange(303)) == whole


def test_what_was_not_done_is_not_named() -> None:
    assert Alignment(mirrored=False, turns=0, shift=(0, 0), gain=1.001).words == ""
    assert Alignment(mirrored=True, turns=2, shift=(0, -1), gain=0.8).words == (
        "mirrored, shifted by 1 px, 20 % darker"
    )


def set_of(copies: list[Pixels], labels: list[int]) -> CellDataset:
    images = np.concatenate([blobs(), copies]).clip(0, 255).astype(np.uint8)
    classes = [*([0] * 150), *([1] * 150), *labels]
    return CellDataset.from_arrays(images, classes, classes=("a", "b"))


def test_the_check_says_how_a_copy_was_made_and_splits_keep_it_on_one_side() -> None:
    cells = blobs()
    dataset = set_of([np.rot90(each, 1, (1, 2)) for each in cells[:60]], [0] * 60)
    report = check_dataset(dataset)
    found = [each for each in report.findings if each.kind == "near-duplicate"]
    assert len(found) == 60
    assert " show the same image, turned by 90 degrees, to within " in str(found[0].message)
    splits = draw_splits(dataset, duplicates=report.duplicates)
    part = np.empty(len(dataset), np.int64)
    for number, (_, members) in enumerate(splits.parts()):
        part[members] = number
    assert (part[:60] == part[300:]).all()
    assert len(np.unique(part[:60])) > 1


def test_copies_of_copies_are_one_finding_with_the_number_of_cells() -> None:
    cells = blobs()
    copies = [cells[4][:, ::-1], np.rot90(cells[4], 1, (1, 2)), shifted(cells[4], 1, 1)]
    alike = check_dataset(set_of(copies, [0] * 3)).findings
    (one,) = [each for each in alike if "duplicate" in each.kind]
    assert one.kind == "near-duplicate"
    assert len(one.cells) == 4
    assert str(one.message).startswith("4 cells show the same image, in pairs or in a chain: ")
    assert "(all a)" in str(one.message)
    crossing = check_dataset(set_of(copies, [0, 1, 0])).findings
    (one,) = [each for each in crossing if "duplicate" in each.kind]
    assert (one.kind, one.severity) == ("duplicate-across-classes", "warning")
    assert "but are labelled a and b" in str(one.message)


@pytest.mark.slow
def test_moved_copies_of_real_cells_are_found_and_no_others(mlcp_root: Path) -> None:
    from cellsearch.data.source import load_dataset

    images = np.asarray(load_dataset("jurkat", mirror=mlcp_root).images[:3000])
    changes = [change for change, _ in CHANGES.values()]
    copies = [changes[at % len(changes)](images[40 * at].astype(float)) for at in range(60)]
    whole = np.concatenate([images, np.round(copies).astype(np.uint16)])
    found = {(pair.a, pair.b) for pair in find_duplicates(whole)}
    wanted = {(40 * at, 3000 + at) for at in range(60)}
    assert found - wanted == {(2003, 2007)}
    assert len(found & wanted) >= 58
