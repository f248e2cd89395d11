"""Which class a cell is given: the rule by hand, its priors, and the tau that a study chooses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import RunError
from cellsearch.learn.fit import fit
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.losses import class_weights
from cellsearch.space.recipe import Augment, Balance, CnnModel, Loss, Recipe, Train
from cellsearch.stats.decision import (
    LEAST_PRIOR,
    TAUS,
    Decision,
    FoldOutput,
    Priors,
    chosen_tau,
    cross_fitted_taus,
    decided,
    fixed_tau,
    margin,
    usual_tau,
)
from cellsearch.stats.metrics import METRICS, Metric, confusion, score
from cellsearch.tune.pool import Pool
from cellsearch.tune.rule import DECISION_FILE, StudyRule

PRIOR = Priors((0.9, 0.1), (0.9, 0.1))
WEIGHTED = Priors((0.5, 0.5), (0.9, 0.1))


# -- the rule


def test_balanced_divides_by_the_prior_by_hand() -> None:
    p = np.array([[0.85, 0.15], [0.91, 0.09], [0.6, 0.4]])
    # 0.85 / 0.9 = 0.944 against 0.15 / 0.1 = 1.5; 0.91 / 0.9 = 1.011 against 0.9.
    assert decided(p, Decision(1.0, PRIOR)).tolist() == [1, 0, 1]
    assert decided(p, Decision(0.0, PRIOR)).tolist() == [0, 0, 0]
    assert decided(p, None).tolist() == [0, 0, 0]
    # Half way 0.85 / sqrt(0.9) = 0.896 against 0.15 / sqrt(0.1) = 0.474.
    assert decided(p, Decision(0.5, PRIOR)).tolist() == [0, 0, 1]


def test_natural_takes_weights_back() -> None:
    p = np.array([[0.2, 0.8], [0.05, 0.95]])
    # Trained for halves: 0.2 x 0.9 / 0.5 = 0.36 against 0.8 x 0.1 / 0.5 = 0.16.
    assert decided(p, Decision(0.0, WEIGHTED)).tolist() == [0, 1]
    assert decided(p, Decision(1.0, WEIGHTED)).tolist() == [1, 1]


def test_weights_make_no_difference_where_the_posterior_is_exact() -> None:
    rng = np.random.default_rng(0)
    likelihood = rng.random((500, 3)) + 0.01
    natural = np.array([0.8, 0.15, 0.05])
    for effective in ([1 / 3] * 3, [0.6, 0.3, 0.1], natural):
        p = likelihood * effective / (likelihood * effective).sum(axis=1, keepdims=True)
        for tau in TAUS:
            rule = Decision(tau, Priors(tuple(effective), tuple(natural)))
            np.testing.assert_array_equal(
                decided(p, rule), (likelihood * natural ** (1.0 - tau)).argmax(axis=1)
            )


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 3.0, 10.0])
def test_a_temperature_changes_no_decision(temperature: float) -> None:
    p = np.random.default_rng(1).dirichlet((0.6, 0.4, 0.3), 400)
    logs = np.log(np.maximum(p, 1e-12)) / temperature
    hot = np.exp(logs - logs.max(axis=1, keepdims=True))
    hot /= hot.sum(axis=1, keepdims=True)
    rule = Decision(1.0, Priors((0.7, 0.25, 0.05), (0.7, 0.25, 0.05)))
    clear = margin(p, rule) > 1e-6
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(
        decided(hot, rule, temperature=temperature)[clear], decided(p, rule)[clear]
    )


def test_a_probability_of_nothing_is_finite_and_never_wins() -> None:
    p = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]], np.float32)
    rule = Decision(1.0, Priors((0.999998, 1e-6, 1e-6), (0.999998, 1e-6, 1e-6)))
    with np.errstate(all="raise"):
        assert decided(p, rule).tolist() == [0, 1, 1]


def test_a_class_without_training_cells_is_never_given() -> None:
    rule = Decision(0.5, Priors((0.7, 0.3, 0.0), (0.6, 0.4, 0.0)))
    p = np.array([[0.1, 0.1, 0.8], [0.0, 0.0, 1.0]])
    assert not (decided(p, rule) == 2).any()


def test_equal_scores_give_the_first_class() -> None:
    even = Decision(1.0, Priors((0.25,) * 4, (0.25,) * 4))
    assert decided(np.full((2, 4), 0.25), even).tolist() == [0, 0]
    assert margin(np.full((2, 4), 0.25), even).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.2, -0.2), (float("nan"), 1.0), (0.5,)])
def test_priors_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="effective"):
        Priors(shares, (0.5, 0.5))
    with pytest.raises(ValueError, match="tau: expected 0 to 1"):
        Decision(1.5, PRIOR)


# -- priors


def test_the_effective_prior_is_cells_in_an_epoch_times_weight() -> None:
    cells, epoch = np.array([90, 10, 0]), np.array([90, 30, 0])
    weights = np.array([0.5, 2.0, 0.0])
    found = Priors.of(cells, epoch, weights)
    assert found.effective == pytest.approx((45 / 105, 60 / 105, 0.0))
    assert found.natural == pytest.approx((0.9, 0.1, 0.0))
    with pytest.raises(ValueError, match="at least one cell"):
        Priors.of(np.zeros(2, int), np.zeros(2, int), np.ones(2))


@pytest.mark.parametrize("weighting", ["none", "sqrt", "inv", "effective"])
def test_the_mean_prediction_of_cross_entropy_is_the_prior_by_counts(weighting: str) -> None:
    counts = np.array([60, 30, 10])
    weights = class_weights(counts, Loss(weighting=weighting))  # type: ignore[arg-type]
    priors = Priors.of(counts, counts, weights)
    labels = np.repeat(np.arange(3), counts)
    values = torch.randn((100, 4), generator=torch.Generator().manual_seed(0))
    values[:, 0] += torch.from_numpy(labels)
    dense = torch.nn.Linear(4, 3)
    optimiser = torch.optim.LBFGS(dense.parameters(), max_iter=200, tolerance_grad=1e-9)
    truth, each = torch.from_numpy(labels), torch.from_numpy(weights)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        ce = torch.nn.functional.cross_entropy(dense(values), truth, reduction="none")
        total = (ce * each[truth]).mean()
        total.backward()
        return total

    for _ in range(5):
        optimiser.step(loss)
    p = dense(values).softmax(dim=1).detach().numpy()
    assert priors.estimated(labels, p).effective == pytest.approx(priors.effective, abs=2e-3)


def test_label_smoothing_is_seen_in_the_estimate() -> None:
    labels = np.repeat([0, 1], [90, 10])
    smoothed = np.eye(2)[labels] * 0.8 + 0.1
    found = PRIOR.estimated(labels, smoothed)
    assert found.effective == pytest.approx((0.9 * 0.9 + 0.1 * 0.1, 0.9 * 0.1 + 0.1 * 0.9))
    assert found.natural == PRIOR.natural
    never = PRIOR.estimated(labels, np.tile([1.0, 0.0], (100, 1)))
    assert never.effective[1] == pytest.approx(LEAST_PRIOR)


SMALL = CnnModel(depth=1, width=8, kernel=(3,), head_layers=0, head=())


def recipe(**changes: object) -> Recipe:
    return Recipe(**({"model": SMALL, "train": Train(batch_size=32, epochs=1)} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "effective"),
    [
        ({}, (50, 30, 10)),
        ({"loss": Loss(weighting="inv")}, (1, 1, 1)),
        ({"loss": Loss(weighting="sqrt")}, (50**0.5, 30**0.5, 10**0.5)),
        ({"balance": Balance(method="over")}, (1, 1, 1)),
        ({"balance": Balance(method="over"), "loss": Loss(weighting="inv")}, (1, 1, 1)),
        ({"augment": Augment(mixup=0.4)}, (50, 30, 10)),
    ],
)
def test_fit_tells_what_its_epochs_held(
    tiny_dataset: CellDataset, changes: dict[str, object], effective: tuple[float, ...]
) -> None:
    counts = tiny_dataset.counts
    assert counts.tolist() == [50, 30, 10]
    found = fit(recipe(**changes), tiny_dataset, np.arange(90), seed=0, device="cpu").priors
    assert found is not None
    assert found.effective == pytest.approx(np.array(effective) / sum(effective), abs=1e-6)
    assert found.natural == pytest.approx(counts / 90)


@pytest.mark.parametrize("loss", [Loss(kind="focal", gamma=2.0), Loss(label_smoothing=0.2)])
def test_a_bent_prior_is_estimated_from_training_cells(
    tiny_dataset: CellDataset, loss: Loss
) -> None:
    own = np.arange(0, 90, 2)
    predictor = fit(recipe(loss=loss), tiny_dataset, own, seed=0, device="cpu")
    labels = tiny_dataset.labels[own]
    counts = np.bincount(labels, minlength=3)
    by_counts = Priors.of(counts, counts, np.ones(3))
    expected = by_counts.estimated(labels, predictor.predict_proba(tiny_dataset, own))
    assert predictor.priors is not None
    assert predictor.priors.effective == pytest.approx(expected.effective, abs=1e-6)
    assert predictor.priors.effective != pytest.approx(by_counts.effective, abs=1e-4)
    assert predictor.priors.natural == pytest.approx(by_counts.natural)


def test_weights_and_none_decide_alike_for_balanced_classes() -> None:
    """Logistic regression on a toy: the rule makes class weights nearly superfluous."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    counts = np.array([900, 90, 30])
    labels = np.repeat(np.arange(3), counts)
    values = rng.normal(size=(len(labels), 4)) + 1.5 * np.eye(3, 4)[labels]
    given, plain = {}, {}
    for name in ("none", "inv"):
        weights = class_weights(counts, Loss(weighting=name))  # type: ignore[arg-type]
        model = LogisticRegression(C=100.0).fit(values, labels, sample_weight=weights[labels])
        p = model.predict_proba(values)
        given[name] = decided(p, Decision(1.0, Priors.of(counts, counts, weights)))
        plain[name] = p.argmax(axis=1)
    assert (given["none"] == given["inv"]).mean() > 0.95
    assert (plain["none"] == plain["inv"]).mean() < 0.9
    recall = {
        name: float(score("balanced_accuracy", confusion(labels, called, 3)))
        for name, called in given.items()
    }
    assert recall["none"] == pytest.approx(recall["inv"], abs=0.02)
    assert recall["none"] > float(score("balanced_accuracy", confusion(labels, plain["none"], 3)))


