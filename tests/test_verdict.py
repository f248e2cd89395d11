"""Intervals, optimism and the verdict: planted truths, and what chance alone must not do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellsearch.card.metrics import Figures
from cellsearch.card.tables import class_table
from cellsearch.stats.bootstrap import bootstrap_intervals
from cellsearch.stats.comparison import compare
from cellsearch.stats.evaluation import Estimate, as_json, evaluate
from cellsearch.stats.groups import group_codes
from cellsearch.stats.intervals import (
    Interval,
    clopper_pearson,
    difference_of,
    interval_around,
    korn_graubard,
    smoothed_confusions,
    smoothed_pairs,
)
from cellsearch.stats.metrics import confusion, score
from cellsearch.tune.findings import optimism, optimism_of
from cellsearch.tune.trial_predictions import ENSEMBLE, TrialPredictions
from cellsearch.tune.verdict import Corrected, corrected_differences, judge
from cellsearch.util.markdown import table

COUNTS = (400, 200, 60, 12)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def trials(recalls: list[float], *, seed: int = 0, stopped: int = 0) -> TrialPredictions:
    """Trials of those recalls, sharing half of each cell's difficulty; the last ones stopped."""
    chance = rng(seed)
    k = len(COUNTS)
    labels = np.repeat(np.arange(k), COUNTS)
    difficulty = chance.random(len(labels))
    folds = np.arange(len(labels)) % 5
    predicted = []
    for recall in recalls:
        right = (
            np.where(chance.random(len(labels)) < 0.5, difficulty, chance.random(len(labels)))
            < recall
        )
        predicted.append(np.where(right, labels, (labels + 1) % k))
    complete = np.arange(len(recalls)) < len(recalls) - stopped
    table = np.stack(predicted)
    table[np.ix_(~complete, folds >= 2)] = -1
    return TrialPredictions(
        numbers=tuple(range(len(recalls))),
        complete=complete,
        labels=labels,
        predicted=table,
        folds=np.where(complete, 5, 2),
        classes=("a", "b", "c", "d"),
        estimable=np.ones(k, dtype=bool),
    )


def test_the_interval_of_the_least_recall_holds_it_though_a_class_has_three_cells() -> None:
    """A bootstrap's lies too low: it held 0.7 in three of four repeats."""
    chance, cells, recall = rng(), (40, 20, 10, 6, 3), 0.7
    held = 0
    for _ in range(100):
        labels = np.repeat(np.arange(5), cells)
        predicted = np.where(chance.random(len(labels)) < recall, labels, (labels + 1) % 5)
        found = bootstrap_intervals(labels, predicted, 5, repeats=50).metrics["worst_recall"]
        assert found is not None
        held += found.low <= recall <= found.high
        least = float(score("worst_recall", confusion(labels, predicted, 5)))
        assert found.low <= least <= found.high
    assert held >= 93


def test_the_least_recall_of_few_donors_is_known_less_well() -> None:
    labels = np.repeat([0, 1], 60)
    predicted = np.where(np.arange(120) % 3 == 0, 1 - labels, labels)
    donors = np.arange(120) % 3
    alone = bootstrap_intervals(labels, predicted, 2, repeats=50).metrics["worst_recall"]
    found = bootstrap_intervals(labels, predicted, 2, groups=donors, repeats=50)
    of_donors = found.metrics["worst_recall"]
    assert alone is not None
    assert of_donors is not None
    assert of_donors.high - of_donors.low > alone.high - alone.low
    one = np.zeros(120, np.int64)
    unknown = bootstrap_intervals(labels, predicted, 2, groups=one, repeats=50)
    assert unknown.metrics["worst_recall"] is None


def test_a_better_trial_is_found_and_equal_ones_are_not() -> None:
    planted = trials([0.7] * 10 + [0.95] + [0.7] * 4, stopped=3)
    found = corrected_differences(planted, "balanced_accuracy", baseline=0)
    assert found is not None
    assert found.numbers == tuple(range(1, 15))
    better, p = found.of(10)
    assert better.value > 0.15
    assert better.low > 0.0
    assert p < 0.01
    for number in (1, 2, 5, 9):
        equal, p = found.of(number)
        assert equal.low < 0.0 < equal.high
        assert p > 0.05
    # A stopped trial has fewer cells, so it is known less well.
    stopped, complete = found.of(13)[0], found.of(5)[0]
    assert stopped.high - stopped.low > 1.2 * (complete.high - complete.low)


def test_each_difference_is_the_plain_one_on_the_cells_of_both() -> None:
    planted = trials([0.6, 0.8, 0.7], stopped=1)
    found = corrected_differences(planted, "macro_f1", baseline=0, repeats=200)
    assert found is not None
    for place, number in enumerate(found.numbers):
        seen = planted.predicted[number] >= 0
        ours, theirs = (
            score("macro_f1", confusion(planted.labels[seen], planted.predicted[at][seen], 4))
            for at in (number, 0)
        )
        assert found.value[place] == pytest.approx(float(ours - theirs))


