"""How often the verdict says "better" of a search that found nothing.

    python benchmarks/false_verdicts.py > benchmarks/results/false_verdicts.txt

Every repeat makes trial 0 and 19 others with the same true recalls, with class counts much like a
quarter of the Jurkat cells' (the rare classes whole). All see the same cells, so their errors go
together: a cell has a difficulty of its own (correlation RHO on the probit scale). The winner is
the best of the 20 out-of-fold; on the hold-out it and trial 0 are newly drawn. A "better" is false.
Three cases: models that are truly alike; recipes that are alike, whose every training moves each
recall of each fold by a normal term (s.d. TRAINING_SD on the probit scale, as in
racing_false_stops.py), so that a final model may be truly better by luck of its training; and, to
see that a real gain is still found, one trial that is truly better. For comparison the same
out-of-fold differences as one would read them without a correction.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.intervals import interval_around, smoothed_pairs
from cellsearch.stats.metrics import Metric, confusion, score
from cellsearch.tune.trial_predictions import TrialPredictions
from cellsearch.tune.verdict import corrected_differences, judge

COUNTS = (1350, 225, 225, 150, 34, 15, 27)
RECALLS = (0.93, 0.72, 0.78, 0.62, 0.60, 0.45, 0.50)
HELD_OUT = 0.2
FOLDS = 5
TRIALS = 20
RHO = 0.6
TRAINING_SD = 0.15
DRAWS = 400
CASES = (
    ("models alike", 0.0, 0.0),
    ("recipes alike", TRAINING_SD, 0.0),
    ("one is better", TRAINING_SD, 0.3),
)
FULL = 3
"""Trials that a ladder trains in full, trial 0 apart."""


def predictions(
    probit: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    difficulty: NDArray[np.float64],
    training_sd: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """What one trial says; an error goes to a class drawn by size."""
    k = len(COUNTS)
    training = rng.normal(0.0, training_sd, (FOLDS, k)) if training_sd else np.zeros((FOLDS, k))
    noise = rng.normal(0.0, 1.0, len(labels))
    latent = np.sqrt(RHO) * difficulty + np.sqrt(1.0 - RHO) * noise
    right = latent < probit[labels] + training[folds, labels]
    wrong = rng.choice(k, len(labels), p=np.asarray(COUNTS) / sum(COUNTS))
    wrong = np.where(wrong == labels, (wrong + 1) % k, wrong)
    return np.where(right, labels, wrong).astype(np.int64)


def cells(share: float, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Labels, folds and difficulty of some cells."""
    counts = [max(3, round(count * share)) for count in COUNTS]
    labels = np.repeat(np.arange(len(COUNTS)), counts)
    folds = np.concatenate([rng.permutation(np.arange(n) % FOLDS) for n in counts])
    return labels, folds, rng.normal(0.0, 1.0, len(labels))


def apart(
    metric: Metric,
    labels: NDArray[np.int64],
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    rng: np.random.Generator,
) -> Estimate:
    """Their difference with its interval, as a card's comparison makes it."""
    k = len(COUNTS)
    value = float(
        score(metric, confusion(labels, ours, k)) - score(metric, confusion(labels, theirs, k))
    )
    drawn = smoothed_pairs(labels, ours, theirs, k, repeats=DRAWS, rng=rng)
    found = interval_around(
        score(metric, drawn[0]) - score(metric, drawn[1]), value, bounds=(-1.0, 1.0)
    )
    return Estimate(value, found.low, found.high)


def one(
    metric: Metric,
    training_sd: float,
    gain: float,
    seed: int,
    rng: np.random.Generator,
    *,
    ladder: bool,
) -> tuple[bool, bool, bool, bool]:
    """Whether "better" is said: by the verdict, the hold-out, out-of-fold, and uncorrected."""
    k, probit = len(COUNTS), norm.ppf(RECALLS)
    recipes = [probit + (gain if at == 1 else 0.0) for at in range(TRIALS)]
    labels, folds, difficulty = cells(1.0 - HELD_OUT, rng)
    said = np.stack(
        [predictions(each, labels, folds, difficulty, training_sd, rng) for each in recipes]
    )
    scores = score(metric, np.stack([confusion(labels, each, k) for each in said]))
    winner = int(scores.argmax())
    kept = np.arange(TRIALS)
    if ladder:
        # The worst case: a short training picks the luckiest just as the full one would.
        kept = np.sort([0, *(1 + np.argsort(-scores[1:])[:FULL])])
    briefly = TRIALS - len(kept)
    trials = TrialPredictions(
        tuple(kept.tolist()),
        np.ones(len(kept), dtype=bool),
        labels,
        said[kept],
        np.full(len(kept), FOLDS),
        tuple("abcdefg"),
        np.ones(k, dtype=bool),
    )
    corrected = corrected_differences(
        trials, metric, baseline=0, repeats=DRAWS, more_looks=briefly, seed=seed
    )
    held, _, difficulty = cells(HELD_OUT, rng)
    whole = np.zeros(len(held), np.int64)
    final, base = (
        predictions(recipes[at], held, whole, difficulty, training_sd, rng) for at in (winner, 0)
    )
    gap = apart(metric, held, final, base, rng)
    verdict = judge(metric, gap, corrected, winner=winner, baseline=0, briefly=briefly)
    alone = apart(metric, labels, said[winner], said[0], rng)
    oof = verdict.out_of_fold
    return (
        verdict.outcome == "better",
        gap.low > 0.0 and winner != 0,
        oof is not None and oof.low > 0.0,
        alone.low > 0.0,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.process_time()
    print(
        f"{TRIALS} trials, {given.repeats} repeats ({given.repeats // 3} with a better one), cells "
        f"of a class {COUNTS}, recalls {RECALLS}\n"
    )
    print(
        f"{'':>15} {'metric':>18} {'verdict':>9} {'s.e.':>6} {'hold-out':>9} "
        f"{'out-of-fold':>12} {'uncorrected':>12}"
    )
    for ladder, (name, training_sd, gain) in itertools.product((False, True), CASES):
        metrics: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1")
        for metric in metrics[: 1 if gain else 2]:
            rng = np.random.default_rng([given.seed, int(1000 * (training_sd + gain))])
            repeats = given.repeats // 3 if gain else given.repeats
            found = np.array(
                [
                    one(metric, training_sd, gain, seed, rng, ladder=ladder)
                    for seed in range(repeats)
                ],
                float,
            )
            said = found.mean(axis=0)
            error = np.sqrt(said[0] * (1.0 - said[0]) / repeats)
            told = name + " *" * ladder
            print(
                f"{told:>15} {metric:>18} {said[0]:>9.1%} {error:>6.1%} {said[1]:>9.1%} "
                f"{said[2]:>12.1%} {said[3]:>12.1%}"
            )
    print(f"\n* with a ladder: {FULL} of {TRIALS - 1} trained in full, the best by short trainings")
    print(f"{time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    main()
