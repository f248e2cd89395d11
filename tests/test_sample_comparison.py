"""Shares of classes in treated and untreated replicates: known answers, and what few can tell."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from cellsearch.stats.sample_comparison import compare_shares, smallest_p

THREE = np.array([True] * 3 + [False] * 3)


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_three_against_three_cannot_give_less_than_a_tenth() -> None:
    found = compare_shares(column(0.9, 0.91, 0.92, 0.1, 0.11, 0.12), THREE)
    assert found.arrangements == 20
    assert found.exact
    assert found.smallest_p == pytest.approx(0.1)
    assert found.classes[0].p == pytest.approx(0.1)
    assert found.classes[0].difference.value == pytest.approx(0.8)


@pytest.mark.parametrize(("one", "other"), [(3, 3), (4, 3), (2, 5), (5, 5)])
def test_interval_and_p_of_t_are_those_of_welch(one: int, other: int) -> None:
    rng = np.random.default_rng(one)
    values = rng.random(one + other)
    treated = np.arange(one + other) < one
    found = compare_shares(values[:, None], treated)
    expected = stats.ttest_ind(values[treated], values[~treated], equal_var=False)
    low, high = expected.confidence_interval()
    (only,) = found.classes
    assert only.p_t == pytest.approx(expected.pvalue)
    assert only.difference.low == pytest.approx(low)
    assert only.difference.high == pytest.approx(high)
    assert found.freedom == pytest.approx(expected.df)


def test_p_is_the_share_of_all_arrangements_at_least_as_far_apart() -> None:
    values = np.random.default_rng(3).random(7)
    treated = np.arange(7) < 3

    def far(chosen: tuple[int, ...]) -> float:
        own = np.isin(np.arange(7), chosen)
        return abs(stats.ttest_ind(values[own], values[~own], equal_var=False).statistic)

    every = [far(chosen) for chosen in combinations(range(7), 3)]
    expected = np.mean(np.array(every) >= far((0, 1, 2)) - 1e-9)
    assert compare_shares(values[:, None], treated).classes[0].p == pytest.approx(expected)


def test_pairs_are_compared_within_donors() -> None:
    rng = np.random.default_rng(0)
    donors = np.repeat(np.arange(6), 2)
    treated = np.tile([True, False], 6)
    level = np.repeat(rng.normal(0.5, 0.2, 6), 2)
    values = level + np.where(treated, 0.03, 0.0) + rng.normal(0, 0.005, 12)
    found = compare_shares(values[:, None], treated, donors)
    expected = stats.ttest_rel(values[treated], values[~treated])
    low, high = expected.confidence_interval()
    (only,) = found.classes
    assert (found.arrangements, found.blocks, found.freedom) == (64, 6, 5)
    assert only.p == pytest.approx(2 / 64)
    assert only.p_t == pytest.approx(expected.pvalue)
    assert (only.difference.low, only.difference.high) == pytest.approx((low, high))
    assert compare_shares(values[:, None], treated).classes[0].p > 0.3


def test_batches_of_several_replicates_are_least_squares_with_an_effect_a_batch() -> None:
    rng = np.random.default_rng(1)
    batches = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    treated = np.array([1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    values = rng.random(9)
    design = np.column_stack([treated, batches == 0, batches == 1]).astype(float)
    fit, left, _, _ = np.linalg.lstsq(design, values, rcond=None)
    error = math.sqrt(left[0] / 6 * np.linalg.inv(design.T @ design)[0, 0])
    found = compare_shares(values[:, None], treated, batches)
    (only,) = found.classes
    assert found.arrangements == 10 * 4
    assert only.difference.value == pytest.approx(fit[0])
    assert only.p_t == pytest.approx(2 * stats.t.sf(abs(fit[0] / error), 6))
    assert only.treated - only.control == pytest.approx(fit[0])


def test_classes_are_corrected_together() -> None:
    shares = np.column_stack([[0.9, 0.91, 0.92, 0.1, 0.11, 0.12], [0.1, 0.2, 0.3, 0.2, 0.1, 0.3]])
    found = compare_shares(shares, THREE).classes
    assert found[0].p_holm == pytest.approx(0.2)
    assert found[1].p_holm == pytest.approx(found[1].p)


def test_too_many_arrangements_are_drawn_and_the_p_is_near() -> None:
    rng = np.random.default_rng(2)
    treated = np.arange(24) < 12
    values = rng.normal(0, 1, 24) + 0.8 * treated
    found = compare_shares(values[:, None], treated)
    assert not found.exact
    assert found.arrangements == math.comb(24, 12)
    expected = stats.ttest_ind(values[treated], values[~treated]).pvalue
    assert found.classes[0].p == pytest.approx(expected, abs=0.02)
    assert compare_shares(values[:, None], treated).classes == found.classes


def test_a_class_that_is_nowhere_is_no_difference() -> None:
    (only,) = compare_shares(np.zeros((6, 1)), THREE).classes
    assert (only.p, only.p_t, only.difference.low) == (1.0, 1.0, None)


def test_sizes_that_differ_have_no_mirror_image() -> None:
    assert smallest_p(np.arange(7) < 3, np.zeros(7, np.int64)) == pytest.approx(1 / 35)


@pytest.mark.parametrize(
    ("treated", "blocks"), [([1, 0, 0, 0], None), ([1, 0], [0, 0]), ([1, 0], [0, 1])]
)
def test_one_replicate_has_no_spread(treated: list[int], blocks: list[int] | None) -> None:
    with pytest.raises(ValueError, match="too few replicates"):
        compare_shares(
            np.zeros((len(treated), 1)),
            np.array(treated, bool),
            None if blocks is None else np.array(blocks),
        )
