"""Arrays that may be read in two ways, or on another scale than in fit, are asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellsearch import CellClassifier, CellDataset
from cellsearch.data.readers.registry import layout
from cellsearch.errors import ConfigError, DataError, InputError

RNG = np.random.default_rng(5)
LABELS = list("ab") * 6
LOGREG = {"model.family": "logreg", "model.features": "pixels", "model.l2": 0.01}


def crops(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(12, 12, 3), (12, 12, 1), (10, 10, 4), (8, 12, 3), (5, 5, 4)])
def test_arrays_whose_channels_may_come_last_are_refused_with_both_readings(
    shape: tuple[int, int, int],
) -> None:
    images = crops(12, *shape)
    a, b, c = shape
    with pytest.raises(DataError) as caught:
        CellDataset.from_arrays(images, LABELS)
    message = str(caught.value)
    assert f"{a} channels of {b} x {c} px or {c} channel" in message
    assert f"of {a} x {b} px" in message
    assert 'layout="NCHW" for the first or layout="NHWC" for the second' in message
    assert "np.moveaxis(images, -1, 1)" in message
    last = CellDataset.from_arrays(images, LABELS, layout="NHWC")
    np.testing.assert_array_equal(last.images, np.moveaxis(images, 3, 1))
    first = CellDataset.from_arrays(images, LABELS, layout="NCHW")
    np.testing.assert_array_equal(first.images, images)


@pytest.mark.parametrize(
    "shape", [(3, 12, 12), (1, 30, 3), (4, 12, 3), (2, 40, 40), (12, 12, 12), (12, 4, 4), (2, 3, 4)]
)
def test_arrays_whose_channels_clearly_come_first_pass(shape: tuple[int, int, int]) -> None:
    images = crops(12, *shape)
    np.testing.assert_array_equal(CellDataset.from_arrays(images, LABELS).images, images)


def test_npz_and_hdf5_ask_by_their_option(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    images = crops(12, 12, 12, 3)
    np.savez(tmp_path / "x.npz", images=images, labels=LABELS)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"] = images, LABELS
    for reader in ("npz", "hdf5"):
        path = tmp_path / {"npz": "x.npz", "hdf5": "x.h5"}[reader]
        with pytest.raises(ConfigError, match=r"12 channels of 12 x 3 px or 3 channels of 12 x 12"):
            layout(reader, {}).read(path)
        raw = layout(reader, {"layout_axes": "NHWC"}).read(path)
        np.testing.assert_array_equal(raw.images, np.moveaxis(images, 3, 1))
        raw = layout(reader, {"layout_axes": "NCHW"}).read(path)
        np.testing.assert_array_equal(CellDataset.from_raw(raw).images, images)


def test_a_classifier_asks_too(tmp_path: Path) -> None:
    images = crops(12, 12, 12, 3)
    with pytest.raises(InputError, match=r"fit: X of .* 12 channels of 12 x 3 px or 3 .*moveaxis"):
        CellClassifier(recipe=LOGREG).fit(images, LABELS)
    first = CellClassifier(recipe=LOGREG, image_shape=(12, 12, 3)).fit(images, LABELS)
    assert first.image_shape_ == (12, 12, 3)
    last = CellClassifier(recipe=LOGREG).fit(np.moveaxis(images, -1, 1), LABELS)
    assert last.image_shape_ == (3, 12, 12)
    with pytest.raises(InputError, match="these are 12 x 12 x 3"):
        last.predict(images)


BYTES = crops(12, 1, 16, 16)
WORDS = RNG.integers(0, 4096, (12, 1, 16, 16)).astype(np.uint16)


@pytest.fixture(scope="module")
def fitted() -> dict[str, CellClassifier]:
    given = {
        "uint8": BYTES,
        "uint16": WORDS,
        "unit": (BYTES / 255).astype(np.float32),
        "int16": WORDS.astype(np.int16) - 100,
        "z": (BYTES / 64 - 2).astype(np.float32),
    }
    return {
        name: CellClassifier(recipe=LOGREG).fit(images, LABELS) for name, images in given.items()
    }


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("uint8", BYTES / 255),
        ("uint8", (BYTES / 255).astype(np.float32)),
        ("uint8", BYTES.astype(np.uint16) * 16),
        ("uint8", BYTES.astype(np.uint16)),
        ("uint8", WORDS.astype(np.float64)),
        ("uint8", BYTES.astype(np.int64) - 128),
        ("uint8", BYTES.astype(np.float32) + 0.5),
        ("uint16", WORDS / 4095),
        ("uint16", (WORDS // 16).astype(np.uint8)),
        ("unit", BYTES),
        ("unit", BYTES.astype(np.float32)),
        ("unit", WORDS),
        ("int16", WORDS / 4095),
        ("z", BYTES),
        ("z", WORDS.astype(np.int64)),
    ],
)
def test_pixels_of_another_scale_than_in_fit_are_refused(
    name: str, asked: np.ndarray, fitted: dict[str, CellClassifier]
) -> None:
    with pytest.raises(InputError, match=r"^predict: fitted on .* pixels from .* raw intensities"):
        fitted[name].predict(asked)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("uint8", BYTES.astype(np.float32)),
        ("uint8", BYTES.astype(np.float64)),
        ("uint8", BYTES.astype(np.int64)),
        ("uint8", np.zeros((2, 1, 16, 16), np.float32)),
        ("uint16", WORDS.astype(">u2")),
        ("unit", BYTES / 255),
        ("int16", WORDS.astype(np.float64) - 100),
        ("int16", WORDS.astype(np.int32) - 100),
        ("z", BYTES / 64 - 2),
    ],
)
def test_the_same_intensities_in_another_container_are_the_same(
    name: str, asked: np.ndarray, fitted: dict[str, CellClassifier]
) -> None:
    known: Any = {"uint8": BYTES, "uint16": WORDS, "int16": WORDS.astype(np.int16) - 100}.get(name)
    found = fitted[name].predict_proba(asked)
    if known is not None and len(asked) == len(known):
        np.testing.assert_array_equal(found, fitted[name].predict_proba(known))
    assert np.isfinite(found).all()
