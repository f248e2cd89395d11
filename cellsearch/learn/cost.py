"""What a recipe costs, before any of it is trained."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import TrialError
from cellsearch.learn.balance import target_counts
from cellsearch.learn.fit import fit
from cellsearch.learn.losses import ClassLoss, class_weights
from cellsearch.learn.models import build_network
from cellsearch.learn.models.timm_net import first_line
from cellsearch.learn.models.vit import Attention
from cellsearch.learn.precision import Precision, resolve_device, timed
from cellsearch.learn.predictor import build_module, load, out_of_memory, probabilities
from cellsearch.learn.step import TrainingStep
from cellsearch.learn.threads import torch_threads
from cellsearch.learn.training import choose_precision
from cellsearch.space.models import (
    DenseModel,
    HistGbdtModel,
    LogregModel,
    NetworkModel,
    TimmModel,
    XgboostModel,
)
from cellsearch.space.recipe import Balance, Gan, Recipe
from cellsearch.space.seen import seen_size

TIMED_STEPS = 3

TIMED_ROUNDS = 2
"""Of boosted trees."""

TIMED_TREE_CELLS = 300

TIMED_MULTIPLY_ADDS = 10**10
"""Forward, of one timed batch at most: a giant is told from fewer cells, within seconds."""


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes:
        parameters: trainable parameters.
        multiply_adds: of convolutions, dense layers and the ``vit`` family's attention, for one
            cell, forward. Of timm's networks the products of attention are left out, and what
            they compute without a layer of torch's.
    """

    parameters: int
    multiply_adds: int


