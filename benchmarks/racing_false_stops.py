"""How often racing stops a trial that it should not, and how much it saves.

    python benchmarks/racing_false_stops.py > benchmarks/results/racing_false_stops.txt

Synthetic out-of-fold predictions of a leader and of a candidate, with the class counts of the
Jurkat cells outside the hold-out and 5 folds. Each trial has a true recall for each class. Both see
the same cells, so their errors go together: a cell has a difficulty of its own (correlation RHO on
the probit scale). Training moves every recall of every fold and trial by a normal term on that
scale (TRAINING_SD), which is not in the cells. The leader is the best of LEADERS equal trials, as
it is in a search, so its score is flattered. ``gap`` is the candidate's true balanced accuracy less
the leader's: the recalls of all classes are moved alike on the probit scale until it is met.

A stop of a candidate whose gap is >= 0 is false. Folds saved are those not trained, of those a
stopped candidate would still have had, over all candidates.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from cellsearch.stats.metrics import Metric
from cellsearch.tune.race import TRAINING_NOISE, Rule, look

COUNTS = (5400, 900, 900, 606, 68, 15, 27)
HELD_OUT = 0.2
FOLDS = 5
RECALLS = (0.93, 0.72, 0.78, 0.62, 0.60, 0.45, 0.50)
GAPS = (0.05, 0.02, 0.0, -0.02, -0.05, -0.1, -0.2)
RHO = 0.6
TRAINING_SD = 0.15
LEADERS = (1, 10)
METRIC: Metric = "balanced_accuracy"

Predictions = NDArray[np.int64]


def cells(rng: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Labels of the development cells and the fold of each, stratified."""
    labels = np.repeat(np.arange(len(COUNTS)), [round(c * (1 - HELD_OUT)) for c in COUNTS])
    folds = np.empty_like(labels)
    for label in range(len(COUNTS)):
        where = np.flatnonzero(labels == label)
        folds[where] = rng.permutation(np.arange(len(where)) % FOLDS)
    return labels, folds


def moved(gap: float) -> NDArray[np.float64]:
    """Probit recalls of a trial whose balanced accuracy differs from RECALLS' by ``gap``."""
    base = norm.ppf(RECALLS)
    # What training adds on the probit scale shrinks the mean recall; measured with it on.
    scale = np.sqrt(1.0 + TRAINING_SD**2)

    def missed(shift: float) -> float:
        return float(norm.cdf((base + shift) / scale).mean() - norm.cdf(base / scale).mean() - gap)

    return np.asarray(base + brentq(missed, -6.0, 6.0))


def predictions(
    probit: NDArray[np.float64],
    labels: Predictions,
    folds: Predictions,
    difficulty: NDArray[np.float64],
    rng: np.random.Generator,
) -> Predictions:
    """Out-of-fold predictions of one trial; an error goes to a class drawn by size."""
    k = len(COUNTS)
    training = rng.normal(0.0, TRAINING_SD, (FOLDS, k))
    noise = rng.normal(0.0, 1.0, len(labels))
    latent = np.sqrt(RHO) * difficulty + np.sqrt(1.0 - RHO) * noise
    right = latent < probit[labels] + training[folds, labels]
    share = np.asarray(COUNTS) / sum(COUNTS)
    wrong = rng.choice(k, len(labels), p=share)
    wrong = np.where(wrong == labels, (wrong + 1) % k, wrong)
    return np.where(right, labels, wrong).astype(np.int64)


def balanced(labels: Predictions, predicted: Predictions) -> float:
    """Mean recall."""
    k = len(COUNTS)
    return float(np.mean([(predicted[labels == c] == c).mean() for c in range(k)]))


def one(gap: float, leaders: int, rule: Rule, rng: np.random.Generator) -> int:
    """Folds trained until the candidate was stopped; FOLDS if it was not."""
    labels, folds = cells(rng)
    difficulty = rng.normal(0.0, 1.0, len(labels))
    equals = [predictions(moved(0.0), labels, folds, difficulty, rng) for _ in range(leaders)]
    leader = max(equals, key=lambda p: balanced(labels, p))
    candidate = predictions(moved(gap), labels, folds, difficulty, rng)
    for done in range(1, FOLDS):
        seen = folds < done
        verdict = look(
            labels[seen],
            leader[seen],
            candidate[seen],
            len(COUNTS),
            metric=METRIC,
            folds=done,
            looks=FOLDS - 1,
            rule=rule,
            seed=int(rng.integers(2**31)),
        )
        if verdict.stop:
            return done
    return FOLDS


def table(repeats: int, rule: Rule, seed: int) -> list[str]:
    """A line for each number of leaders and gap."""
    lines = [
        f"{'leader':>12} {'gap':>6} {'stopped':>9} {'s.e.':>6} "
        f"{'after 1':>8} {'2':>6} {'3':>6} {'4':>6} {'folds saved':>12}"
    ]
    for leaders in LEADERS:
        for gap in GAPS:
            rng = np.random.default_rng([seed, leaders, round(1000 * (gap + 1))])
            ends = np.array([one(gap, leaders, rule, rng) for _ in range(repeats)])
            stopped = float((ends < FOLDS).mean())
            error = np.sqrt(stopped * (1 - stopped) / repeats)
            parts = " ".join(f"{(ends == n).mean():>6.1%}" for n in range(2, FOLDS))
            saved = float(((FOLDS - ends) / FOLDS).mean())
            lines.append(
                f"{'best of ' + str(leaders):>12} {gap:>+6.2f} {stopped:>9.1%} {error:>6.1%} "
                f"{(ends == 1).mean():>8.1%} {parts} {saved:>12.1%}"
            )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("alpha", "margin", "prior"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Rule(), name))
    parser.add_argument("--training_noise", type=float, default=TRAINING_NOISE[METRIC])
    parser.add_argument("--draws", type=int, default=Rule().draws)
    given = parser.parse_args()
    rule = Rule(given.alpha, given.margin, given.prior, given.training_noise, given.draws)
    began = time.perf_counter()
    lines = table(given.repeats, rule, given.seed)
    development = sum(round(c * (1 - HELD_OUT)) for c in COUNTS)
    print(f"{rule}")
    print(
        f"{development:,} cells of {len(COUNTS)} classes {COUNTS}, {FOLDS} folds, "
        f"{given.repeats} repeats; recalls {RECALLS}"
    )
    print(f"rho {RHO}, training s.d. {TRAINING_SD} on the probit scale; metric {METRIC}\n")
    print("\n".join(lines))
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
