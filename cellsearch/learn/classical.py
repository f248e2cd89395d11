"""fit_classical: regression, boosted trees and a small head, on pixels or on features."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from cellsearch.errors import TrialError
from cellsearch.learn.backbone_module import BackboneModule
from cellsearch.learn.cell_source import CellSource
from cellsearch.learn.cell_table import CELLS_AT_ONCE, CPU, CellTable, Floats, Indices, cell_values
from cellsearch.learn.classical_module import build_classical
from cellsearch.learn.estimators import fitted
from cellsearch.learn.precision import Precision
from cellsearch.learn.predictor import Predictor
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import Recipe
from cellsearch.util.progress import Progress

OnEpoch = Callable[[int, dict[str, float]], object]


def fit_classical(
    recipe: Recipe,
    source: CellSource,
    order: Indices,
    *,
    weights: Floats,
    seed: int,
    device: torch.device,
    on_epoch: OnEpoch | None = None,
    on_stage: Progress | None = None,
) -> Predictor:
    """Fit a classical family to one epoch of cells.

    Normalisation is fitted on the real cells among them. Of each cell ``model.copies`` augmented
    copies are added, for pixels with a place of the view newly drawn. A class without cells gets
    a logit of -50. The model lies on the CPU, whatever the device.

    Args:
        recipe: of a classical family.
        source: real and generated cells, by number.
        order: (n,) int64 numbers of an epoch, after resampling.
        weights: (K,) float32 of each class; cells are weighted by their class's.
        seed: of augmentation and of the libraries.
        device: where copies are augmented.
        on_epoch: called once, after the fit, with 1 and the record.
        on_stage: told how many cells a frozen network has seen.

    Returns:
        A predictor with one record: the mean weighted log loss on what was fitted.

    Raises:
        TrialError: the table of values would exceed 4 GB, crops are too small to be
            measured, a backbone's weights are not on this machine, memory ran out, or the fit gave
            weights that are not finite.
    """
    model = recipe.model
    assert isinstance(model, ClassicalModel)
    started = time.perf_counter()
    dataset = source.dataset
    classes = len(dataset.classes)
    channels, height, width = (int(side) for side in dataset.images.shape[1:])
    module = build_classical(recipe, channels=channels, classes=classes, size=(height, width))
    rng = np.random.default_rng(seed)
    if isinstance(module, BackboneModule):
        module.begin(dataset.images.dtype)
    try:
        values = cell_values(
            module, recipe, source, order, rng=rng, device=device, on_stage=on_stage
        )
        table = CellTable.of(values, np.tile(source.labels[order], 1 + model.copies), weights)
        module.network = fitted(model, module.network, table, seed)
    except MemoryError as error:
        raise TrialError(f"memory ran out: {error}; fewer copies would fit") from error
    module.eval()
    loss = _log_loss(module.network, table)
    if not np.isfinite(loss):
        raise TrialError(f"{model.family}: the fit gave weights that are not finite")
    seconds = time.perf_counter() - started
    record = {"epoch": 1.0, "loss": loss, "lr": 0.0, "seconds": seconds}
    if on_epoch is not None:
        on_epoch(1, record)
    return Predictor(
        module=module,
        device=CPU,
        precision=Precision("float32"),
        history=(record,),
        epochs=1,
        images_per_second=len(values) / max(seconds, 1e-9),
        generated=source.generated,
    )


def _log_loss(network: nn.Module, table: CellTable) -> float:
    """Weighted mean of -log p over what was fitted."""
    total = 0.0
    with torch.inference_mode():
        for at in range(0, len(table.values), CELLS_AT_ONCE):
            rows = slice(at, at + CELLS_AT_ONCE)
            losses = nn.functional.cross_entropy(
                network(torch.from_numpy(table.values[rows])),
                torch.from_numpy(table.labels[rows]),
                reduction="none",
            )
            total += float(losses.double().numpy() @ table.weights[rows])
    return total / float(table.weights.sum())
