"""How often a card's thresholds break their promise: abstention for a precision, prediction sets.

    python benchmarks/thresholds.py > benchmarks/results/thresholds.txt

Out-of-fold cells are drawn from a known law, thresholds are found on them, and what they give on
all cells to come is computed. "before" are the rules of earlier versions: the most cells kept that
are right often enough where they were counted, at least ten; the plain conformal rank. Where cells
come in donors, a donor's cells are right more or less often by a normal effect of its own (on the
probit scale), and the promise is that for other donors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from cellsearch.card.abstain import fit_abstention, requirement
from cellsearch.card.conformal import fit_sets
from cellsearch.stats.groups import Codes

Floats = NDArray[np.float64]
LEVEL = 0.9


def precision_before(confidence: Floats, right: NDArray[np.bool_], level: float) -> float | None:
    """The threshold that keeps most cells of which ``level`` are right, at least ten."""
    order = np.argsort(-confidence)
    kept = np.arange(1, len(order) + 1)
    fit = np.flatnonzero((np.cumsum(right[order]) / kept >= level) & (kept >= 10))
    return float(confidence[order][fit[-1]]) if len(fit) else None


def precision_now(
    confidence: Floats, right: NDArray[np.bool_], level: float, groups: Codes | None
) -> float | None:
    """The card's threshold of a class that all these cells are called as, one of two."""
    p = np.column_stack([1.0 - confidence, confidence])
    asked = requirement(f"precision={level}")
    called = np.ones(len(right), np.int64)
    return fit_abstention(asked, right.astype(np.int64), p, called, groups=groups).thresholds[1]


def abstention(repeats: int, seed: int) -> Iterator[str]:
    """Of each law: how often a threshold is found, how often it misses, and what is kept."""
    level = 0.95
    laws = {
        # Right in `share`, whatever the confidence says; or more often the surer it is.
        "tells nothing, 85 % right": (0.85, 0.0),
        "tells nothing, 90 % right": (0.90, 0.0),
        "tells nothing, 94 % right": (0.94, 0.0),
        "tells something, 85 % right": (0.85, 1.0),
        "tells much, 90 % right": (0.90, 2.0),
    }
    for cells in (60, 200, 800):
        for name, (share, tells) in laws.items():
            yield _abstained(name, cells, None, share, tells, level, repeats, seed)
    for donors in (5, 12):
        for name, (share, tells) in list(laws.items())[2:]:
            yield _abstained(name, 800, donors, share, tells, level, repeats, seed)


def _abstained(
    name: str,
    cells: int,
    donors: int | None,
    share: float,
    tells: float,
    level: float,
    repeats: int,
    seed: int,
) -> str:
    rng = np.random.default_rng([seed, cells, donors or 0, int(100 * share), int(tells)])
    effect = 0.0 if donors is None else 0.5
    # (confidence,) grid of the law: the probit of being right rises with confidence.
    grid = np.linspace(0.0, 1.0, 2001)[:-1] + 1 / 4000
    scale = np.sqrt(1.0 + effect**2)

    def right_at(confidence: Floats) -> Floats:
        return np.asarray(norm.ppf(share) * scale + tells * (norm.ppf(confidence)))

    over = norm.cdf(right_at(grid) / scale)
    rows = []
    for _ in range(repeats):
        confidence = rng.random(cells)
        own = None if donors is None else np.arange(cells) % donors
        moved = 0.0 if own is None else rng.normal(0.0, effect, donors or 1)[own]
        right = rng.normal(size=cells) < right_at(confidence) + moved
        row = []
        for found in (
            precision_before(confidence, right, level),
            precision_now(confidence, right, level, own),
        ):
            if found is None:
                row += [0.0, 0.0, 0.0]
            else:
                row += [1.0, float(over[grid >= found].mean() < level), 1.0 - found]
        rows.append(row)
    parts = [f"{100 * value:>9.1f} %" for value in np.mean(rows, axis=0)]
    return f"{name:<29}{cells:>6}{donors or '-':>8}  {''.join(parts)}"


def sets(repeats: int, seed: int) -> Iterator[str]:
    """Of each number of cells: mean coverage, and how often it is far below what was asked."""
    for cells, donors in (
        *((n, None) for n in (12, 15, 30, 60, 120, 500)),
        *((120, g) for g in (4, 8, 20)),
        (500, 8),
    ):
        rng = np.random.default_rng([seed, cells, donors or 0])
        effect = 0.0 if donors is None else 0.7
        rows = []
        for _ in range(repeats):
            own = None if donors is None else np.arange(cells) % donors
            moved = 0.0 if own is None else rng.normal(0.0, effect, donors or 1)[own]
            p = norm.cdf(rng.normal(size=cells) + moved)
            row = []
            rank = int(np.floor((1.0 - LEVEL) * (cells + 1) + 1e-9))
            before = float(np.sort(p)[rank - 1]) if rank else 0.0
            found = fit_sets(LEVEL, np.zeros(cells, np.int64), p[:, None], groups=own)
            for threshold in (before, found.thresholds[0]):
                covered = 1.0 - norm.cdf(norm.ppf(threshold) / np.sqrt(1.0 + effect**2))
                row += [covered, float(covered < 2.0 * LEVEL - 1.0), float(threshold == 0.0)]
            rows.append(row)
        parts = [f"{100 * value:>9.1f} %" for value in np.mean(rows, axis=0)]
        yield f"{cells:>6}{donors or '-':>8}  {''.join(parts)}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.process_time()
    print(f"A precision of 95 %, {given.repeats} repeats; kept: share of the cells called so\n")
    print(f"{'':>45}{'before':^33}{'now':^33}")
    figures = f"{'found':>11}{'misses':>11}{'kept':>11}"
    print(f"{'confidence':<29}{'cells':>6}{'donors':>8}  {2 * figures}")
    for line in abstention(given.repeats, given.seed):
        print(line)
    print(
        f"\nPrediction sets of {100 * LEVEL:.0f} %; far below: coverage under "
        f"{100 * (2 * LEVEL - 1):.0f} %; always: the class is in every set\n"
    )
    print(f"{'':>16}{'before':^33}{'now':^33}")
    print(f"{'cells':>6}{'donors':>8}  " + f"{'covered':>11}{'far below':>11}{'always':>11}" * 2)
    for line in sets(given.repeats, given.seed):
        print(line)
    print(f"\n{time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    main()
