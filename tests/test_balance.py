"""Resampling of indices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cellsearch.learn.balance import epochs, target_counts
from cellsearch.space.recipe import Balance

COUNTS = np.array([400, 100, 25, 0])
MIDDLE = 100  # the geometric mean of 400, 100 and 25


@pytest.mark.parametrize(
    ("method", "strength", "expected"),
    [
        ("none", 1.0, [400, 100, 25, 0]),
        ("over", 1.0, [400, 400, 400, 0]),
        ("over", 0.5, [400, 200, 100, 0]),
        ("under", 1.0, [100, 100, 25, 0]),
        ("under", 0.5, [200, 100, 25, 0]),
        ("mixed", 1.0, [100, 100, 100, 0]),
        ("mixed", 0.5, [200, 100, 50, 0]),
    ],
)
def test_targets_go_a_share_of_the_way(method: str, strength: float, expected: list[int]) -> None:
    found = target_counts(COUNTS, Balance(method=method, strength=strength))
    assert found.tolist() == expected


def sampled(method: str, seed: int = 0, n: int = 3) -> tuple[list[np.ndarray], np.ndarray]:
    labels = np.repeat(np.arange(3), COUNTS[:3])
    rng = np.random.default_rng(seed)
    rng.shuffle(labels)
    indices = 1000 + rng.permutation(len(labels))
    targets = target_counts(COUNTS, Balance(method=method, strength=1.0))
    drawn = list(itertools.islice(epochs(indices, labels, targets, rng=rng), n))
    label_of = np.zeros(2000, dtype=int) - 1
    label_of[indices] = labels
    return drawn, label_of


@pytest.mark.parametrize("method", ["none", "over", "under", "mixed"])
def test_epochs_hit_their_targets_with_training_cells_alone(method: str) -> None:
    drawn, label_of = sampled(method)
    targets = target_counts(COUNTS, Balance(method=method, strength=1.0))
    for epoch in drawn:
        assert epoch.dtype == np.int64
        assert (label_of[epoch] >= 0).all()
        np.testing.assert_array_equal(np.bincount(label_of[epoch], minlength=4), targets)
    assert not np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("method", ["over", "mixed"])
def test_every_cell_of_a_class_that_grows_is_in_every_epoch(method: str) -> None:
    drawn, label_of = sampled(method)
    for epoch in drawn:
        assert set(np.flatnonzero(label_of == 2)) <= set(epoch)


@pytest.mark.parametrize("method", ["under", "mixed"])
def test_no_cell_is_thrown_away_for_good(method: str) -> None:
    drawn, label_of = sampled(method, n=40)
    for epoch in drawn:
        assert len(np.unique(epoch[label_of[epoch] == 0])) == MIDDLE
    assert set(np.concatenate(drawn)) == set(np.flatnonzero(label_of >= 0))


def test_a_seed_repeats_the_epochs() -> None:
    first, again, other = (sampled("mixed", seed)[0] for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
