"""The contact sheet: every class and channel is on it, and it says what it cannot do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellsearch.data.contact_sheet import _draw, contact_sheet
from cellsearch.data.dataset import CellDataset
from cellsearch.data.thumbnails import chosen_rows
from cellsearch.errors import ConfigError, DataError


def flat_cells(values: list[list[int]], channels: list[str], labels: list[str]) -> CellDataset:
    """Cells of one grey level a channel, with a black frame that sets the contrast."""
    images = np.zeros((len(values), len(channels), 20, 20), np.uint8)
    images[:, :, 4:16, 4:16] = np.array(values, np.uint8)[:, :, None, None]
    return CellDataset.from_arrays(images, labels, channels=channels)


def rows(dataset: CellDataset) -> list[tuple[str, np.ndarray]]:
    return chosen_rows(dataset, 8, seed=0)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def colours(path: Path) -> set[tuple[int, ...]]:
    """Colours that fill a noticeable part of the picture."""
    pixels = pixels_of(path).reshape(-1, 3)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(value.tolist()) for value in values[counts > 300]}


def test_a_row_a_class_and_a_block_a_channel(tiny_dataset: CellDataset, tmp_path: Path) -> None:
    path = contact_sheet(tiny_dataset, tmp_path / "new" / "sheet.png")
    assert path == tmp_path / "new" / "sheet.png"
    assert [child.name for child in path.parent.iterdir()] == ["sheet.png"]
    titles = [axes.get_title() for axes in _draw(tiny_dataset, rows(tiny_dataset), 8).axes]
    assert titles == ["brightfield", "darkfield"]
    texts = [text.get_text() for text in _draw(tiny_dataset, rows(tiny_dataset), 8).axes[0].texts]
    assert texts == ["class-0\n50", "class-1\n30", "class-2\n10"]
    fewer = contact_sheet(tiny_dataset.drop_classes(["class-0"]), tmp_path / "fewer.png")
    assert size_of(fewer)[1] < size_of(path)[1]


def test_the_same_seed_gives_the_same_picture(tiny_dataset: CellDataset, tmp_path: Path) -> None:
    first, again, other = (
        pixels_of(contact_sheet(tiny_dataset, tmp_path / f"{k}.png", seed=seed))
        for k, seed in enumerate((0, 0, 1))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_red_green_and_blue_are_shown_as_colour(tmp_path: Path) -> None:
    values, labels = [[200, 30, 90], [20, 180, 60]], ["a", "b"]
    seen = colours(
        contact_sheet(flat_cells(values, ["red", "green", "blue"], labels), tmp_path / "rgb.png")
    )
    assert {(200, 30, 90), (20, 180, 60)} <= seen
    grey = colours(
        contact_sheet(flat_cells(values, ["dna", "actin", "er"], labels), tmp_path / "grey.png")
    )
    assert all(len(set(colour)) == 1 for colour in grey)


def test_contrast_is_shared_within_a_channel_and_not_across(tmp_path: Path) -> None:
    seen = colours(
        contact_sheet(
            flat_cells([[200, 20], [100, 10]], ["bright", "dim"], ["a", "b"]), tmp_path / "s.png"
        )
    )
    assert {(255, 255, 255), (0, 0, 0)} <= seen
    middles = {colour[0] for colour in seen if 100 < colour[0] < 150}
    assert middles == {127} or middles == {128}


def test_empty_classes_blank_and_unlabelled_cells_do_no_harm(tmp_path: Path) -> None:
    images = np.zeros((3, 1, 16, 16), np.float32)
    dataset = CellDataset.from_arrays(images, [0, 0, -1], classes=["some", "none"])
    assert contact_sheet(dataset, tmp_path / "s.png").stat().st_size > 1000


def test_many_channels_stay_within_a_page(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 12, 16, 16), np.uint8)
    path = contact_sheet(CellDataset.from_arrays(images, ["a", "b"] * 10), tmp_path / "s.png")
    assert size_of(path)[0] < 4000


def test_it_keeps_clear_of_pyplot(tiny_dataset: CellDataset, tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    contact_sheet(tiny_dataset, tmp_path / "s.png")
    assert ("matplotlib.pyplot" in sys.modules) is before


def test_what_cannot_be_is_refused(tiny_dataset: CellDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 1 or more, got 0"):
        contact_sheet(tiny_dataset, tmp_path / "s.png", cells_per_class=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        contact_sheet(tiny_dataset, tmp_path / "file" / "s.png")
