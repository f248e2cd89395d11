"""When a trial is stopped, and when it must not be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsearch.stats.metrics import METRICS, Metric
from cellsearch.tune.race import TRAINING_NOISE, Rule, Verdict, look

COUNTS = (400, 100, 20, 3)
K = len(COUNTS)
LABELS = np.repeat(np.arange(K), COUNTS).astype(np.int64)


def with_errors(rate: float, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(LABELS)) < rate
    return np.where(wrong, (LABELS + 1) % K, LABELS).astype(np.int64)


def judged(
    best: NDArray[np.int64],
    candidate: NDArray[np.int64],
    metric: str = "balanced_accuracy",
    *,
    groups: NDArray[np.int64] | None = None,
    rule: Rule | None = None,
) -> Verdict:
    return look(
        LABELS, best, candidate, K, metric=metric, folds=1, looks=4, groups=groups, rule=rule
    )


@pytest.mark.parametrize("metric", METRICS)
def test_a_much_worse_trial_is_stopped_by_every_metric(metric: str) -> None:
    verdict = judged(with_errors(0.05, 1), with_errors(0.8, 2), metric)
    assert verdict.stop
    assert verdict.candidate < verdict.best
    assert verdict.probability < 0.0125
    assert verdict.cells == len(LABELS)


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_or_a_better_trial_is_not(metric: str) -> None:
    worse, better = with_errors(0.3, 1), with_errors(0.05, 2)
    assert not judged(worse, worse, metric).stop
    assert not judged(worse, better, metric).stop


def test_three_cells_of_a_rare_class_do_not_decide() -> None:
    best = LABELS.copy()
    candidate = np.where(LABELS == 3, 0, LABELS)
    lone = judged(best, candidate)
    assert lone.best - lone.candidate == pytest.approx(0.25), "a quarter of the score is lost"
    assert not lone.stop
    many = np.where(LABELS == 0, 1, LABELS)
    assert judged(best, many).stop, "the same loss over 400 cells does"


def test_a_loss_in_one_donor_stops_no_trial_that_others_could_tell_of() -> None:
    best = with_errors(0.05, 1)
    donors = np.arange(len(LABELS)) % 6
    candidate = np.where(donors == 0, with_errors(1.0, 2), best)
    assert judged(best, candidate, "accuracy").stop
    for groups in (donors, np.zeros(len(LABELS), np.int64)):
        found = judged(best, candidate, "accuracy", groups=groups)
        assert not found.stop
        assert found.best - found.candidate > 0.1
    assert judged(best, with_errors(0.8, 3), "accuracy", groups=donors).stop


def test_a_loss_within_the_margin_is_never_enough() -> None:
    labels = np.zeros(200_000, dtype=np.int64)
    candidate = np.zeros_like(labels)
    candidate[:1600] = 1
    rule = Rule(training_noise=0.0)
    verdict = look(labels, labels, candidate, 2, metric="accuracy", folds=1, looks=1, rule=rule)
    assert not verdict.stop
    candidate[:2400] = 1
    verdict = look(labels, labels, candidate, 2, metric="accuracy", folds=1, looks=1, rule=rule)
    assert verdict.stop


@pytest.mark.parametrize("metric", METRICS)
def test_the_noise_of_training_is_that_of_the_metric(metric: Metric) -> None:
    best, candidate = with_errors(0.1, 1), with_errors(0.2, 2)
    own = Rule(training_noise=TRAINING_NOISE[metric])
    found = judged(best, candidate, metric)
    assert found == judged(best, candidate, metric, rule=own)
    assert found != judged(best, candidate, metric, rule=Rule(training_noise=0.3))


def test_more_looks_ask_for_more_certainty() -> None:
    best, candidate = with_errors(0.1, 1), with_errors(0.25, 2)
    probability = judged(best, candidate).probability
    assert 0.0 < probability < 0.2
    for looks, stop in ((1, True), (1000, False)):
        rule = Rule(alpha=probability * 1.5)
        verdict = look(
            LABELS,
            best,
            candidate,
            K,
            metric="balanced_accuracy",
            folds=1,
            looks=looks,
            rule=rule,
        )
        assert verdict.stop is stop


def test_a_class_that_is_not_estimable_does_not_count() -> None:
    best = LABELS.copy()
    candidate = np.where(LABELS == 0, 1, LABELS)
    without = np.array([False, True, True, True])
    verdict = look(
        LABELS, best, candidate, K, metric="balanced_accuracy", folds=1, looks=4, classes=without
    )
    assert (verdict.best, verdict.candidate) == (1.0, 1.0)
    assert not verdict.stop


def test_a_restart_decides_the_same() -> None:
    best, candidate = with_errors(0.1, 1), with_errors(0.2, 2)
    assert judged(best, candidate) == judged(best, candidate)


def test_pairing_on_cells_sees_more_than_the_scores() -> None:
    """Two pairs with the same two scores: where errors are shared, the loss is surer."""
    labels = np.repeat([0, 1], 100).astype(np.int64)
    best, nested = labels.copy(), labels.copy()
    best[:40] = 1
    nested[:60] = 1
    apart = labels.copy()
    apart[40:100] = 1
    rule = Rule(training_noise=0.0)
    chances = [
        look(labels, best, candidate, 2, metric="accuracy", folds=1, looks=1, rule=rule).probability
        for candidate in (nested, apart)
    ]
    assert chances[0] < chances[1]


def test_the_reason_is_a_sentence_with_both_figures() -> None:
    verdict = Verdict(True, 0.41, 0.58, 0.0004, 2532)
    reason = verdict.reason(folds=2, k=5, metric="balanced_accuracy", against=3)
    assert reason == (
        "after fold 2 of 5: balanced accuracy 0.410 against 0.580 of trial 3 on the same "
        "2,532 cells; P(not worse) < 0.001"
    )
