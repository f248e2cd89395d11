"""Generated cells: the same bytes for the same seed, and phases that differ as phases do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.near_duplicates import find_duplicates, flat_channels
from cellsearch.data.phases import PHASES
from cellsearch.data.readers import RawCells, synthetic
from cellsearch.errors import ConfigError

COUNTS = dict.fromkeys(PHASES, 60)


@pytest.fixture(scope="module")
def cells() -> RawCells:
    return synthetic.generate(COUNTS, seed=3)


def of_phase(cells: RawCells, name: str) -> np.ndarray:
    return np.asarray(cells.images)[np.array(cells.labels) == name].astype(float)


def dna_content(images: np.ndarray) -> np.ndarray:
    return (images[:, 1] - 42).sum((1, 2))


def cell_area(images: np.ndarray) -> np.ndarray:
    """Pixels in the cell's darkfield shadow."""
    return (images[:, 2] < 13).sum((1, 2))


def elongation(images: np.ndarray) -> np.ndarray:
    """Ratio of the principal second moments of the DNA."""
    light = np.clip(images[:, 1] - 80, 0, None)
    light /= light.sum((1, 2), keepdims=True)
    row, column = np.mgrid[: light.shape[1], : light.shape[2]]
    y, x = ((light * axis).sum((1, 2), keepdims=True) for axis in (row, column))
    yy, xx, xy = (
        (light * product).sum((1, 2))
        for product in ((row - y) ** 2, (column - x) ** 2, (row - y) * (column - x))
    )
    root = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return (xx + yy + root) / (xx + yy - root)


def test_the_same_seed_gives_the_same_bytes(cells: RawCells) -> None:
    again = synthetic.generate(COUNTS, seed=3)
    assert np.asarray(again.images).tobytes() == np.asarray(cells.images).tobytes()
    assert not np.array_equal(synthetic.generate(COUNTS, seed=4).images, cells.images)


def test_more_cells_of_one_phase_leave_the_others_alone(cells: RawCells) -> None:
    other = synthetic.generate({**COUNTS, "G1": 75}, seed=3)
    for name in set(PHASES) - {"G1"}:
        assert np.array_equal(of_phase(other, name), of_phase(cells, name))


def test_shapes_names_and_grey_levels(cells: RawCells) -> None:
    images = np.asarray(cells.images)
    assert images.shape == (420, 3, 40, 40)
    assert images.dtype == np.uint16
    assert cells.channels == ("brightfield", "dna", "darkfield")
    assert cells.classes == tuple(PHASES)
    assert len(set(cells.ids)) == 420
    corner = images[:, :, :3, :3].astype(float).mean((0, 2, 3))
    assert corner == pytest.approx([680, 45, 27], abs=8)
    assert (images == 4095).mean() < 1e-3


def test_no_two_cells_are_duplicates_and_none_is_blank(cells: RawCells) -> None:
    assert find_duplicates(np.asarray(cells.images)) == []
    assert not flat_channels(np.asarray(cells.images)).any()


def test_dna_doubles_from_g1_to_g2_with_s_between(cells: RawCells) -> None:
    g1, s, g2 = (np.median(dna_content(of_phase(cells, name))) for name in ("G1", "S", "G2"))
    assert g2 / g1 == pytest.approx(1.85, abs=0.15)
    assert 1.2 < s / g1 < 1.5


def test_sizes_grow_but_overlap(cells: RawCells) -> None:
    g1, s, g2 = (cell_area(of_phase(cells, name)) for name in ("G1", "S", "G2"))
    assert np.median(g1) < np.median(s) < np.median(g2)
    assert np.quantile(g1, 0.9) > np.quantile(s, 0.3)
    assert np.quantile(s, 0.9) > np.quantile(g2, 0.3)


def test_division_figures_have_their_shapes(cells: RawCells) -> None:
    middle = {name: np.median(elongation(of_phase(cells, name))) for name in PHASES}
    assert middle["Metaphase"] > 1.5 * middle["Prophase"]
    assert middle["Telophase"] > 2 * middle["Prophase"]
    two = of_phase(cells, "Telophase")[:, 1]
    waist = two[:, 18:22, 18:22].mean((1, 2)) / two.max((1, 2))
    plate = of_phase(cells, "Metaphase")[:, 1]
    assert (
        np.median(waist) < 0.5 < np.median(plate[:, 18:22, 18:22].mean((1, 2)) / plate.max((1, 2)))
    )


def test_some_cells_are_out_of_focus(cells: RawCells) -> None:
    sharpness = np.abs(np.diff(of_phase(cells, "G2")[:, 0], n=2, axis=2)).max((1, 2))
    assert np.quantile(sharpness, 0.9) > 2 * np.quantile(sharpness, 0.1)


def test_cells_grow_with_the_crop() -> None:
    small = synthetic.generate({"G1": 30}, seed=0, size=24)
    large = synthetic.generate({"G1": 30}, seed=0, size=72)
    assert np.asarray(large.images).shape == (30, 3, 72, 72)
    share = [
        cell_area(of_phase(each, "G1")).mean() / size**2
        for each, size in ((small, 24), (large, 72))
    ]
    assert share[0] == pytest.approx(share[1], rel=0.2)


def test_read_obeys_its_options_and_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    options = synthetic.Options(counts={"S": 1030, "G2": 5}, size=16, seed=1)
    cells = synthetic.read(Path("nowhere"), options, lambda what, done, of: seen.append((done, of)))
    assert seen == [(1024, 1035), (1030, 1035), (1035, 1035)]
    assert synthetic.files(Path("nowhere"), options) == []
    assert np.array_equal(cells.images, synthetic.generate(options.counts, seed=1, size=16).images)


def test_an_unknown_phase_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no class 'Metaphse'.*did you mean 'Metaphase'"):
        synthetic.generate({"Metaphse": 3}, seed=0)
    with pytest.raises(ConfigError, match="expected 1 or more, got 0"):
        synthetic.generate({"G1": 0}, seed=0)
