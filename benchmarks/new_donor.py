"""What is claimed of a donor that nobody saw: class fractions, and the figures of a hold-out.

    python benchmarks/new_donor.py > benchmarks/results/new_donor.txt

Each donor's cells are all moved by one normal vector of its own (standard deviation EFFECT in each
feature, where classes lie APART), which is what staining, age or the day of a sample do.

Class fractions: a weighted logistic regression is trained on the cells of G donors and judged out
of fold by whole donors, as in a run. Samples of 800 cells of new donors are predicted and
corrected. Held: how often the 95 % interval holds the sample's true mix, over classes, samples and
repeats; width: its mean. "cells alone" knows of no donors, which is what cards before had.

Hold-out: two models that are equally good over all donors, though not on each one of them. Held:
how often the 95 % interval of the balanced accuracy holds its value over all donors; better: how
often the difference of the two is said to be above 0 on the hold-out, which is always false.
"cells alone" is how a hold-out of one donor was judged before.

Racing: such models, and candidates that are truly worse over all donors, stopped by the rule of the
race, which drew cells alone before.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from cellsearch.card.prevalence import fractions
from cellsearch.card.prior import PriorFacts, fit_prior_facts
from cellsearch.stats.calibration import fit_temperature, scaled
from cellsearch.stats.comparison import compare
from cellsearch.tune.race import look

COUNTS = (1200, 480, 240, 80)
FEATURES = 5
APART = 2.0
EFFECTS = (0.0, 0.3, 0.6)
DONORS = (4, 8, 24)
CELLS = 800
NEW = 4
CLASSES = ("common", "second", "third", "rare")
MIXES = {"as in training": tuple(n / sum(COUNTS) for n in COUNTS), "equal": (0.25,) * 4}

HELD_CELLS = (100, 40, 20)
RECALLS = (0.9, 0.75, 0.6)
SPREAD = 0.3
"""Standard deviation of a donor's effect on a recall, on the probit scale, of each model alone."""

Floats = NDArray[np.float64]


def cells(labels: NDArray[np.int64], moved: Floats, rng: np.random.Generator) -> Floats:
    """(n, FEATURES) values; each class has its own centre, ``moved`` by the donor."""
    centres = APART * np.eye(len(COUNTS), FEATURES)
    return np.asarray(centres[labels] + moved + rng.normal(size=(len(labels), FEATURES)))


def trained(
    donors: int, effect: float, rng: np.random.Generator
) -> tuple[LogisticRegression, float, PriorFacts, PriorFacts]:
    """A refitted model, its temperature, and what its card knows: of cells, and of donors."""
    labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
    donor = np.concatenate([rng.permutation(np.arange(n) % donors) for n in COUNTS])
    values = cells(labels, rng.normal(0.0, effect, (donors, FEATURES))[donor], rng)
    model = LogisticRegression(class_weight="balanced")
    out_of_fold = cross_val_predict(
        model,
        values,
        labels,
        groups=donor,
        cv=GroupKFold(min(5, donors)),
        method="predict_proba",
    )
    temperature = fit_temperature(labels, out_of_fold).value
    right, called = scaled(out_of_fold, temperature), out_of_fold.argmax(axis=1)
    alone = fit_prior_facts(labels, right, called)
    return (
        model.fit(values, labels),
        temperature,
        alone,
        fit_prior_facts(labels, right, called, groups=donor),
    )


def shares(repeats: int, seed: int) -> Iterator[str]:
    """A line for each effect, number of donors and mix."""
    for effect in EFFECTS:
        for donors in DONORS:
            rng = np.random.default_rng([seed, donors, int(10 * effect)])
            found: dict[str, list[Floats]] = {name: [] for name in MIXES}
            for _ in range(repeats):
                model, temperature, *facts = trained(donors, effect, rng)
                for name, mix in MIXES.items():
                    for _ in range(NEW):
                        found[name].append(sampled(model, temperature, facts, mix, effect, rng))
            for name, each in found.items():
                held, width = np.moveaxis(np.array(each), 2, 0).mean(axis=(1, 3))
                parts = [f"{100 * h:>8.1f} % {w:>6.2f}" for h, w in zip(held, width, strict=True)]
                yield f"{effect:>6} {donors:>7}  {name:<15}{''.join(parts)}"


def sampled(
    model: LogisticRegression,
    temperature: float,
    facts: list[PriorFacts],
    mix: tuple[float, ...],
    effect: float,
    rng: np.random.Generator,
) -> Floats:
    """(4, 2, K) of a new donor: whether each interval holds the true mix, and its width.

    Adjusted count of cells alone and with donors, then EM likewise.
    """
    labels = rng.choice(len(mix), size=CELLS, p=mix)
    values = cells(labels, rng.normal(0.0, effect, FEATURES), rng)
    given = scaled(model.predict_proba(values), temperature)
    rows = []
    both = [fractions(given, CLASSES, each, called=given.argmax(axis=1)) for each in facts]
    for kind in ("adjusted", "em"):
        for found in both:
            bounds = [getattr(one, kind).interval for one in found.classes]
            low, high = np.array([(one.low, one.high) for one in bounds]).T
            rows.append([(low - 1e-6 <= mix) & (mix <= high + 1e-6), high - low])
    return np.array(rows, float)


