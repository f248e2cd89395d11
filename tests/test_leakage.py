"""Nothing made from a cell outside the training indices ever trains: proven with marker cells.

All other cells are replaced by markers that nothing survives (NaN pixels in a float data set,
which would turn every statistic, weight and loss into NaN), and by other values and labels, under
which the trained weights must stay the same to the last bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.learn.evaluate import cross_validate
from cellsearch.learn.fit import fit
from cellsearch.learn.inner_split import inner_split
from cellsearch.learn.precision import Precision
from cellsearch.learn.predictor import Predictor
from cellsearch.space.models import LogregModel, XgboostModel
from cellsearch.space.recipe import (
    Augment,
    Balance,
    CnnModel,
    Gan,
    Input,
    Loss,
    Optim,
    Recipe,
    Train,
)

PLAIN = Precision("float32", channels_last=False)
MODEL = CnnModel(depth=1, width=8, kernel=(3,), batch_norm=True, head_layers=0, head=())
RECIPES = {
    "plain": Recipe(model=MODEL, train=Train(batch_size=16, epochs=2)),
    "weights and over-sampling": Recipe(
        model=MODEL,
        loss=Loss(weighting="inv"),
        balance=Balance(method="over"),
        train=Train(batch_size=32, epochs=2),
    ),
    "under-sampling and mixup": Recipe(
        model=MODEL,
        augment=Augment(mixup=0.4, flip=True),
        balance=Balance(method="under"),
        train=Train(batch_size=16, epochs=2),
    ),
    "early stopping and mean weights": Recipe(
        model=MODEL,
        loss=Loss(weighting="effective"),
        balance=Balance(method="mixed"),
        optim=Optim(schedule="cosine"),
        train=Train(batch_size=16, epochs=3, patience=1, weight_average=0.9),
    ),
    "normalised per image": Recipe(
        model=MODEL, input=Input(normalise="image"), train=Train(batch_size=16, epochs=2)
    ),
    "generated cells": Recipe(
        model=MODEL,
        balance=Balance(method="over"),
        gan=Gan(kind="wgan-gp", below=0.7, steps=3, critic_steps=1, batch=4, width=8, mixup=0.5),
        train=Train(batch_size=32, epochs=2, patience=1),
    ),
    "pretrained on a class, cropped and resized": Recipe(
        model=MODEL,
        augment=Augment(rotate=30.0, noise=0.1, cutmix=1.0),
        input=Input(crop=0.8, size=20),
        train=Train(batch_size=16, epochs=2, pretrain="class-1", pretrain_epochs=1),
    ),
    "regression on measured features": Recipe(
        model=LogregModel(features="measured", copies=1), augment=Augment(rotate90=True)
    ),
    "trees on pixels": Recipe(model=XgboostModel(rounds=3), loss=Loss(weighting="inv")),
}


@pytest.fixture(scope="module")
def training(tiny_dataset: CellDataset) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(len(tiny_dataset))[:60])


def others(dataset: CellDataset, training: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(len(dataset)), training)


def trained(recipe: Recipe, dataset: CellDataset, training: np.ndarray) -> Predictor:
    return fit(recipe, dataset, training, seed=0, device="cpu", precision=PLAIN)


@pytest.mark.parametrize("name", RECIPES)
def test_marker_cells_outside_training_leave_no_trace(
    name: str, tiny_dataset: CellDataset, training: np.ndarray
) -> None:
    outside = others(tiny_dataset, training)
    rng = np.random.default_rng(1)
    clean = tiny_dataset.images.astype(np.float32)
    marked, swapped = clean.copy(), clean.copy()
    marked[outside] = np.nan
    swapped[outside] = rng.uniform(0, 1e4, swapped[outside].shape)
    labels = tiny_dataset.labels.copy()
    labels[outside] = rng.permutation(labels[outside])
    unknown = tiny_dataset.labels.copy()
    unknown[outside] = -1
    expected, *found = (
        trained(
            RECIPES[name],
            # Another digest, so that no generator of the clean cells is found in the cache.
            replace(tiny_dataset, images=images, labels=label, sha256=digest),
            training,
        )
        for images, label, digest in (
            (clean, tiny_dataset.labels, "clean"),
            (marked, unknown, "marked"),
            (swapped, labels, "swapped"),
        )
    )
    for predictor in found:
        for key, value in expected.module.state_dict().items():
            assert torch.equal(predictor.module.state_dict()[key], value), key
        for one, other in zip(expected.history, predictor.history, strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_the_choice_of_precision_reads_training_cells_alone(
    tiny_dataset: CellDataset, training: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[np.ndarray] = []
    from cellsearch.learn import cell_source
    from cellsearch.learn import training as training_module

    load = training_module.load

    def spy(images: np.ndarray, indices: np.ndarray, **options: object) -> torch.Tensor:
        read.append(indices)
        return load(images, indices, **options)

    monkeypatch.setattr(training_module, "load", spy)
    monkeypatch.setattr(cell_source, "load", spy)
    fit(RECIPES["plain"], tiny_dataset, training, seed=0, device="cpu")
    assert len(read) > 2 * len(training) / 16
    assert set(np.concatenate(read)) == set(training)


def test_early_stopping_watches_training_cells_alone(
    tiny_dataset: CellDataset, training: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cellsearch.learn import cell_source
    from cellsearch.learn import training as training_module

    watched: list[np.ndarray] = []
    learnt: list[np.ndarray] = []
    load, probabilities = training_module.load, training_module.probabilities

    def spy_load(images: np.ndarray, indices: np.ndarray, **options: object) -> torch.Tensor:
        learnt.append(indices)
        return load(images, indices, **options)

    def spy_watch(module: object, data: object, indices: np.ndarray, **options: object) -> object:
        watched.append(indices)
        return probabilities(module, data, indices, **options)

    monkeypatch.setattr(training_module, "load", spy_load)
    monkeypatch.setattr(cell_source, "load", spy_load)
    monkeypatch.setattr(training_module, "probabilities", spy_watch)
    trained(RECIPES["early stopping and mean weights"], tiny_dataset, training)
    held = set(np.concatenate(watched))
    assert held < set(training)
    assert held.isdisjoint(set(np.concatenate(learnt)))
    # Statistics of the normalisation are of what is learnt from, without what is watched.
    inner, split = inner_split(tiny_dataset, training, rng=np.random.default_rng(0))
    assert set(split) == held
    predictor = trained(RECIPES["early stopping and mean weights"], tiny_dataset, training)
    mean = tiny_dataset.images[inner].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(predictor.module.normalise.mean[:, 0, 0], mean, rtol=1e-5)


@pytest.mark.slow
def test_validation_labels_and_neighbours_do_not_enter_a_fold(tiny_dataset: CellDataset) -> None:
    order = np.random.default_rng(0).permutation(len(tiny_dataset))
    folds = tuple(np.sort(order[fold::3]) for fold in range(3))
    empty = np.empty(0, dtype=np.int64)
    splits = Splits(
        holdout=empty,
        folds=folds,
        train_only=empty,
        not_estimable=(),
        seed=0,
        dataset_sha256=tiny_dataset.sha256,
    )
    images, labels = tiny_dataset.images.copy(), tiny_dataset.labels.copy()
    labels[folds[1]] = 2 - labels[folds[1]]
    images[folds[1][5:]] = 0
    recipe = RECIPES["early stopping and mean weights"]
    before, after = (
        next(cross_validate(recipe, data, splits, seed=0, folds=[1], device="cpu", precision=PLAIN))
        for data in (tiny_dataset, replace(tiny_dataset, images=images, labels=labels))
    )
    np.testing.assert_array_equal(before.probabilities[:5], after.probabilities[:5])
    assert not np.array_equal(before.probabilities[5:], after.probabilities[5:])
