"""What deciding by the training prior gains over the greatest probability, on real cells.

    python benchmarks/decision_rule.py ../shared/data > benchmarks/results/decision_rule.txt

On each set the product's own logistic regression on measured features is trained on 5 frozen folds
(seed 0) without class weights, with sqrt and with inv ones. The same out-of-fold probabilities are
then decided by argmax and by the rule of ``cellsearch.stats.decision``; the difference is paired
cell by cell, its 95 % interval as in a card. tau = 1 is for balanced accuracy, tau = 0 for
weighted F1, and for macro F1 tau is cross-fitted. "dealt out" are the same with the labels of the
development cells shuffled before anything is trained: there nothing may be above chance.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.evaluate import FoldResult, cross_validate
from cellsearch.space.recipe import Recipe
from cellsearch.stats.comparison import compare
from cellsearch.stats.groups import group_codes
from cellsearch.stats.metrics import Metric
from cellsearch.tune.rule import StudyRule

WEIGHTINGS = ("none", "sqrt", "inv")
METRICS: tuple[Metric, ...] = ("balanced_accuracy", "weighted_f1", "macro_f1")
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "white blood cells": ("wbc/labels.csv", {}),
    "HEp-2": ("hep2-icpr2014/labels.csv", {}),
    "Herlev Pap, by field": ("herlev-pap/labels.csv", {"group_column": "group_image"}),
    "MHSMA acrosome": ("mhsma-sperm/labels.csv", {"label_column": "acrosome"}),
    "Jurkat, 7 phases": ("jurkat", {}),
}


def cells_of(name: str, data: Path) -> CellDataset:
    """One of the sets, read as ``data/README.md`` says."""
    place, options = SETS[name]
    if place == "jurkat":
        return load_dataset("jurkat", mirror=data / "mlcp")
    return load_dataset(data / place, **options)


def folds_of(cells: CellDataset, splits: Splits, weighting: str) -> list[FoldResult]:
    """Out-of-fold probabilities of logistic regression on measured features."""
    recipe = Recipe.from_params(
        {"model.family": "logreg", "model.features": "measured", "loss.weighting": weighting}
    )
    return list(cross_validate(recipe, cells, splits, seed=0, device="cpu", threads=1))


def decisions(
    folds: Sequence[FoldResult], labels: NDArray[np.int64], metric: Metric, known: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """By the rule and by argmax, and the taus."""
    rule = StudyRule.of(metric, len(folds), known)
    if not rule.settled:
        rule = rule.chosen(metric, folds, labels, classes=known, trial=0)
    ours = np.concatenate([rule.decided(fold) for fold in folds])
    plain = np.concatenate([StudyRule().decided(fold) for fold in folds])
    return ours, plain, " ".join(f"{tau:g}" for tau in sorted(set(rule.taus)))


def row(cells: CellDataset, splits: Splits, folds: Sequence[FoldResult], metric: Metric) -> str:
    """One line of the table."""
    seen = np.concatenate([fold.cells for fold in folds])
    known = np.array([name not in splits.not_estimable for name in cells.classes])
    ours, plain, taus = decisions(folds, cells.labels, metric, known)
    found = compare(
        cells.labels[seen],
        ours,
        plain,
        cells.classes,
        not_estimable=tuple(splits.not_estimable),
        groups=None if cells.groups is None else group_codes(cells.groups[seen]),
    )
    gap = found.differences[metric]
    assert found.baseline is not None
    mark = "  <- worse" if gap.high < 0.0 else ""
    return (
        f"{found.baseline.metrics[metric].value:8.3f} {found.winner.metrics[metric].value:8.3f}   "
        f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})   {taus}{mark}"
    )


def shuffled(cells: CellDataset, splits: Splits) -> CellDataset:
    """The same cells, the labels of the development cells dealt out anew."""
    labels = cells.labels.copy()
    own = splits.development
    labels[own] = np.random.default_rng(0).permutation(labels[own])
    return replace(cells, labels=labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", choices=list(SETS))
    options = parser.parse_args()
    print("out-of-fold, 5 folds, logistic regression on measured features")
    print(f"{'':34}{'argmax':>8} {'rule':>8}   rule minus argmax (95 %)   tau")
    for name in options.only or SETS:
        began = time.monotonic()
        cells = cells_of(name, options.data)
        splits = draw_splits(cells, folds=5, seed=0, rare="keep", duplicates=())
        counts = ", ".join(str(count) for count in cells.counts)
        print(f"\n{name}: {len(cells):,} cells ({counts})", flush=True)
        for title, some, weightings in (
            ("", cells, WEIGHTINGS),
            (", dealt out", shuffled(cells, splits), ("none",)),
        ):
            for weighting in weightings:
                folds = folds_of(some, splits, weighting)
                for metric in METRICS:
                    label = f"  {weighting}{title}, {metric.replace('_', ' ')}"
                    print(f"{label:34}{row(some, splits, folds, metric)}", flush=True)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