def test_the_more_trials_are_looked_at_the_wider_the_interval() -> None:
    few, many = (
        corrected_differences(trials([0.7] * n), "balanced_accuracy", baseline=0, noise=0.0)
        for n in (2, 40)
    )
    assert few is not None
    assert many is not None
    width = [one.high[0] - one.low[0] for one in (few, many)]
    # Normal quantiles of one and of 39 comparisons: 1.96 and about 3.2.
    assert 1.3 < width[1] / width[0] < 1.9


def test_a_choice_on_the_same_cells_is_a_look_more_and_is_told() -> None:
    cells = trials([0.7, 0.78, 0.7])
    plain = corrected_differences(cells, "mcc", baseline=0, noise=0.0)
    looked = corrected_differences(cells, "mcc", baseline=0, noise=0.0, more_looks=1)
    assert plain is not None
    assert looked is not None
    np.testing.assert_allclose(looked.value, plain.value)
    assert (looked.high - looked.low > plain.high - plain.low).all()
    np.testing.assert_allclose(looked.p, np.minimum(1.0, 1.5 * plain.p))
    also = ("their ensemble", "the choice of the decision rule")
    said = judge("mcc", None, looked, winner=1, baseline=0, also=also).sentence
    assert "trials looked at and their ensemble and the choice of the decision rule" in said
    assert "decision rule" not in judge("mcc", None, plain, winner=1, baseline=0).sentence


def test_trials_that_were_only_trained_briefly_are_counted_as_looked_at() -> None:
    cells = trials([0.7, 0.78, 0.7])
    looked = corrected_differences(cells, "mcc", baseline=0, noise=0.0, more_looks=7)
    verdict = judge("mcc", None, looked, winner=1, baseline=0, briefly=7)
    assert verdict.trials == 2 + 7
    assert "corrected for the 9 trials looked at" in verdict.sentence
    assert "decision rule" not in verdict.sentence


def test_groups_that_err_together_widen_the_interval() -> None:
    planted = trials([0.7, 0.7])
    groups = rng(1).integers(0, 12, len(planted.labels))
    # Trial 1 is wrong in whole groups.
    table = planted.predicted.copy()
    table[1] = np.where(groups < 3, (planted.labels + 1) % 4, planted.labels)
    cells = replace(planted, predicted=table)
    plain = corrected_differences(cells, "balanced_accuracy", baseline=0, noise=0.0)
    grouped = corrected_differences(
        replace(cells, groups=groups), "balanced_accuracy", baseline=0, noise=0.0
    )
    assert plain is not None
    assert grouped is not None
    assert grouped.high[0] - grouped.low[0] > 2.0 * (plain.high[0] - plain.low[0])


def test_there_is_no_correction_without_a_complete_baseline() -> None:
    planted = trials([0.7, 0.8])
    assert corrected_differences(planted, "accuracy", baseline=7) is None
    unfinished = replace(planted, complete=np.array([False, True]))
    assert corrected_differences(unfinished, "accuracy", baseline=0) is None


def corrected(value: float, low: float, high: float) -> Corrected:
    one = [np.array([x]) for x in (value, low, high, 0.01)]
    return Corrected((3,), *one)


@pytest.mark.parametrize(
    ("hold_out", "oof", "outcome", "says"),
    [
        (
            (0.12, 0.05, 0.19),
            (0.1, 0.04, 0.2),
            "better",
            "baseline's: better by 0.120 (0.050 to",
        ),
        (
            (-0.12, -0.2, -0.05),
            (0.1, 0.04, 0.2),
            "worse",
            "baseline's: worse by 0.120 (0.050 to",
        ),
        ((0.02, -0.05, 0.1), (0.1, -0.04, 0.2), "no evidence", "no evidence that the search help"),
        ((0.02, -0.05, 0.1), (0.1, 0.04, 0.2), "better", "the hold-out is too small to decide"),
        ((-0.02, -0.05, 0.1), (0.1, 0.04, 0.2), "no evidence", "no evidence that the search he"),
    ],
)
def test_the_hold_out_decides(
    hold_out: tuple[float, ...], oof: tuple[float, ...], outcome: str, says: str
) -> None:
    found = judge("balanced_accuracy", Estimate(*hold_out), corrected(*oof), winner=3, baseline=0)
    assert found.outcome == outcome
    assert says in found.sentence
    assert "1 trial looked at" in found.sentence
    assert found.to_dict()["hold_out"]["low"] == hold_out[1]


def test_a_winner_that_is_the_baseline_or_has_none() -> None:
    same = judge("mcc", Estimate(0, 0, 0), None, winner=0, baseline=0)
    assert same.outcome == "no evidence"
    assert "the baseline itself won" in same.sentence
    assert judge("mcc", None, None, winner=3, baseline=None).outcome == "no baseline"


