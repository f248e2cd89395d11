"""One trial's training against a bare torch loop, in images a second.

Both train the same network with the same optimiser on the same batches of cells in the same
precision. The bare loop holds normalised float32 tensors in memory and does nothing else;
``fit`` slices raw cells from a memory map, and its time includes everything from the statistics
of the normalisation to the trained predictor. The two take turns, so a neighbour's load hits both;
the ratio is the median over the turns.

    python benchmarks/bare_loop.py [--dataset NAME_OR_PATH] [--cells 2000] [--threads 1]
        [--families resnet vit ...]

Without ``--families`` two networks of ``cnn`` are compared; with it each family named, at its
default settings.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cellsearch.data.dataset import CellDataset
from cellsearch.learn.fit import fit
from cellsearch.learn.losses import ClassLoss, class_weights
from cellsearch.learn.models import FAMILIES, build_network
from cellsearch.learn.precision import Precision
from cellsearch.learn.predictor import build_module
from cellsearch.learn.training import choose_precision
from cellsearch.space.models import MODELS, Model
from cellsearch.space.recipe import Augment, CnnModel, Optim, Recipe, Train

TARGET = 0.90
NETWORKS: dict[str, Model] = {
    "2-conv CNN": CnnModel(
        depth=2, width=32, growth=2.0, kernel=(5, 5), pooling="max", head_layers=1, head=(32,)
    ),
    "4-layer 3x3 CNN, 32-128": CnnModel(
        depth=4,
        width=32,
        growth=2.0,
        max_width=128,
        kernel=(3, 3, 3, 3),
        batch_norm=True,
        reduce="average",
        head_layers=0,
        head=(),
    ),
}


def cells_to_train_on(name: str | None, cells: int, folder: Path) -> CellDataset:
    """Memory-mapped cells: of a data set, or random ones of the shape of Jurkat's."""
    rng = np.random.default_rng(0)
    if name is not None:
        from cellsearch.data.source import load_dataset

        found = load_dataset(name)
        return found.subset(rng.permutation(len(found))[:cells]).save(folder)
    return CellDataset.from_arrays(
        rng.integers(0, 4096, (cells, 2, 40, 40), dtype=np.uint16),
        rng.choice(7, cells, p=(0.45, 0.25, 0.2, 0.06, 0.02, 0.01, 0.01)),
        classes=[f"class-{k}" for k in range(7)],
    ).save(folder)


def bare_loop(
    recipe: Recipe, images: torch.Tensor, labels: torch.Tensor, classes: int, precision: Precision
) -> float:
    """Seconds of training as a hand-written loop does it, tensors in memory."""
    started = time.perf_counter()
    cells, channels, height, width = images.shape
    network = build_network(
        recipe.model, channels=channels, classes=classes, size=(height, width)
    ).train()
    if precision.channels_last:
        network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay, fused=True
    )
    for _ in range(recipe.train.epochs):
        order = torch.randperm(cells)
        for start in range(0, cells, recipe.train.batch_size):
            batch = order[start : start + recipe.train.batch_size]
            inputs, targets = images[batch], labels[batch]
            if recipe.augment.flip:
                for axis in (2, 3):
                    chosen = (torch.rand(len(batch)) < 0.5)[:, None, None, None]
                    inputs = torch.where(chosen, inputs.flip(axis), inputs)
            inputs = precision.lay_out(inputs)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision.dtype == "bfloat16"):
                loss = nn.functional.cross_entropy(network(inputs).float(), targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return time.perf_counter() - started


def compare(name: str, recipe: Recipe, dataset: CellDataset, repeats: int) -> float:
    """Print a row; the median ratio of images a second, fit over bare."""
    indices = np.arange(len(dataset), dtype=np.int64)
    channels, height, width = dataset.images.shape[1:]
    classes = len(dataset.classes)
    module = build_module(recipe, channels=channels, classes=classes, size=(height, width))
    module.normalise.fit(dataset.images, indices)
    with torch.no_grad():
        images = module.normalise(torch.from_numpy(np.array(dataset.images, dtype=np.float32)))
    labels = torch.from_numpy(dataset.labels.copy())
    loss = ClassLoss(class_weights(dataset.counts, recipe.loss), recipe.loss)
    first = indices[: recipe.train.batch_size]
    precision = choose_precision(module, loss, dataset, first, device=torch.device("cpu"))
    bare, ours = [], []
    for turn in range(repeats + 1):
        seconds = bare_loop(recipe, images, labels, classes, precision)
        started = time.perf_counter()
        fit(recipe, dataset, indices, seed=turn, device="cpu", precision=precision)
        if turn:  # the first is a warm-up
            bare.append(seconds)
            ours.append(time.perf_counter() - started)
    ratio = statistics.median(b / o for b, o in zip(bare, ours, strict=True))
    seen = len(indices) * recipe.train.epochs
    print(
        f"{name:<40}{precision!s:>20}{seen / statistics.median(bare):>10.0f}"
        f"{seen / statistics.median(ours):>10.0f}{ratio:>8.2f}"
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="name or path; random 2 x 40 x 40 cells if not given")
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, metavar="FAMILY")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    networks = NETWORKS
    if options.families:
        networks = {family: MODELS[family]() for family in options.families}
    with tempfile.TemporaryDirectory() as folder:
        dataset = cells_to_train_on(options.dataset, options.cells, Path(folder) / "cells")
        shape = " x ".join(map(str, dataset.images.shape))
        print(f"{dataset.name}: {shape} {dataset.images.dtype}, {options.threads} thread(s)\n")
        print(f"{'':<40}{'precision':>20}{'bare/s':>10}{'fit/s':>10}{'ratio':>8}")
        ratios = []
        for name, model in networks.items():
            for flip in (False, True):
                recipe = Recipe(
                    model=model,
                    augment=Augment(flip=flip),
                    optim=Optim(name="adamw", weight_decay=0.01),
                    train=Train(epochs=options.epochs, batch_size=64),
                )
                title = f"{name}, flips" if flip else name
                ratios.append(compare(title, recipe, dataset, options.repeats))
        print(f"\nleast ratio {min(ratios):.2f}, target >= {TARGET:.2f}")


if __name__ == "__main__":
    main()
