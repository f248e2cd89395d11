"""How often do the 95 % intervals of ROC AUC and average precision hold the truth?

    python benchmarks/area_coverage.py > benchmarks/results/area_coverage.txt

One class against 400 other cells, scores normal and APART standard deviations apart, so that the
true AUC is known (Phi(d / sqrt 2)); the true average precision, which depends on the number of
cells, is the mean over 2,000 samples of the same size.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from cellsearch.stats.curves import one_against_rest

OTHERS = 400
APART = (1.5, 3.0)
CELLS = (2, 3, 5, 15, 50)
Floats = NDArray[np.float64]


def sample(cells: int, apart: float, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """Labels and scores, higher for the class."""
    labels = np.repeat([0, 1], [OTHERS, cells])
    return labels, rng.normal(size=len(labels)) + apart * labels


def held(cells: int, apart: float, repeats: int, seed: int) -> tuple[float, float, float]:
    """Share of intervals that hold the truth (AUC, average precision), and the AUC's mean width."""
    rng = np.random.default_rng(seed)
    area = float(norm.cdf(apart / np.sqrt(2)))
    precision = np.mean([average_precision_score(*sample(cells, apart, rng)) for _ in range(2000)])
    found = []
    for repeat in range(repeats):
        labels, scores = sample(cells, apart, rng)
        p = 1 / (1 + np.exp(-scores))
        one = one_against_rest(
            labels, np.stack([1 - p, p], axis=1).astype(np.float32), ("others", "it"), seed=repeat
        ).classes[1]
        roc, average = one.roc_auc, one.average_precision
        found.append(
            (
                roc.low <= area <= roc.high,
                average.low <= precision <= average.high,
                roc.high - roc.low,
            )
        )
    shares = np.mean(found, axis=0)
    return float(shares[0]), float(shares[1]), float(shares[2])


def main() -> None:
    """Print a line for each number of cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    asked = parser.parse_args()
    print(f"{asked.repeats} repeats, {OTHERS} other cells\n")
    print(
        f"{'cells':>6}{'apart':>7}{'true AUC':>10}{'AUC held':>11}{'AP held':>10}{'AUC width':>11}"
    )
    for cells in CELLS:
        for apart in APART:
            area, precision, width = held(cells, apart, asked.repeats, cells)
            true = norm.cdf(apart / np.sqrt(2))
            print(
                f"{cells:>6}{apart:>7.1f}{true:>10.3f}{100 * area:>9.1f} %{100 * precision:>8.1f} %"
                f"{width:>11.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
