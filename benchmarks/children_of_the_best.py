"""Are children of good recipes better than new draws, on the first rung?

Trains new draws of a space on the first rung, then children of their best quarter, and as many new
draws again; a child and a draw of the second lot cost the same. The mean of the best three of each
lot is compared, and each recipe with the others on the same cells and folds.

    python children_of_the_best.py ../../shared/data --set jurkat --space cheap_networks.yaml
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from cheap_families import SETS
from rung_ranking import Scores, cells_of, recipes_of, scores, trained

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.space.mutation import mutated
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.draw import BEST
from cellsearch.tune.rungs import RUNGS, climbs

TOP = 3


def short(folder: Path, splits: Splits, recipe: Recipe) -> Scores:
    found = trained(folder, splits, recipe, RUNGS[0], RUNGS[0].folds_of(splits.k))
    return scores(CellDataset.open(folder), splits, found)


def children_of(
    space: SearchSpace, parents: list[Recipe], cells: int, count: int, seed: int
) -> Iterator[Recipe]:
    chance = random.Random(seed)
    made = 0
    while made < count:
        parent = space.fixed_params(chance.choice(parents))
        child = space.recipe(mutated(space, parent, chance.getrandbits(32)))
        if climbs(child, cells):
            made += 1
            yield child


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--set", default="jurkat", choices=["jurkat", *SETS])
    parser.add_argument("--space", default="default")
    parser.add_argument("--recipes", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    print(vars(options), flush=True)
    cells, splits = cells_of(options.root, options.set)
    assert cells.folder is not None
    folder, size = cells.folder, len(splits.training(0))
    space = SearchSpace.load(options.space)
    drawn = list(recipes_of(space, size, 2 * options.recipes, options.seed))
    first, second = drawn[: options.recipes], drawn[options.recipes :]

    with ProcessPoolExecutor(options.processes) as pool:

        def lot(name: str, recipes: list[Recipe]) -> list[Scores]:
            jobs = [pool.submit(short, folder, splits, recipe) for recipe in recipes]
            found = [job.result() for job in jobs]
            ranked = sorted(found, key=lambda each: -each.log_loss)
            losses = " ".join(f"{-each.log_loss:.3f}" for each in ranked)
            print(f"{name:12} log losses, best first: {losses}", flush=True)
            print(
                f"{name:12} mean of the best {TOP}: log loss "
                f"{-np.mean([each.log_loss for each in ranked[:TOP]]):.3f}, balanced accuracy "
                f"{np.mean([each.accuracy for each in ranked[:TOP]]):.3f}; median of all: log loss "
                f"{-np.median([each.log_loss for each in found]):.3f}; "
                f"{sum(each.seconds for each in found):.0f} s",
                flush=True,
            )
            return found

        known = lot("first draws", first)
        order = np.argsort([-each.log_loss for each in known])
        parents = [first[at] for at in order[: math.ceil(BEST * len(first))]]
        lot("children", list(children_of(space, parents, size, options.recipes, options.seed)))
        lot("second draws", second)


if __name__ == "__main__":
    main()
