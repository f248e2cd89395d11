"""The contract of every classical family, on pixels and on measured features."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import (
    CONFIG,
    CardConfig,
    DatasetFacts,
    OnnxFacts,
    channel_ranges,
    dtype_range,
)
from cellsearch.card.export import export, feature_facts, inputs_of, whole_module
from cellsearch.card.predict import CardPredictor
from cellsearch.card.write import write_card
from cellsearch.data import features
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.errors import CardError, TrialError
from cellsearch.learn import cell_table
from cellsearch.learn.cell_source import CellSource
from cellsearch.learn.classical import fit_classical
from cellsearch.learn.predictor import Predictor, build_module
from cellsearch.space.recipe import Recipe
from cellsearch.stats.predictions import Predictions

from card_cases import ingredients_of
from conftest import squares

FITTED = ("logreg", "xgboost", "hist-gbdt", "dense")
KINDS = [(family, features) for family in FITTED for features in ("pixels", "measured")]
TRAINING = np.arange(0, 90, 2)
OTHERS = np.arange(1, 90, 2)
CPU = torch.device("cpu")

kinds = pytest.mark.parametrize("kind", KINDS, ids="-".join)


def recipe(kind: tuple[str, str], **changes: Any) -> Recipe:
    params: dict[str, Any] = {"model.family": kind[0], "model.features": kind[1]}
    if kind[0] in ("xgboost", "hist-gbdt"):
        params |= {"model.rounds": 12, "model.max_depth": 3, "model.shrinkage": 0.3}
    if kind[0] == "hist-gbdt":
        params["model.min_leaf"] = 3
    return Recipe.from_params(params | {key.replace("__", "."): v for key, v in changes.items()})


def fit(
    settings: Recipe,
    source: CellSource,
    order: NDArray[np.int64] = TRAINING,
    weights: tuple[float, ...] = (1.0, 1.0, 1.0),
    seed: int = 0,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Predictor:
    return fit_classical(
        settings,
        source,
        order,
        weights=np.array(weights, dtype=np.float32),
        seed=seed,
        device=CPU,
        on_epoch=on_epoch,
    )


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> CellDataset:
    return squares().save(tmp_path_factory.mktemp("cells") / "dataset")


@cache
def _trained(kind: tuple[str, str], folder: Path) -> Predictor:
    return fit(recipe(kind), CellSource.of(CellDataset.open(folder)))


def trained(kind: tuple[str, str], cells: CellDataset) -> Predictor:
    assert cells.folder is not None
    return _trained(kind, cells.folder)


def weights_of(predictor: Predictor) -> dict[str, NDArray]:
    return {name: value.numpy() for name, value in predictor.module.state_dict().items()}


def same(a: Predictor, b: Predictor) -> bool:
    one, other = weights_of(a), weights_of(b)
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@kinds
def test_learns_and_gives_probabilities(kind: tuple[str, str], cells: CellDataset) -> None:
    predictor = trained(kind, cells)
    found = predictor.predict_proba(cells, OTHERS)
    assert found.shape == (45, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    recalls = [
        (found[cells.labels[OTHERS] == label].argmax(axis=1) == label).mean() for label in range(3)
    ]
    # A third is chance; measured features see the size of the square at once.
    assert np.mean(recalls) > (0.9 if kind[1] == "measured" else 0.5)
    assert predictor.measures == (kind[1] == "measured")
    # A matrix product may round a row otherwise elsewhere in the matrix.
    turned = predictor.predict_proba(cells, OTHERS[::-1])[::-1]
    np.testing.assert_allclose(turned, found, rtol=1e-4, atol=1e-7)


@kinds
def test_one_record_of_the_fit(kind: tuple[str, str], cells: CellDataset) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    predictor = fit(
        recipe(kind), CellSource.of(cells), on_epoch=lambda *record: told.append(record)
    )
    (record,) = predictor.history
    assert told == [(1, record)]
    assert set(record) == {"epoch", "loss", "lr", "seconds"}
    assert (record["epoch"], record["lr"], predictor.epochs) == (1.0, 0.0, 1)
    own = predictor.predict_proba(cells, TRAINING)[np.arange(45), cells.labels[TRAINING]]
    assert record["loss"] == pytest.approx(float(-np.log(own).mean()), abs=1e-4)
    assert same(predictor, trained(kind, cells))


@kinds
def test_no_other_cell_has_a_part_in_it(kind: tuple[str, str], cells: CellDataset) -> None:
    images = np.array(cells.images)
    images[OTHERS] = np.random.default_rng(5).integers(0, 256, images[OTHERS].shape)
    marked = replace(cells, images=images, folder=None)
    settings = recipe(kind, model__copies=1, augment__shift=1)
    a, b = (fit(settings, CellSource.of(each)) for each in (cells, marked))
    assert same(a, b)
    assert not same(a, trained(kind, cells))


@kinds
def test_class_weights_shift_the_balance(kind: tuple[str, str], cells: CellDataset) -> None:
    noise = np.random.default_rng(0).permutation(cells.labels)
    blurred = replace(cells, labels=noise, sha256="0" * 64)
    settings = recipe(kind, model__l2=1000.0) if kind[0] == "logreg" else recipe(kind)
    means = [
        fit(settings, CellSource.of(blurred), weights=weights)
        .predict_proba(blurred, OTHERS)[:, 2]
        .mean()
        for weights in ((1.0, 1.0, 1.0), (0.5, 0.5, 8.0))
    ]
    assert means[1] > 1.5 * means[0]


@kinds
@pytest.mark.parametrize("present", [(0, 2), (1,)])
def test_a_class_without_training_cells(
    kind: tuple[str, str], present: tuple[int, ...], cells: CellDataset
) -> None:
    order = TRAINING[np.isin(cells.labels[TRAINING], present)]
    predictor = fit(recipe(kind), CellSource.of(cells), order)
    found = predictor.predict_proba(cells, np.arange(90))
    absent = [label for label in range(3) if label not in present]
    assert found[:, absent].max() < 1e-10
    wanted = np.isin(cells.labels, present)
    assert (found[wanted].argmax(axis=1) == cells.labels[wanted]).mean() > 0.8
    assert weights_of(predictor).keys() == weights_of(trained(kind, cells)).keys()


@kinds
def test_copies_are_augmented_afresh(kind: tuple[str, str], cells: CellDataset) -> None:
    settings = recipe(kind, model__copies=2, augment__noise=0.2, input__crop=0.75)
    module = build_module(settings, channels=2, classes=3, size=(16, 16))
    values = cell_table.cell_values(
        module,
        settings,
        CellSource.of(cells),
        TRAINING,
        rng=np.random.default_rng(0),
        device=CPU,
    )
    whole = len(features.feature_names("ab")) if kind[1] == "measured" else 2 * 12 * 12
    assert values.shape == (135, whole)
    plain, first, second = values[:45], values[45:90], values[90:]
    for copy in (first, second):
        assert not np.array_equal(copy, plain)
        # Another view of the same cell is nearer to it than to the average cell.
        assert np.abs(copy - plain).mean() < np.abs(plain - plain[::-1]).mean()
    assert not np.array_equal(first, second)


@kinds
def test_generated_cells_take_part(kind: tuple[str, str], cells: CellDataset) -> None:
    made = SimpleNamespace(label=2, images=np.array(cells.images[80:]), class_name="class-2")
    source = CellSource.of(cells, [made])  # type: ignore[list-item]
    order = np.concatenate([TRAINING[TRAINING < 80], source.pool(2)])
    predictor = fit(recipe(kind), source, order)
    assert predictor.generated == (made,)
    real = np.concatenate([TRAINING[TRAINING < 80], np.arange(80, 90)])
    as_real = fit(recipe(kind), CellSource.of(cells), real)
    np.testing.assert_allclose(
        predictor.predict_proba(cells, np.arange(80, 90))[:, 2],
        as_real.predict_proba(cells, np.arange(80, 90))[:, 2],
        atol=0.2,
    )


@kinds
def test_weights_restore_an_empty_module(kind: tuple[str, str], cells: CellDataset) -> None:
    predictor = trained(kind, cells)
    module = build_module(recipe(kind), channels=2, classes=3, size=(16, 16)).eval()
    module.load_state_dict(predictor.module.state_dict())
    restored = replace(predictor, module=module)
    np.testing.assert_array_equal(
        restored.predict_proba(cells, OTHERS), predictor.predict_proba(cells, OTHERS)
    )
    differentiable = getattr(predictor.network, "differentiable", True)
    assert differentiable == (kind[0] in ("logreg", "dense"))


def test_flips_at_prediction_are_averaged(cells: CellDataset) -> None:
    settings = recipe(("xgboost", "pixels"), input__test_flips=True)
    predictor = fit(settings, CellSource.of(cells))
    mirrored = replace(cells, images=np.ascontiguousarray(cells.images[..., ::-1]), folder=None)
    np.testing.assert_allclose(
        predictor.predict_proba(mirrored, OTHERS),
        predictor.predict_proba(cells, OTHERS),
        atol=1e-6,
    )


def test_what_does_not_fit_is_refused(cells: CellDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match=r"at least 8 x 8 px; these have 6 x 30: use pixels"):
        build_module(recipe(("logreg", "measured")), channels=1, classes=2, size=(6, 30))
    monkeypatch.setattr(cell_table, "MOST_BYTES", 1000)
    with pytest.raises(TrialError, match=r"model\.copies: 45 cells of 512 values"):
        fit(recipe(("logreg", "pixels")), CellSource.of(cells))


def card(folder: Path, predictor: Predictor, settings: Recipe, cells: CellDataset) -> float:
    """The files of a card that prediction needs; returns the export's largest difference."""
    folder.mkdir()
    module = whole_module([predictor])
    exported = export(module, inputs_of(module, cells.images[OTHERS]), folder)
    config = CardConfig(
        cellsearch_version="0",
        created="now",
        classes=cells.classes,
        channels=cells.channels,
        dtype="uint8",
        dtype_range=dtype_range(cells.images.dtype),
        ranges=channel_ranges(cells.images, TRAINING, cells.channels),
        height=16,
        width=16,
        members=1,
        parameters=exported.parameters,
        dataset=DatasetFacts(name="squares", sha256=cells.sha256, cells=90),
        splits_sha256="0",
        recipe=settings.to_params(),
        onnx=OnnxFacts(input=exported.input, opset=exported.opset),
        features=feature_facts(module, cells.channels),
    )
    (folder / CONFIG).write_text(config.model_dump_json())
    write_checksums(folder)
    return exported.largest_difference


