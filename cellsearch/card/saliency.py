"""Where the model looks: some hold-out cells of each class beside their saliency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import confidence_of
from cellsearch.data.dataset import CellDataset

RIGHT_PER_CLASS = 3
MOST_CELLS = 64
FILE = "saliency.npz"


@dataclass(frozen=True, eq=False)
class Examples:
    """Hold-out cells to be explained, class after class, right ones first.

    Attributes:
        rows: (m,) int64 rows of the hold-out.
        true: (m,) int64 classes.
        predicted: (m,) int64 classes.
        probability: (m,) float32, of the predicted class.
    """

    rows: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Saliency:
    """Explained cells.

    Attributes:
        examples: m cells.
        maps: (m, H, W) float32, absolute attributions summed over channels, nats.
        shares: (C,) float32, each channel's part of all absolute attributions; adds up to 1.
        steps: of each path of integrated gradients.
    """

    examples: Examples
    maps: NDArray[np.float32]
    shares: NDArray[np.float32]
    steps: int


def choose(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32], predicted: NDArray[np.int64]
) -> Examples:
    """The surest right cells of each class and its surest mistake, as the model gives them.

    Args:
        labels: (n,) true classes of the hold-out.
        probabilities: (n, K).
        predicted: (n,) classes that the cells are given.
    """
    classes = probabilities.shape[1]
    right_ones = max(1, min(RIGHT_PER_CLASS, MOST_CELLS // classes - 1))
    surest = confidence_of(probabilities, predicted)
    chosen = []
    for label in range(classes):
        for right, most in ((True, right_ones), (False, 1)):
            rows = np.flatnonzero((labels == label) & ((predicted == label) == right))
            chosen.append(rows[np.argsort(-surest[rows], kind="stable")][:most])
    rows = np.concatenate(chosen).astype(np.int64)
    return Examples(rows, labels[rows], predicted[rows], surest[rows].astype(np.float32))


def explained(examples: Examples, attributions: NDArray[np.float32], steps: int) -> Saliency:
    """Summed over channels, from (m, C, H, W) attributions."""
    size = np.abs(attributions)
    shares = size.sum(axis=(0, 2, 3), dtype=np.float64)
    return Saliency(examples, size.sum(axis=1), (shares / shares.sum()).astype(np.float32), steps)


def save_maps(folder: Path, found: Saliency, ids: NDArray[Any], dataset: CellDataset) -> None:
    """``saliency.npz``: maps as float16 with a largest value of 1, and what they belong to.

    Args:
        folder: of the card.
        found: m explained cells.
        ids: (m,) of the cells.
        dataset: whose classes and channels are named.
    """
    largest = found.maps.max(axis=(1, 2))
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32)
    np.savez_compressed(
        folder / FILE,
        ids=np.asarray(ids, dtype=np.str_),
        true=found.examples.true,
        predicted=found.examples.predicted,
        probability=found.examples.probability,
        maps=(found.maps / scale[:, None, None]).astype(np.float16),
        scale=scale,
        classes=np.asarray(dataset.classes),
        channels=np.asarray(dataset.channels),
        channel_shares=found.shares,
        steps=np.int64(found.steps),
    )
