"""How often the interval of nested cross-validation holds what the whole procedure reaches.

    python benchmarks/outer_coverage.py > benchmarks/results/outer_coverage.txt

Every repeat is K outer folds. The model of each has recalls of its own: a normal term for each
class and search (s.d. TRAINING_SD on the probit scale), which is what another search and another
training move. The truth is the mean score over such models. ``cells alone`` is the bootstrap of the
pooled cells, which holds the models fixed; ``and searches`` is what a summary states;
``difference`` is the interval of winner minus baseline, whose true value is GAIN's.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from cellsearch.run.nested import OneSearch, _between, _differences
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.intervals import interval_around, smoothed_confusions
from cellsearch.stats.metrics import METRICS, Metric, confusion, score

COUNTS = (1350, 225, 225, 150, 34, 15, 27)
RECALLS = (0.93, 0.72, 0.78, 0.62, 0.60, 0.45, 0.50)
TRAINING_SD = 0.15
GAIN = 0.2
DRAWS = 500
Labels = NDArray[np.int64]


def called(labels: Labels, gain: float, training_sd: float, rng: np.random.Generator) -> Labels:
    """Classes given by one newly trained model; a mistake goes to a class drawn by size."""
    k = len(COUNTS)
    moved = norm.cdf(norm.ppf(RECALLS) + gain + rng.normal(0.0, training_sd, k))
    wrong = rng.choice(k, len(labels), p=np.array(COUNTS) / sum(COUNTS))
    wrong = np.where(wrong == labels, (wrong + 1) % k, wrong)
    return np.where(rng.random(len(labels)) < moved[labels], labels, wrong)


def truth(metric: Metric, gain: float, training_sd: float, rng: np.random.Generator) -> float:
    """Mean score of newly trained models on very many cells."""
    labels = np.repeat(np.arange(len(COUNTS)), 40 * np.array(COUNTS))
    drawn = [called(labels, gain, training_sd, rng) for _ in range(200)]
    return float(np.mean([score(metric, confusion(labels, one, len(COUNTS))) for one in drawn]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    given = parser.parse_args()
    k = len(COUNTS)
    print(f"{given.repeats} repeats a row; coverage of 95 % intervals, training s.d. {TRAINING_SD}")
    print("outer  cells   metric             cells alone  and searches  difference")
    for metric in ("balanced_accuracy", "weighted_f1"):
        named: Metric = metric  # type: ignore[assignment]
        rng = np.random.default_rng(0)
        wanted = truth(named, GAIN, TRAINING_SD, rng)
        gained = wanted - truth(named, 0.0, TRAINING_SD, rng)
        for outer in (3, 5):
            for times in (0.25, 1.0, 8.0):
                held = np.zeros(3)
                for _ in range(given.repeats):
                    counts = np.maximum(outer, np.round(times * np.array(COUNTS))).astype(int)
                    labels = np.repeat(np.arange(k), counts)
                    folds = np.concatenate([rng.permutation(np.arange(n) % outer) for n in counts])
                    found = np.zeros((k, k), np.int64)
                    searches = []
                    for fold in range(outer):
                        of = labels[folds == fold]
                        winner = confusion(of, called(of, GAIN, TRAINING_SD, rng), k)
                        base = confusion(of, called(of, 0.0, TRAINING_SD, rng), k)
                        found += winner
                        searches.append(
                            OneSearch(
                                name=str(fold),
                                trial=1,
                                cells=len(of),
                                winner={name: float(score(name, winner)) for name in METRICS},
                                baseline={name: float(score(name, base)) for name in METRICS},
                                development=len(labels) - len(of),
                            )
                        )
                    value = float(score(named, found))
                    drawn = score(named, smoothed_confusions(found, repeats=DRAWS, rng=rng))
                    inside = interval_around(drawn, value)
                    alone = Estimate(value, inside.low, inside.high)
                    both = _between(alone, [each.winner[named] for each in searches])
                    apart = _differences(searches, overlapping=False)[named]
                    held += (
                        alone.low <= wanted <= alone.high,
                        both.low <= wanted <= both.high,
                        apart.low <= gained <= apart.high,
                    )
                held /= given.repeats
                print(
                    f"{outer:5}  {int(counts.sum()):6}  {metric:<17}  {held[0]:11.3f}  "
                    f"{held[1]:12.3f}  {held[2]:10.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
