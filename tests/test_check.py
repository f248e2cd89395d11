"""The integrity check: it finds what was planted and the real duplicates, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.check import CheckReport, Finding, check_dataset, find_duplicates
from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import DuplicatePair, flat_channels
from cellsearch.data.splits import draw_splits
from cellsearch.terminal.tables import summary_lines
from cellsearch.util.wording import as_option

PHASES = {
    "Experiment_1/G1": 900,
    "Experiment_2/G1": 900,
    "Experiment_1/S_phase": 900,
    "Experiment_1/G2": 900,
    "Experiment_1/Prophase": 606,
    "Experiment_1/Metaphase": 68,
    "Experiment_1/Anaphase": 15,
    "Experiment_1/Telophase": 27,
}
REAL_DUPLICATE = {"Experiment_2/G1/CP0002:203", "Experiment_2/G1/CP0002:207"}


def cut_montages(root: Path, *, naive: bool) -> CellDataset:
    """Tiles of all montages, column by column; naively those that are not stripes, else counted."""
    import tifffile

    images, labels, ids = [], [], []
    for folder, cells in PHASES.items():
        for file in sorted((root / folder).glob("Ch3_*.tif")):
            channels = [
                tifffile.imread(file.with_name(file.name.replace("Ch3", name)))
                .reshape(30, 40, 30, 40)
                .transpose(2, 0, 1, 3)
                .reshape(900, 40, 40)
                for name in ("Ch3", "Ch4", "Ch6")
            ]
            tiles = np.stack(channels, axis=1)
            kept = (
                np.flatnonzero((tiles.max((2, 3)) > tiles.min((2, 3))).all(1))
                if naive
                else np.arange(cells)
            )
            images.append(tiles[kept])
            labels += [folder.split("/")[1]] * len(kept)
            ids += [f"{folder}/{file.stem[4:]}:{tile}" for tile in kept]
    return CellDataset.from_arrays(np.concatenate(images), labels, ids=ids, name="montages")


def noise(counts: tuple[int, ...], *, channels: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(200, 3000, (sum(counts), channels, 12, 12)).astype(np.uint16)


def dataset_of(images: np.ndarray, counts: tuple[int, ...]) -> CellDataset:
    names = [f"class-{k}" for k in range(len(counts))]
    labels = np.repeat(np.arange(len(counts)), counts)
    return CellDataset.from_arrays(images, labels, classes=names, name="planted")


def of_kind(report: CheckReport, kind: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.kind == kind]


@pytest.mark.slow
def test_naive_montages_give_the_three_known_duplicates_and_one_among_the_true_cells(
    mlcp_root: Path,
) -> None:
    dataset = cut_montages(mlcp_root, naive=True)
    report = check_dataset(dataset)
    pairs = {frozenset(f.cells): f for f in report.findings if "duplicate" in f.kind}
    metaphase, anaphase, telophase = (
        frozenset(f"Experiment_1/{phase}/CP0001:{tile}" for tile in tiles)
        for phase, tiles in (
            ("Metaphase", (62, 68)),
            ("Anaphase", (12, 15)),
            ("Telophase", (25, 27)),
        )
    )
    assert set(pairs) == {metaphase, anaphase, telophase, frozenset(REAL_DUPLICATE)}
    assert pairs[anaphase].kind == "exact-duplicate"
    assert pairs[metaphase].kind == pairs[telophase].kind == "near-duplicate"
    (constant,) = of_kind(report, "constant")
    assert len(constant.cells) == len(dataset) - 7916 - 3
    assert "Experiment_1/Metaphase/CP0001:69" in constant.cells


@pytest.mark.slow
def test_the_true_cells_have_one_duplicate_and_it_needs_no_particular_channels(
    mlcp_root: Path,
) -> None:
    dataset = cut_montages(mlcp_root, naive=False)
    assert len(dataset) == 7916
    for channels in ([0, 1, 2], [0, 2], [1]):
        duplicates = find_duplicates(dataset.images[:, channels])
        assert [set(dataset.ids[[pair.a, pair.b]]) for pair in duplicates] == [REAL_DUPLICATE]


def test_white_blood_cells_hold_one_file_twice_and_one_cell_photographed_twice(
    wbc_root: Path,
) -> None:
    from PIL import Image

    images = np.zeros((300, 3, 120, 120), np.uint8)
    for number in range(300):
        pixels = np.asarray(Image.open(wbc_root / f"images/{number + 1:03d}.bmp").convert("RGB"))
        height, width = pixels.shape[:2]
        top, left = (120 - height) // 2, (120 - width) // 2
        images[number, :, top : top + height, left : left + width] = pixels.transpose(2, 0, 1)
    assert find_duplicates(images) == [
        DuplicatePair(111, 138, "exact", 0.0),
        DuplicatePair(165, 170, "near", 61.0),
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_planted_duplicates_are_found_whatever_the_dtype_and_exposure(dtype: type) -> None:
    rng = np.random.default_rng(1)
    waves = rng.normal(0, 1, (400, 2, 6, 6)).repeat(4, axis=2).repeat(4, axis=3)
    dim = np.where(np.arange(400) < 200, 0.2, 1.0)[:, None, None, None]
    images = 100 + dim * (25 * waves + rng.normal(0, 4, waves.shape))
    images[7] = images[301]
    images[120] = images[31] + rng.normal(0, 0.4, images[31].shape)
    images[250] = images[390] + rng.normal(0, 2, images[31].shape)
    scale = 1 if dtype is np.uint8 else 7
    pixels = np.clip(images * scale, 0, 255 * scale).astype(dtype)
    duplicates = find_duplicates(pixels)
    assert [(pair.a, pair.b, pair.kind) for pair in duplicates] == [
        (7, 301, "exact"),
        (31, 120, "near"),
        (250, 390, "near"),
    ]
    difference = np.abs(pixels[31].astype(float) - pixels[120]).max()
    assert duplicates[1].largest_difference == pytest.approx(difference, rel=1e-6)
    assert [pair.kind for pair in find_duplicates(pixels, near_tolerance=0)] == ["exact"]


def test_equal_cells_are_paired_with_the_first() -> None:
    images = noise((30,))
    images[[9, 17, 25]] = images[4]
    assert find_duplicates(images) == [DuplicatePair(4, cell, "exact", 0.0) for cell in (9, 17, 25)]


def test_noise_and_blank_cells_are_no_duplicates() -> None:
    images = noise((300,), channels=1)
    images[:50] = 500
    images[50:80] = np.arange(12)
    images[80:100] = np.arange(12)[:, None]
    assert find_duplicates(images) == []
    assert flat_channels(images)[:, 0].tolist() == [True] * 100 + [False] * 200


def test_many_chunks_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise((700,))
    images[655] = images[3]
    images[650] = images[20]
    images[650, 0, 3, 3] += 2
    whole = find_duplicates(images)
    monkeypatch.setattr("cellsearch.data.near_duplicates.rows_per_chunk", lambda array: 7)
    assert find_duplicates(images) == whole
    assert [(pair.a, pair.b, pair.kind) for pair in whole] == [
        (3, 655, "exact"),
        (20, 650, "near"),
    ]


def test_two_cells_are_too_few_to_say_what_is_near() -> None:
    images = noise((2,))
    images[1] = images[0] + 1
    assert find_duplicates(images) == []


def test_a_duplicate_across_classes_is_an_error_that_names_both_labels() -> None:
    images = noise((60, 40))
    images[80] = images[10]
    images[22] = images[21]
    report = check_dataset(dataset_of(images, (60, 40)))
    (crossing,) = of_kind(report, "duplicate-across-classes")
    assert crossing.severity == "error"
    assert crossing.cells == ("000010", "000080")
    assert "class-0 and class-1" in str(crossing.message)
    (same,) = of_kind(report, "exact-duplicate")
    assert (same.cells, same.severity) == (("000021", "000022"), "warning")
    assert report.findings[0] == crossing
    assert [(pair.a, pair.b) for pair in report.duplicates] == [(10, 80), (21, 22)]


def test_splits_that_tear_duplicates_apart_are_an_error_and_those_that_do_not_are_none() -> None:
    images = noise((60, 40))
    for a, b in ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)):
        images[b] = images[a]
    dataset = dataset_of(images, (60, 40))
    blind = draw_splits(dataset, duplicates=())
    torn = [f for f in check_dataset(dataset, splits=blind).findings if f.severity == "error"]
    assert torn
    assert all(
        "the given splits put them on both sides" in str(finding.message) for finding in torn
    )
    kept = check_dataset(dataset, splits=draw_splits(dataset))
    assert len(of_kind(kept, "exact-duplicate")) == 5
    assert not any("tear" in str(finding.message) for finding in kept.findings)
    naive = of_kind(check_dataset(dataset), "exact-duplicate")
    assert any("a plain stratified split" in str(finding.message) for finding in naive)


def test_blank_cells_and_blank_channels_are_told_apart() -> None:
    images = noise((60, 40))
    images[5] = 300
    images[6] = np.arange(12)
    images[70, 1] = 0
    report = check_dataset(dataset_of(images, (60, 40)))
    (blank,) = of_kind(report, "constant")
    assert (blank.severity, blank.cells) == ("error", ("000005", "000006"))
    (partly,) = of_kind(report, "constant-channel")
    assert partly.cells == ("000070",)
    assert "channel-2" in str(partly.message)
    assert not report.duplicates


@pytest.mark.parametrize("ceiling", [65535, 4095])
def test_saturation_is_seen_at_the_end_of_the_dtype_and_of_a_12_bit_camera(ceiling: int) -> None:
    images = noise((60, 40))
    images[[3, 50], 0, :3, :3] = ceiling
    images[20, 0, 0, 0] = ceiling
    (found,) = of_kind(check_dataset(dataset_of(images, (60, 40))), "saturated")
    assert found.cells == ("000003", "000050")
    assert str(ceiling) in str(found.message)
    assert "channel-1" in str(found.message)


def test_the_brightest_of_many_is_not_saturated() -> None:
    images = noise((60, 40))
    images[3, 0, :3, :3] = [[9000, 9001, 9002], [9003, 9004, 9005], [9006, 9007, 9008]]
    assert not of_kind(check_dataset(dataset_of(images, (60, 40))), "saturated")


def test_a_cell_of_another_exposure_stands_out() -> None:
    images = noise((60, 40))
    images[12, 1] *= 8
    (found,) = of_kind(check_dataset(dataset_of(images, (60, 40))), "outlier-intensity")
    assert found.cells == ("000012",)
    assert "channel-2" in str(found.message)


def test_classes_too_small_say_what_they_need_and_what_there_is() -> None:
    counts = (60, 12, 5, 1)
    report = check_dataset(dataset_of(noise(counts), counts), folds=5)
    five, one = of_kind(report, "not-estimable")
    assert "class-2 has 5 cells, 5 folds and a hold-out need 6" in str(five.message)
    assert "--folds 4" in five.message.worded(as_option)
    assert len(five.cells) == 5
    assert "class-3 has 1 cell, " in str(one.message)
    assert "--folds" not in one.message.worded(as_option)
    (tiny,) = of_kind(report, "tiny-class")
    assert "class-1 has 12 cells" in str(tiny.message)
    assert [f.severity for f in report.problems] == ["error", "error"]
    assert not of_kind(check_dataset(dataset_of(noise(counts), counts), folds=4), "duplicate-id")


def test_unlabelled_cells_and_equal_ids_are_reported() -> None:
    images = noise((30,))
    labels = np.where(np.arange(30) < 4, -1, 0)
    dataset = CellDataset.from_arrays(images, labels, classes=["only"])
    (found,) = of_kind(check_dataset(dataset), "unlabelled")
    assert (found.severity, len(found.cells)) == ("warning", 4)
    bare = CellDataset.from_arrays(images, np.full(30, -1), classes=[])
    (found,) = of_kind(check_dataset(bare), "unlabelled")
    assert (found.severity, len(found.cells)) == ("error", 30)
    assert summary_lines(bare)[-1] == "classes: no cell has a label"
    object.__setattr__(dataset, "ids", np.array(["same", "same", *map(str, range(28))]))
    (doubled,) = of_kind(check_dataset(dataset), "duplicate-id")
    assert (doubled.severity, doubled.cells) == ("error", ("same",))


def test_clean_cells_give_no_problem(tiny_dataset: CellDataset) -> None:
    report = check_dataset(tiny_dataset, folds=3)
    assert report.problems == ()
    assert (report.cells, report.folds, report.dataset) == (len(tiny_dataset), 3, "squares")


@pytest.mark.slow
def test_duplicates_are_found_among_tens_of_thousands_of_cells() -> None:
    # Each held against each would take hours; a test ends after minutes.
    rng = np.random.default_rng(0)
    images = np.empty((40_000, 1, 28, 28), np.uint8)
    for start in range(0, len(images), 10_000):
        coarse = rng.normal(0, 1, (10_000, 1, 7, 7)).astype(np.float32)
        fine = coarse.repeat(4, 2).repeat(4, 3)
        fine += rng.standard_normal(fine.shape, np.float32) * 0.3
        images[start : start + 10_000] = np.clip(128 + 40 * fine, 0, 255)
    images[39_000] = images[1]
    images[27_777] = np.clip(images[2].astype(int) + rng.integers(-2, 3, (1, 28, 28)), 0, 255)
    duplicates = find_duplicates(images)
    assert [(pair.a, pair.b, pair.kind) for pair in duplicates] == [
        (1, 39_000, "exact"),
        (2, 27_777, "near"),
    ]
