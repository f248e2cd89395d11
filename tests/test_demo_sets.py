"""The generated stand-ins for sets that are not public: repeatable, honest, and neither easy nor
hopeless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cellsearch.data.drawing import MODELS, ModelName
from cellsearch.data.manifest import load_manifest
from cellsearch.data.near_duplicates import find_duplicates, flat_channels
from cellsearch.data.readers import RawCells, synthetic
from cellsearch.data.readers.registry import layout
from cellsearch.data.source import load_dataset
from cellsearch.errors import ConfigError

pytestmark = pytest.mark.slow

NEW: tuple[ModelName, ...] = ("nuclei", "embryo", "microtubules")
FEWER: dict[ModelName, dict[str, int]] = {
    "nuclei": {"G1": 257, "S": 166, "G2": 49, "M": 21},
    "embryo": {"interphase": 150, "mitosis": 60},
    "microtubules": {"0": 90, "0.1": 90, "1": 90},
}


@pytest.fixture(scope="module")
def drawn() -> dict[ModelName, RawCells]:
    """Cells at full size, fewer of the large ones."""
    return {model: synthetic.generate(FEWER[model], model=model, seed=7) for model in NEW}


def pixels(cells: RawCells) -> np.ndarray:
    return np.asarray(cells.images)[:, 0].astype(np.float32)


def of_class(cells: RawCells, name: str) -> np.ndarray:
    return pixels(cells)[np.array(cells.labels) == name]


def shrunk(images: np.ndarray, factor: int) -> np.ndarray:
    cells, side, _ = images.shape
    blocks = images.reshape(cells, side // factor, factor, side // factor, factor)
    return blocks.mean((2, 4)).reshape(cells, -1)


def score(features: np.ndarray, labels: list[str], strength: float) -> float:
    """Balanced accuracy of a linear model, out of fold."""
    linear = LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    found = cross_val_predict(
        make_pipeline(StandardScaler(), linear), features, np.array(labels), cv=folds
    )
    return float(balanced_accuracy_score(labels, found))


@pytest.mark.parametrize(
    ("name", "counts", "dtype"),
    [
        ("demo-nuclei", {"G1": 257, "S": 166, "G2": 49, "M": 21}, np.uint16),
        ("demo-embryo", {"interphase": 300, "mitosis": 60}, np.uint8),
        ("demo-microtubules", {"0": 300, "0.1": 300, "1": 300}, np.uint8),
    ],
)
def test_a_set_holds_what_its_manifest_says(
    name: str, counts: dict[str, int], dtype: type, tmp_path: Path
) -> None:
    cells = load_dataset(name, cache=tmp_path, size=16)
    assert dict(zip(cells.classes, cells.counts.tolist(), strict=True)) == counts
    assert cells.images.dtype == dtype
    assert cells.images.shape == (sum(counts.values()), 1, 16, 16)
    assert cells.provenance.synthetic
    assert cells.provenance.title.startswith("Generated")
    assert "not measured" in cells.provenance.notes


def test_crops_have_the_sizes_of_the_papers(drawn: dict[ModelName, RawCells]) -> None:
    sides = {"demo-nuclei": 64, "demo-embryo": 224, "demo-microtubules": 300}
    assert {name: load_manifest(name).layout.options["size"] for name in sides} == sides
    for model, side in zip(NEW, sides.values(), strict=True):
        images = np.asarray(drawn[model].images)
        assert images.shape == (sum(FEWER[model].values()), 1, side, side)
        assert images.dtype == MODELS[model].dtype


def test_the_full_microtubules_differ_in_their_counts_alone() -> None:
    few, full = map(load_manifest, ("demo-microtubules", "demo-microtubules-full"))
    assert [kind.count for kind in full.classes] == [1100, 1100, 1100]
    options = full.layout.options
    assert options["counts"] == {kind.name: kind.count for kind in full.classes}
    assert {**options, "counts": few.layout.options["counts"]} == few.layout.options
    assert full.synthetic


@pytest.mark.parametrize("model", NEW)
def test_the_same_seed_gives_the_same_bytes(model: ModelName) -> None:
    first, second = list(MODELS[model].counts)[:2]
    counts = {first: 6, second: 5}

    def draw(counts: dict[str, int], seed: int) -> np.ndarray:
        return np.asarray(synthetic.generate(counts, model=model, seed=seed, size=48).images)

    assert draw(counts, 1).tobytes() == draw(counts, 1).tobytes()
    assert not np.array_equal(draw(counts, 1), draw(counts, 2))
    assert np.array_equal(draw({**counts, first: 9}, 1)[9:], draw(counts, 1)[6:])


@pytest.mark.parametrize("model", NEW)
def test_no_two_cells_are_duplicates_and_none_is_blank(
    model: ModelName, drawn: dict[ModelName, RawCells]
) -> None:
    images = np.asarray(drawn[model].images)
    assert find_duplicates(images) == []
    assert not flat_channels(images).any()
    assert (images == (4095 if images.dtype == np.uint16 else 255)).mean() < 0.01


@pytest.mark.parametrize(
    ("model", "factor", "strength"),
    [("nuclei", 4, 0.001), ("embryo", 8, 0.003), ("microtubules", 20, 0.0001)],
)
def test_pixels_tell_something_but_far_from_all(
    model: ModelName, factor: int, strength: float, drawn: dict[ModelName, RawCells]
) -> None:
    cells = drawn[model]
    chance = 1 / len(cells.classes or ())
    found = score(shrunk(pixels(cells), factor), cells.labels, strength)
    assert chance + 0.1 < found < 0.85


def texture(images: np.ndarray) -> np.ndarray:
    """Strength and skewness of two bands, and the share of light near the brightest place."""
    found = []
    before = images
    for sigma in (1, 2):
        after = gaussian_filter(images, (0, sigma, sigma))
        band = before - after
        spread = band.std((1, 2))
        found += [spread, (band**3).mean((1, 2)) / spread**3]
        before = after
    wide = gaussian_filter(images, (0, 8, 8))
    return np.stack([*found, wide.max((1, 2)) / images.mean((1, 2)), images.mean((1, 2))], axis=1)


def test_texture_tells_doses_better_than_pixels_do(drawn: dict[ModelName, RawCells]) -> None:
    cells = drawn["microtubules"]
    by_pixels = score(shrunk(pixels(cells), 20), cells.labels, 0.0001)
    by_texture = score(texture(pixels(cells)), cells.labels, 1.0)
    assert by_pixels + 0.05 < by_texture < 0.85


def test_dapi_doubles_from_g1_to_g2_and_phases_overlap(drawn: dict[ModelName, RawCells]) -> None:
    light = {}
    for name in ("G1", "S", "G2"):
        images = of_class(drawn["nuclei"], name)
        middle = images[:, 10:54, 10:54]
        light[name] = (middle - np.quantile(images, 0.1, axis=(1, 2))[:, None, None]).sum((1, 2))
    g1, s, g2 = (np.median(light[name]) for name in light)
    assert 1.2 < s / g1 < 1.65
    assert 1.6 < g2 / g1 < 2.2
    assert np.quantile(light["G1"], 0.85) > np.quantile(light["S"], 0.15)
    assert np.quantile(light["S"], 0.85) > np.quantile(light["G2"], 0.15)


def test_dividing_cells_are_dark_in_the_middle(drawn: dict[ModelName, RawCells]) -> None:
    darkest = {
        name: gaussian_filter(of_class(drawn["embryo"], name), (0, 2, 2))[:, 82:142, 82:142]
        for name in ("interphase", "mitosis")
    }
    drop = {
        name: np.median(found, axis=(1, 2)) - found.min((1, 2)) for name, found in darkest.items()
    }
    assert np.median(drop["mitosis"]) > 1.3 * np.median(drop["interphase"])
    assert np.quantile(drop["interphase"], 0.9) > np.quantile(drop["mitosis"], 0.2)


def test_the_centrosome_fades_with_the_dose(drawn: dict[ModelName, RawCells]) -> None:
    peak = {}
    for name in ("0", "0.1", "1"):
        images = of_class(drawn["microtubules"], name)
        wide = gaussian_filter(images, (0, 8, 8))
        peak[name] = wide.max((1, 2)) / images.mean((1, 2))
    assert np.median(peak["0"]) > np.median(peak["0.1"]) > np.median(peak["1"])
    assert np.quantile(peak["1"], 0.8) > np.median(peak["0.1"])


def test_a_class_of_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nuclei: no class 'Mitosis' to generate"):
        synthetic.generate({"Mitosis": 3}, model="nuclei", seed=0)
    with pytest.raises(ConfigError, match=r"option model: .*'nuclei'"):
        layout("synthetic", {"model": "nucleus"})
