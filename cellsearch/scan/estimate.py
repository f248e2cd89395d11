"""How long a search takes here, told from recipes of the space that are timed on the cells."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CellsearchError
from cellsearch.space.recipe import BASELINE
from cellsearch.space.search_space import SearchSpace, sample
from cellsearch.util.progress import Progress

DRAWS = 8
FEWEST = 4
MOST_SECONDS = 45.0


@dataclass(frozen=True)
class Estimate:
    """Wall clock of a search.

    Attributes:
        seconds: mean of the timed recipes, times trials and folds, over the trials at a time.
        timed: recipes that were timed.
        slots: trials at a time.
    """

    seconds: float
    timed: int
    slots: int


def estimate(
    cells: CellDataset,
    training_cells: int,
    *,
    space: str,
    budget: int,
    folds: int,
    on_progress: Progress | None = None,
) -> Estimate | None:
    """Time some recipes; None where too few can be timed within ``MOST_SECONDS``.

    Of networks that are trained briefly first, the mean over their rungs is counted. Early stopping
    and racing shorten a search, the refit and the card lengthen it; neither is counted.

    Args:
        cells: some of the cells, at the size that they would be learnt from.
        training_cells: of a fold.
        space: name.
        budget: trials.
        folds: of the cross-validation.
        on_progress: told of each recipe that is begun; its end is that of the recipe.
    """
    from cellsearch.learn.cost import minutes_per_fold
    from cellsearch.tune.limits import Bounds, too_large
    from cellsearch.tune.rungs import expected_share

    loaded = SearchSpace.load(space)
    bounds = Bounds.of(loaded.limits) or Bounds()
    shape = (int(cells.images.shape[1]), int(cells.images.shape[2]), int(cells.images.shape[3]))
    recipes = [BASELINE, *sample(loaded, 6 * DRAWS)]
    minutes: list[float] = []
    began = time.monotonic()
    tried = 0
    for recipe in recipes:
        if len(minutes) == DRAWS or time.monotonic() - began > MOST_SECONDS:
            break
        if recipe is not BASELINE and too_large(bounds, recipe, shape, len(cells.classes)):
            continue
        tried += 1
        # A stage of its own, as a log file is told of a new stage at once and of numbers seldom.
        stage = f"timing recipe {tried}, {recipe.model.family} ({len(minutes)} of {DRAWS} timed)"
        try:
            if on_progress:
                on_progress(stage, 0, 1)
            took = minutes_per_fold(recipe, cells, training_cells, device="auto", threads=1)
        except CellsearchError:
            continue
        finally:
            if on_progress:
                on_progress(stage, 1, 1)
        if bounds.minutes_per_fold is None or took <= bounds.minutes_per_fold:
            minutes.append(took * expected_share(recipe, training_cells))
    if len(minutes) < FEWEST:
        return None
    slots = os.cpu_count() or 1
    mean = sum(minutes) / len(minutes)
    return Estimate(60 * mean * folds * budget / slots, len(minutes), slots)
