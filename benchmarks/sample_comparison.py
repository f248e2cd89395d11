"""How often a difference between treated and control samples is claimed where there is none.

    python benchmarks/sample_comparison.py > benchmarks/results/sample_comparison.txt

Five classes of shares 0.55, 0.25, 0.14, 0.05 and 0.01. Each replicate has shares of its own (normal
on the logarithm, standard deviation 0.35 unless said), of which some hundred cells are drawn.
"Cells" is the chi-square test of pooled cells, which takes each cell for a replicate. "Any" counts
repeats in which some class has a p below 0.05 after Holm, "0 within" those whose interval of the
class of 5 % holds 0. The second table has that class doubled.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from cellsearch.stats.permutation import holm
from cellsearch.stats.sample_comparison import compare_shares

SHARES = np.array([0.55, 0.25, 0.14, 0.05, 0.01])
DOUBLED = 3
ALPHA = 0.05


@dataclass(frozen=True)
class Setting:
    """One kind of experiment.

    Attributes:
        name: what the table calls it.
        treated: replicates, of each block.
        control: likewise.
        blocks: donors or batches; 1: none.
        spread: between replicates, on the logarithm; treated and control.
        between: between blocks.
        cells: of each replicate.
        heeded: the test is told of the blocks.
    """

    name: str
    treated: int
    control: int
    blocks: int = 1
    spread: tuple[float, float] = (0.35, 0.35)
    between: float = 0.0
    cells: int = 300
    heeded: bool = True


SETTINGS = (
    Setting("3 and 3", 3, 3),
    Setting("4 and 4", 4, 4),
    Setting("5 and 5", 5, 5),
    Setting("8 and 8", 8, 8),
    Setting("5 and 5, 50 cells", 5, 5, cells=50),
    Setting("5 and 5, treated vary 3 times more", 5, 5, spread=(0.6, 0.2)),
    Setting("4 and 8, the few vary 3 times more", 4, 8, spread=(0.6, 0.2)),
    Setting("8 and 4, the few vary 3 times less", 8, 4, spread=(0.6, 0.2)),
    Setting("6 donors, a pair each", 1, 1, blocks=6, between=0.5, spread=(0.2, 0.2)),
    Setting("10 donors, a pair each", 1, 1, blocks=10, between=0.5, spread=(0.2, 0.2)),
    Setting("6 donors, not told", 1, 1, 6, (0.2, 0.2), 0.5, heeded=False),
    Setting("2 batches of 3 and 3", 3, 3, blocks=2, between=0.5, spread=(0.2, 0.2)),
    Setting("3 batches of 2 and 2", 2, 2, blocks=3, between=0.5, spread=(0.2, 0.2)),
)


@lru_cache
def centred(spread: float) -> NDArray[np.float64]:
    """(K,) weights whose replicates have the mean shares ``SHARES``, whatever their spread."""
    noise = np.exp(spread * np.random.default_rng(0).normal(size=(50_000, len(SHARES))))
    weights = SHARES.copy()
    for _ in range(20):
        shares = weights * noise
        weights *= SHARES / (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def drawn(
    one: Setting, rng: np.random.Generator, *, factor: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """(n, K) counts, whether treated, and the block of each replicate."""
    treated = np.tile(np.repeat([True, False], [one.treated, one.control]), one.blocks)
    blocks = np.repeat(np.arange(one.blocks), one.treated + one.control)
    spread = np.where(treated, *one.spread)[:, None]
    base = np.where(treated[:, None], *map(centred, one.spread))
    level = rng.normal(0, one.between, (one.blocks, len(SHARES)))[blocks]
    weights = base * np.exp(level + spread * rng.normal(size=(len(treated), len(SHARES))))
    weights[treated, DOUBLED] *= factor
    counts = [rng.multinomial(one.cells, row / row.sum()) for row in weights]
    return np.array(counts), treated, blocks


def tried(one: Setting, repeats: int, rng: np.random.Generator, factor: float) -> list[float]:
    """Shares of repeats: a class by cells, arrangements, t; any class by the same; held."""
    found = np.zeros((repeats, 7))
    for k in range(repeats):
        counts, treated, blocks = drawn(one, rng, factor=factor)
        shares = counts / counts.sum(axis=1, keepdims=True)
        told = blocks if one.heeded and one.blocks > 1 else None
        test = compare_shares(shares, treated, told, seed=k)
        pooled = np.stack([counts[treated].sum(axis=0), counts[~treated].sum(axis=0)])
        naive = [_chi_square(pooled, j) for j in range(len(SHARES))]
        of = test.classes[DOUBLED]
        gap = of.difference
        found[k] = (
            naive[DOUBLED] < ALPHA,
            of.p < ALPHA,
            of.p_t < ALPHA,
            min(holm(naive)) < ALPHA,
            min(each.p_holm for each in test.classes) < ALPHA,
            min(each.p_t_holm for each in test.classes) < ALPHA,
            gap.low is not None and gap.low <= 0.0 <= (gap.high or 0.0),
        )
    return found.mean(axis=0).tolist()


def _chi_square(pooled: NDArray[np.int64], j: int) -> float:
    table = np.column_stack([pooled[:, j], pooled.sum(axis=1) - pooled[:, j]])
    return 1.0 if (table.sum(axis=0) == 0).any() else float(chi2_contingency(table).pvalue)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    began = time.monotonic()
    columns = ("cells", "arranged", "t", "any: cells", "arranged", "t", "0 within")
    for factor, title in ((1.0, "no difference"), (2.0, "a class of 5 % doubled")):
        print(f"{title}, {repeats} repeats, % with p below 0.05")
        print(f"{'':36}{'smallest p':>12}" + "".join(f"{name:>12}" for name in columns))
        for number, one in enumerate(SETTINGS):
            rng = np.random.default_rng(number)
            counts, treated, blocks = drawn(one, rng)
            told = blocks if one.heeded and one.blocks > 1 else None
            least = compare_shares(counts / one.cells, treated, told).smallest_p
            shown = tried(one, repeats, rng, factor)
            print(f"{one.name:36}{least:12.4f}" + "".join(f"{100 * x:12.1f}" for x in shown))
        print()
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