def cost(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> Cost:
    """Size of a recipe's network at the size that it sees.

    It follows from shapes alone: weights are neither drawn nor stored, but for timm's networks,
    which are built once for each shape. A classical family costs 0: how large it is, only a fit
    can tell.

    Args:
        recipe: the recipe.
        shape: (C, H, W) of a cell.
        classes: K.

    Raises:
        TrialError: the family is unknown or cannot take such images.
    """
    model, size = recipe.model, seen_size((shape[1], shape[2]), recipe.input)
    if not isinstance(model, NetworkModel):
        return Cost(0, 0)
    if isinstance(model, TimmModel):
        # Weights and dropout change no shape; a search asks for the same few networks again.
        plain = {"pretrained": False, "weights": "", "dropout": 0.0}
        return _built(model.model_copy(update=plain), shape[0], classes, size)
    return _from_shapes(model, shape[0], classes, size)


def _from_shapes(model: NetworkModel, channels: int, classes: int, size: tuple[int, int]) -> Cost:
    # Weights on "meta" have shapes and no memory. A forward pass there would import the compiler,
    # 6 s and 90 MB; so layers with weights are made to hand on zeros of the right shape instead.
    with torch.device("meta"):
        network = build_network(model, channels=channels, classes=classes, size=size).eval()
    multiply_adds = 0

    def forward(layer: nn.Conv2d | nn.Linear, inputs: Tensor) -> Tensor:
        nonlocal multiply_adds
        output = torch.zeros(1).expand(_output_shape(layer, inputs))
        multiply_adds += _multiply_adds(layer, output)
        return output

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        nonlocal multiply_adds
        multiply_adds += (query.numel() + value.numel()) * key.shape[-2]
        return value

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.forward = partial(forward, layer)  # type: ignore[method-assign]
        elif isinstance(layer, Attention):
            layer.forward = attend  # type: ignore[method-assign]
        elif next(layer.parameters(recurse=False), None) is not None:
            layer.forward = _same
    with torch.no_grad():
        network(torch.zeros(1, channels, *size))
    return Cost(_trainable(network), multiply_adds)


@cache
def _built(model: TimmModel, channels: int, classes: int, size: tuple[int, int]) -> Cost:
    multiply_adds = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal multiply_adds
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        multiply_adds += _multiply_adds(layer, output)

    with torch.random.fork_rng(devices=[]):
        network = build_network(model, channels=channels, classes=classes, size=size).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    try:
        with torch.inference_mode():
            network(torch.zeros(1, channels, *size))
    except Exception as error:
        # What timm's networks raise where a crop is too small shares no base below Exception.
        raise TrialError(f"model.name {model.name}: {first_line(error)}") from error
    return Cost(_trainable(network), multiply_adds)


def _multiply_adds(layer: nn.Conv2d | nn.Linear, output: Tensor) -> int:
    """Each value is a product with one filter of a convolution or one row of a dense layer."""
    return output.numel() * layer.weight[0].numel()


def _trainable(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _output_shape(layer: nn.Conv2d | nn.Linear, inputs: Tensor) -> tuple[int, ...]:
    """Shape of a layer's output for one cell."""
    if isinstance(layer, nn.Linear):
        return (*inputs.shape[:-1], layer.out_features)
    sides = []
    for axis, side in enumerate(inputs.shape[2:]):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        assert not isinstance(layer.padding, str)
        sides.append((side + 2 * layer.padding[axis] - reach - 1) // layer.stride[axis] + 1)
    return (1, layer.out_channels, *sides)


def _same(inputs: Tensor) -> Tensor:
    return inputs


def minutes_per_fold(
    recipe: Recipe,
    dataset: CellDataset,
    training_cells: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
) -> float:
    """Minutes that training on a fold would take here, from a few timed batches.

    Every epoch is counted, those of ``train.pretrain`` too, as though early stopping never came;
    generators, which are trained once for many trials, are not; prediction of a fold a quarter
    as large as the training is added. A network too large to time within seconds is judged by
    its multiply-adds (three times forward) at the pace of one plain convolution. Boosted trees are
    judged by a few rounds on a few cells; a regression or a head on features, which is quick, is
    not timed: 0.

    Args:
        recipe: the recipe.
        dataset: the batches are taken from it.
        training_cells: cells of the fold's training part, before resampling.
        device: ``auto`` or a torch device.
        threads: of torch meanwhile; None leaves them.
        precision: None takes the fastest.

    Raises:
        TrialError: the recipe does not fit in memory.
    """
    if isinstance(recipe.model, LogregModel | DenseModel):
        return 0.0
    place = resolve_device(device)
    height, width = (int(side) for side in dataset.images.shape[2:])
    share = training_cells / max(1, int(dataset.counts.sum()))
    counts = np.rint(dataset.counts * share).astype(np.int64)
    targets = target_counts(counts, recipe.balance)
    cells = max(2, int(targets.sum()))
    some = np.random.default_rng(0).permutation(np.flatnonzero(dataset.labels >= 0))
    if not isinstance(recipe.model, NetworkModel):
        with torch_threads(threads):
            return _minutes_of_trees(recipe, recipe.model, dataset, some[:TIMED_TREE_CELLS], cells)
    price = cost(recipe, (dataset.images.shape[1], height, width), len(dataset.classes))
    affordable = TIMED_MULTIPLY_ADDS // max(1, price.multiply_adds)
    some = some[: min(recipe.train.batch_size, cells, affordable)]
    epochs = recipe.train.epochs
    if recipe.train.pretrain:
        epochs += recipe.train.pretrain_epochs
    with torch_threads(threads), torch.random.fork_rng(devices=[]):
        if len(some) < 2:
            training = 3 * price.multiply_adds / _multiply_adds_per_second(place)
            return training * epochs * cells / 60.0
        try:
            step, prediction = _timed(recipe, dataset, some, targets, place, precision)
        except RuntimeError as error:
            raise out_of_memory(error) from error
    per_cell = (step * epochs + prediction * 0.25) / len(some)
    return per_cell * cells / 60.0


def _minutes_of_trees(
    recipe: Recipe,
    model: XgboostModel | HistGbdtModel,
    dataset: CellDataset,
    some: NDArray[np.int64],
    cells: int,
) -> float:
    """Time grows with rounds and cells at most; features are measured before the clock starts."""
    rounds = min(TIMED_ROUNDS, model.rounds)
    few = model.model_copy(update={"rounds": rounds, "copies": 0})
    short = recipe.model_copy(update={"model": few, "gan": Gan(), "balance": Balance()})
    fit(short, dataset, some, seed=0, device="cpu")
    started = time.perf_counter()
    fit(short, dataset, some, seed=0, device="cpu")
    seconds = time.perf_counter() - started
    return seconds * model.rounds / rounds * (1 + model.copies) * cells / len(some) / 60.0


def _timed(
    recipe: Recipe,
    dataset: CellDataset,
    some: NDArray[np.int64],
    targets: NDArray[np.int64],
    device: torch.device,
    precision: Precision | None,
) -> tuple[float, float]:
    """Seconds of a training step on some cells, and of their prediction."""
    height, width = (int(side) for side in dataset.images.shape[2:])
    module = build_module(
        recipe,
        channels=dataset.images.shape[1],
        classes=len(dataset.classes),
        size=(height, width),
    )
    module.normalise.fit(dataset.images, some)
    module.to(device).train()
    loss = ClassLoss(class_weights(targets, recipe.loss), recipe.loss).to(device)
    if precision is None:
        precision = choose_precision(module, loss, dataset, some, device=device)
    step = TrainingStep(
        module,
        recipe,
        loss=loss,
        precision=precision,
        device=device,
        steps=TIMED_STEPS + 1,
        size=(height, width),
        rng=np.random.default_rng(0),
    )

    def once() -> None:
        images = load(dataset.images, some, device=device)
        step(images, torch.from_numpy(dataset.labels[some]).to(device))

    once()
    training = min(timed(once, device=device) for _ in range(TIMED_STEPS))
    started = time.perf_counter()
    probabilities(module, dataset, some, device=device)
    return training, time.perf_counter() - started


def _multiply_adds_per_second(device: torch.device) -> float:
    """Of a convolution that suits the device, in float32."""
    layer = nn.Conv2d(64, 64, 3, padding=1).to(device)
    maps = torch.zeros(8, 64, 40, 40, device=device)

    def once() -> None:
        with torch.inference_mode():
            layer(maps)

    once()
    seconds = min(timed(once, device=device) for _ in range(TIMED_STEPS))
    return 8 * 64 * 64 * 9 * 1600 / seconds
