"""fit: one recipe, trained on the cells at the given indices and on no others."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import DataError, TrialError
from cellsearch.learn.balance import epochs, target_counts
from cellsearch.learn.losses import ClassLoss, class_weights
from cellsearch.learn.metrics import confusion, score
from cellsearch.learn.precision import Precision, candidates, fastest, resolve_device
from cellsearch.learn.predictor import (
    CellModule,
    Predictor,
    build_module,
    load,
    out_of_memory,
    probabilities,
)
from cellsearch.learn.step import TrainingStep, trial_steps
from cellsearch.space.recipe import Recipe

Indices = NDArray[np.int64]
OnEpoch = Callable[[int, dict[str, float]], object]

WATCHED_SHARE = 0.1
"""Of each class's training cells, held back for early stopping."""

TIMED_CELLS = 64
"""Cells in a step that only times a precision: enough to tell them apart."""


def fit(
    recipe: Recipe,
    dataset: CellDataset,
    indices: Indices,
    *,
    seed: int,
    device: str = "auto",
    precision: Precision | None = None,
    on_epoch: OnEpoch | None = None,
) -> Predictor:
    """Train a recipe.

    Normalisation, resampling, class weights and the split watched by early stopping are made from
    the cells at ``indices`` alone. On the CPU the same seed, precision and number of threads give
    the same weights; the caller's own random state is left as it was.

    Class weights are computed from the counts of an epoch after resampling. With ``patience`` an
    inner tenth of each class (never a class's only cell) is watched by balanced accuracy and the
    weights of the best epoch are kept.

    Args:
        recipe: what to train and how.
        dataset: images are sliced batch by batch, so a memory map stays on disk.
        indices: (n,) int64 training cells, labelled.
        seed: of weights, order, augmentation and dropout.
        device: ``auto`` or a torch device.
        precision: None tries what the device offers on the first batch and takes the fastest.
        on_epoch: called after each epoch with its number, from 1, and its record in the history.

    Raises:
        DataError: fewer than 2 cells, or one without a label.
        TrialError: the loss is not finite, or memory ran out.
        ConfigError: no such device.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if len(indices) < 2:
        raise DataError(f"fit: needs at least 2 training cells; got {len(indices)}")
    if (dataset.labels[indices] < 0).any():
        raise DataError("fit: every training cell needs a label; some have none")
    place = resolve_device(device)
    accelerators = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators):
        torch.manual_seed(seed)
        try:
            return _train(recipe, dataset, indices, seed, place, precision, on_epoch)
        except RuntimeError as error:
            raise out_of_memory(error) from error


@dataclass
class _Best:
    """The best epoch so far of what is watched."""

    score: float = -1.0
    epoch: int = 0
    module: CellModule | None = None


def _train(
    recipe: Recipe,
    dataset: CellDataset,
    indices: Indices,
    seed: int,
    device: torch.device,
    precision: Precision | None,
    on_epoch: OnEpoch | None,
) -> Predictor:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in dataset.images.shape[2:])
    classes = len(dataset.classes)
    watched = np.empty(0, dtype=np.int64)
    if recipe.train.patience > 0:
        indices, watched = inner_split(dataset, indices, rng=rng)
    labels = dataset.labels[indices]
    targets = target_counts(np.bincount(labels, minlength=classes).astype(np.int64), recipe.balance)

    module = build_module(
        recipe, channels=dataset.images.shape[1], classes=classes, size=(height, width)
    )
    module.normalise.fit(dataset.images, indices)
    module.to(device).train()
    loss = ClassLoss(class_weights(targets, recipe.loss), recipe.loss).to(device)
    size = min(recipe.train.batch_size, int(targets.sum()))
    if precision is None:
        precision = choose_precision(module, loss, dataset, indices[:size], device=device)
    step = TrainingStep(
        module,
        recipe,
        loss=loss,
        precision=precision,
        device=device,
        steps=recipe.train.epochs * len(_starts(int(targets.sum()), size)),
        size=(height, width),
        rng=rng,
    )

    history: list[dict[str, float]] = []
    best = _Best()
    seen, spent = 0, 0.0
    order = epochs(indices, labels, targets, rng=rng)
    for epoch in range(1, recipe.train.epochs + 1):
        started = time.perf_counter()
        lr = step.lr
        mean, cells = _epoch(step, dataset, next(order), size=size, device=device)
        seconds = time.perf_counter() - started
        seen, spent = seen + cells, spent + seconds
        if not np.isfinite(mean):
            raise TrialError(
                f"loss is not finite in epoch {epoch} (lr {lr:.3g}): training diverged"
            )
        record = {"epoch": float(epoch), "loss": mean, "lr": lr, "seconds": seconds}
        if len(watched):
            record["watched"] = _watch(step.deployed, dataset, watched, device, precision)
            if record["watched"] > best.score:
                best = _Best(record["watched"], epoch, copy.deepcopy(step.deployed))
        history.append(record)
        if on_epoch is not None:
            on_epoch(epoch, record)
        if len(watched) and epoch - best.epoch >= recipe.train.patience:
            break
    final = best.module if best.module is not None else step.deployed
    return Predictor(
        module=final.eval(),
        device=device,
        precision=precision,
        history=tuple(history),
        epochs=len(history),
        images_per_second=seen / max(spent, 1e-9),
    )


def choose_precision(
    module: CellModule,
    loss: ClassLoss,
    dataset: CellDataset,
    indices: Indices,
    *,
    device: torch.device,
) -> Precision:
    """The fastest precision for a module on some cells, which are not learnt from.

    Args:
        module: on ``device``; left as it is.
        loss: of the training.
        dataset: the cells.
        indices: (n,) int64, a batch; at most ``TIMED_CELLS`` are taken.
        device: where to train.
    """
    among = candidates(device)
    if len(among) == 1:
        return among[0]
    some = indices[:TIMED_CELLS]
    step_of = trial_steps(
        module,
        load(dataset.images, some, device=device),
        torch.from_numpy(dataset.labels[some]).to(device),
        loss,
        device=device,
    )
    # Dropout draws from torch's generator; training must draw the same whether timed or not.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return fastest(step_of, among, device=device)


def _epoch(
    step: TrainingStep, dataset: CellDataset, order: Indices, *, size: int, device: torch.device
) -> tuple[float, int]:
    """Mean loss over the cells, and how many there were."""
    total = torch.zeros((), dtype=torch.float32, device=device)
    cells = 0
    for images, labels in _labelled(dataset, order, size=size, device=device):
        total += step(images, labels) * len(labels)
        cells += len(labels)
    return float(total) / cells, cells


def _labelled(
    dataset: CellDataset, order: Indices, *, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in _starts(len(order), size):
        chosen = order[start : start + size]
        images = load(dataset.images, chosen, device=device)
        yield images, torch.from_numpy(dataset.labels[chosen]).to(device)


def _starts(cells: int, size: int) -> range:
    """Where the batches of an epoch begin; a last one of a single cell is left out.

    Batch normalisation has no variance of one cell; the next epoch has another last one.
    """
    return range(0, cells - 1 if cells % size == 1 else cells, size)


def inner_split(
    dataset: CellDataset, indices: Indices, *, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Training cells apart from a tenth of each class to watch; a class's only cell trains.

    Cells are drawn one by one, also where the data set has groups: what is watched only says when
    to stop and enters no figure.

    Args:
        dataset: for the labels.
        indices: (n,) int64 training cells.
        rng: source of chance.

    Returns:
        Two int64 arrays, disjoint, together ``indices``.
    """
    labels = dataset.labels[indices]
    held = np.zeros(len(indices), dtype=bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        share = max(1, round(WATCHED_SHARE * len(places))) if len(places) > 1 else 0
        held[places[:share]] = True
    return indices[~held], indices[held]


def _watch(
    module: CellModule,
    dataset: CellDataset,
    watched: Indices,
    device: torch.device,
    precision: Precision,
) -> float:
    predicted = probabilities(module, dataset, watched, device=device, precision=precision).argmax(
        axis=1
    )
    counts = confusion(dataset.labels[watched], predicted, len(dataset.classes))
    return float(score("balanced_accuracy", counts))