def test_priors_of_an_ensemble_are_their_mean() -> None:
    found = Priors.mean([PRIOR, WEIGHTED])
    assert found.effective == pytest.approx((0.7, 0.3))
    assert found.natural == pytest.approx((0.9, 0.1))


def test_a_fold_keeps_its_priors_and_an_old_one_has_none(tmp_path: Path) -> None:
    plain = FoldResult(0, np.array([7]), np.full((1, 2), 0.5, np.float32), 1.0, 1.0, 1, ())
    replace(plain, priors=WEIGHTED).save(tmp_path / "new.npz")
    plain.save(tmp_path / "old.npz")
    assert FoldResult.load(tmp_path / "new.npz").priors == WEIGHTED
    assert FoldResult.load(tmp_path / "old.npz").priors is None


# -- what a study chooses


def outputs(seed: int, folds: int = 4) -> list[FoldOutput]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(folds):
        labels = np.repeat([0, 1], [90, 10])
        raised = rng.normal(size=(100, 2)) + 1.2 * np.eye(2)[labels] + np.log(PRIOR.natural)
        p = np.exp(raised) / np.exp(raised).sum(axis=1, keepdims=True)
        found.append(FoldOutput(labels, p, PRIOR))
    return found


def test_every_metric_says_its_tau_or_leaves_it_to_the_study() -> None:
    said = {metric: fixed_tau(metric) for metric in METRICS}
    assert said == {
        "balanced_accuracy": 1.0,
        "accuracy": 0.0,
        "weighted_f1": 0.0,
        "macro_f1": None,
        "mcc": None,
        "worst_recall": None,
    }
    assert all(usual_tau(metric) in TAUS for metric in METRICS)


