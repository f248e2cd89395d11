"""Runs side by side: planted differences, and refusal of other data or splits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cellsearch.card.replay import REQUIRED
from cellsearch.compare.runs import compare_runs
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.errors import ConfigError, MismatchError, RunError
from cellsearch.stats.comparison import compare, comparison_as_json
from cellsearch.stats.permutation import swap_test

from answer_cases import CELLS, SPLITS, write_run


def run_of(folder: Path, *, wrong: int = 12, held: int = 8, splits: Splits = SPLITS) -> Path:
    """A run whose model has ``wrong`` errors out of fold, and ``held`` in the hold-out."""
    made = write_run(folder, splits, pooled_wrong=wrong, held_wrong=held)
    labels = CELLS.labels[splits.holdout]
    pair = comparison_as_json(compare(labels, labels, None, CELLS.classes))
    facts = {"search": {"metric": "balanced_accuracy"}, "hold_out": pair, "out_of_fold": pair}
    (made / "card" / "metrics.json").write_text(json.dumps(facts))
    for name in REQUIRED:
        path = made / "card" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    return made


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        run_of(tmp_path / "first"),
        run_of(tmp_path / "worse", wrong=50, held=19),
        run_of(tmp_path / "like", wrong=13, held=9),
    ]


def test_a_worse_run_a_like_one_and_the_numbers(runs: list[Path]) -> None:
    report = compare_runs(runs)
    first, worse, like = report.runs
    assert report.cells == 40
    assert report.support == {"class-0": 20, "class-1": 12, "class-2": 8}
    assert (first.p, first.verdict, first.metric_differences) == (None, "", {})
    gap = worse.metric_differences["balanced_accuracy"]
    assert gap.value == pytest.approx(-11 / 20 / 3)
    assert gap.low < gap.value < gap.high < 0.0
    recall = worse.recall_differences["class-0"]
    assert recall is not None
    assert recall.value == pytest.approx(-11 / 20)
    assert worse.p_holm == pytest.approx(2 * worse.p)
    assert worse.verdict.startswith("worse by 0.183 (0.")
    assert like.verdict == "no evidence of a difference"


def test_figures_that_chose_the_winners_give_no_verdict(runs: list[Path]) -> None:
    report = compare_runs(runs, part="oof")
    assert report.cells == 160
    gap = report.runs[1].metric_differences["balanced_accuracy"]
    assert gap.value == pytest.approx(-38 / 80 / 3)
    for run in report.runs[1:]:
        assert (run.p, run.p_holm) == (None, None)
        assert run.verdict.startswith("no verdict: each run chose its winner by these cells")


def test_other_splits_and_no_card_are_refused(tmp_path: Path, runs: list[Path]) -> None:
    other = draw_splits(CELLS, folds=3, holdout=0.3, seed=4, duplicates=())
    torn = run_of(tmp_path / "torn", splits=other)
    with pytest.raises(MismatchError) as error:
        compare_runs([runs[0], torn])
    assert "3 folds" in str(error.value)
    assert f"splits {other.sha256[:12]}" in str(error.value)
    assert SPLITS.sha256[:12] in str(error.value)
    config = torn / "card" / "config.json"
    facts = json.loads(config.read_text())
    facts["dataset"]["sha256"], facts["dataset"]["cells"] = "e" * 64, 77
    config.write_text(json.dumps(facts))
    with pytest.raises(MismatchError, match=r"data squares of 77 cells .sha256 eeeeeeeeeeee"):
        compare_runs([runs[0], torn])
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "run.json").touch()
    with pytest.raises(RunError, match="has no card yet"):
        compare_runs([runs[0], tmp_path / "none"])
    with pytest.raises(ConfigError, match="two runs or more"):
        compare_runs(runs[:1])
    with pytest.raises(ConfigError, match="given twice"):
        compare_runs([runs[0], runs[0]])


def test_the_command_writes_a_table_csv_json_and_one_picture(
    command, runs: list[Path], tmp_path: Path
) -> None:
    figures, picture = tmp_path / "out.csv", tmp_path / "pictures" / "both.png"
    code, printed, error = command(
        "compare", *runs, "--part", "oof", "--csv", figures, "--plot", picture
    )
    assert code == 0, error
    assert "worse against first: no verdict: each run chose its winner" in printed
    rows = list(csv.DictReader(figures.read_text().splitlines()))
    assert len(rows) == 3 * (6 + 3)
    row = next(r for r in rows if r["run"].endswith("worse") and r["figure"] == "recall of class-0")
    assert float(row["difference"]) == pytest.approx(-38 / 80)
    assert picture.stat().st_size > 10_000
    assert picture.with_suffix(".svg").is_file()
    code, printed, _ = command("compare", *runs)
    assert "worse against first: worse by 0.183" in printed
    assert "like against first: no evidence of a difference" in printed
    code, printed, _ = command("compare", *runs, "--json")
    assert json.loads(printed)["runs"][1]["p_holm"] < 0.05
    code, _, error = command("compare", *runs, "--plot", tmp_path / "both.pdf")
    assert code == 2
    assert "ending in .png or .svg" in error
    # A pair of files is an older drawing; a PNG alone may be somebody's cell.
    assert command("compare", *runs, "--plot", picture.with_suffix(".svg"))[0] == 0
    picture.with_suffix(".svg").unlink()
    before = picture.read_bytes()
    code, _, error = command("compare", *runs, "--plot", picture)
    assert code == 2
    assert "both.png is there, and may be no drawing of this command" in error
    assert picture.read_bytes() == before
    code, _, error = command("compare", *runs, "--plot", runs[0] / "card" / "plots" / "x.png")
    assert code == 2
    assert f"lies in {runs[0] / 'card'}, which is the input" in error
    code, _, error = command("compare", *runs, "--plot", figures / "x.png")
    assert code == 2
    assert f"there can be no folder {figures}" in error
    code, _, error = command("compare", *runs, "--answers", figures)
    assert code == 2
    assert "can be compared with one run, got 3" in error


def test_the_swap_test_by_hand_and_under_no_difference() -> None:
    labels = np.zeros(40, np.int64)
    right, wrong = labels.copy(), labels.copy()
    wrong[:6] = 1
    # Six cells differ, all one way: 2 of 64 swaps are as far apart.
    p = swap_test(labels, right, wrong, 2, metric="accuracy", repeats=20_000)
    assert p == pytest.approx(2 / 64, abs=0.005)
    assert swap_test(labels, right, right, 2, metric="accuracy", repeats=99) == 1.0
    # In one group they are but one unit that differs.
    groups = np.zeros(40, np.int64)
    assert swap_test(labels, right, wrong, 2, metric="accuracy", groups=groups, repeats=99) == 1.0
    chance = np.random.default_rng(0)
    small = []
    for seed in range(100):
        truth = chance.integers(0, 3, 80)
        one, other = (np.where(chance.random(80) < 0.7, truth, 0) for _ in range(2))
        found = swap_test(truth, one, other, 3, metric="macro_f1", repeats=199, seed=seed)
        small.append(found < 0.1)
    assert 0.02 <= np.mean(small) <= 0.2
