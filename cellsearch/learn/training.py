"""The training of one network: epochs, early stopping, and which weights are kept."""

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
from cellsearch.errors import TrialError
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.cell_source import CellSource
from cellsearch.learn.losses import ClassLoss, class_weights
from cellsearch.learn.precision import Precision, candidates, fastest
from cellsearch.learn.predictor import Predictor, load, probabilities
from cellsearch.learn.step import TrainingStep, trial_steps
from cellsearch.space.recipe import Recipe
from cellsearch.stats.decision import Decision, Priors, decided
from cellsearch.stats.metrics import confusion, score

Indices = NDArray[np.int64]
OnEpoch = Callable[[int, dict[str, float]], object]

TIMED_CELLS = 64
"""Cells in a step that only times a precision: enough to tell them apart."""


@dataclass(frozen=True, eq=False)
class Cells:
    """What a network is trained on.

    Attributes:
        source: real and generated cells, by number.
        indices: (n,) int64 real training cells.
        watched: (w,) int64 training cells held back for early stopping; may be empty.
        targets: (K,) int64 cells of each class in an epoch.
    """

    source: CellSource
    indices: Indices
    watched: Indices
    targets: Indices


@dataclass
class _Best:
    """The best epoch so far of what is watched."""

    score: float = -1.0
    epoch: int = 0
    module: CellModule | None = None


def train_network(
    module: CellModule,
    recipe: Recipe,
    cells: Cells,
    *,
    epochs: int,
    device: torch.device,
    precision: Precision | None,
    rng: np.random.Generator,
    on_epoch: OnEpoch | None,
) -> Predictor:
    """Train a module in place, its normalisation being fitted already.

    Args:
        module: on ``device``.
        recipe: loss, augmentation, optimiser, batches and early stopping.
        cells: what it learns from.
        epochs: at most.
        device: where the module lies.
        precision: None takes the fastest of what the device offers.
        rng: source of chance of order, augmentation and mixup.
        on_epoch: called after each epoch with its number, from 1, and its record.

    Raises:
        TrialError: the loss is not finite.
    """
    module.train()
    dataset, targets = cells.source.dataset, cells.targets
    weights = class_weights(targets, recipe.loss)
    loss = ClassLoss(weights, recipe.loss).to(device)
    balanced = Decision(1.0, Priors.of(targets, targets, weights))
    size = min(recipe.train.batch_size, int(targets.sum()))
    if precision is None:
        precision = choose_precision(module, loss, dataset, cells.indices[:size], device=device)
    height, width = module.view.size
    step = TrainingStep(
        module,
        recipe,
        loss=loss,
        precision=precision,
        device=device,
        steps=epochs * len(_starts(int(targets.sum()), size)),
        epochs=epochs,
        size=(height, width),
        rng=rng,
    )

    history: list[dict[str, float]] = []
    best = _Best()
    seen, spent = 0, 0.0
    order = cells.source.epochs(cells.indices, targets, share=recipe.gan.share, rng=rng)
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        lr = step.lr
        mean, trained = _epoch(step, cells.source, next(order), size=size, device=device)
        seconds = time.perf_counter() - started
        seen, spent = seen + trained, spent + seconds
        if not np.isfinite(mean):
            raise TrialError(
                f"loss is not finite in epoch {epoch} (lr {lr:.3g}): training diverged"
            )
        record = {"epoch": float(epoch), "loss": mean, "lr": lr, "seconds": seconds}
        if len(cells.watched):
            record["watched"] = _watch(
                step.deployed, dataset, cells.watched, device, precision, balanced
            )
            if record["watched"] > best.score:
                best = _Best(record["watched"], epoch, copy.deepcopy(step.deployed))
        step.epoch_ends(epoch, mean, record.get("watched"))
        history.append(record)
        if on_epoch is not None:
            on_epoch(epoch, record)
        if len(cells.watched) and epoch - best.epoch >= recipe.train.patience:
            break
    final = best.module if best.module is not None else step.deployed
    return Predictor(
        module=final.eval(),
        device=device,
        precision=precision,
        history=tuple(history),
        epochs=len(history),
        images_per_second=seen / max(spent, 1e-9),
        generated=cells.source.generated,
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
    step: TrainingStep, source: CellSource, order: Indices, *, size: int, device: torch.device
) -> tuple[float, int]:
    """Mean loss over the cells, and how many there were."""
    total = torch.zeros((), dtype=torch.float32, device=device)
    cells = 0
    for images, labels in _labelled(source, order, size=size, device=device):
        total += step(images, labels) * len(labels)
        cells += len(labels)
    return float(total) / cells, cells


def _labelled(
    source: CellSource, order: Indices, *, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in _starts(len(order), size):
        yield source.load(order[start : start + size], device=device)


def _starts(cells: int, size: int) -> range:
    """Where the batches of an epoch begin; a last one of a single cell is left out.

    Batch normalisation has no variance of one cell; the next epoch has another last one.
    """
    return range(0, cells - 1 if cells % size == 1 else cells, size)


def _watch(
    module: CellModule,
    dataset: CellDataset,
    watched: Indices,
    device: torch.device,
    precision: Precision,
    decision: Decision,
) -> float:
    found = probabilities(module, dataset, watched, device=device, precision=precision)
    predicted = decided(found, decision)
    counts = confusion(dataset.labels[watched], predicted, len(dataset.classes))
    return float(score("balanced_accuracy", counts))
