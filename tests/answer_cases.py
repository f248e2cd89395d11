"""A run whose model makes a known number of errors, written without training one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cellsearch.card.config import CardConfig, ChannelRange, DatasetFacts, OnnxFacts
from cellsearch.card.predict import to_rows
from cellsearch.card.whole_files import write_csv
from cellsearch.data.splits import Splits, draw_splits

from conftest import squares

CELLS = squares((100, 60, 40))
SPLITS = draw_splits(CELLS, folds=2, holdout=0.2, duplicates=())


def chances(cells: np.ndarray, wrong: int) -> np.ndarray:
    """The true class, but another one for the first ``wrong`` cells of class 0."""
    labels = CELLS.labels[cells].copy()
    labels[np.flatnonzero(labels == 0)[:wrong]] = 1
    return np.eye(3, dtype=np.float32)[labels]


def write_run(folder: Path, splits: Splits, *, pooled_wrong: int = 12, held_wrong: int = 8) -> Path:
    card = folder / "card"
    card.mkdir(parents=True)
    config = CardConfig(
        cellsearch_version="0",
        created="2026-01-01",
        classes=CELLS.classes,
        channels=CELLS.channels,
        dtype="uint8",
        dtype_range=(0, 255),
        ranges=tuple(
            ChannelRange(channel=name, low=0, typical_low=0, typical_high=1, high=1)
            for name in CELLS.channels
        ),
        height=16,
        width=16,
        members=1,
        parameters=1,
        dataset=DatasetFacts(name="squares", sha256=CELLS.sha256, cells=len(CELLS)),
        splits_sha256=splits.sha256,
        recipe={},
        onnx=OnnxFacts(opset=18),
    )
    (card / "config.json").write_text(config.model_dump_json())
    splits.save(card / "splits.json")
    pooled = np.concatenate(splits.folds)
    for name, cells, wrong in (
        ("predictions.csv", splits.holdout, held_wrong),
        ("out_of_fold.csv", pooled, pooled_wrong),
    ):
        rows = to_rows(CELLS, chances(cells, wrong), CELLS.classes, cells=cells, truth=True)
        write_csv(card / name, rows)
    return folder
