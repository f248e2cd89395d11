"""Does the first rung rank recipes as a full training does?

Draws recipes of a space, trains each with an eighth and with a quarter of its epochs (common
classes capped), with half of them, and in full on two folds, and asks how well the cheap scores
rank the recipes by the full folds. One full fold, which is a part of that truth, is the rival.

    python rung_ranking.py ../../shared/data --set jurkat --space cheap_networks.yaml
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cheap_families import SETS
from scipy.stats import kendalltau

from cellsearch.data.dataset import CellDataset
from cellsearch.data.rare import apply_rare
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.evaluate import cross_validate
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.models import NetworkModel
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace, sample
from cellsearch.stats.decision import Decision, decided
from cellsearch.stats.log_loss import class_shares, log_losses, mean_loss
from cellsearch.stats.metrics import confusion, score
from cellsearch.tune.rungs import Rung, climbs, shortened, training_cells

EIGHTH, QUARTER, HALF = Rung(1, 1 / 8, most=4.0), Rung(1, 1 / 4, most=4.0), Rung(2, 1 / 2, folds=2)


@dataclass(frozen=True)
class Scores:
    """Of some folds: negative class-mean log loss (nats), balanced accuracy, seconds."""

    log_loss: float
    accuracy: float
    seconds: float


def cells_of(root: Path, name: str) -> tuple[CellDataset, Splits]:
    if name == "jurkat":
        cells = load_dataset("jurkat", mirror=root / "mlcp")
    else:
        folder, reader = SETS[name]
        cells = CellDataset.from_table(root / folder / "labels.csv", **reader)
    cells = apply_rare(cells, rare="drop", folds=5)
    if cells.folder is None:
        cells = cells.save(Path("/tmp") / f"rung-ranking-{cells.sha256[:16]}")
    return cells, draw_splits(cells, folds=5, seed=0)


def trained(
    folder: Path, splits: Splits, recipe: Recipe, rung: Rung | None, folds: range
) -> list[FoldResult]:
    cells = CellDataset.open(folder)
    training = None
    if rung is not None:
        training = training_cells(splits, cells.labels, rung, seed=0)
        recipe = shortened(recipe, rung, len(training[0]))
    return list(
        cross_validate(
            recipe,
            cells,
            splits,
            seed=0,
            folds=folds,
            device="cpu",
            threads=1,
            training=training,
            estimate_priors=rung is not None,
        )
    )


def scores(cells: CellDataset, splits: Splits, found: list[FoldResult]) -> Scores:
    known = np.array([name not in splits.not_estimable for name in cells.classes])
    places = np.concatenate([each.cells for each in found])
    labels = cells.labels[places]
    losses, called = [], []
    for each in found:
        decision = None if each.priors is None else Decision(1.0, each.priors)
        losses.append(log_losses(cells.labels[each.cells], each.probabilities, decision))
        called.append(decided(each.probabilities, decision))
    counts = confusion(labels, np.concatenate(called), len(cells.classes))
    return Scores(
        -mean_loss(labels, np.concatenate(losses), class_shares(labels, known)),
        float(score("balanced_accuracy", counts, classes=known)),
        sum(each.seconds for each in found),
    )


def recipes_of(space: SearchSpace, cells: int, count: int, seed: int) -> Iterator[Recipe]:
    drawn = (r for r in sample(space, 50 * count, seed=seed) if isinstance(r.model, NetworkModel))
    for recipe, _ in zip((r for r in drawn if climbs(r, cells)), range(count), strict=False):
        yield recipe


def everything(folder: Path, splits: Splits, recipe: Recipe, full: int) -> Mapping[str, Scores]:
    cells = CellDataset.open(folder)
    longer = trained(folder, splits, recipe, QUARTER, range(splits.k))
    subsets = {
        f"{QUARTER.epochs:g} of the epochs, {n} folds": scores(cells, splits, longer[:n])
        for n in (2, 3, splits.k)
    }
    if not full:
        return subsets
    short = trained(folder, splits, recipe, EIGHTH, range(splits.k))
    half = trained(folder, splits, recipe, HALF, range(2))
    whole = trained(folder, splits, recipe, None, range(full))
    return {
        **subsets,
        "0.125 of the epochs, 5 folds": scores(cells, splits, short),
        "0.5 of the epochs, 2 folds": scores(cells, splits, half),
        "one full fold": scores(cells, splits, whole[:1]),
        "full": scores(cells, splits, whole),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--set", default="jurkat", choices=["jurkat", *SETS])
    parser.add_argument("--space", default="default")
    parser.add_argument("--recipes", type=int, default=16)
    parser.add_argument(
        "--full", type=int, default=2, help="full folds that are the truth; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    print(vars(options), flush=True)
    cells, splits = cells_of(options.root, options.set)
    assert cells.folder is not None
    space = SearchSpace.load(options.space)
    drawn = list(recipes_of(space, len(splits.training(0)), options.recipes, options.seed))
    began = time.monotonic()
    rows = []
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(everything, cells.folder, splits, r, options.full) for r in drawn]
        for number, job in enumerate(jobs):
            rows.append(job.result())
            figures = "  ".join(
                f"{name} {s.log_loss:.3f} {s.accuracy:.3f} {s.seconds:.0f} s"
                for name, s in rows[-1].items()
            )
            print(f"{number:2} {figures}", flush=True)
    print(f"{len(rows)} recipes, {time.monotonic() - began:.0f} s")
    if not options.full:
        return
    truth = np.array([row["full"].accuracy for row in rows])
    losses = np.array([row["full"].log_loss for row in rows])
    best = int(truth.argmax())
    for name in (name for name in rows[0] if name != "full"):
        seconds = sum(row[name].seconds for row in rows) / sum(row["full"].seconds for row in rows)
        for kind in ("log_loss", "accuracy"):
            cheap = np.array([getattr(row[name], kind) for row in rows])
            place = int((cheap > cheap[best]).sum()) + 1
            picked = truth[np.argsort(-cheap)[:3]].max()
            print(
                f"{name:27} by {kind:9} tau {kendalltau(cheap, truth).statistic:.2f} "
                f"({kendalltau(cheap, losses).statistic:.2f} with the log loss)  the best is "
                f"number {place}  best of its top 3 {picked:.3f} of {truth.max():.3f}  "
                f"cost {seconds:.2f} of the full folds"
            )


if __name__ == "__main__":
    main()
