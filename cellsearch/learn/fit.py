"""fit: one recipe, trained on the cells at the given indices and on no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import DataError, TrialError
from cellsearch.learn.balance import target_counts
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.cell_source import CellSource
from cellsearch.learn.classical import fit_classical
from cellsearch.learn.gans import Generated, generated_cells, rare_classes
from cellsearch.learn.inner_split import inner_split
from cellsearch.learn.losses import class_weights
from cellsearch.learn.precision import Precision, resolve_device
from cellsearch.learn.predictor import Predictor, build_module, out_of_memory
from cellsearch.learn.priors import predictor_priors
from cellsearch.learn.provenance import GeneratorTrace, Provenance
from cellsearch.learn.training import Cells, OnEpoch, train_network
from cellsearch.learn.transfer import Backbone, against_others, begin_with
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import Recipe
from cellsearch.util.progress import Progress

Indices = NDArray[np.int64]


def fit(
    recipe: Recipe,
    dataset: CellDataset,
    indices: Indices,
    *,
    seed: int,
    device: str = "auto",
    precision: Precision | None = None,
    backbone: Backbone | None = None,
    on_epoch: OnEpoch | None = None,
    on_stage: Progress | None = None,
    estimate_priors: bool = False,
) -> Predictor:
    """Train a recipe.

    Normalisation, resampling, generated cells, class weights and the split watched by early
    stopping are made from the cells at ``indices`` alone. On the CPU the same seed, precision and
    number of threads give the same weights; the caller's own random state is left as it was.

    Class weights are computed from the counts of an epoch after resampling. With ``patience`` an
    inner tenth of each class (never a class's only cell; whole groups where there are groups) is
    watched by balanced accuracy and the weights of the best epoch are kept.

    Args:
        recipe: what to train and how.
        dataset: images are sliced batch by batch, so a memory map stays on disk.
        indices: (n,) int64 training cells, labelled.
        seed: of weights, order, augmentation and dropout.
        device: ``auto`` or a torch device.
        precision: None tries what the device offers on the first batch and takes the fastest.
        backbone: weights to begin with, where the recipe has the same model; with
            ``train.pretrain`` the first training begins with them.
        on_epoch: called after each epoch with its number, from 1, and its record in the history.
        on_stage: told of what comes before the epochs: generators, by their steps, and features
            of a frozen network, by cells.
        estimate_priors: estimate a network's effective prior from its predictions on training
            cells, because it is trained too briefly to have learnt that of the counts.

    Raises:
        DataError: fewer than 2 cells, or one without a label.
        TrialError: the loss is not finite, memory ran out, or a generator diverged.
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
            trained = _train(
                recipe, dataset, indices, seed, place, precision, backbone, on_epoch, on_stage
            )
            return _finished(*trained, recipe, estimate=estimate_priors)
        except RuntimeError as error:
            raise out_of_memory(error) from error


def _train(
    recipe: Recipe,
    dataset: CellDataset,
    indices: Indices,
    seed: int,
    device: torch.device,
    precision: Precision | None,
    backbone: Backbone | None,
    on_epoch: OnEpoch | None,
    on_stage: Progress | None,
) -> tuple[Predictor, CellModule, Cells, Indices]:
    """The predictor, the module that was normalised, its cells, and (K,) natural counts."""
    rng = np.random.default_rng(seed)
    watched = np.empty(0, dtype=np.int64)
    natural = np.bincount(dataset.labels[indices], minlength=len(dataset.classes))
    if recipe.train.patience > 0 and not isinstance(recipe.model, ClassicalModel):
        indices, watched = inner_split(dataset, indices, rng=rng)
    counts = np.bincount(dataset.labels[indices], minlength=len(dataset.classes)).astype(np.int64)
    targets = target_counts(counts, recipe.balance)
    # After the inner split, so that no watched cell has a generated likeness in the training.
    growing = np.flatnonzero(targets > counts)
    rare = np.intersect1d(growing, rare_classes(counts, recipe.gan))
    generated = _generated(recipe, dataset, indices, rare, device, on_stage)
    cells = Cells(CellSource.of(dataset, generated), indices, watched, targets)
    if isinstance(recipe.model, ClassicalModel):
        predictor = fit_classical(
            recipe,
            cells.source,
            next(cells.source.epochs(indices, targets, share=recipe.gan.share, rng=rng)),
            weights=class_weights(targets, recipe.loss),
            seed=seed,
            device=device,
            on_epoch=on_epoch,
            on_stage=on_stage,
        )
        return predictor, predictor.module, cells, natural
    if recipe.train.pretrain:
        first = _pretrained(recipe, dataset, cells, device, precision, backbone, rng)
        backbone = Backbone(recipe.model, first.module.state_dict())
        # One for both trainings: what a fold records must tell how to repeat it.
        precision = first.precision
    module = _begun(recipe, dataset, indices, device, backbone)
    predictor = train_network(
        module,
        recipe,
        cells,
        epochs=recipe.train.epochs,
        device=device,
        precision=precision,
        rng=rng,
        on_epoch=on_epoch,
    )
    return predictor, module, cells, natural


def _finished(
    predictor: Predictor,
    module: CellModule,
    cells: Cells,
    natural: Indices,
    recipe: Recipe,
    *,
    estimate: bool,
) -> Predictor:
    return replace(
        predictor,
        provenance=_provenance(cells, module),
        priors=predictor_priors(predictor, recipe, cells, natural, estimate=estimate),
    )


def _provenance(cells: Cells, module: CellModule) -> Provenance:
    fitted_on = module.normalise.fitted_on
    return Provenance(
        cells=len(cells.source.dataset),
        trained=np.unique(cells.indices),
        watched=np.unique(cells.watched),
        normalised=np.unique(cells.indices if fitted_on is None else fitted_on),
        generators=tuple(
            GeneratorTrace(each.class_name, each.indices_sha256, each.learnt_from)
            for each in cells.source.generated
        ),
    )


def _begun(
    recipe: Recipe,
    dataset: CellDataset,
    indices: Indices,
    device: torch.device,
    backbone: Backbone | None,
) -> CellModule:
    """The module before its first step."""
    channels, height, width = (int(side) for side in dataset.images.shape[1:])
    module = build_module(
        recipe, channels=channels, classes=len(dataset.classes), size=(height, width)
    )
    if backbone is not None and backbone.model == recipe.model:
        begin_with(module, backbone)
    module.normalise.fit(dataset.images, indices)
    return module.to(device)


def _generated(
    recipe: Recipe,
    dataset: CellDataset,
    indices: Indices,
    classes: Indices,
    device: torch.device,
    on_stage: Progress | None,
) -> tuple[Generated, ...]:
    if recipe.gan.kind == "none" or recipe.balance.method not in ("over", "mixed"):
        return ()

    def told(name: str, step: int, steps: int) -> None:
        if on_stage is not None:
            on_stage(f"training a generator of {name}", step, steps)

    # One seed for all recipes: trials that ask for the same generator share it.
    return generated_cells(
        dataset,
        indices,
        recipe.gan,
        seed=0,
        device=device,
        classes=classes.tolist(),
        on_step=told,
    )


def _pretrained(
    recipe: Recipe,
    dataset: CellDataset,
    cells: Cells,
    device: torch.device,
    precision: Precision | None,
    backbone: Backbone | None,
    rng: np.random.Generator,
) -> Predictor:
    """The same network, trained to tell one class from all others on the same cells."""
    if recipe.train.pretrain not in dataset.classes:
        raise TrialError(
            f"train.pretrain: must be one of {', '.join(dataset.classes)}; "
            f"got {recipe.train.pretrain!r}"
        )
    binary = against_others(dataset, recipe.train.pretrain)
    counts = np.bincount(binary.labels[cells.indices], minlength=2).astype(np.int64)
    return train_network(
        _begun(recipe, binary, cells.indices, device, backbone),
        recipe,
        Cells(
            CellSource.of(binary),
            cells.indices,
            cells.watched,
            target_counts(counts, recipe.balance),
        ),
        epochs=recipe.train.pretrain_epochs,
        device=device,
        precision=precision,
        rng=rng,
        on_epoch=None,
    )
