"""A small space is searched to its end and no further, also across a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.backend import LocalBackend
from cellsearch.tune.search import search

import search_cases as cases

pytestmark = pytest.mark.slow

SPACE = SearchSpace.from_dict(
    {
        "name": "small",
        "parameters": {
            "model.width": 8,
            "loss.weighting": {"choice": ["none", "sqrt", "inv"]},
            "augment.flip": {"choice": [True, False]},
        },
    }
)


@pytest.mark.parametrize("first", [3, 20])
def test_every_recipe_once(tiny_dataset: CellDataset, tmp_path: Path, first: int) -> None:
    job = cases.prepare(tiny_dataset, tmp_path, race=False)
    backend = LocalBackend(compute=cases.fake)
    search(replace(job, budget=first), SPACE, cases.Recorder(), backend)
    outcome = search(replace(job, budget=20), SPACE, cases.Recorder(), backend)
    recipes = [row.recipe for row in outcome.rows]
    # The baseline has 16 channels, so it is none of the six.
    assert len(recipes) == len(set(recipes)) == 7
    assert set(recipes) >= set(SPACE.whole)
    assert not outcome.interrupted
