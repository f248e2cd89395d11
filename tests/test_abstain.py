"""Cells are left undecided, or given several classes, as often as was asked for."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from cellsearch.card.abstain import (
    ERROR,
    Abstention,
    fit_abstention,
    kept,
    lowered,
    requirement,
    selection,
)
from cellsearch.card.conformal import PredictionSets, fit_sets, members, set_figures, too_few
from cellsearch.card.predict import to_rows
from cellsearch.card.rules import find_rules, out_of_fold, rules_for
from cellsearch.card.write import write_card
from cellsearch.cli import app
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError, RunError
from cellsearch.run.config import IDENTITY, RunConfig
from cellsearch.stats.predictions import Predictions
from cellsearch.stats.proportions import surely_at_least

from card_cases import Made, made

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def cells(n: int, seed: int, shares: tuple[float, ...] = (0.7, 0.25, 0.05)) -> tuple:
    """Labels, and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), size=n, p=shares)
    logits = 1.6 * np.eye(len(shares))[labels] + rng.normal(0, 1, (n, len(shares)))
    p = np.exp(logits)
    return labels, (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def test_what_may_be_asked_for() -> None:
    assert requirement("coverage=0.9") == ("coverage", 0.9)
    assert requirement("precision=0.95") == ("precision", 0.95)
    for text in (
        "recall=0.9",
        "coverage",
        "coverage=1",
        "precision=0",
        "coverage=x",
        "coverage=nan",
    ):
        with pytest.raises(ValueError, match=r"expected coverage=0\.9 or precision=0\.95"):
            requirement(text)
    with pytest.raises(RunError, match=r"abstain: expected coverage=0\.9 .* got 'recall=1'"):
        RunConfig.of(dataset="demo", abstain="recall=1")
    with pytest.raises(RunError, match="sets"):
        RunConfig.of(dataset="demo", sets=1.0)
    assert RunConfig.of(dataset="demo", abstain="coverage=0.9", sets=0.9).sets == 0.9
    assert not {"abstain", "sets"} & set(IDENTITY)


def test_coverage_is_met_in_each_predicted_class() -> None:
    labels, p = cells(4000, 0)
    rule = fit_abstention(requirement("coverage=0.8"), labels, p, p.argmax(axis=1))
    sure, called = kept(p, rule, p.argmax(axis=1)), p.argmax(axis=1)
    for k in range(3):
        own = sure[called == k]
        assert 0.8 <= own.mean() <= 0.8 + 1.01 / len(own) + 1e-3
        left = p.max(axis=1)[(called == k) & ~sure]
        assert left.max() < p.max(axis=1)[(called == k) & sure].min()
    labels, p = cells(4000, 1)
    assert kept(p, rule, p.argmax(axis=1)).mean() == pytest.approx(0.8, abs=0.03)
    found = selection(labels, p, p.argmax(axis=1), rule, CLASSES)
    whole = (p.argmax(axis=1) == labels).mean()
    assert found.accuracy is not None
    assert found.accuracy.value > whole + 0.03
    assert found.coverage.low < found.coverage.value < found.coverage.high
    assert sum(one.kept for one in found.classes) == kept(p, rule, p.argmax(axis=1)).sum()


def test_precision_is_surely_met_and_keeps_what_it_can() -> None:
    labels, p = cells(4000, 0)
    rule = fit_abstention(requirement("precision=0.9"), labels, p, p.argmax(axis=1))
    assert rule.error == ERROR
    sure, called = kept(p, rule, p.argmax(axis=1)), p.argmax(axis=1)
    for k in (0, 1):
        own = labels[sure & (called == k)] == k
        assert surely_at_least(own, error=ERROR / 2)[0] >= 0.9
    assert sure.mean() > 0.6
    labels, p = cells(40_000, 1)
    held = selection(labels, p, p.argmax(axis=1), rule, CLASSES)
    assert held.classes[1].kept < 0.9 * held.classes[1].called
    assert held.classes[1].precision is not None
    assert held.classes[1].precision.value > 0.9


def found_by_chance(share: float, n: int, *, donors: int | None = None) -> float:
    """How often a precision of 0.95 is found where that share is right, whatever the confidence."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        groups = None if donors is None else np.arange(n) % donors
        # A donor's cells are right more or less often.
        own = 0.0 if groups is None else rng.normal(0.0, 0.15, donors)[groups]
        right = (rng.random(n) < share + own).astype(np.int64)
        confidence = rng.random(n)
        p = np.column_stack([1.0 - confidence, confidence])
        called = np.ones(n, np.int64)
        asked = requirement("precision=0.95")
        found += fit_abstention(asked, right, p, called, groups=groups).thresholds[1] is not None
    return found / 200


def test_a_confidence_that_tells_nothing_gives_no_precision() -> None:
    assert found_by_chance(0.85, 300) == 0.0
    assert found_by_chance(0.945, 300) <= 0.06
    assert found_by_chance(0.99, 300) > 0.6
    assert found_by_chance(0.94, 300, donors=6) <= 0.06


def test_a_precision_for_other_donors_needs_three_of_them() -> None:
    labels, p = cells(4000, 0)
    called = p.argmax(axis=1)
    asked = requirement("precision=0.8")
    plain = fit_abstention(asked, labels, p, called).thresholds
    assert plain[0] is not None
    many = fit_abstention(asked, labels, p, called, groups=np.arange(4000) % 20).thresholds
    assert many[0] is not None
    assert many[0] >= plain[0]
    two = fit_abstention(asked, labels, p, called, groups=np.arange(4000) % 2)
    assert two.thresholds == (None, None, None)


def test_a_precision_out_of_reach_leaves_the_class_uncertain() -> None:
    labels, p = cells(4000, 0)
    p[labels == 2] = [0.1, 0.1, 0.8]
    p[:300] = [0.1, 0.1, 0.8]  # mostly of other classes, and just as sure
    rule = fit_abstention(requirement("precision=0.95"), labels, p, p.argmax(axis=1))
    assert rule.thresholds[2] is None
    assert not kept(p, rule, p.argmax(axis=1))[p.argmax(axis=1) == 2].any()
    found = selection(labels, p, p.argmax(axis=1), rule, CLASSES)
    assert "c" in found.gone
    assert found.classes[2].kept == 0
    assert found.classes[2].precision is None
    few = fit_abstention(
        requirement("precision=0.5"),
        np.zeros(4, int),
        np.tile([[0.9, 0.1]], (4, 1)),
        np.zeros(4, int),
    )
    assert few.thresholds == (None, None)


def test_a_threshold_keeps_what_was_rounded() -> None:
    for value in np.random.default_rng(0).random(200):
        assert lowered(value) <= float(f"{value:.6f}")
        assert lowered(float(f"{value:.6f}")) <= value
    assert lowered(1.0) < np.float32(1.0)
    assert lowered(1e-9) == 0.0


# -- prediction sets


def test_sets_cover_each_class_as_often_as_asked() -> None:
    covered = np.zeros((150, 3))
    for seed in range(150):
        labels, p = cells(400, seed)
        sets = fit_sets(0.9, labels, p)
        fresh, q = cells(1500, 1000 + seed)
        held = members(q, sets)[np.arange(1500), fresh]
        covered[seed] = [held[fresh == k].mean() for k in range(3)]
    means = covered.mean(axis=0)
    error = covered.std(axis=0) / np.sqrt(150)
    assert (means + 3 * error >= 0.9).all()
    # With n cells of a class the coverage is at most 0.9 + 1 / (n + 1).
    assert (means - 3 * error <= 0.9 + 1 / (400 * np.array([0.7, 0.25, 0.05]) - 8)).all()


def test_sets_are_small_where_classes_are_plain() -> None:
    labels, p = cells(2000, 0)
    sharp = np.where(np.eye(3)[labels] > 0, 0.98, 0.01).astype(np.float32)
    sharp[:300] = p[:300]
    found = set_figures(labels, sharp, fit_sets(0.8, labels, sharp))
    assert found.mean_size == pytest.approx(1.0, abs=0.25)
    blurred = set_figures(labels, p, fit_sets(0.95, labels, p))
    assert blurred.mean_size > 1.4
    assert found.single > blurred.single
    assert found.empty >= 0


def test_a_class_of_few_cells_is_in_every_set() -> None:
    labels = np.repeat([0, 1, 2], (50, 14, 13))
    p = cells(77, 0)[1]
    sets = fit_sets(0.9, labels, p)
    assert too_few(sets) == (False, False, True)
    assert sets.thresholds[2] == 0.0
    assert members(p, sets)[:, 2].all()
    assert sets.thresholds[1] == lowered(p[50:64, 1].min())
    assert sets.cells == (50, 14, 13)
    assert set_figures(labels[:50], p[:50], sets).per_class[2] is None


def test_one_card_seldom_misses_a_class_twice_as_often_as_asked() -> None:
    for n in (12, 15, 30):
        missed = []
        for seed in range(600):
            score = np.random.default_rng(seed).random(n)
            sets = fit_sets(0.9, np.zeros(n, np.int64), score[:, None])
            # Scores are uniform, so that the threshold is the share that is missed.
            missed.append(sets.thresholds[0])
        assert np.mean(np.array(missed) > 0.2) <= 0.07
        assert np.mean(missed) <= 0.1


def test_sets_of_donors_allow_for_others() -> None:
    far = dict.fromkeys(("cells", "donors"), 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        groups = np.arange(120) % 5
        score = norm.cdf(rng.normal(size=120) + rng.normal(0.0, 0.7, 5)[groups])
        for name, own in (("cells", None), ("donors", groups)):
            found = fit_sets(0.9, np.zeros(120, np.int64), score[:, None], groups=own).thresholds[0]
            far[name] += norm.cdf(norm.ppf(found) / np.sqrt(1.0 + 0.7**2)) > 0.2
    assert far["donors"] < 0.7 * far["cells"]
    two = fit_sets(0.9, np.zeros(120, np.int64), score[:, None], groups=np.arange(120) % 2)
    assert too_few(two) == (True,)


# -- in tables, cards and commands


def test_rows_hold_decision_and_set(case: Made) -> None:
    p = np.array([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.2, 0.2, 0.6]], np.float32)
    rows = to_rows(
        case.dataset,
        p,
        ("a", "decision", "c"),
        cells=np.arange(3),
        abstention=Abstention(rule="coverage", level=0.9, thresholds=(0.5, 0.5, None)),
        sets=PredictionSets(level=0.9, thresholds=(0.3, 0.3, 0.7), cells=(20, 20, 20)),
    )
    assert [row["predicted_class"] for row in rows] == ["a", "a", "c"]
    assert [row["decision"] for row in rows] == ["a", "uncertain", "uncertain"]
    assert [row["set"] for row in rows] == ["a|decision", "a|decision", ""]
    assert rows[0]["p(decision)"] == "0.3"
    assert "decision" not in to_rows(case.dataset, p, ("a", "b", "c"), cells=np.arange(3))[0]


def test_rules_need_out_of_fold_probabilities_and_a_free_name(case: Made, tmp_path: Path) -> None:
    bare = Predictions(CLASSES, case.oof.labels, case.oof.predicted)
    with pytest.raises(CardError, match="abstain and sets: needs out-of-fold"):
        find_rules(bare, CLASSES, abstain="coverage=0.9", sets=0.9)
    assert find_rules(bare, CLASSES).temperature.value == 1.0
    with pytest.raises(CardError, match="a class is called 'uncertain' already"):
        find_rules(case.oof, ("a", "uncertain", "c"), abstain="coverage=0.9")
    folder = case.copy(tmp_path)
    (folder / "out_of_fold.csv").unlink()
    with pytest.raises(CardError, match=r"holds no out_of_fold\.csv"):
        rules_for(folder, case.card.config, sets=0.9)
    assert rules_for(folder, case.card.config) == (None, None)


def test_a_changed_table_gives_no_thresholds(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    table = folder / "out_of_fold.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    said = r"cannot be trusted: out_of_fold\.csv has changed since the card was written"
    for asked in ({"sets": 0.9}, {"abstain": "coverage=0.9"}):
        with pytest.raises(CardError, match=said):
            rules_for(folder, case.card.config, **asked)
    # Without them the table is of no concern.
    assert rules_for(folder, case.card.config) == (None, None)


def test_rules_from_the_table_are_those_from_memory(case: Made) -> None:
    folder, config = case.card.folder, case.card.config
    abstention, sets = rules_for(folder, config, abstain="coverage=0.7", sets=0.8)
    rules = find_rules(case.oof, config.classes, abstain="coverage=0.7", sets=0.8)
    assert abstention is not None
    assert sets is not None
    assert rules.abstention is not None
    assert rules.sets is not None
    assert abstention.thresholds == pytest.approx(rules.abstention.thresholds, abs=5e-6)
    assert sets.thresholds == pytest.approx(rules.sets.thresholds, abs=5e-6)
    assert sets.cells == rules.sets.cells


def test_the_table_holds_the_groups_by_number(case: Made, tmp_path: Path) -> None:
    groups = np.arange(len(case.oof.labels)) % 5
    oof = replace(case.oof, groups=groups)
    card = write_card(tmp_path / "card", **case.ingredients(oof=oof, sets=0.8))
    np.testing.assert_array_equal(out_of_fold(card.folder, card.config)[3], groups)
    assert out_of_fold(case.card.folder, case.card.config)[3] is None
    _, sets = rules_for(card.folder, card.config, sets=0.8)
    assert sets is not None
    assert card.config.sets is not None
    assert sets.thresholds == pytest.approx(card.config.sets.thresholds, abs=5e-6)
    facts = card.config.prevalence
    assert facts is not None
    np.testing.assert_array_equal(np.array(facts.by_group).sum(axis=0), facts.confusion)
    assert len(facts.by_group) == 5


def test_predict_writes_decisions_sets_and_shares(case: Made, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    held = case.splits.holdout
    np.savez(tmp_path / "new.npz", images=case.dataset.images[held])
    out, shares = tmp_path / "out.csv", tmp_path / "shares.csv"
    words = ["predict", str(case.card.folder), str(tmp_path / "new.npz"), "-o", str(out)]
    words += ["--abstain", "coverage=0.7", "--sets", "0.8", "--fractions", str(shares)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(held)
    assert {row["decision"] for row in rows} <= {*case.dataset.classes, "uncertain"}
    assert all(row["decision"] in (row["predicted_class"], "uncertain") for row in rows)
    sure = sum(row["decision"] != "uncertain" for row in rows)
    assert f"coverage of 70 %: {sure} of {len(rows)} cells get a class" in done.output
    assert "prediction sets" in done.output
    with shares.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["class"] for row in table] == list(case.dataset.classes)
    assert sum(int(row["cells"]) for row in table) == len(held)
    for name in ("raw", "adjusted_count", "em"):
        assert sum(float(row[name]) for row in table) == pytest.approx(1, abs=1e-5)
    assert "Shares of the classes in this sample" in done.output
    bad = CliRunner().invoke(app, [*words[:3], "--abstain", "recall=1"])
    assert bad.exit_code != 0


def test_a_config_whose_rules_are_of_other_classes_is_refused(case: Made, tmp_path: Path) -> None:
    from cellsearch.card.config import read_config

    folder = case.copy(tmp_path)
    path = folder / "config.json"
    facts = json.loads(path.read_text())
    facts["sets"] = {"level": 0.9, "thresholds": [0.1], "cells": [5]}
    path.write_text(json.dumps(facts))
    with pytest.raises(CardError, match=r"sets\.thresholds: one entry a class"):
        read_config(folder)


def test_cells_of_one_donor_widen_what_is_said_of_a_selection() -> None:
    labels, p = cells(600, 2)
    rule = fit_abstention(requirement("coverage=0.8"), labels, p, p.argmax(axis=1))
    # All cells of a donor are judged alike: 12 donors are 12 answers, not 600.
    order = np.argsort(kept(p, rule, p.argmax(axis=1)), kind="stable")
    donors = np.empty(600, "U8")
    donors[order] = np.repeat([f"donor-{k}" for k in range(12)], 50)
    alone = selection(labels, p, p.argmax(axis=1), rule, CLASSES)
    grouped = selection(labels, p, p.argmax(axis=1), rule, CLASSES, groups=donors)
    assert grouped.coverage.value == alone.coverage.value
    assert grouped.coverage.low < alone.coverage.low - 0.05
    sets = fit_sets(0.9, labels, p)
    one, other = set_figures(labels, p, sets), set_figures(labels, p, sets, groups=donors)
    assert other.coverage.high - other.coverage.low >= one.coverage.high - one.coverage.low
