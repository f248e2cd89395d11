"""How far raw counts, adjusted count and EM miss the shares of a sample whose mix has shifted.

    python benchmarks/prevalence_error.py > benchmarks/results/prevalence_error.txt

Four classes of Gaussian cells in five features, as rare as the Jurkat phases are (COUNTS). A
logistic regression with balanced class weights, as a search may choose, gives out-of-fold
probabilities (5 folds) and is refitted on all cells. A temperature is fitted out of fold, as in a
card. Then samples of CELLS cells of each mix are drawn, predicted, and corrected with what the card
would know. Error: mean absolute difference from the true share, in percentage points, over classes
and repeats. Held: how often the 95 % interval holds the true share, over classes and repeats.
``drift`` breaks the assumption behind both corrections: the cells of the sample are moved by a
third of a standard deviation in one feature.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from cellsearch.card.prevalence import ClassFraction, fractions
from cellsearch.card.prior import PriorFacts, fit_prior_facts
from cellsearch.stats.calibration import fit_temperature, scaled

COUNTS = (1400, 420, 150, 30)
FEATURES = 5
APART = 1.5
CELLS = 800
CLASSES = ("common", "second", "third", "rare")
MIXES = {
    "as in training": tuple(n / sum(COUNTS) for n in COUNTS),
    "mild": (0.55, 0.30, 0.12, 0.03),
    "equal": (0.25, 0.25, 0.25, 0.25),
    "turned": (0.05, 0.15, 0.30, 0.50),
    "one class gone": (0.60, 0.00, 0.35, 0.05),
}
DRIFT = 1 / 3

Floats = NDArray[np.float64]


def cells(labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """(n, FEATURES) values; each class has its own centre."""
    centres = APART * np.eye(len(COUNTS), FEATURES)
    return np.asarray(centres[labels] + rng.normal(size=(len(labels), FEATURES)))


def trained(rng: np.random.Generator) -> tuple[LogisticRegression, float, PriorFacts]:
    """A refitted model, its temperature, and what its card knows."""
    labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
    values = cells(labels, rng)
    model = LogisticRegression(class_weight="balanced")
    out_of_fold = cross_val_predict(model, values, labels, cv=5, method="predict_proba")
    temperature = fit_temperature(labels, out_of_fold).value
    facts = fit_prior_facts(labels, scaled(out_of_fold, temperature), out_of_fold.argmax(axis=1))
    return model.fit(values, labels), temperature, facts


def held(one: ClassFraction, true: float) -> tuple[bool, bool]:
    """Whether each interval holds the true share."""
    if one.adjusted is None or one.em is None:
        raise ValueError(f"{one.name} was not corrected")
    # A share at a bound of the simplex is met by an interval that ends within 1e-6 of it.
    return (
        one.adjusted.low - 1e-6 <= true <= one.adjusted.high + 1e-6,
        one.em.low - 1e-6 <= true <= one.em.high + 1e-6,
    )


def measure(repeats: int, seed: int) -> dict[str, tuple[Floats, Floats]]:
    """Of each mix: (repeats, 3, K) errors of raw, adjusted and EM, and (repeats, 2, K) held."""
    rng = np.random.default_rng(seed)
    named = {**MIXES, "equal, with drift": MIXES["equal"]}
    errors: dict[str, list[Floats]] = {name: [] for name in named}
    covered: dict[str, list[Floats]] = {name: [] for name in named}
    for _ in range(repeats):
        model, temperature, facts = trained(rng)
        for name, mix in named.items():
            values = cells(rng.choice(len(mix), size=CELLS, p=mix), rng)
            if "drift" in name:
                values[:, 0] += DRIFT
            given = scaled(model.predict_proba(values), temperature)
            found = fractions(
                given,
                CLASSES,
                facts,
                called=given.argmax(axis=1),
                seed=int(rng.integers(2**31)),
            )
            shares = np.array(
                [
                    [one.raw, one.adjusted.value, one.em.value]
                    for one in found.classes
                    if one.adjusted is not None and one.em is not None
                ]
            ).T
            errors[name].append(np.abs(shares - np.array(mix)))
            covered[name].append(
                np.array([held(o, t) for o, t in zip(found.classes, mix, strict=True)], float).T
            )
    return {name: (np.stack(errors[name]), np.stack(covered[name])) for name in named}


def main() -> None:
    """Print a table a mix, and one of the rare class alone."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = measure(asked.repeats, asked.seed)
    print(
        f"{asked.repeats} repeats, {sum(COUNTS):,} training cells {COUNTS}, samples of {CELLS} "
        f"cells, seed {asked.seed}"
    )
    for title, part in (("all classes", slice(None)), ("the rare class", slice(3, 4))):
        print(f"\n{title:<20}{'error, percentage points':^30}{'95 % interval holds it':^26}")
        print(f"{'mix':<20}{'raw':>8}{'adjusted':>11}{'EM':>8}   {'adjusted':>12}{'EM':>10}")
        for name, (errors, covered) in found.items():
            raw, adjusted, em = 100 * errors[:, :, part].mean(axis=(0, 2))
            of_adjusted, of_em = 100 * covered[:, :, part].mean(axis=(0, 2))
            print(
                f"{name:<20}{raw:>8.2f}{adjusted:>11.2f}{em:>8.2f}   {of_adjusted:>10.1f} %"
                f"{of_em:>8.1f} %"
            )


if __name__ == "__main__":
    main()
