"""Real and generated cells by number, and epochs that mix them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.learn.cell_source import CellSource

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pool:
    """As much of ``Generated`` as a source looks at."""

    label: int
    images: NDArray[Any]


def cells() -> CellDataset:
    images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    return CellDataset.from_arrays(images, [0] * 14 + [1] * 4 + [2] * 2, classes=["a", "b", "c"])


def source() -> CellSource:
    pools = [
        Pool(1, np.full((5, 1, 4, 4), 101, np.uint8)),
        Pool(2, np.full((7, 1, 4, 4), 102, np.uint8)),
    ]
    return CellSource.of(cells(), pools)  # type: ignore[arg-type]


def test_numbers_lead_to_cells_and_labels() -> None:
    images, labels = source().load(np.array([3, 21, 19, 28]), device=CPU)
    assert images[:, 0, 0, 0].tolist() == [3, 101, 19, 102]
    assert images.dtype == torch.float32
    assert labels.tolist() == [0, 1, 2, 2]
    assert source().pool(1).tolist() == [20, 21, 22, 23, 24]
    assert source().pool(0).tolist() == []


def test_generated_cells_take_the_place_of_copies() -> None:
    rng = np.random.default_rng(0)
    indices = np.array([0, 1, 2, 3, 4, 5, 14, 15, 18])
    targets = np.array([6, 6, 6])
    seen: set[int] = set()
    epochs = source().epochs(indices, targets, share=1.0, rng=rng)
    for _ in range(20):
        order = next(epochs)
        labels = source().labels[order]
        assert np.bincount(labels).tolist() == [6, 6, 6]
        real = order[order < 20]
        assert sorted(real) == sorted(indices)
        seen |= set(order[order >= 20].tolist())
    assert seen == set(range(20, 32))


def test_a_share_of_the_added_cells() -> None:
    indices = np.array([0, 1, 2, 3, 14, 15])
    orders = source().epochs(
        indices, np.array([4, 10, 0]), share=0.25, rng=np.random.default_rng(1)
    )
    order = next(orders)
    # 8 cells are added to class b: 2 generated, 6 copies of its two.
    assert (order >= 20).sum() == 2
    assert np.isin(order, [14, 15]).sum() == 8


def test_without_pools_epochs_are_as_before() -> None:
    plain = CellSource.of(cells())
    order = next(
        plain.epochs(np.arange(20), np.array([14, 4, 2]), share=1.0, rng=np.random.default_rng(0))
    )
    assert sorted(order) == list(range(20))
