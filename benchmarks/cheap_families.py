"""What a few minutes give without any search: cheap families on features, out-of-fold.

Logistic regression on measured features, on features of a frozen backbone, and the mean of the
two, on the product's own frozen folds; classes by the largest probability, and by the largest
after division by the class shares of the fold's training cells.

    python benchmarks/cheap_families.py ../shared/data --sets wbc herlev
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.dataset import CellDataset
from cellsearch.data.rare import apply_rare
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.evaluate import cross_validate
from cellsearch.space.recipe import Recipe

SETS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "wbc": ("wbc", {"size": "120x120"}),
    "hep2": ("hep2-icpr2014", {}),
    "herlev": ("herlev-pap", {"group_column": "group_image", "size": "224x224", "fit": "pad"}),
    "mhsma": ("mhsma-sperm", {"label_column": "acrosome"}),
    "chula": ("chula-rbc", {"group_column": "group_image"}),
}
REFERENCE = {
    "wbc": (0.926, 0.858, 0.935),
    "hep2": (0.776, 0.889, 0.895),
    "herlev": (0.501, 0.600, 0.593),
    "mhsma": (0.606, 0.684, 0.669),
    "chula": (0.544, 0.567, 0.601),
}
"""Of another programme on other folds: measured, backbone, mean of both; by the prior."""


def out_of_fold(
    recipe: Recipe, cells: CellDataset, splits: Splits
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Cells, their probabilities, the training prior of their fold, and seconds."""
    began = time.monotonic()
    places, probabilities, priors = [], [], []
    for found in cross_validate(recipe, cells, splits, seed=0, device="cpu", threads=1):
        counts = np.bincount(
            cells.labels[splits.training(found.fold)], minlength=len(cells.classes)
        )
        places.append(found.cells)
        probabilities.append(found.probabilities)
        priors.append(np.tile(counts / counts.sum(), (len(found.cells), 1)))
    seconds = time.monotonic() - began
    return np.concatenate(places), np.concatenate(probabilities), np.concatenate(priors), seconds


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean([(predicted[labels == k] == k).mean() for k in np.unique(labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--measured-l2", type=float, default=1.0)
    parser.add_argument("--backbone-l2", type=float, default=100.0)
    parser.add_argument("--scaling", choices=("auto", "cell", "dtype"), default="auto")
    parser.add_argument("--side", type=int, default=112)
    options = parser.parse_args()
    backbone = {"model.scaling": options.scaling, "model.side": options.side}
    recipes = {
        "measured": {"model.features": "measured", "model.l2": options.measured_l2},
        "backbone": {"model.features": "backbone", "model.l2": options.backbone_l2, **backbone},
    }
    print(vars(options))
    for name in options.sets:
        folder, reader = SETS[name]
        cells = CellDataset.from_table(options.root / folder / "labels.csv", **reader)
        cells = apply_rare(cells, rare="drop", folds=5)
        splits = draw_splits(cells, folds=5, seed=0)
        if cells.folder is None:
            cells = cells.save(Path("/tmp") / f"cheap-families-{cells.sha256[:16]}")
        pooled: list[np.ndarray] = []
        for (title, params), was in zip(recipes.items(), REFERENCE[name], strict=False):
            recipe = Recipe.from_params({"model.family": "logreg", **params})
            places, found, priors, seconds = out_of_fold(recipe, cells, splits)
            pooled.append(found)
            told(name, title, cells.labels[places], found, priors, seconds, was)
        mean = (pooled[0] + pooled[1]) / 2
        told(name, "mean", cells.labels[places], mean, priors, 0.0, REFERENCE[name][2])


def told(
    name: str,
    title: str,
    labels: np.ndarray,
    found: np.ndarray,
    priors: np.ndarray,
    seconds: float,
    was: float,
) -> None:
    plain = balanced_accuracy(labels, found.argmax(axis=1))
    decided = balanced_accuracy(labels, (found / priors).argmax(axis=1))
    print(
        f"{name:7} {len(labels):5,} cells  {title:9} argmax {plain:.3f}  by the prior "
        f"{decided:.3f}  (reference {was:.3f})  {seconds:6.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
