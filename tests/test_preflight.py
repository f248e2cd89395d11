"""What a space asks that these cells or this machine cannot give is refused before any trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.errors import SpaceError
from cellsearch.run.observer import Silent
from cellsearch.run.preflight import impossible, not_drawn, require_feasible, require_weights
from cellsearch.run.search import search
from cellsearch.space.search_space import SearchSpace, sample


def told(parameters: dict[str, Any], cells: CellDataset) -> str:
    space = SearchSpace.from_dict({"parameters": parameters})
    with pytest.raises(SpaceError) as caught:
        require_feasible(space, cells, draw_splits(cells, folds=2, holdout=0.2, seed=0))
    return str(caught.value)


def test_a_space_that_works_is_let_through(tiny_dataset: CellDataset) -> None:
    space = SearchSpace.load("espinosa-2022")
    require_feasible(space, tiny_dataset, draw_splits(tiny_dataset, folds=2, holdout=0.2, seed=0))


def test_a_network_that_timm_does_not_know(tiny_dataset: CellDataset) -> None:
    said = told({"model.family": "timm", "model.name": "resnet5o"}, tiny_dataset)
    assert "no network 'resnet5o'" in said
    assert "resnet50" in said


def test_a_crop_too_small_for_a_network(tiny_dataset: CellDataset) -> None:
    said = told({"model.family": "timm", "model.name": "convnext_atto"}, tiny_dataset)
    assert "input.size" in said
    assert "16 x 16" in said


def test_a_generator_for_a_class_of_too_few(tiny_dataset: CellDataset) -> None:
    few = np.concatenate(
        [np.flatnonzero(tiny_dataset.labels == k)[:n] for k, n in ((0, 40), (1, 30), (2, 4))]
    )
    said = told(
        {"balance.method": "over", "gan.kind": {"choice": ["none", "wgan-gp"]}},
        tiny_dataset.subset(few),
    )
    assert "class 'class-2' leaves" in said
    assert "at least 4" in said


def test_a_generator_beside_an_inner_split(tiny_dataset: CellDataset) -> None:
    """Of four training cells one is watched, and a generator would be left with three."""
    few = np.concatenate(
        [np.flatnonzero(tiny_dataset.labels == k)[:n] for k, n in ((0, 40), (1, 30), (2, 10))]
    )
    cells = tiny_dataset.subset(few)
    gan = {"balance.method": "over", "gan.kind": "wgan-gp", "gan.below": 0.4}
    splits = draw_splits(cells, folds=2, holdout=0.2, seed=0)
    assert min((cells.labels[splits.training(k)] == 2).sum() for k in range(2)) == 4
    require_feasible(SearchSpace.from_dict({"parameters": gan}), cells, splits)
    assert "leaves 3 training cells" in told(gan | {"train.patience": 2}, cells)


def test_crops_too_small_to_be_measured(tiny_dataset: CellDataset) -> None:
    small = CellDataset.from_arrays(tiny_dataset.images[:, :, :6], tiny_dataset.labels)
    said = told({"model.family": "xgboost", "model.features": "measured"}, small)
    assert "at least 8 x 8 px; these have 6 x 16" in said


def test_a_generator_where_no_class_is_rare(tiny_dataset: CellDataset) -> None:
    said = told({"balance.method": "over", "gan.kind": "wgan-gp", "gan.below": 0.1}, tiny_dataset)
    assert "gan.below: no class has fewer than 10 %" in said


def test_pretraining_on_no_class(tiny_dataset: CellDataset) -> None:
    said = told({"train.pretrain": "clas-1"}, tiny_dataset)
    assert "did you mean 'class-1'" in said


def test_every_problem_at_once_and_nothing_left_behind(
    tiny_dataset: CellDataset, tmp_path: Path
) -> None:
    parameters = {
        "model.family": "timm",
        "model.name": "convnext_atto",
        "train.pretrain": "G2",
    }
    with pytest.raises(SpaceError) as caught:
        search(
            tiny_dataset,
            SearchSpace.from_dict({"parameters": parameters}),
            folds=2,
            budget=2,
            backend="local",
            out=tmp_path / "run",
        )
    assert len(str(caught.value).splitlines()) == 2
    assert not (tmp_path / "run").exists()


def test_weights_are_missed_before_the_cells_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))
    with pytest.raises(SpaceError, match=r"no weights of 'resnet50' on this machine"):
        require_weights(SearchSpace.load("live-cell-2025"))
    require_weights(SearchSpace.load("live-cell-2025-scratch"))


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))
    monkeypatch.setattr("cellsearch.learn.models.backbone_weights.find_spec", lambda _: None)


def drawing(features: list[str], **more: Any) -> SearchSpace:
    regression = {"model.family": "logreg", "model.features": {"choice": features}}
    return SearchSpace.from_dict({"parameters": {**regression, **more}})


@pytest.mark.usefixtures("no_weights")
def test_backbone_features_among_others_are_left_out_where_weights_are_missing(
    tiny_dataset: CellDataset,
) -> None:
    splits = draw_splits(tiny_dataset, folds=2, holdout=0.2, seed=0)
    for space in (drawing(["measured", "backbone"]), SearchSpace.load("default")):
        require_weights(space)
        require_feasible(space, tiny_dataset, splits)
        omitted = not_drawn(space, tiny_dataset)
        assert list(omitted) == ["backbone"]
        assert "pip install 'cellsearch[backbone]'" in omitted["backbone"]
    why = impossible(tiny_dataset)
    for recipe in sample(SearchSpace.load("default"), 60):
        wanted = getattr(recipe.model, "features", "") == "backbone"
        assert bool(why(recipe)) == wanted


@pytest.mark.usefixtures("no_weights")
def test_a_family_of_backbone_features_alone_is_refused_beside_a_network() -> None:
    alone = {"model.family": {"choice": ["cnn", "logreg"]}, "model.features": "backbone"}
    with pytest.raises(SpaceError, match="no weights of 'tf_efficientnet_lite0'"):
        require_weights(SearchSpace.from_dict({"parameters": alone}))


def test_measured_features_among_others_are_left_out_where_crops_are_small(
    tiny_dataset: CellDataset,
) -> None:
    small = CellDataset.from_arrays(tiny_dataset.images[:, :, :6], tiny_dataset.labels)
    splits = draw_splits(small, folds=2, holdout=0.2, seed=0)
    require_feasible(drawing(["measured", "pixels"]), small, splits)
    assert list(not_drawn(drawing(["measured", "pixels"]), small)) == ["measured"]


@pytest.mark.usefixtures("no_weights")
def test_no_features_at_all_are_refused_with_each_reason(tiny_dataset: CellDataset) -> None:
    small = CellDataset.from_arrays(tiny_dataset.images[:, :, :6], tiny_dataset.labels)
    space = drawing(["measured", "backbone"])
    require_weights(space)
    said = told({e.target: e.plain() for e in space.entries}, small)
    assert "at least 8 x 8 px" in said
    assert "no weights of" in said


def test_what_is_drawn_most_rarely_is_looked_at(tiny_dataset: CellDataset) -> None:
    rare = {"model.family": {"choice": {"cnn": 100_000, "timm": 1}}, "model.name": "resnet5o"}
    assert "no network 'resnet5o'" in told(rare, tiny_dataset)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("whole", [False, True])
def test_a_search_goes_on_without_features_that_cannot_be_made(
    tiny_dataset: CellDataset, tmp_path: Path, whole: bool
) -> None:
    class Listens(Silent):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def message(self, text: str) -> None:
            self.lines.append(text)

    l2 = {"choice": [1.0, 10.0]} if whole else {"float": [0.1, 100.0], "log": True}
    space = drawing(["pixels", "backbone"], **{"model.l2": l2})
    assert bool(space.whole) == whole
    listens = Listens()
    done = search(
        tiny_dataset,
        space,
        folds=2,
        budget=4,
        backend="local",
        out=tmp_path / "run",
        observer=listens,
    )
    told_once = [line for line in listens.lines if "left out" in line]
    assert len(told_once) == 1
    assert "every draw of backbone features left out: model.backbone: no weights" in told_once[0]
    trained = [row.recipe.model for row in done.trials if row.number]
    assert len(trained) == (2 if whole else 3)
    assert {getattr(model, "features", "") for model in trained} == {"pixels"}
    assert {row.state for row in done.trials} <= {"COMPLETE", "PRUNED"}
    # The run is of the space that was asked for, so that it can go on elsewhere.
    assert SearchSpace.load(tmp_path / "run" / "space.yaml").sha256 == space.sha256
