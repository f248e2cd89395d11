"""--init-from: networks that begin with a card's weights, and cards that must not be used so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError, RunError
from cellsearch.init_from import begin_from
from cellsearch.learn import fit as fit_module
from cellsearch.learn.transfer import read_backbone
from cellsearch.run import search
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace, sample

from card_cases import Made, made
from conftest import squares


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def others() -> CellDataset:
    """Other cells of the same shape, in two classes."""
    cells = squares(seed=9)
    return CellDataset.from_arrays(
        cells.images,
        np.where(cells.labels == 2, "large", "small"),
        ids=[f"other/{cell:03d}" for cell in range(len(cells))],
        name="others",
    )


SPACE = SearchSpace.from_dict(
    {
        "parameters": {
            "model.depth": {"int": [1, 3]},
            "model.width": {"choice": [8, 16]},
            "optim.lr": {"float": [1e-3, 1e-2], "log": True},
            "train.epochs": 1,
        }
    }
)


def test_the_network_is_the_cards_and_the_rest_is_searched(case: Made, others: CellDataset) -> None:
    narrowed = begin_from(case.card.folder, SPACE, others)
    of_card = Recipe.from_params(case.card.config.recipe).model
    drawn = sample(narrowed, 10)
    assert {recipe.model for recipe in drawn} == {of_card}
    assert len({recipe.optim.lr for recipe in drawn}) == 10
    assert begin_from(case.card.folder, narrowed, others).sha256 == narrowed.sha256


def test_cells_that_the_card_has_seen_are_refused(case: Made, tiny_dataset: CellDataset) -> None:
    with pytest.raises(RunError, match=r"trained or scored on 90 of these cells.*train\.pretrain"):
        begin_from(case.card.folder, SPACE, tiny_dataset)
    some = tiny_dataset.subset(np.arange(80, 90))
    with pytest.raises(RunError, match="on 10 of these cells"):
        begin_from(case.card.folder, SPACE, some)


def test_other_images_and_no_card_are_refused(
    case: Made, others: CellDataset, tmp_path: Path
) -> None:
    one = others.select_channels(others.channels[:1])
    with pytest.raises(RunError, match="takes 2 channels of 16 x 16 px, these cells have 1"):
        begin_from(case.card.folder, SPACE, one)
    with pytest.raises(CardError, match="is not a card"):
        begin_from(tmp_path, SPACE, others)


def test_trials_and_the_final_network_begin_with_the_weights(
    case: Made, others: CellDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    begin_with = fit_module.begin_with

    def spy(module: Any, backbone: Any) -> int:
        begun.append(backbone)
        return begin_with(module, backbone)

    monkeypatch.setattr(fit_module, "begin_with", spy)
    result = search(
        others,
        SPACE,
        init_from=case.card.folder,
        folds=2,
        budget=2,
        backend="local",
        race=False,
        out=tmp_path / "run",
    )
    expected = read_backbone(case.card.folder)
    # Two folds of trial 1, and the final network if it won; never the baseline.
    assert len(begun) == 2 + (result.best is not None and result.best.number == 1)
    assert {one.model for one in begun} == {expected.model}
    assert result.card is not None
    recorded = result.folder / "run.json"
    assert str(case.card.folder) in recorded.read_text()