@pytest.mark.parametrize("metric", ["macro_f1", "mcc", "worst_recall"])
def test_the_chosen_tau_scores_best(metric: Metric) -> None:
    folds = outputs(0)
    reached = {
        tau: float(
            score(
                metric,
                sum(
                    confusion(each.labels, decided(each.probabilities, Decision(tau, PRIOR)), 2)
                    for each in folds
                ),
            )
        )
        for tau in TAUS
    }
    assert reached[chosen_tau(metric, folds)] == max(reached.values())
    assert chosen_tau(metric, []) == usual_tau(metric)


@pytest.mark.parametrize("metric", ["macro_f1", "mcc", "worst_recall"])
def test_a_folds_tau_never_uses_its_own_cells(metric: Metric) -> None:
    folds = outputs(1)
    before = cross_fitted_taus(metric, folds)
    for at, fold in enumerate(folds):
        turned = [*folds]
        turned[at] = replace(fold, labels=1 - fold.labels)
        assert cross_fitted_taus(metric, turned)[at] == before[at]
    assert before == tuple(
        chosen_tau(metric, folds[:at] + folds[at + 1 :]) for at in range(len(folds))
    )


def test_labels_dealt_out_gain_nothing_by_a_chosen_tau() -> None:
    gains = {"other folds": [], "own cells": []}
    for seed in range(120):
        rng = np.random.default_rng(seed)
        folds = [replace(each, labels=rng.permutation(each.labels)) for each in outputs(seed)]
        chosen = {
            "other folds": cross_fitted_taus("mcc", folds),
            "own cells": (chosen_tau("mcc", folds),) * 4,
        }
        for name, taus in chosen.items():
            counts = np.zeros((2, 2), np.int64)
            for tau, each in zip(taus, folds, strict=True):
                called = decided(each.probabilities, Decision(tau, each.priors))
                counts += confusion(each.labels, called, 2)
            gains[name].append(float(score("mcc", counts)))
    honest = np.array(gains["other folds"])
    error = honest.std() / len(honest) ** 0.5
    assert abs(honest.mean()) < 2.5 * error
    assert np.mean(gains["own cells"]) > 3 * error


