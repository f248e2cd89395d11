"""--init-from: networks that begin with a card's weights, and cards that must not be used so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from ruamel.yaml import YAML

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError, RunError
from cellsearch.learn import fit as fit_module
from cellsearch.learn.transfer import read_backbone
from cellsearch.run.search import search
from cellsearch.run.warm_start import _fixed, begin_from
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace, sample
from cellsearch.tune.job import SearchJob
from cellsearch.tune.work import _identity
from cellsearch.util.yaml_files import Document

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


def test_cells_are_known_by_their_pixels_whatever_they_are_called(
    case: Made, tiny_dataset: CellDataset, others: CellDataset
) -> None:
    mixed = CellDataset.from_arrays(
        np.concatenate([others.images, tiny_dataset.images[:3]]),
        [*others.labels, 0, 0, 1],
        name="something else",
    )
    with pytest.raises(RunError, match=r"on 3 of these cells \(such as '000090'\)"):
        begin_from(case.card.folder, SPACE, mixed)
    # Names that any data set has are no sign of the same cells.
    begin_from(case.card.folder, SPACE, mixed.subset(np.arange(90)))


def test_other_images_and_no_card_are_refused(
    case: Made, others: CellDataset, tmp_path: Path
) -> None:
    one = others.select_channels(others.channels[:1])
    with pytest.raises(RunError, match="takes 2 channels of 16 x 16 px, these cells have 1"):
        begin_from(case.card.folder, SPACE, one)
    with pytest.raises(CardError, match="is not a card"):
        begin_from(tmp_path, SPACE, others)


def test_what_waits_for_any_network_is_searched_with_every_card() -> None:
    kept = _fixed(SearchSpace.load("default"), {"model.family": "resnet", "input.most": 0})
    names = {entry.target: entry for entry in kept}
    assert {"optim.lr", "train.epochs", "augment.mixup"} <= set(names)
    assert names["input.most"].kind == "constant"
    assert "model.features" not in names


def test_what_waits_for_another_network_is_left_out(case: Made, others: CellDataset) -> None:
    space = SearchSpace.from_dict(
        {
            "parameters": {
                "model.family": {"choice": ["cnn", "vit"]},
                "optim.lr": [
                    {"value": 0.01, "when": {"model.family": "cnn"}},
                    {"float": [1e-4, 1e-3], "when": {"model.family": "vit"}},
                ],
                "augment.flip": {"value": True, "when": {"model.family": "vit"}},
                "input.crop": {"choice": [0.8, 1.0]},
            },
            "initial": [{"model.family": "vit", "input.crop": 0.8}],
        }
    )
    narrowed = begin_from(case.card.folder, space, others)
    drawn = {*sample(narrowed, 10), *narrowed.starts}
    assert {(r.optim.lr, r.augment.flip) for r in sample(narrowed, 10)} == {(0.01, False)}
    # Dense weights are made for one size of map.
    assert {recipe.input.crop for recipe in drawn} == {1.0}
    assert len({recipe.model for recipe in drawn}) == 1
    again = SearchSpace._from_document(
        Document(None, YAML(typ="safe").load(narrowed.to_yaml())), ""
    )
    assert again.sha256 == narrowed.sha256


def test_cells_seen_by_the_card_before_the_card_are_refused(
    case: Made, others: CellDataset, tiny_dataset: CellDataset, tmp_path: Path
) -> None:
    def card(name: str, before: Path, ids: str) -> Path:
        folder = Path(shutil.copytree(case.card.folder, tmp_path / name))
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["search"]["init_from"] = str(before)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        splits = (folder / "splits.json").read_text()
        (folder / "splits.json").write_text(splits.replace('"0', f'"{ids}/0'))
        return folder

    second = card("second", case.card.folder, "between")
    begin_from(second, SPACE, others)
    with pytest.raises(RunError, match="trained or scored on 90 of these cells"):
        begin_from(second, SPACE, tiny_dataset)
    orphan = card("orphan", tmp_path / "gone", "between")
    with pytest.raises(RunError, match=r"started from the weights of .*gone.*put it back"):
        begin_from(orphan, SPACE, others)


def test_folds_begun_with_other_weights_are_not_gone_on_with(
    case: Made, others: CellDataset, tmp_path: Path
) -> None:
    card = case.copy(tmp_path)

    def identity(init_from: Path | None) -> dict[str, Any]:
        job = cast("SearchJob", SimpleNamespace(seed=0, init_from=init_from))
        return _identity(job, {}, others, case.splits)

    before = identity(card)
    assert before == identity(case.card.folder) != identity(None)
    (card / "model.safetensors").write_bytes(b"others")
    assert identity(card) != before


@pytest.mark.slow
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
    facts = json.loads((result.card.folder / "metrics.json").read_text())["search"]
    assert facts["init_from"] == str(case.card.folder)
