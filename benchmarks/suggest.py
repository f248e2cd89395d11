"""Labels for rare classes: how many rare cells ``suggest`` finds, against chance and uncertainty.

Jurkat: 5 metaphases, 2 anaphases and 2 telophases are labelled at first (a card has no class
without cells), and 96 cells of the other phases drawn by chance. Three rounds of 100 labels
follow, each chosen by a logistic regression on measured features that was fitted anew. Counted are
the cells of rare classes found, and the balanced accuracy on a fixed 30 % that is never offered.

    python benchmarks/suggest.py ../shared/data
    python benchmarks/suggest.py ../shared/data --seeds 20 --first-seed 11
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from cellsearch.data.features import measured
from cellsearch.data.source import load_dataset
from cellsearch.label.choose import choose

RARE = {"Metaphase": 5, "Anaphase": 2, "Telophase": 2}
"""Rare classes, and how many cells of each are labelled at first."""
OTHERS, ROUNDS, EACH, TEST = 96, 3, 100, 0.3

Choice = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
"""From probabilities (natural mix), labels of each class, features and a seed to cells."""


def model() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=300))


def probabilities(
    values: np.ndarray, labels: np.ndarray, some: list[np.ndarray], classes: int
) -> list[np.ndarray]:
    """Of several sets of cells, with the square root of inverse counts as weights, natural mix."""
    counts = np.bincount(labels, minlength=classes)
    weights = (1.0 / np.maximum(counts, 1)) ** 0.5
    fitted = model().fit(values, labels, logisticregression__sample_weight=weights[labels])
    found = []
    for each in some:
        p = np.zeros((len(each), classes))
        p[:, fitted.classes_] = fitted.predict_proba(each)
        p = p / weights
        found.append(p / p.sum(axis=1, keepdims=True))
    return found


def at_random(p: np.ndarray, _: np.ndarray, __: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(p), EACH, replace=False)


def by_doubt(p: np.ndarray, _: np.ndarray, __: np.ndarray, ___: int) -> np.ndarray:
    best = np.sort(p, axis=1)
    return np.argsort(best[:, -1] - best[:, -2], kind="stable")[:EACH]


def by_even_doubt(p: np.ndarray, labelled: np.ndarray, x: np.ndarray, seed: int) -> np.ndarray:
    even = p / np.maximum(labelled, 1.0)
    return by_doubt(even / even.sum(axis=1, keepdims=True), labelled, x, seed)


def suggested(p: np.ndarray, labelled: np.ndarray, x: np.ndarray, seed: int) -> np.ndarray:
    chosen = choose(EACH, p, labelled, lambda at: x[at], seed=seed)
    return np.array([each.cell for each in chosen])


CHOICES: dict[str, Choice] = {
    "random": at_random,
    "uncertainty": by_doubt,
    "uncertainty, even mix": by_even_doubt,
    "suggest": suggested,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cells = load_dataset("jurkat", mirror=options.root / "mlcp")
    x, y, names = np.array(measured(cells), np.float64), np.array(cells.labels), cells.classes
    rare = [names.index(name) for name in RARE]
    total = np.bincount(y, minlength=len(names))
    print(f"{len(y):,} cells: {dict(zip(names, total.tolist(), strict=True))}")
    for title, choice in CHOICES.items():
        scores, found, expected = [], [], []
        offered: list[np.ndarray] = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            rng = np.random.default_rng(seed)
            parts = [rng.permutation(np.flatnonzero(y == k)) for k in range(len(names))]
            test = np.concatenate([part[: round(TEST * len(part))] for part in parts])
            pool = np.setdiff1d(np.arange(len(y)), test)
            first = [rng.permutation(pool[y[pool] == k])[: RARE[names[k]]] for k in rare] + [
                rng.permutation(pool[~np.isin(y[pool], rare)])[:OTHERS]
            ]
            labelled = np.concatenate(first)
            for turn in range(ROUNDS + 1):
                free = np.setdiff1d(pool, labelled)
                p, held = probabilities(x[labelled], y[labelled], [x[free], x[test]], len(names))
                counts = np.bincount(y[labelled], minlength=len(names))
                prior = np.maximum(counts, 1) / len(labelled)
                called = (held / prior).argmax(axis=1)
                score = mean(float((called[y[test] == k] == k).mean()) for k in range(len(names)))
                scores.append((seed, turn, score))
                found.append((seed, turn, counts[rare] - np.array([*RARE.values()])))
                if turn < ROUNDS:
                    taken = choice(p, counts.astype(float), x[free], 10 * seed + turn)
                    expected.append(p[taken].sum(axis=0))
                    offered.append(np.bincount(y[free[taken]], minlength=len(names)))
                    labelled = np.concatenate([labelled, free[taken]])
        print(f"\n{title}, mean of {options.seeds} seeds from {options.first_seed} on")
        for turn in range(ROUNDS + 1):
            each = np.array([counts for _, at, counts in found if at == turn])
            balanced = [score for _, at, score in scores if at == turn]
            kinds = ", ".join(
                f"{name} {count:.1f}" for name, count in zip(RARE, each.mean(axis=0), strict=True)
            )
            print(
                f"  after {EACH * turn:3} labels: rare cells found {each.sum(axis=1).mean():5.1f} "
                f"({kinds}); balanced accuracy {mean(balanced):.3f} "
                f"({min(balanced):.3f} to {max(balanced):.3f})"
            )
        if choice is suggested:
            for k in rare:
                told, true = (
                    np.mean([each[k] for each in expected]),
                    np.mean([each[k] for each in offered]),
                )
                print(f"  {names[k]} a round: expected {told:.1f}, found {true:.1f}")


if __name__ == "__main__":
    main()
