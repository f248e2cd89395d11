"""Suspect labels: planted ones come first, a hard class is not all suspects, none is changed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellsearch
from cellsearch import CardError, LabelIssues, RunError, SearchResult
from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import CardConfig
from cellsearch.card.predict import GROUP, class_columns, to_rows
from cellsearch.card.predictions import rows_of
from cellsearch.card.whole_files import write_csv
from cellsearch.label.confident import SUSPECT, expected, judged
from cellsearch.label.issues import Suspect
from cellsearch.label.mix import natural_mix
from cellsearch.report.label_page import write_label_page
from cellsearch.stats.calibration import scaled
from cellsearch.stats.decision import Decision, Priors

from answer_cases import CELLS, SPLITS, write_run


def overlapping(
    counts: Sequence[int], share: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True labels, labels of which a share was changed, and the probabilities of the true mix."""
    rng = np.random.default_rng(seed)
    k = len(counts)
    truth = np.repeat(np.arange(k), counts)
    values = rng.normal(0.0, 1.0, (len(truth), k))
    values[np.arange(len(truth)), truth] += 3.0
    logits = 3.0 * values + np.log(np.array(counts) / sum(counts))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    given = truth.copy()
    who = rng.choice(len(truth), round(share * len(truth)), replace=False)
    given[who] = (truth[who] + rng.integers(1, k, len(who))) % k
    return truth, given, powers / powers.sum(axis=1, keepdims=True)


def test_most_of_the_first_suspects_are_planted_and_the_suggestion_is_the_truth() -> None:
    truth, given, p = overlapping((600, 300, 60), 0.05)
    found = judged(given, p)
    bad = truth != given
    first = found.ranked[: bad.sum()]
    assert bad[first].mean() > 0.7
    suspects = found.ranked[bad[found.ranked]]
    assert (found.suggested[suspects] == truth[suspects]).mean() > 0.9
    assert (found.suggested != given).all()
    assert (np.diff(found.scores[found.ranked]) >= 0.0).all()
    assert found.scores[found.ranked].max() < SUSPECT


def test_a_class_that_the_model_finds_hard_is_not_all_suspects() -> None:
    labels = np.repeat([0, 1], [90, 10])
    p = np.tile([0.97, 0.03], (100, 1))
    p[labels == 1] = [0.93, 0.07]
    found = judged(labels, p)
    assert found.thresholds == pytest.approx([0.97, 0.07])
    # 0.07 of a class that has 0.07 on average is as good as 0.97 of the other.
    assert found.scores == pytest.approx(np.ones(100))
    assert len(found.ranked) == 0


def test_a_class_without_cells_is_neither_suspect_nor_suggested() -> None:
    labels = np.array([0, 0, 1, 1])
    p = np.array([[0.5, 0.2, 0.3], [0.6, 0.2, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]])
    found = judged(labels, p)
    assert np.isnan(found.thresholds[2])
    assert 2 not in found.suggested
    assert expected(labels, p).disagreements.value == 0.0


def test_the_two_numbers_of_wrong_labels_bracket_the_planted_one() -> None:
    for share in (0.02, 0.1):
        truth, given, p = overlapping((600, 300, 60), share)
        found = expected(given, p)
        planted = int((truth != given).sum())
        assert found.surprises.value < planted < found.disagreements.value
        for each in (found.surprises, found.disagreements):
            assert each.interval is not None
            assert each.interval.low < each.value < each.interval.high
    # Without a wrong label there is nothing that the probabilities do not allow.
    truth, _, p = overlapping((600, 300, 60), 0.0)
    assert expected(truth, p).surprises.value < 10


def test_groups_are_drawn_whole_and_one_group_gives_no_interval() -> None:
    truth, given, p = overlapping((300, 150, 60), 0.0)
    groups = np.random.default_rng(0).integers(0, 8, len(truth))
    # All wrong labels are of one group, so cells tell less than they seem to.
    given = np.where(groups == 0, (truth + 1) % 3, truth)
    cells = expected(given, p).disagreements
    whole = expected(given, p, groups=groups).disagreements
    assert whole.value == cells.value
    assert width(whole) > 2.0 * width(cells)
    assert expected(given, p, groups=np.zeros_like(groups)).disagreements.interval is None


def width(estimate: Any) -> float:
    return float(estimate.high - estimate.low)


def test_weights_of_the_training_are_taken_out_of_the_probabilities() -> None:
    priors = Priors(effective=(0.5, 0.5), natural=(0.9, 0.1))
    config = CardConfig.model_construct(decision=Decision(1.0, priors), temperature=2.0)
    p = np.array([[0.5, 0.5], [0.9, 0.1]])
    expected_odds = (9.0 * p[:, 0] / p[:, 1]) ** 0.5
    for tempered, given in ((False, p), (True, scaled(p, 2.0))):
        found = natural_mix(given, config, tempered=tempered)
        assert found[:, 0] / found[:, 1] == pytest.approx(expected_odds, rel=1e-4)
    plain = CardConfig.model_construct(decision=None, temperature=None)
    assert natural_mix(p, plain, tempered=True) == pytest.approx(p)


def planted_run(folder: Path, *, groups: bool = False) -> tuple[Path, list[str]]:
    """A card whose out-of-fold predictions are sure, and contradict the labels of six cells."""
    run = write_run(folder, SPLITS)
    cells = np.concatenate(SPLITS.folds)
    p = np.full((len(cells), 3), 0.04)
    p[np.arange(len(cells)), CELLS.labels[cells]] = 0.92
    wrong = np.flatnonzero(CELLS.labels[cells] == 0)[:6]
    p[wrong] = [0.01, 0.95, 0.04]
    rows = to_rows(CELLS, p.astype(np.float32), CELLS.classes, cells=cells, truth=True)
    if groups:
        rows = [row | {GROUP: str(n % 5)} for n, row in enumerate(rows)]
    write_csv(run / "card" / "out_of_fold.csv", rows)
    write_checksums(run / "card")
    return run, [str(CELLS.ids[cell]) for cell in cells[wrong]]


