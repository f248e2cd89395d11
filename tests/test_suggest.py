"""Cells to label next: rare ones, doubtful ones, a tenth by chance; none that the card knows."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellsearch
from cellsearch import CardError, CellDataset, DataError, load_card
from cellsearch.card.config import CardConfig
from cellsearch.label.choose import choose
from cellsearch.label.suggest import labels_so_far
from cellsearch.stats.decision import Decision, Priors

from command_cases import write_folder
from conftest import squares


def new_cells(counts: tuple[int, ...] = (80, 40, 10), seed: int = 7) -> CellDataset:
    """Cells as those of the finished run, drawn anew."""
    return replace(squares(counts, seed), name="new")


def pool(counts: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities that know them fairly well, and two features."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(0.0, 1.0, (len(labels), len(counts)))
    logits[np.arange(len(labels)), labels] += 2.0
    powers = np.exp(logits + np.log(np.array(counts) / sum(counts)))
    return labels, powers / powers.sum(axis=1, keepdims=True), rng.normal(size=(len(labels), 2))


def test_rare_classes_are_found_far_more_often_than_by_chance() -> None:
    labels, p, x = pool((3000, 300, 30))
    chosen = choose(100, p, np.array([90.0, 9.0, 3.0]), lambda at: x[at])
    cells = [each.cell for each in chosen]
    assert len(set(cells)) == 100
    found = np.bincount(labels[cells], minlength=3)
    assert found[2] >= 5  # by chance 0.9
    assert found[1] >= 20
    assert {each.target for each in chosen if each.reason == "rare class"} >= {1, 2}


def test_a_tenth_is_drawn_by_chance_from_all_and_says_so() -> None:
    labels, p, x = pool((3000, 300, 30))
    drawn = []
    for seed in range(40):
        chosen = choose(100, p, np.array([90.0, 9.0, 3.0]), lambda at: x[at], seed=seed)
        counts = Counter(each.reason for each in chosen)
        assert counts == {"random": 10, "uncertain": 45, "rare class": 45}
        drawn += [each.cell for each in chosen if each.reason == "random"]
    # 400 draws of a share of 0.90; the others are rarer by far among those chosen by worth.
    assert (labels[drawn] == 0).mean() == pytest.approx(0.9, abs=0.05)


def test_uncertain_cells_are_those_between_two_classes() -> None:
    _, p, x = pool((300, 300))
    chosen = choose(30, p, np.array([10.0, 10.0]), lambda at: x[at])
    gap = np.abs(p[:, 0] - p[:, 1])
    doubtful = [each.cell for each in chosen if each.reason == "uncertain"]
    assert np.median(gap[doubtful]) < np.quantile(gap, 0.15)


def test_what_looks_alike_is_not_taken_twice() -> None:
    p = np.tile([0.5, 0.5], (60, 1))
    p[:20] = [0.2, 0.8]
    # Twenty cells of the second class: ten that are all but the same, and ten others.
    x = np.zeros((60, 2))
    x[:20, 0] = np.where(np.arange(20) < 10, 0.0, 3.0 * np.arange(20))
    x[20:] = np.random.default_rng(0).normal(size=(40, 2))
    chosen = choose(22, p, np.array([50.0, 1.0]), lambda at: x[at], seed=1)
    worth = [each.cell for each in chosen if each.reason == "rare class"]
    assert sum(cell < 10 for cell in worth) <= 2
    assert sum(10 <= cell < 20 for cell in worth) >= 3


def test_all_cells_may_be_asked_for_and_one() -> None:
    _, p, x = pool((20, 5))
    assert {each.cell for each in choose(25, p, np.ones(2), lambda at: x[at])} == set(range(25))
    assert len(choose(1, p, np.ones(2), lambda at: x[at])) == 1
    with pytest.raises(ValueError, match="1 to 25, got 26"):
        choose(26, p, np.ones(2), lambda at: x[at])


def test_a_card_suggests_cells_and_what_they_will_be(finished_card: Path, tmp_path: Path) -> None:
    cells = new_cells()
    found = cellsearch.suggest(finished_card, cells, 30)
    assert len({each.id for each in found.cells}) == 30
    assert (found.pool, found.known, found.copies) == (130, 0, 0)
    rare = found.yields[2]
    assert (rare.name, rare.labelled) == ("class-2", 10)
    assert rare.expected > 1.5 * rare.at_random
    assert sum(each.expected for each in found.yields) == pytest.approx(30.0, abs=1e-3)
    truth = dict(zip(cells.ids.tolist(), cells.labels.tolist(), strict=True))
    assert sum(truth[each.id] == 2 for each in found.cells) > 2 * 30 * 10 / 130
    out = tmp_path / "next.csv"
    found.write_csv(out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [each.id for each in found.cells]
    assert Counter(row["reason"] for row in rows)["random"] == 3
    assert float(rows[0]["class-0"]) == pytest.approx(found.cells[0].probabilities[0], rel=1e-4)
    # An opened card does the same, and the labels have no part in it.
    unlabelled = replace(cells, labels=np.full(len(cells), -1))
    assert cellsearch.suggest(load_card(finished_card), unlabelled, 30) == found


def test_cells_that_the_card_knows_are_never_suggested(finished_card: Path) -> None:
    old, new = replace(squares(), name="renamed"), new_cells()
    mixed = CellDataset.from_arrays(
        np.concatenate([old.images, new.images, new.images[:5]]),
        np.zeros(len(old) + len(new) + 5, np.int64),
        classes=("any", "other"),
        channels=old.channels,
        name="mixed",
    )
    found = cellsearch.suggest(finished_card, mixed, 130)
    assert (found.pool, found.known, found.copies) == (130, 90, 5)
    assert {int(each.id) for each in found.cells} == set(range(90, 220))
    with pytest.raises(DataError, match="scored on all 90 of these cells"):
        cellsearch.suggest(finished_card, old)
    with pytest.raises(DataError, match=r"there are 225 cells, 95 of them known .* 130 at most"):
        cellsearch.suggest(finished_card, mixed, 131)
    with pytest.raises(DataError, match="expected 1 or more"):
        cellsearch.suggest(finished_card, mixed, 0)


def test_cells_of_another_kind_are_refused(finished_card: Path, tmp_path: Path) -> None:
    cells = new_cells()
    for images, why in (
        (cells.images.astype(np.float32), "trained on uint8"),
        (cells.images[:, :1], "takes 2 channels"),
        (np.pad(cells.images, ((0, 0), (0, 0), (0, 4), (0, 4))), "crops of 16 x 16"),
    ):
        other = replace(cells, images=images)
        with pytest.raises(CardError, match=why):
            cellsearch.suggest(finished_card, other, 5)
    assert len(cellsearch.suggest(finished_card, other, 5, fit="pad").cells) == 5
    with pytest.raises(CardError, match="is not a card"):
        cellsearch.suggest(tmp_path, cells)


def test_labels_so_far_are_those_of_the_training() -> None:
    priors = Priors(effective=(0.5, 0.5), natural=(0.9, 0.1))
    facts = CardConfig.model_construct(classes=("a", "b"), decision=Decision(1.0, priors))
    facts = facts.model_copy(update={"dataset": type("Facts", (), {"cells": 200})()})
    assert labels_so_far(facts).tolist() == [180.0, 20.0]
    assert labels_so_far(facts.model_copy(update={"decision": None})).tolist() == [100.0, 100.0]


def test_the_command_suggests_from_files(finished_card: Path, tmp_path: Path, command: Any) -> None:
    cells = new_cells()
    place = tmp_path / "new.npz"
    np.savez(place, images=cells.images, labels=cells.labels)
    out = tmp_path / "next.csv"
    code, printed, _ = command("suggest", finished_card, place, "-n", 20, "-o", out)
    assert code == 0
    assert "20 cells to label, of 130" in printed
    assert "random 2" in printed
    assert "only the random ones tell the shares of the classes" in printed
    assert len(out.read_text().splitlines()) == 21
    code, printed, _ = command("suggest", finished_card, place, "-n", 20, "--json")
    facts = json.loads(printed)
    assert len(facts["cells"]) == 20
    assert [each["name"] for each in facts["yields"]] == list(squares().classes)
    code, _, said = command("suggest", finished_card, place, "-n", 500)
    assert (code, said) == (
        2,
        "cellsearch: --count 500: there are 130 cells; ask for 130 at most\n",
    )
    code, _, said = command("suggest", finished_card, write_folder(tmp_path / "one", cells))
    assert code == 2
    assert "channel" in said
    assert said.count("\n") == 1
