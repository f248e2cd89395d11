"""Trials are joined where that is better, judged on folds that had no part in the choice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import cellsearch
from cellsearch.audit.evidence import gather
from cellsearch.audit.outcome import calibration
from cellsearch.card.card import load_card
from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import CONFIG
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.transfer import read_backbone
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import read_record, write_record
from cellsearch.run.search import SearchResult, resume
from cellsearch.run.warm_start import network_recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.decision import Decision, Priors, aimed_at, decided, natural_again
from cellsearch.stats.log_loss import class_shares
from cellsearch.tune.ensemble import (
    MOST_MEMBERS,
    Candidates,
    Choice,
    Ensemble,
    join_trials,
    joined_probabilities,
    picked,
)
from cellsearch.tune.job import fold_path

from conftest import squares

FOLDS = 5
NATURAL = Priors((0.7, 0.2, 0.1), (0.7, 0.2, 0.1))


def pool_of(true: NDArray[np.float64], labels: NDArray[np.int64], k: int = 3) -> Candidates:
    """Trials that give the true class these probabilities, and the next class the rest."""
    aimed = np.zeros((*true.shape, k), np.float32)
    cells = np.arange(len(labels))
    aimed[:, cells, labels] = true
    aimed[:, cells, (labels + 1) % k] = 1.0 - true
    return Candidates(
        numbers=tuple(range(len(true))),
        labels=labels,
        cells=cells,
        fold=cells % FOLDS,
        aimed=aimed,
        decisions=(Decision(1.0, NATURAL),) * FOLDS,
        shares=class_shares(labels, np.ones(k, bool)),
    )


def joined(pool: Candidates, seed: int = 0) -> Ensemble:
    classes = ("common", "less", "rare")
    known = np.ones(3, bool)
    return join_trials(pool, "balanced_accuracy", classes, estimable=known, seed=seed)


def labels_of(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.choice(3, count, p=NATURAL.natural).astype(np.int64)


def test_trials_that_err_on_other_cells_are_joined_and_better() -> None:
    rng = np.random.default_rng(0)
    labels = labels_of(400, rng)
    half = rng.random(400) < 0.5
    sure, unsure = 0.9, 0.4
    first = np.where(half, sure, unsure)
    second = np.where(half, unsure, sure)
    copy_of_first = np.where(half, sure - 0.01, unsure - 0.01)
    found = joined(pool_of(np.stack([first, copy_of_first, second]), labels))
    assert {each.trial for each in found.members} >= {0, 2}
    assert sum(each.weight for each in found.members) == pytest.approx(1.0)
    assert (found.predictions.predicted == labels).all()
    assert found.gain.estimate.low > 0.1
    assert found.accepted


def test_one_trial_that_is_best_everywhere_is_left_alone() -> None:
    rng = np.random.default_rng(1)
    labels = labels_of(400, rng)
    good = np.where(rng.random(400) < 0.9, 0.9, 0.2)
    found = joined(pool_of(np.stack([good, good - 0.15, good - 0.2]), labels))
    assert not found.accepted
    assert found.gain.estimate.value == pytest.approx(0.0, abs=0.02)


def test_at_most_three_trials_are_joined_and_the_heaviest_comes_first() -> None:
    rng = np.random.default_rng(2)
    labels = labels_of(600, rng)
    true = np.where(rng.random((8, 600)) < 0.6, 0.8, 0.3)
    found = joined(pool_of(true, labels))
    weights = [each.weight for each in found.members]
    assert len(weights) == MOST_MEMBERS
    assert weights == sorted(weights, reverse=True)


def test_trials_of_pure_chance_gain_nothing_by_being_chosen() -> None:
    gains, optimism, accepted = [], [], 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = labels_of(150, rng)
        found = joined(pool_of(rng.random((12, 150)), labels), seed=seed)
        gains.append(found.gain.estimate.value)
        optimism.append(found.optimism)
        accepted += found.accepted
    assert abs(np.mean(gains)) < 0.03
    # The choice itself is flattered on the cells that it was made by, which is what is avoided.
    assert np.mean(optimism) > 0.02
    assert accepted <= 4


def test_a_bag_may_be_empty() -> None:
    shares = picked(np.full((1, 10), 0.5), np.full(10, 0.1), 3, seed=0)
    np.testing.assert_allclose(shares, [1.0])


def test_probabilities_come_back_from_the_mix_that_decisions_aim_at() -> None:
    rng = np.random.default_rng(3)
    for tau in (0.0, 0.5, 1.0):
        decision = Decision(tau, NATURAL)
        given = rng.dirichlet(np.ones(3), 50)
        there = aimed_at(given, decision)
        np.testing.assert_allclose(natural_again(there, decision), given, atol=1e-9)
        np.testing.assert_array_equal(there.argmax(axis=1), decided(given, decision))


def test_members_of_other_training_priors_are_averaged_as_equals() -> None:
    rng = np.random.default_rng(4)
    posterior = rng.dirichlet(np.ones(3), 40)  # under an even mix of classes
    weighted = Priors((1 / 3, 1 / 3, 1 / 3), NATURAL.natural)
    natural = posterior * np.array(NATURAL.natural)
    natural /= natural.sum(axis=1, keepdims=True)
    decisions = [Decision(1.0, weighted), Decision(1.0, NATURAL)]
    found = joined_probabilities(
        [posterior.astype(np.float32), natural.astype(np.float32)],
        [0.5, 0.5],
        decisions,
        Decision(1.0, NATURAL),
    )
    np.testing.assert_allclose(found, natural, atol=1e-5)


def test_a_choice_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Choice.load(tmp_path) is None
    rng = np.random.default_rng(5)
    labels = labels_of(100, rng)
    choice = Choice.of(joined(pool_of(rng.random((3, 100)), labels)))
    choice.save(tmp_path)
    assert Choice.load(tmp_path) == choice
    (tmp_path / "ensemble.json").write_text('{"members": 3}')
    with pytest.raises(RunError, match=r"ensemble\.json is damaged"):
        Choice.load(tmp_path)


@pytest.mark.parametrize(("older", "now"), [("refit", "single"), ("ensemble", "folds")])
def test_runs_of_older_versions_say_their_final_model(older: str, now: str) -> None:
    assert RunConfig.of(dataset="demo", final=older).final == now


# -- a whole run


SPACE = {
    "name": "two",
    "parameters": {"model.width": 8, "model.depth": 1, "train.epochs": 1},
    "initial": [
        {"model.family": "logreg", "model.features": "measured"},
        {"model.family": "cnn"},
    ],
}


def taught(result: SearchResult, cells: CellDataset, folder: Path, *, final: str = "best") -> None:
    """A copy of a run before its hold-out was scored, in which two trials err on other cells.

    Their folds' files say so: what is tested is what a run makes of its folds.
    """
    shutil.copytree(result.folder, folder)
    shutil.rmtree(folder / "card")
    (folder / "holdout.json").unlink()
    (folder / "ensemble.json").unlink(missing_ok=True)
    record = read_record(folder)
    config = record.config.model_copy(update={"final": final})
    write_record(folder, record.model_copy(update={"state": "searching", "config": config}))
    rng = np.random.default_rng(0)
    for fold in range(2):
        path = fold_path(folder, 1, fold)
        known = FoldResult.load(path).cells
        sure = rng.random(len(known)) < 0.5
        for trial, knows in ((0, rng.random(len(known)) < 0.3), (1, sure), (2, ~sure)):
            place = fold_path(folder, trial, fold)
            result_of = FoldResult.load(place)
            k = result_of.probabilities.shape[1]
            given = np.full((len(known), k), 0.08, np.float32)
            true = cells.labels[known]
            wrong = (true + 1) % k
            rows = np.arange(len(known))
            given[rows, np.where(knows, true, wrong)] += np.where(knows, 3.0, 0.1)
            given /= given.sum(axis=1, keepdims=True)
            replace(result_of, probabilities=given).save(place)


@pytest.fixture(scope="module")
def two_trials(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, CellDataset]:
    cells = squares((40, 24, 16))
    result = cellsearch.search(
        cells,
        SearchSpace.from_dict(SPACE),
        out=tmp_path_factory.mktemp("ensemble") / "run",
        budget=3,
        folds=2,
        backend="local",
        threads=1,
        race=False,
        ladder=False,
    )
    return result, cells


@pytest.fixture(scope="module")
def joined_run(
    two_trials: tuple[SearchResult, CellDataset], tmp_path_factory: pytest.TempPathFactory
) -> SearchResult:
    folder = tmp_path_factory.mktemp("joined") / "run"
    taught(*two_trials, folder)
    return resume(folder)


@pytest.mark.slow
def test_the_card_of_an_ensemble_holds_all_its_models_in_one_graph(
    joined_run: SearchResult,
) -> None:
    card = joined_run.card
    assert card is not None
    config = card.config
    assert {each.trial for each in config.ensemble} >= {1, 2}
    assert config.members == len(config.ensemble)
    assert (config.onnx.input, config.onnx.features) == ("image", "features")
    assert card.verify().largest_difference < 1e-5
    found = card.figures.ensemble
    assert found is not None
    assert found.accepted
    assert found.gain.low > 0.0
    text = (card.folder / "README.md").read_text()
    assert found.sentence in text
    assert f"are {config.members} models of different recipes, joined" in text


@pytest.mark.slow
def test_the_card_gives_what_its_members_give(joined_run: SearchResult) -> None:
    assert joined_run.card is not None
    card = load_card(joined_run.card.folder)
    images = np.load(card.folder / "test_input.npy")
    again = np.concatenate([card.predict(images[:1]), card.predict(images[1:])])
    np.testing.assert_allclose(again, np.load(card.folder / "test_output.npy"), atol=1e-6)
    np.testing.assert_allclose(again.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.slow
def test_the_verdict_counts_the_ensemble_as_a_look(joined_run: SearchResult) -> None:
    assert joined_run.card is not None
    verdict = joined_run.card.figures.verdict
    assert verdict is not None
    assert verdict.trials == 2
    assert "looked at and their ensemble" in verdict.sentence


@pytest.mark.slow
def test_the_audit_finds_the_same_ensemble_again_and_misses_another(
    joined_run: SearchResult, tmp_path: Path
) -> None:
    assert calibration(gather(joined_run.folder)).status == "passed"
    other = tmp_path / "run"
    shutil.copytree(joined_run.folder, other)
    path = other / "card" / CONFIG
    facts = json.loads(path.read_text())
    facts["ensemble"].reverse()
    path.write_text(json.dumps(facts))
    write_checksums(other / "card")
    found = calibration(gather(other))
    assert found.status == "FAILED"
    assert "joins other trials" in found.detail


@pytest.mark.slow
def test_a_search_may_begin_with_the_network_of_an_ensemble(joined_run: SearchResult) -> None:
    assert joined_run.card is not None
    config = joined_run.card.config
    network = network_recipe(config)
    assert network.model.family == "cnn"
    backbone = read_backbone(joined_run.card.folder)
    assert backbone.model == network.model
    place = next(i for i, each in enumerate(config.ensemble) if each.trial == 2)
    assert f"member.{place}." not in " ".join(backbone.state)
    assert any(name.startswith("network.") for name in backbone.state)


@pytest.mark.slow
def test_final_single_joins_nothing(
    two_trials: tuple[SearchResult, CellDataset], tmp_path: Path
) -> None:
    taught(*two_trials, tmp_path / "run", final="single")
    result = resume(tmp_path / "run")
    assert result.card is not None
    assert result.card.config.ensemble == ()
    assert result.card.figures.ensemble is None
    assert not (tmp_path / "run" / "ensemble.json").exists()
