"""How far a score moves when the same recipe is trained again on the same cells.

    python benchmarks/training_noise.py mhsma hep2 --seeds 5 > benchmarks/results/training_noise.txt

On each set the recipes are trained on 5 frozen folds with several seeds: the baseline of every
search, and the first networks that the default space names. ``one fold`` is the standard deviation
over seeds of a score on the cells of one fold, root mean square over folds, decided by the rule of
that metric; ``pooled`` that of the score over all folds; ``per fold`` is what the verdict's normal
term must be for ``pooled`` to follow: pooled times the root of the folds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from cheap_families import SETS
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.rare import apply_rare
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.evaluate import cross_validate
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.threads import torch_threads
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import BASELINE, Recipe, brief
from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.metrics import METRICS, Metric, confusion, score
from cellsearch.tune.rule import StudyRule

FOLDS = 5


def cells_of(name: str, data: Path) -> CellDataset:
    """One of the sets, saved, so that its pixels are mapped and features are kept."""
    if name == "jurkat":
        cells = load_dataset("jurkat", mirror=data / "mlcp")
    else:
        folder, reader = SETS[name]
        cells = CellDataset.from_table(data / folder / "labels.csv", **reader)
    cells = apply_rare(cells, rare="drop", folds=FOLDS)
    return cells if cells.folder is not None else cells.save(Path("/tmp") / cells.sha256[:16])


def recipes(networks: int) -> list[Recipe]:
    """The baseline, and the first networks of the default space."""
    space = SearchSpace.load("default")
    named = [each for each in space.starts if not isinstance(each.model, ClassicalModel)]
    return [BASELINE, *named[:networks]]


def scores_of(
    metric: Metric, folds: list[FoldResult], cells: CellDataset, known: NDArray[np.bool_]
) -> tuple[list[float], float]:
    """Of each fold, and of all together."""
    rule = StudyRule.of(metric, FOLDS, known)
    k = len(cells.classes)
    counts = [confusion(cells.labels[f.cells], rule.decided(f), k) for f in folds]
    single = [float(score(metric, each, classes=known)) for each in counts]
    return single, float(score(metric, np.sum(counts, axis=0), classes=known))


def report(name: str, cells: CellDataset, splits: Splits, seeds: int, networks: int) -> None:
    known = np.array([each not in splits.not_estimable for each in cells.classes])
    for recipe in recipes(networks):
        began = time.time()
        runs = [
            list(cross_validate(recipe, cells, splits, seed=seed, device="cpu", threads=1))
            for seed in range(seeds)
        ]
        print(f"\n{name}, {len(cells):,} cells: {brief(recipe)} ({time.time() - began:.0f} s)")
        for metric in METRICS:
            found = [scores_of(metric, run, cells, known) for run in runs]
            single = np.array([each[0] for each in found])
            pooled = np.array([each[1] for each in found])
            spread = float(pooled.std(ddof=1))
            print(
                f"  {metric:<18} mean {pooled.mean():.3f}  "
                f"one fold {np.sqrt(single.var(axis=0, ddof=1).mean()):.4f}  "
                f"pooled {spread:.4f}  per fold {spread * FOLDS**0.5:.4f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", choices=[*SETS, "jurkat"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    print(f"{options.seeds} seeds, {FOLDS} folds, standard deviations")
    with torch_threads(1):
        for name in options.sets:
            cells = cells_of(name, options.data)
            splits = draw_splits(cells, folds=FOLDS, seed=0)
            report(name, cells, splits, options.seeds, options.networks)


if __name__ == "__main__":
    main()