def test_a_class_without_figures_draws_no_cells_away() -> None:
    shares = (0.6, 0.395, 0.005)
    priors = Priors(shares, shares)
    p = np.array([[0.55, 0.43, 0.02], [0.3, 0.1, 0.6]])
    assert decided(p, Decision(1.0, priors)).tolist() == [2, 2]
    # 0.43 / 0.395 x 0.4975 = 0.542 against 0.456, and 0.02 / 0.005 x 0.005 = 0.02.
    assert decided(p, Decision(1.0, priors, (2,))).tolist() == [1, 2]
    natural = decided(p, Decision(0.0, priors, (2,)))
    np.testing.assert_array_equal(natural, decided(p, Decision(0.0, priors)))
    rule = StudyRule.of("balanced_accuracy", 4, np.array([True, True, False]))
    assert rule.decision([priors]) == Decision(1.0, priors, (2,))
    with pytest.raises(ValueError, match="natural_always: expected positions"):
        Decision(1.0, priors, (3,))


def results(folds: list[FoldOutput]) -> tuple[list[FoldResult], np.ndarray]:
    found, at = [], 0
    for number, each in enumerate(folds):
        cells = np.arange(at, at + len(each.labels))
        at += len(cells)
        p = np.asarray(each.probabilities, np.float32)
        found.append(FoldResult(number, cells, p, 1.0, 1.0, 1, (), priors=each.priors))
    return found, np.concatenate([each.labels for each in folds])


class Cells:
    """What a pool asks of a data set and its splits."""

    def __init__(self, labels: np.ndarray, k: int) -> None:
        self.labels, self.classes, self.k, self.not_estimable = labels, ("a", "b"), k, ()
        self.groups = None


def pool_of(metric: Metric, labels: np.ndarray, folder: Path) -> Pool:
    cells = Cells(labels, 4)
    rule = StudyRule.of(metric, 4, np.ones(2, bool))
    return Pool(cells, cells, metric=metric, run_folder=folder, rule=rule)  # type: ignore[arg-type]


def test_a_study_chooses_once_on_its_first_whole_trial(tmp_path: Path) -> None:
    found, labels = results(outputs(2))
    pool = pool_of("mcc", labels, tmp_path)
    assert not pool.rule.settled
    pool.settle(found[:3], trial=0)
    assert not pool.rule.settled
    pool.settle(found, trial=0)
    first = pool.rule
    assert (first.settled, first.chosen_on, first.looks) == (True, 0, 1)
    assert first.taus == cross_fitted_taus("mcc", outputs(2))
    assert StudyRule.load(tmp_path) == first
    others, _ = results([replace(each, labels=1 - each.labels) for each in outputs(3)])
    pool.settle(others, trial=1)
    assert pool.rule == first


def test_a_metric_that_says_its_tau_is_no_look(tmp_path: Path) -> None:
    found, labels = results(outputs(2))
    pool = pool_of("balanced_accuracy", labels, tmp_path)
    pool.settle(found, trial=0)
    assert pool.rule.looks == 0
    assert not (tmp_path / DECISION_FILE).exists()
    matrix = pool.confusion(found)
    by_hand = np.zeros((2, 2), int)
    for fold in found:
        called = (fold.probabilities / PRIOR.effective).argmax(axis=1)
        by_hand += confusion(labels[fold.cells], called, 2)
    np.testing.assert_array_equal(matrix, by_hand)


def test_runs_of_older_versions_keep_the_greatest_probability(tmp_path: Path) -> None:
    found, _ = results(outputs(2))
    rule = StudyRule.load(tmp_path)
    for fold in found:
        np.testing.assert_array_equal(rule.decided(fold), fold.probabilities.argmax(axis=1))
    assert rule.decision([PRIOR]) is None
    assert rule.looks == 0
    # A fold without priors, in a run that has a rule.
    old = replace(found[0], priors=None)
    new = StudyRule.of("balanced_accuracy", 4, np.ones(2, bool))
    np.testing.assert_array_equal(new.decided(old), old.probabilities.argmax(axis=1))
    assert new.decision([PRIOR, None]) is None
    assert new.decision([PRIOR, WEIGHTED]) == Decision(1.0, Priors.mean([PRIOR, WEIGHTED]))


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"taus": 3}), json.dumps({"x": 1})])
def test_a_damaged_rule_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / DECISION_FILE).write_text(text)
    with pytest.raises(RunError, match=r"decision\.json is damaged"):
        StudyRule.load(tmp_path)