def test_a_run_tells_its_suspects_and_changes_nothing(tmp_path: Path) -> None:
    run, wrong = planted_run(tmp_path / "run", groups=True)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = cellsearch.label_issues(run)
    assert sorted(each.id for each in found.suspects) == sorted(wrong)
    assert (found.cells, found.groups) == (160, 5)
    (pair,) = found.pairs
    assert (pair.given, pair.suggested, pair.suspects, pair.of) == ("class-0", "class-1", 6, 80)
    assert found.disagreements.value >= 6
    assert [each.rank for each in found.suspects] == [1, 2, 3, 4, 5, 6]
    assert any("no label was changed" in each for each in found.sentences())
    assert "6 suspects of 160 cells" in repr(found)
    out = tmp_path / "suspects.csv"
    found.write_csv(out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [each.id for each in found.suspects]
    assert float(rows[0]["class-1"]) == pytest.approx(0.95)
    # The card alone will do.
    assert cellsearch.label_issues(run / "card").suspects == found.suspects
    assert {path: path.read_bytes() for path in before} == before


def test_what_cannot_be_judged_is_said_in_one_line(tmp_path: Path) -> None:
    run, _ = planted_run(tmp_path / "run")
    table = run / "card" / "out_of_fold.csv"
    text = table.read_text()
    table.write_text(text.replace("0.95", "0.94"))
    with pytest.raises(CardError, match="cannot be trusted"):
        cellsearch.label_issues(run)
    table.write_text(text.replace(",class-1,", ",nobody,"))
    write_checksums(run / "card")
    with pytest.raises(CardError, match="does not fit its card"):
        cellsearch.label_issues(run)
    table.unlink()
    write_checksums(run / "card")
    with pytest.raises(CardError, match="by out-of-fold predictions alone"):
        cellsearch.label_issues(run)
    with pytest.raises(RunError, match="no such folder"):
        cellsearch.label_issues(tmp_path / "nothing")


def test_a_run_without_suspects_writes_no_table(tmp_path: Path, command: Any) -> None:
    run, _ = planted_run(tmp_path / "run")
    table = run / "card" / "out_of_fold.csv"
    table.write_text(table.read_text().replace("0.01,0.95,0.04", "0.92,0.04,0.04"))
    write_checksums(run / "card")
    found = cellsearch.label_issues(run)
    assert (found.suspects, found.pairs) == ((), ())
    with pytest.raises(RunError, match="no label is suspect"):
        found.write_csv(tmp_path / "none.csv")
    code, printed, _ = command("labels", run, "-o", tmp_path / "none.csv")
    assert code == 0
    assert "no label is suspect, so" in printed
    assert not (tmp_path / "none.csv").exists()


def test_columns_of_odd_class_names_stay_apart() -> None:
    columns = class_columns(("rank", "id", "A"), also=("rank", "given_class"))
    assert columns == ["p(rank)", "p(id)", "A"]


def test_the_command_prints_counts_and_json(tmp_path: Path, command: Any) -> None:
    run, wrong = planted_run(tmp_path / "run")
    code, printed, _ = command("labels", run)
    assert code == 0
    assert "class-0  class-1    6         80            7.5 %" in printed
    assert "no label was changed" in printed
    code, printed, _ = command("labels", run, "--json")
    facts = json.loads(printed)
    assert {each["id"] for each in facts["suspects"]} == set(wrong)
    assert facts["pairs"] == [{"given": "class-0", "suggested": "class-1", "suspects": 6, "of": 80}]
    code, printed, _ = command("labels", run, "--json", "-o", tmp_path / "s.csv")
    assert json.loads(printed)["suspects"] is None
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 7


def test_a_page_shows_the_cells_of_a_real_run(
    finished_run: SearchResult, tmp_path: Path, command: Any
) -> None:
    found = cellsearch.label_issues(finished_run.folder)
    assert found.cells == 72
    suspects = replace(found, suspects=tuple(made_up(found, finished_run)))
    page = tmp_path / "page.html"
    assert write_label_page(suspects, page, most=2) == ""
    text = page.read_text()
    assert text.count("data:image/png") == 2
    assert "The first 2 of 3" in text
    code, _, _ = command("labels", finished_run.folder, "--html", tmp_path / "own.html")
    assert code == 0
    assert "No label was changed" in (tmp_path / "own.html").read_text()


def made_up(found: LabelIssues, run: SearchResult) -> list[Any]:
    assert run.card is not None
    return [
        Suspect(rank, row["id"], row["source"], 0, "class-0", "class-1", 0.05, {})
        for rank, row in enumerate(rows_of(run.card.folder, "oof")[:3], start=1)
    ]


def test_a_page_without_the_cells_says_so(tmp_path: Path, command: Any) -> None:
    run, wrong = planted_run(tmp_path / "run")
    page = tmp_path / "page.html"
    code, printed, _ = command("labels", run, "--html", page)
    assert code == 0
    assert "missing: no pictures, because the run's cells cannot be read" in printed
    assert all(each in page.read_text() for each in wrong)
    for place, why in (
        (run / "card" / "page.html", "is inside"),
        (tmp_path, "is a folder"),
        (tmp_path / "gone" / "page.html", "there is no folder"),
    ):
        code, _, said = command("labels", run, "--html", place)
        assert code == 2
        assert said.startswith("cellsearch: --html: ")
        assert why in said
