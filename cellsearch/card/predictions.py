"""What the card of a run says of single cells: true and predicted classes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from cellsearch.card.config import read_config
from cellsearch.card.predict import GROUP
from cellsearch.data.splits import SplitsFile
from cellsearch.errors import CardError, RunError, SplitError
from cellsearch.stats.predictions import Predictions

Part = Literal["holdout", "oof"]
FILES: Mapping[Part, str] = {"holdout": "predictions.csv", "oof": "out_of_fold.csv"}
NAMES: Mapping[Part, str] = {"holdout": "hold-out", "oof": "out-of-fold"}


def predictions_of(card: Path, part: Part) -> Predictions:
    """What a card's model gave for the cells of one part, with their names and groups.

    Raises:
        RunError: a card without these predictions.
    """
    config = read_config(card)
    rows = rows_of(card, part)
    position = {name: k for k, name in enumerate(config.classes)}
    try:
        ids = tuple(row["id"] for row in rows)
        labels = np.array([position[row["true_class"]] for row in rows], np.int64)
        predicted = np.array([position[row["predicted_class"]] for row in rows], np.int64)
        groups = np.array([int(row[GROUP]) for row in rows if GROUP in row], np.int64)
    except KeyError as error:
        raise CardError(f"{card / FILES[part]} does not fit its card: no {error}") from None
    known = [name not in config.not_estimable for name in config.classes]
    return Predictions(
        config.classes,
        labels,
        predicted,
        estimable=np.array(known),
        ids=ids,
        groups=groups if len(groups) else None,
    )


def rows_of(card: Path, part: Part) -> list[dict[str, str]]:
    """The table of a card's predictions as it is written.

    Raises:
        RunError: a card without it.
    """
    path = card / FILES[part]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise RunError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def ids_of(card: Path) -> frozenset[str]:
    """Names of all cells of a card's data set: hold-out, folds and the others.

    Raises:
        CardError: its ``splits.json`` cannot be read.
    """
    try:
        return SplitsFile.read(card / "splits.json").ids
    except SplitError as error:
        raise CardError(f"{card / 'splits.json'} cannot be read: ", error) from None