def test_few_cells_that_are_all_right_are_not_certain() -> None:
    labels = np.repeat([0, 1], [3, 4])
    found = bootstrap_intervals(labels, labels, 2)
    for interval in (found.metrics["balanced_accuracy"], found.per_class[0].precision):
        assert interval is not None
        assert interval.low < 0.8
        assert interval.high == 1.0
    pair = compare(labels, labels, np.zeros_like(labels), ("a", "b"))
    gap = pair.differences["balanced_accuracy"]
    assert gap.low < gap.value == 0.5 < gap.high
    assert pair.recalls[1] is not None
    assert pair.recalls[1].value == 1.0
    same = compare(labels, labels, labels, ("a", "b")).differences["accuracy"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_smoothed_draws_keep_the_cells_of_each_class() -> None:
    counts = np.array([[80, 20, 0], [1, 2, 0], [0, 0, 0]])
    draws = smoothed_confusions(counts, repeats=4000, rng=rng())
    np.testing.assert_allclose(draws.sum(axis=2), np.tile([100, 3, 0], (4000, 1)))
    assert draws[:, 0, 0].std() == pytest.approx(np.sqrt(100 * 0.8 * 0.2), rel=0.1)
    np.testing.assert_allclose(draws[:, 0].mean(axis=0), [79.7, 20.2, 0.25], atol=0.4)
    labels = np.repeat([0, 1], 50)
    first, second = labels.copy(), labels.copy()
    first[:20] = 1
    ours, theirs = smoothed_pairs(labels, first, second, 2, repeats=2000, rng=rng())
    gap = score("accuracy", ours) - score("accuracy", theirs)
    # Of 100 cells 20 differ, all in class 0: the paired variance is that of 20 of 50.
    assert gap.std() == pytest.approx(np.sqrt(50 * 0.4 * 0.6) / 100, rel=0.1)


def test_an_interval_holds_its_estimate() -> None:
    draws = rng().normal(0.5, 0.1, 4000)
    found = interval_around(draws, 0.8)
    assert found.low < 0.31
    assert found.high == pytest.approx(0.996, abs=0.02)
    assert interval_around(draws, 1.0).high == 1.0


def test_korn_graubard_is_exact_without_groups_and_wide_with_few() -> None:
    alone = korn_graubard(np.array([1] * 30 + [0] * 10), np.ones(40, np.int64))
    exact = clopper_pearson(30, 40)
    assert (alone.low, alone.high) == pytest.approx((exact.low, exact.high), abs=0.01)
    # Four groups, all right or all wrong, tell no more than four cells.
    torn = korn_graubard(np.array([10, 10, 10, 0]), np.full(4, 10))
    assert torn.high - torn.low > clopper_pearson(3, 4).high - clopper_pearson(3, 4).low
    assert korn_graubard(np.array([5, 5]), np.array([5, 5])).high == 1.0


def test_groups_widen_every_interval_of_an_evaluation() -> None:
    chance = rng(2)
    labels = chance.integers(0, 3, 600)
    groups = group_codes(np.array([f"plate {n}" for n in chance.integers(0, 15, 600)]))
    assert groups is not None
    predicted = np.where(groups % 3 == 0, (labels + 1) % 3, labels)
    plain = evaluate(labels, predicted, ("a", "b", "c"))
    grouped = evaluate(labels, predicted, ("a", "b", "c"), groups=groups)
    assert (plain.intervals.groups, grouped.intervals.groups) == (None, 15)
    for name in ("balanced_accuracy", "macro_f1"):
        ours, theirs = plain.metrics[name], grouped.metrics[name]
        assert theirs.value == ours.value
        assert theirs.high - theirs.low > 2.0 * (ours.high - ours.low)
    ours, theirs = plain.estimate(0, "recall"), grouped.estimate(0, "recall")
    assert ours is not None
    assert theirs is not None
    assert theirs.high - theirs.low > 2.0 * (ours.high - ours.low)


def test_a_class_of_three_cells_is_told_in_cells() -> None:
    labels = np.repeat([0, 1], [40, 3])
    found = evaluate(labels, np.zeros_like(labels), ("common", "rare"))
    text = table(class_table(Figures.model_validate(as_json(found))))
    assert "0 of 3 found: 0-71 %" in text
    assert "0 of 40" not in text


def test_optimism_is_the_difference_of_both_with_both_spreads() -> None:
    gap = optimism_of(Estimate(0.8, 0.77, 0.83), Estimate(0.7, 0.6, 0.78))
    assert gap.value == pytest.approx(0.1)
    assert gap.low == pytest.approx(0.1 - np.hypot(0.03, 0.08))
    assert gap.high == pytest.approx(0.1 + np.hypot(0.03, 0.1))
    assert difference_of((1.0, Interval(1.0, 1.0)), (0.0, Interval(0.0, 0.0)))[0] == 1.0
    labels = np.repeat([0, 1], 20)
    one = evaluate(labels, labels, ("a", "b"))
    assert optimism(one, one)["balanced_accuracy"].value == 0.0


def test_an_ensemble_is_compared_like_a_trial_and_not_counted_as_one() -> None:
    cells = trials([0.7, 0.78, 0.7])
    right = cells.labels.copy()
    looked = corrected_differences(
        cells.with_ensemble(right, folds=5), "mcc", baseline=0, noise=0.0
    )
    assert looked is not None
    assert looked.numbers == (1, 2, ENSEMBLE)
    verdict = judge("mcc", None, looked, winner=ENSEMBLE, baseline=0, also=("their ensemble",))
    assert verdict.outcome == "better"
    assert verdict.trials == 2