def held_out(repeats: int, seed: int) -> Iterator[str]:
    """A line for each number of held-out donors."""
    truth = float(np.mean(norm.cdf(norm.ppf(RECALLS) / np.sqrt(1.0 + SPREAD**2))))
    k = len(RECALLS)
    for donors in (1, 2, 3, 6, 12):
        rng = np.random.default_rng([seed, donors])
        rows = []
        for _ in range(repeats):
            labels = np.tile(np.repeat(np.arange(k), HELD_CELLS), donors)
            donor = np.repeat(np.arange(donors), sum(HELD_CELLS))
            models = [said(labels, donor, np.array(RECALLS), rng) for _ in range(2)]
            row = []
            for groups in (None, donor):
                pair = compare(labels, *models, ("a", "b", "c"), groups=groups)
                figure = pair.winner.metrics["balanced_accuracy"].interval
                gap = pair.differences["balanced_accuracy"]
                # Nothing is claimed where there is no interval.
                row += [figure is None or figure.low <= truth <= figure.high, gap.side > 0]
            rows.append([*row, figure is not None])
        held = 100 * np.mean(rows, axis=0)
        of_groups = f"{held[2]:>9.1f} %{held[3]:>9.1f} %"
        yield (
            f"{donors:>7}{held[0]:>11.1f} %{held[1]:>9.1f} %   "
            f"{of_groups if held[4] else 'no interval, no verdict':>22}"
        )


def raced(repeats: int, seed: int) -> Iterator[str]:
    """A line for each loss: how often a trial is stopped after one of its first four folds."""
    k = len(RECALLS)
    for gap in (0.0, 0.05, 0.1, 0.2):
        for each in (2, 5):
            rng = np.random.default_rng([seed, each, int(100 * gap)])
            donors = 5 * each
            labels = np.tile(np.repeat(np.arange(k), HELD_CELLS), donors)
            donor = np.repeat(np.arange(donors), sum(HELD_CELLS))
            stopped = np.zeros(2)
            for _ in range(repeats):
                best, candidate = (
                    said(labels, donor, np.array(RECALLS) - lost, rng) for lost in (0.0, gap)
                )
                for which, groups in enumerate((None, donor)):
                    stopped[which] += any(
                        look(
                            labels[seen],
                            best[seen],
                            candidate[seen],
                            k,
                            metric="balanced_accuracy",
                            folds=folds,
                            looks=4,
                            groups=None if groups is None else groups[seen],
                        ).stop
                        for folds in range(1, 5)
                        for seen in (donor < folds * each,)
                    )
            parts = [f"{100 * share:>12.1f} %" for share in stopped / repeats]
            yield f"{0.0 - gap:>+6.2f}{each:>16}{''.join(parts)}"


def said(
    labels: NDArray[np.int64], donor: NDArray[np.int64], recalls: Floats, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(n,) classes that a model of these recalls gives, each donor moved by its own effect."""
    k = len(recalls)
    moved = norm.ppf(recalls) + rng.normal(0.0, SPREAD, (int(donor.max()) + 1, k))
    right = rng.normal(size=len(labels)) < moved[donor, labels]
    return np.where(right, labels, (labels + 1) % k)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(
        f"Class fractions of new donors, {given.repeats} repeats, {NEW} samples of {CELLS} cells "
        f"each; {sum(COUNTS):,} training cells\n"
    )
    print(f"{'':>32}{'adjusted count':^36}{'EM':^36}")
    print(f"{'':>32}{'cells alone':^18}{'with donors':^18}{'cells alone':^18}{'with donors':^18}")
    print(f"{'effect':>6} {'donors':>7}  {'mix':<15}" + f"{'held':>10} {'width':>6}" * 4)
    for line in shares(given.repeats, given.seed):
        print(line)
    repeats = 25 * given.repeats
    print(f"\nA hold-out of few donors, {repeats} repeats, two models that are equally good\n")
    print(f"{'':>7}{'cells alone':^24}{'donors':^24}")
    print(f"{'donors':>7}{'held':>13}{'better':>11}{'held':>14}{'better':>11}")
    for line in held_out(repeats, given.seed):
        print(line)
    print(f"\nRacing in 5 folds, {repeats} repeats: how often a trial is stopped\n")
    print(f"{'loss':>6}{'donors a fold':>16}{'cells alone':>14}{'donors':>14}")
    for line in raced(repeats, given.seed):
        print(line)


if __name__ == "__main__":
    main()
