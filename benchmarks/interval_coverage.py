"""How often the 95 % intervals hold the truth, for classes of 3 to 500 cells.

    python benchmarks/interval_coverage.py > benchmarks/results/interval_coverage.txt

Every repeat draws the predictions of each class's cells from known recalls (errors go to the other
classes by their size) and asks whether the interval holds the figure that those recalls have. The
plain percentile bootstrap, which cards gave before, stands beside the smoothed one. The last table
draws cells in groups that err together (beta-binomial, intra-group correlation 0.2).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.bootstrap import bootstrap_intervals
from cellsearch.stats.intervals import clopper_pearson, percentile_interval
from cellsearch.stats.metrics import Metric, score

SIZES = (3, 5, 15, 50, 500)
RECALLS = (0.5, 0.8, 0.95)
HEADLINES: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1")
SETS: tuple[tuple[str, tuple[int, ...], tuple[float, ...]], ...] = (
    *(
        (f"{size} of each of 5", (size,) * 5, (recall,) * 5)
        for size in SIZES
        for recall in (0.8, 0.95)
    ),
    *((f"{size}, 500, 500", (size, 500, 500), (0.8, 0.8, 0.9)) for size in SIZES[:4]),
    ("3, 5, 15, 50, 500", SIZES, (0.6, 0.7, 0.8, 0.85, 0.95)),
    ("3, 5, 15, 50, 500", SIZES, (0.95,) * 5),
    (
        "Jurkat's hold-out",
        (1080, 180, 180, 121, 14, 3, 5),
        (0.93, 0.72, 0.78, 0.62, 0.6, 0.45, 0.5),
    ),
)
DRAWS = 500


def truth(sizes: tuple[int, ...], recalls: tuple[float, ...]) -> NDArray[np.float64]:
    """(K, K) probability of each prediction of each class."""
    n = np.array(sizes, float)
    rows = np.tile(n, (len(n), 1))
    np.fill_diagonal(rows, 0.0)
    rows *= (1.0 - np.array(recalls))[:, None] / rows.sum(axis=1, keepdims=True)
    return rows + np.diag(recalls)


def exact(repeats: int, rng: np.random.Generator) -> list[str]:
    """Coverage and width of the interval of one recall."""
    lines = [f"{'cells':>6}" + "".join(f"{'recall ' + str(r):>22}" for r in RECALLS)]
    for size in SIZES:
        parts = []
        for recall in RECALLS:
            hits = rng.binomial(size, recall, repeats)
            known = {hit: clopper_pearson(hit, size) for hit in set(hits.tolist())}
            found = [known[hit] for hit in hits.tolist()]
            held = np.mean([one.low <= recall <= one.high for one in found])
            width = np.mean([one.high - one.low for one in found])
            parts.append(f"{held:>13.1%} (w {width:.2f})")
        lines.append(f"{size:>6}" + "".join(f"{part:>22}" for part in parts))
    return lines


def headlines(repeats: int, rng: np.random.Generator) -> list[str]:
    """Coverage of the figures over classes, smoothed beside plain."""
    lines = [
        f"{'':>20} {'recalls':>14}  {'balanced accuracy':^30}  {'macro F1':^30}",
        f"{'cells of a class':>20} {'':>14} " + f" {'smoothed (w)':>15} {'plain (w)':>14}" * 2,
    ]
    for name, sizes, recalls in SETS:
        rows = truth(sizes, recalls)
        k = len(sizes)
        labels = np.repeat(np.arange(k), sizes)
        real = {m: float(score(m, rows * np.array(sizes)[:, None])) for m in HEADLINES}
        seen: dict[tuple[Metric, str], list[tuple[bool, float]]] = {}
        for repeat in range(repeats):
            counts = np.stack([rng.multinomial(n, rows[c]) for c, n in enumerate(sizes)])
            predicted = np.concatenate([np.repeat(np.arange(k), row) for row in counts])
            found = bootstrap_intervals(labels, predicted, k, repeats=DRAWS, seed=repeat)
            plain = np.stack(
                [rng.multinomial(n, counts[c] / n, size=DRAWS) for c, n in enumerate(sizes)], axis=1
            )
            for metric in HEADLINES:
                old = percentile_interval(score(metric, plain))
                for kind, one in (("smoothed", found.metrics[metric]), ("plain", old)):
                    held = one.low <= real[metric] <= one.high
                    seen.setdefault((metric, kind), []).append((held, one.high - one.low))
        parts = []
        for metric in HEADLINES:
            for kind in ("smoothed", "plain"):
                held, width = np.mean(np.array(seen[metric, kind], float), axis=0)
                parts.append(f"{held:>8.1%} ({width:.2f})")
        spread = f"{min(recalls)}-{max(recalls)}" if len(set(recalls)) > 1 else str(recalls[0])
        lines.append(f"{name:>20} {spread:>14} " + " ".join(f"{part:>15}" for part in parts))
    return lines


def grouped(repeats: int, rng: np.random.Generator) -> list[str]:
    """Coverage where the cells of a group err together, with and without saying so."""
    lines = [f"{'groups':>7} {'balanced accuracy':^32} {'recall of a class of 40':^32}"]
    lines.append(f"{'':>7} " + f"{'as groups':>16} {'as cells':>15} " * 2)
    recalls, correlation = np.array([0.8, 0.8, 0.9]), 0.2
    sizes = np.array([400, 200, 40])
    for groups in (3, 6, 12, 30):
        seen: list[list[bool]] = []
        for repeat in range(repeats):
            group = np.concatenate([np.arange(n) % groups for n in sizes])
            labels = np.repeat(np.arange(3), sizes)
            scale = 1.0 / correlation - 1.0
            own = rng.beta(recalls * scale, (1.0 - recalls) * scale, (groups, 3))
            right = rng.random(len(labels)) < own[group, labels]
            predicted = np.where(right, labels, (labels + 1) % 3)
            row = []
            for codes in (group, None):
                found = bootstrap_intervals(
                    labels, predicted, 3, groups=codes, repeats=DRAWS, seed=repeat
                )
                one, rare = found.metrics["balanced_accuracy"], found.per_class[2].recall
                row += [
                    one.low <= recalls.mean() <= one.high,
                    rare is not None and rare.low <= recalls[2] <= rare.high,
                ]
            seen.append([row[0], row[2], row[1], row[3]])
        parts = np.mean(np.array(seen, float), axis=0)
        lines.append(f"{groups:>7} " + " ".join(f"{part:>15.1%}" for part in parts))
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    began = time.process_time()
    print(f"{given.repeats} repeats, so a coverage of 95 % is known to about 1 %; w: mean width\n")
    print("Recall of one class, Clopper-Pearson (10 times the repeats)")
    print("\n".join(exact(10 * given.repeats, rng)))
    print("\nFigures over classes, stratified bootstrap")
    print("\n".join(headlines(given.repeats, rng)))
    print("\nCells in groups that err together (correlation 0.2), 400, 200 and 40 of a class")
    print("\n".join(grouped(given.repeats, rng)))
    print(f"\n{time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    main()
