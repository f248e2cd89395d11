"""How long the intervals, the verdict and the importances of a search take, without training.

    python benchmarks/figures_speed.py > benchmarks/results/figures_speed.txt

TRIALS finished trials of CELLS out-of-fold cells in seven classes as unequal as Jurkat's phases
(anaphase 0.2 %), each with answers that are right for most cells. Timed is what a run does with
them before it writes a card: figures with 95 % intervals of the winner and of the baseline, the
verdict over all trials, and the paired effects of each choice. Aim: under 10 s.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from cellsearch.space.recipe import Recipe
from cellsearch.stats.evaluation import evaluate
from cellsearch.tune.importance import choice_effects
from cellsearch.tune.trial_predictions import TrialPredictions
from cellsearch.tune.verdict import corrected_differences

COUNTS = (5457, 910, 909, 612, 69, 15, 28)
TRIALS = 50
FOLDS = 5
METRIC = "balanced_accuracy"


def searched(seed: int) -> tuple[TrialPredictions, dict[int, Recipe]]:
    """Trials of two weightings, flips on and off, each right for three quarters of the cells."""
    rng = np.random.default_rng(seed)
    k = len(COUNTS)
    labels = np.repeat(np.arange(k), COUNTS)
    right = rng.random((TRIALS, len(labels))) < rng.uniform(0.65, 0.85, TRIALS)[:, None]
    guesses = rng.integers(0, k, (TRIALS, len(labels)))
    predicted: NDArray[np.int64] = np.where(right, labels, guesses).astype(np.int64)
    recipes = {
        number: Recipe.from_params(
            {
                "loss.weighting": ("none", "sqrt", "inv")[number % 3],
                "augment.flip": bool(rng.random() < 0.5),
            }
        )
        for number in range(TRIALS)
    }
    trials = TrialPredictions(
        tuple(range(TRIALS)),
        np.ones(TRIALS, dtype=bool),
        labels,
        predicted,
        np.full(TRIALS, FOLDS),
        tuple("abcdefg"),
        np.ones(k, dtype=bool),
    )
    return trials, recipes


def main() -> None:
    """Print seconds of each part, the median of some turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    trials, recipes = searched(0)
    parts = {
        "intervals of winner and baseline": lambda: [
            evaluate(trials.labels, trials.predicted[at], trials.classes) for at in (0, 1)
        ],
        "verdict over all trials": lambda: corrected_differences(trials, METRIC, baseline=0),
        "effects of the choices": lambda: choice_effects(
            METRIC, trials, recipes, tuple(range(TRIALS))
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(asked.turns):
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - began)
    print(f"{TRIALS} trials, {sum(COUNTS):,} cells, {len(COUNTS)} classes; {asked.turns} turns\n")
    print(f"{'part':<36}{'median s':>10}{'most s':>10}")
    for name, found in seconds.items():
        print(f"{name:<36}{np.median(found):>10.2f}{max(found):>10.2f}")
    whole = sum(float(np.median(found)) for found in seconds.values())
    print(f"{'together':<36}{whole:>10.2f}{'':>10} (aim: under 10)")


if __name__ == "__main__":
    main()
