"""What a space asks that these cells or this machine cannot give is refused before any trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.errors import SpaceError
from cellsearch.run.preflight import require_feasible, require_weights
from cellsearch.run.search import search
from cellsearch.space.search_space import SearchSpace


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