# The views that a recipe can ask for: sums in another order must not send a cell another way.
VIEWS = {
    "logreg": {},
    "xgboost": {"input__normalise": "image", "input__size": 11, "input__test_flips": True},
    "hist-gbdt": {"input__normalise": "image", "input__crop": 0.75},
    "dense": {},
}


@pytest.mark.slow
@kinds
def test_a_card_predicts_the_same(
    kind: tuple[str, str], cells: CellDataset, tmp_path: Path
) -> None:
    settings = recipe(kind, **VIEWS[kind[0]])
    predictor = fit(settings, CellSource.of(cells))
    assert card(tmp_path / "card", predictor, settings, cells) < 1e-5
    loaded = CardPredictor.load(tmp_path / "card")
    expected = predictor.predict_proba(cells, OTHERS)
    for batch in (None, 1, 7):
        found = loaded.predict(cells.images[OTHERS], batch=batch)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    module = build_module(settings, channels=2, classes=3, size=(16, 16))
    module.load_state_dict(load_file(tmp_path / "card" / "model.safetensors"))
    assert (loaded.config.features is None) == (kind[1] == "pixels")


@pytest.fixture(scope="module")
def measured_card(cells: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "card"
    kind = ("logreg", "measured")
    card(folder, trained(kind, cells), recipe(kind), cells)
    return folder


def test_a_measured_card_takes_crops_of_another_size(
    measured_card: Path, cells: CellDataset
) -> None:
    loaded = CardPredictor.load(measured_card)
    images = cells.images[OTHERS]
    wider = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    np.testing.assert_allclose(loaded.predict(wider, fit="pad"), loaded.predict(images), atol=1e-6)
    with pytest.raises(CardError, match='fit="pad"'):
        loaded.predict(wider)
    assert loaded.config.features is not None
    assert loaded.config.features.names == features.feature_names(cells.channels)


@pytest.mark.slow
def test_write_card_proves_a_measured_model(cells: CellDataset, tmp_path: Path) -> None:
    kind = ("xgboost", "measured")
    splits = draw_splits(cells, folds=2, seed=3)
    predictor = fit(recipe(kind), CellSource.of(cells), splits.development)
    held = predictor.predict_proba(cells, splits.holdout)
    own = np.concatenate(splits.folds)
    pooled = predictor.predict_proba(cells, own)
    found = write_card(
        tmp_path / "card",
        **ingredients_of(
            predictors=[predictor],
            recipe=recipe(kind),
            dataset=cells,
            splits=splits,
            probabilities=held,
            oof=Predictions.of(cells.classes, cells.labels[own], pooled, cells=own),
            facts={"seed": 3},
        ),
    )
    assert found.verify().largest_difference < 1e-4
    assert np.load(found.folder / "test_input.npy").shape[1:] == (2, 16, 16)
    assert found.config.onnx.input == "features"
    np.testing.assert_allclose(found.predict(cells.images[splits.holdout]), held, atol=1e-5)
    code = found.readme.split("```python")[1].split("```")[0]
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=found.folder, capture_output=True, text=True, check=True
    )
    assert "class-0" in said.stdout


def test_features_of_another_version_are_refused(
    measured_card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "FEATURES_VERSION", 99)
    with pytest.raises(CardError, match=r"features of version 1; this cellsearch measures version"):
        CardPredictor.load(measured_card)


def test_a_card_without_the_field_still_loads(measured_card: Path) -> None:
    facts = json.loads((measured_card / CONFIG).read_text())
    del facts["features"]
    assert CardConfig.model_validate(facts).features is None


def test_a_measured_card_needs_no_torch(measured_card: Path, cells: CellDataset) -> None:
    script = (
        "import sys, numpy\n"
        "from cellsearch.card.predict import CardPredictor\n"
        "images = numpy.load(sys.argv[2], mmap_mode='r')[:3]\n"
        "found = CardPredictor.load(sys.argv[1]).predict(images)\n"
        "heavy = {'torch', 'ray', 'onnx', 'sklearn', 'xgboost', 'matplotlib', 'pandas'}\n"
        "print(len(found), sorted(heavy & set(sys.modules)))\n"
    )
    assert cells.folder is not None
    done = subprocess.run(
        [sys.executable, "-c", script, str(measured_card), str(cells.folder / "images.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("3 []\n", "")
