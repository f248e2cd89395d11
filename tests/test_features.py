"""Measured features: right on known shapes, finite on anything, each cell by itself, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import regionprops

from cellsearch.data import features, measures
from cellsearch.data.cell_mask import border_median, cell_masks
from cellsearch.data.dataset import CellDataset
from cellsearch.data.features import feature_names, features_of, measure, measured
from cellsearch.errors import DataError

CHANNELS = ("a", "b")


def disc(radius: float, *, size: int = 40, level: float = 100.0) -> NDArray[np.float64]:
    """(1, 1, H, W): a disc about the centre on a background of 20."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    return (20.0 + level * (y**2 + x**2 <= radius**2))[None, None]


def noisy(cells: int = 12, size: tuple[int, int] = (24, 24), seed: int = 0) -> NDArray[np.float32]:
    """(n, 2, H, W): bright ellipses of many sizes in noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    images = rng.normal(60, 4, (cells, 2, *size))
    for cell in range(cells):
        a, b = rng.uniform(3, min(size) / 2 - 2, 2)
        inside = ((y - size[0] / 2) / a) ** 2 + ((x - size[1] / 2) / b) ** 2 < 1
        images[cell] += inside * rng.uniform(50, 120)
    return images.astype(np.float32)


def table(images: NDArray, channels: tuple[str, ...] = ("a",)) -> dict[str, NDArray[np.float32]]:
    return dict(zip(feature_names(channels), measure(images).T, strict=True))


@pytest.mark.parametrize("radius", [6.0, 10.5, 15.0])
def test_a_disc_measures_as_a_disc(radius: float) -> None:
    found = table(disc(radius))
    assert found["a: area"][0] == pytest.approx(np.pi * radius**2, rel=0.05)
    assert found["a: perimeter"][0] == pytest.approx(2 * np.pi * radius, rel=0.08)
    assert found["a: major axis"][0] == pytest.approx(2 * radius, rel=0.03)
    assert found["a: eccentricity"][0] < 0.01
    assert found["a: solidity"][0] > 0.93
    assert found["a: extent"][0] == pytest.approx(np.pi / 4, rel=0.06)
    assert found["a: mean"][0] == pytest.approx(120, rel=0.02)
    assert found["a: background"][0] == 20
    assert found["a: integrated"][0] == pytest.approx(100 * np.pi * radius**2, rel=0.05)
    # Hu's first moment of a disc is 1 / (2 pi); the others vanish by symmetry.
    assert found["a: Hu 1"][0] == pytest.approx(1 / (2 * np.pi), rel=0.01)
    assert max(abs(found[f"a: Hu {k}"][0]) for k in range(2, 8)) < 1e-3


def test_shapes_are_those_of_scikit_image() -> None:
    pixels = noisy()[:, 0].astype(np.float64)
    masks = cell_masks(np.abs(pixels - border_median(pixels)[:, None, None]))
    rows = measures.shape(masks)
    degrees = (1, 2, 2, 2, 4, 3, 4)
    for mask, row in zip(masks, rows, strict=True):
        (region,) = regionprops(mask.astype(int))
        found = dict(zip(measures.SHAPE, row, strict=True))
        assert found["area"] == region.area
        # scikit-image takes a px for a point, here it is a square: 1/12 more on both axes.
        major, minor = (
            np.sqrt(found[f"{name} axis"] ** 2 - 16 / 12) for name in ("major", "minor")
        )
        assert major == pytest.approx(region.axis_major_length, abs=1e-5)
        assert minor == pytest.approx(region.axis_minor_length, abs=1e-5)
        assert found["eccentricity"] == pytest.approx(
            np.sqrt(1 - (found["minor axis"] / found["major axis"]) ** 2), abs=1e-5
        )
        for k, (moment, degree) in enumerate(zip(region.moments_hu, degrees, strict=True), 1):
            root = np.sign(moment) * np.abs(moment) ** (1 / degree)
            assert found[f"Hu {k}"] == pytest.approx(root, abs=1e-4)


def test_masks_are_the_largest_piece_with_its_holes_filled() -> None:
    y, x = np.indices((32, 32))
    far = np.sqrt((y - 14.0) ** 2 + (x - 14.0) ** 2)
    ring = 100.0 * ((far < 10) & (far > 5)) + 100.0 * ((y > 28) & (x > 28))
    (mask,) = cell_masks(ring[None])
    assert mask[14, 14]
    assert not mask[30, 30]
    assert cell_masks(np.zeros((1, 9, 9))).all()


def test_twice_the_light_is_twice_the_intensity() -> None:
    images = noisy()
    once, twice = table(images, CHANNELS), table(2 * images, CHANNELS)
    for name in ("mean", "sd", "low", "high", "background", "integrated"):
        np.testing.assert_allclose(twice[f"a: {name}"], 2 * once[f"a: {name}"], rtol=1e-5)
    for name in (*measures.SHAPE, *measures.TEXTURE, *measures.RADIAL, "skew", "kurtosis"):
        np.testing.assert_allclose(twice[f"b: {name}"], once[f"b: {name}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 24), (21, 34)])
def test_a_quarter_turn_changes_nothing(size: tuple[int, int]) -> None:
    images = noisy(size=size)
    turned = measure(np.rot90(images, axes=(2, 3)).copy())
    np.testing.assert_allclose(turned, measure(images), rtol=1e-5, atol=1e-5)


def test_a_cell_is_measured_alone() -> None:
    images = noisy(cells=30)
    together = measure(images)
    for cell in (0, 7, 29):
        np.testing.assert_array_equal(measure(images[cell : cell + 1])[0], together[cell])
    np.testing.assert_array_equal(measure(images[::-1])[::-1], together)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 8, 8), (12, 8, 11), (3, 30, 17)])
def test_finite_whatever_the_crop(dtype: type, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (10, *shape))
    images[0] = 0
    images[1] = 7.3
    images[2, :, 3:, :] = 9
    images[3] = 5
    images[3, :, 3, 3] = 250
    images[4] = 0
    images[4, :, :, 2] = 200
    images[5] = rng.random(shape) > 0.5
    images = images.astype(dtype)
    if dtype is np.float32:
        images[6] *= 1e36
        images[7] *= 1e-35
    found = measure(images)
    assert found.shape == (10, len(feature_names([f"c{k}" for k in range(shape[0])])))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_texture_tells_fine_from_coarse() -> None:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 2, (1, 1, 32, 32)) * 100.0
    coarse = np.kron(rng.integers(0, 2, (1, 1, 4, 4)), np.ones((8, 8))) * 100.0
    a, b = table(fine), table(coarse)
    assert a["a: contrast at 1 px"][0] > 3 * b["a: contrast at 1 px"][0]
    assert a["a: granularity 1 px"][0] > 0.8
    assert b["a: granularity 1 px"][0] < 0.1
    shares = [a[f"a: local pattern {k}"][0] for k in range(measures.PATTERNS)]
    assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_rings_and_correlation() -> None:
    y, x = np.indices((33, 33)) - 16
    cone = np.maximum(0.0, 12 - np.sqrt(y**2 + x**2))
    found = table(np.stack([cone, -cone])[None], CHANNELS)
    rings = [found[f"a: ring {k}"][0] for k in range(1, measures.RINGS + 1)]
    assert (np.diff(rings) < 0).all()
    assert found["b: ring 1"][0] == -found["a: ring 1"][0]
    assert found["a and b: correlation"][0] == -1


def test_small_crops_and_other_shapes_are_refused() -> None:
    for shape in ((2, 1, 7, 9), (2, 9, 9)):
        with pytest.raises(DataError, match=r"at least 8 x 8 px; got shape"):
            measure(np.zeros(shape))


def test_measured_is_kept_and_memory_mapped(
    tiny_saved: CellDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "cache"))
    found = measured(tiny_saved)
    np.testing.assert_array_equal(found, measure(tiny_saved.images))
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    (path,) = (tmp_path / "cache" / "features").iterdir()
    assert path.name == f"{tiny_saved.sha256}-v{features.FEATURES_VERSION}.npy"
    monkeypatch.setattr(features, "measure", None)
    chosen = np.array([5, 1, 5])
    np.testing.assert_array_equal(features_of(tiny_saved, chosen), found[chosen])


def test_a_damaged_file_is_measured_anew(
    tiny_saved: CellDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "cache"))
    expected = np.array(measured(tiny_saved))
    (path,) = (tmp_path / "cache" / "features").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    np.testing.assert_array_equal(measured(tiny_saved), expected)


def test_without_a_folder_only_the_cells_asked_for_are_measured(
    tiny_dataset: CellDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = measure(tiny_dataset.images[[3, 9]])
    seen = []
    monkeypatch.setattr(features, "measure", lambda images: seen.append(len(images)) or expected)
    found = features_of(tiny_dataset, np.array([9, 3, 9]))
    np.testing.assert_array_equal(found, expected[[1, 0, 1]])
    assert seen == [2]


@pytest.mark.slow
def test_two_processes_measure_once(tiny_saved: CellDataset, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cellsearch.data import features\n"
        "from cellsearch.data.dataset import CellDataset\n"
        "real = features.measure\n"
        "def slow(images):\n"
        "    with open(sys.argv[2], 'a') as log: log.write('x')\n"
        "    time.sleep(0.5)\n"
        "    return real(images)\n"
        "features.measure = slow\n"
        "print(features.measured(CellDataset.open(sys.argv[1])).sum())\n"
    )
    log = tmp_path / "log"
    environment = os.environ | {"CELLSEARCH_CACHE": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tiny_saved.folder), str(log)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=500)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert log.read_text() == "x"
    assert said[0] == said[1] != ""


def test_names_are_unique_and_say_their_channel() -> None:
    names = feature_names(("DNA", "dark field", "x"))
    assert len(set(names)) == len(names) == 3 * len(measures.CHANNEL) + 3
    assert names[0] == "DNA: mean"
    assert names[-1] == "dark field and x: correlation"
