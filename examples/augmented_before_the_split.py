"""How far a figure rises when generated cells are made BEFORE the split and scored as well.

Two ways to score the same network on the same cells, with the same generators:

right   generators learn from a fold's training cells alone, and only real cells are scored;
wrong   generators learn from all cells of a rare class, what they make joins the data set until
        the class is as large as the second largest, to which the largest is cut down, and only
        then is the data set split: likenesses of a cell lie on both sides of the split, and much
        of what is scored was never a cell.

Run: python examples/augmented_before_the_split.py [DATASET] [--steps 300] [--epochs 22] [--folds 5]
"""

from argparse import ArgumentParser

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold

from cellsearch import CellDataset, load_dataset
from cellsearch.data.splits import draw_splits
from cellsearch.learn.evaluate import cross_validate
from cellsearch.learn.fit import fit
from cellsearch.learn.gans import generated_cells
from cellsearch.space.recipe import Recipe
from cellsearch.stats.metrics import confusion, score

parser = ArgumentParser()
parser.add_argument("dataset", nargs="?", default="jurkat")
parser.add_argument("--steps", type=int, default=300, help="of each generator")
parser.add_argument("--epochs", type=int, default=22, help="of the classifier")
parser.add_argument("--width", type=int, default=64, help="of the classifier")
parser.add_argument("--folds", type=int, default=5)
parser.add_argument("--only-wrong", action="store_true", help="leave out the right way")
asked = parser.parse_args()

NETWORK = {
    "model.depth": 2,
    "model.width": asked.width,
    "model.growth": 0.5,
    "model.kernel.1": 10,
    "model.kernel.2": 5,
    "model.head_layers": 2,
    "model.head.1": 32,
    "model.head.2": 16,
    "model.dropout": 0.5,
    "optim.lr": 1e-4 if asked.width == 64 else 1e-3,
    "train.batch_size": 32,
    "train.epochs": asked.epochs,
}
ROWS = {
    "no generated cells": {},
    "WGAN-GP": {"gan.kind": "wgan-gp", "gan.batch": 16, "gan.critic_steps": 5},
    "WGAN-div + mixup": {
        "gan.kind": "wgan-div",
        "gan.batch": 64,
        "gan.critic_steps": 4,
        "gan.mixup": 0.5,
    },
}
SHARED = {"balance.method": "over", "gan.steps": asked.steps, "gan.beta1": 0.01, "gan.lr": 1e-3}


def figures(labels, predicted, classes):
    counts = confusion(labels, predicted, classes)
    return float(score("weighted_f1", counts)), float(score("balanced_accuracy", counts))


def right(recipe, cells):
    """Out-of-fold predictions of real cells; whatever is generated comes from training cells."""
    splits = draw_splits(cells, folds=asked.folds, holdout=0.2, seed=0)
    predicted = np.full(len(cells), -1)
    for fold in cross_validate(recipe, cells, splits, seed=0):
        predicted[fold.cells] = fold.probabilities.argmax(axis=1)
    scored = np.flatnonzero(predicted >= 0)
    return figures(cells.labels[scored], predicted[scored], len(cells.classes))


def wrong(gan, cells):
    """Generate, join and cut down first, then split; score everything."""
    everything = np.arange(len(cells))
    pools = generated_cells(cells, everything, gan, seed=0, device=torch.device("cpu"))
    level = int(np.sort(cells.counts)[-2])
    rng = np.random.default_rng(0)
    images, labels, real = [], [], []
    for label in range(len(cells.classes)):
        own = np.flatnonzero(cells.labels == label)
        kept = rng.permutation(own)[:level]
        images.append(cells.images[np.sort(kept)])
        for pool in pools:
            if pool.label == label:
                images.append(pool.images[: max(0, level - len(own))])
        added = sum(map(len, images)) - len(labels)
        labels += [label] * added
        real += [True] * len(kept) + [False] * (added - len(kept))
    joined = CellDataset.from_arrays(np.concatenate(images), labels, classes=cells.classes)
    predicted = np.empty(len(joined), dtype=np.int64)
    folds = StratifiedKFold(asked.folds, shuffle=True, random_state=0)
    for fold, (training, tested) in enumerate(folds.split(joined.labels, joined.labels)):
        predictor = fit(Recipe.from_params(NETWORK), joined, training, seed=fold)
        predicted[tested] = predictor.predict_proba(joined, tested).argmax(axis=1)
    classes = len(cells.classes)
    of_cells = np.array(real)
    everything_scored = figures(joined.labels, predicted, classes)
    cells_alone = figures(joined.labels[of_cells], predicted[of_cells], classes)
    return everything_scored, cells_alone, 1 - of_cells.mean()


cells = load_dataset(asked.dataset)
print(f"{len(cells)} cells of {asked.dataset}, {asked.folds} folds, {asked.steps} generator steps")
print("                      right: real cells   wrong: everything   wrong: its real cells")
print("                      wF1     bal. acc.   wF1     bal. acc.   wF1     bal. acc.   generated")
for name, settings in ROWS.items():
    recipe = Recipe.from_params({**NETWORK, **(SHARED | settings if settings else {})})
    line = f"{name:<20}"
    if not asked.only_wrong:
        line += "".join(f"  {value:.3f}   " for value in right(recipe, cells))
    if settings:
        inflated, alone, share = wrong(recipe.gan, cells)
        line += "".join(f"  {value:.3f}   " for value in (*inflated, *alone)) + f"  {share:.0%}"
    print(line, flush=True)
