"""One donor tells nothing of others: how many a hold-out has, and what it may claim of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellsearch.card.parts import write_plots
from cellsearch.card.plots import reach
from cellsearch.data.dataset import CellDataset
from cellsearch.data.held_groups import HeldGroups
from cellsearch.data.plan import folds_of
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.stats.comparison import compare
from cellsearch.stats.curves import one_against_rest
from cellsearch.stats.evaluation import CLASS_FIGURES, Estimate, as_json, evaluate
from cellsearch.stats.proportions import share
from cellsearch.tune.findings import optimism
from cellsearch.tune.trial_predictions import TrialPredictions
from cellsearch.tune.verdict import ONE_GROUP, Corrected, corrected_differences, judge

from split_cases import held, noise

CLASSES = ("a", "b")


def donors(count: int, *, seed: int = 0) -> CellDataset:
    """Cells of so many donors, each of which has every class."""
    rng = np.random.default_rng(seed)
    plain = noise((40 * count, 20 * count, 10 * count))
    names = np.concatenate([rng.permutation(np.arange(n) % count) for n in plain.counts])
    return CellDataset.from_arrays(
        plain.images,
        plain.labels,
        classes=plain.classes,
        groups=[f"donor {n:02d}" for n in names],
    )


def groups_in(cells: CellDataset, part: np.ndarray) -> int:
    assert cells.groups is not None
    return len(np.unique(cells.groups[part]))


def drawn(cells: CellDataset, **options: object) -> Splits:
    return draw_splits(cells, duplicates=(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "folds"), [(6, 3), (7, 4), (8, 5), (14, 5), (40, 5)])
def test_three_donors_are_held_out_where_there_are_six(count: int, folds: int) -> None:
    cells = donors(count)
    for seed in range(5):
        splits = drawn(cells, seed=seed)
        assert splits.k == folds
        assert groups_in(cells, splits.holdout) >= 3
        for part in (splits.holdout, *splits.folds):
            assert min(held(cells, part)) >= 1
        found = HeldGroups.of(cells, splits)
        assert found is not None
        assert found.note == ""


def test_folds_that_were_asked_for_are_kept_and_the_price_is_told() -> None:
    cells = donors(6)
    splits = drawn(cells, folds=5)
    assert (splits.k, groups_in(cells, splits.holdout)) == (5, 1)
    found = HeldGroups.of(cells, splits)
    assert found is not None
    assert found.note == (
        "one group is held out: the figures say nothing of other groups; with fewer folds, 3 could "
        "be held out"
    )
    few = donors(4)
    told = HeldGroups.of(few, drawn(few, folds=3))
    assert told is not None
    assert told.note.endswith("with 6 groups, 3 could be held out")


def test_folds_are_five_unless_few_donors_would_leave_none_to_hold_out() -> None:
    names = np.array([f"d{n}" for n in range(7)])
    assert [folds_of(None, names[:n]) for n in (2, 5, 6, 7)] == [5, 5, 3, 4]
    assert folds_of(None, None) == 5
    assert folds_of(5, names[:6]) == 5


def predictions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 40])
    better = np.where(rng.random(100) < 0.9, labels, 1 - labels)
    return labels, better, np.where(rng.random(100) < 0.5, labels, 1 - labels)


def test_figures_of_one_group_have_no_interval() -> None:
    labels, better, worse = predictions()
    one = np.zeros(100, np.int64)
    found = compare(labels, better, worse, CLASSES, groups=one)
    alone = [
        *found.winner.metrics.values(),
        *(found.winner.estimate(k, name) for k in (0, 1) for name in CLASS_FIGURES),
        *found.differences.values(),
        *found.recalls,
        *compare(labels, better, better, CLASSES, groups=one).differences.values(),
        *optimism(evaluate(labels, better, CLASSES), found.winner).values(),
        share(better == labels, one),
    ]
    assert len(alone) > 30
    assert all(each is not None and each.interval is None for each in alone)
    assert as_json(found.winner)["metrics"]["accuracy"]["low"] is None
    p = np.column_stack([1.0 - better, better]).astype(np.float32)
    curve = one_against_rest(labels, p, CLASSES, groups=one).classes[0]
    assert curve.roc_auc.interval is None
    assert 0.5 < curve.roc_auc.value < 1.0
    two = compare(labels, better, worse, CLASSES, groups=np.arange(100) % 2)
    assert two.differences["accuracy"].interval is not None


def test_a_class_that_one_of_several_groups_has_gets_no_interval_of_recall() -> None:
    labels, better, _ = predictions()
    groups = np.where(labels == 1, 0, np.arange(100) % 3)
    found = evaluate(labels, better, CLASSES, groups=groups)
    common, rare = (found.estimate(k, "recall") for k in (0, 1))
    assert common is not None
    assert rare is not None
    assert common.interval is not None
    assert rare.interval is None


def corrected(value: float, low: float, high: float) -> Corrected:
    return Corrected((3,), *(np.array([x]) for x in (value, low, high, 0.01)))


def test_one_group_held_out_decides_nothing() -> None:
    gap = Estimate(0.4, None, None)
    for sure, outcome in ((corrected(0.1, 0.04, 0.2), "better"), (None, "no evidence")):
        found = judge("mcc", gap, sure, winner=3, baseline=0)
        assert found.outcome == outcome
        assert found.hold_out is None
        assert ONE_GROUP in found.sentence
        assert "0.400" not in found.sentence
    # A hold-out that may not speak speaks against nothing either.
    against = judge(
        "mcc", Estimate(-0.4, None, None), corrected(0.1, 0.04, 0.2), winner=3, baseline=0
    )
    assert against.outcome == "better"
    unsure = judge("mcc", gap, corrected(0.1, -0.04, 0.2), winner=3, baseline=0)
    assert unsure.outcome == "no evidence"
    assert "out-of-fold" in unsure.sentence
    assert ONE_GROUP in unsure.sentence


def test_validation_cells_of_one_group_correct_nothing() -> None:
    labels, better, worse = predictions()
    trials = TrialPredictions(
        (0, 1),
        np.ones(2, bool),
        labels,
        np.stack([worse, better]),
        np.ones(2, np.int64),
        CLASSES,
        np.ones(2, bool),
    )
    assert corrected_differences(trials, "accuracy", baseline=0) is not None
    for groups, some in ((np.zeros(100, np.int64), False), (np.arange(100) % 4, True)):
        grouped = TrialPredictions(**vars(trials) | {"groups": groups})
        assert (corrected_differences(grouped, "accuracy", baseline=0) is not None) is some


def test_figures_without_interval_are_drawn_without_bars(tmp_path: Path) -> None:
    labels, better, worse = predictions()
    pair = compare(labels, better, worse, CLASSES, groups=np.zeros(100, np.int64))
    assert write_plots(tmp_path / "plots", [], pair, pair)
    assert not reach(list(pair.winner.metrics.values())).any()
    assert reach([Estimate(0.5, 0.4, 0.7), Estimate(0.5, 0.52, 0.6)]).round(3).tolist() == [
        [0.1, 0.0],
        [0.2, 0.1],
    ]
