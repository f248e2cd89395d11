"""A refit that died is begun anew, judged on training cells alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.run import finalize
from cellsearch.run.config import RunConfig
from cellsearch.run.observer import Silent
from cellsearch.space.recipe import Recipe


def test_a_dead_refit_is_trained_anew(
    monkeypatch: pytest.MonkeyPatch, tiny_dataset: CellDataset
) -> None:
    splits = draw_splits(tiny_dataset, folds=2)
    seeds, asked, formats = [], [], set()
    folds = [SimpleNamespace(precision="bf16+channels_last")]

    def fit(recipe, cells, indices, *, seed, device, precision, backbone, on_epoch, on_stage):
        seeds.append(seed)
        formats.add(str(precision))
        assert device == "meta"

        def predict_proba(dataset, some):
            asked.extend(some)
            labels = dataset.labels[some] if len(seeds) > 2 else np.zeros(len(some), np.int64)
            return np.eye(len(dataset.classes), dtype=np.float32)[labels]

        return SimpleNamespace(predict_proba=predict_proba)

    monkeypatch.setattr("cellsearch.learn.fit.fit", fit)
    config = RunConfig.of(dataset="squares", seed=7, device="meta")
    monkeypatch.setattr("cellsearch.tune.job.finished_folds", lambda *_: folds)
    row = SimpleNamespace(recipe=Recipe(), number=3)
    final = finalize._final(row, Path("run"), tiny_dataset, splits, config, Silent(), "winner")
    assert formats == {"bf16+channels_last"}
    assert len(final) == 1
    assert seeds == [7, 1007, 2007]
    assert not set(asked) & set(splits.holdout.tolist())
