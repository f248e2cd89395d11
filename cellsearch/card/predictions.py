"""What the card of a run says of single cells: true and predicted classes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import read_config
from cellsearch.data.splits import SplitsFile
from cellsearch.errors import CardError, RunError, SplitError

Part = Literal["holdout", "oof"]
FILES: Mapping[Part, str] = {"holdout": "predictions.csv", "oof": "out_of_fold.csv"}
NAMES: Mapping[Part, str] = {"holdout": "hold-out", "oof": "out-of-fold"}


@dataclass(frozen=True, eq=False)
class Predictions:
    """A run's predictions on one part of its cells.

    Attributes:
        classes: K names.
        not_estimable: classes without figures.
        ids: (n,) names of the cells.
        labels: (n,) int64 true classes.
        predicted: (n,) int64.
        known: names of all cells of the data set.
    """

    classes: tuple[str, ...]
    not_estimable: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    known: frozenset[str]


def predictions_of(card: Path, part: Part) -> Predictions:
    """What a card's model gave for the cells of one part.

    Raises:
        RunError: a card without these predictions.
    """
    config = read_config(card)
    rows = _rows(card / FILES[part])
    position = {name: k for k, name in enumerate(config.classes)}
    try:
        ids = tuple(row["id"] for row in rows)
        labels = np.array([position[row["true_class"]] for row in rows], np.int64)
        predicted = np.array([position[row["predicted_class"]] for row in rows], np.int64)
    except KeyError as error:
        raise CardError(f"{card / FILES[part]} does not fit its card: no {error}") from None
    return Predictions(
        config.classes, config.not_estimable, ids, labels, predicted, ids_of(card) | set(ids)
    )


def _rows(path: Path) -> list[dict[str, str]]:
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
