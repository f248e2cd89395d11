"""Answers beside a model: figures of planted cases, and every fault of a table said at once."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellsearch.card.predict import GROUP
from cellsearch.card.whole_files import write_csv
from cellsearch.compare.raters import compare_answers
from cellsearch.errors import DataError, RunError
from cellsearch.stats.permutation import holm, mcnemar

from answer_cases import CELLS, SPLITS, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of a run is read: a model with 8 errors in the hold-out and 12 out of fold."""
    return write_run(tmp_path_factory.mktemp("runs") / "one", SPLITS)


def rows_of(cells: np.ndarray, **wrong: str) -> list[tuple[str, str]]:
    """(id, true class) of cells; ``wrong`` gives other classes by id."""
    return [
        (str(CELLS.ids[cell]), wrong.get(str(CELLS.ids[cell]), CELLS.classes[CELLS.labels[cell]]))
        for cell in cells
    ]


def written(path: Path, header: str, rows: list[tuple[str, ...]], mark: str = ",") -> Path:
    path.write_text("\n".join(mark.join(row) for row in [tuple(header.split(",")), *rows]) + "\n")
    return path


def test_an_expert_who_is_always_right_against_known_errors(run: Path, tmp_path: Path) -> None:
    table = written(tmp_path / "experts.csv", "id,class", rows_of(SPLITS.holdout))
    report = compare_answers(run, table)
    (rater,) = report.raters
    assert report.best is None
    assert (rater.rater, rater.cells, rater.unanswered, rater.outside) == ("answers", 40, 0, 0)
    assert (rater.model_alone, rater.rater_alone) == (0, 8)
    assert rater.p == pytest.approx(2 / 2**8)
    assert rater.p_holm == rater.p
    assert rater.model.accuracy.value == pytest.approx(32 / 40)
    # Clopper-Pearson of 40 out of 40: the lower end is 0.025 ** (1 / 40).
    assert rater.answers.accuracy.low == pytest.approx(0.025 ** (1 / 40))
    assert rater.answers.accuracy.high == 1.0
    assert rater.model.balanced_accuracy.value == pytest.approx((12 / 20 + 1 + 1) / 3)
    assert rater.difference.accuracy.value == pytest.approx(-0.2)
    assert rater.difference.balanced_accuracy.value == pytest.approx(-0.4 / 3)
    assert rater.difference.accuracy.low < -0.2 < rater.difference.accuracy.high < 0
    assert rater.verdict.startswith("worse by 0.200 (0.")


def test_errors_in_one_donor_are_no_evidence_against_a_rater(tmp_path: Path, command) -> None:
    run = write_run(tmp_path / "run", SPLITS)
    path = run / "card" / "predictions.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    # All 8 errors are in cells of donor 0.
    wrong = {row["id"] for row in rows if row["true_class"] != row["predicted_class"]}
    numbers = [0 if row["id"] in wrong else 1 + n % 4 for n, row in enumerate(rows)]
    write_csv(path, [row | {GROUP: str(n)} for row, n in zip(rows, numbers, strict=True)])
    table = written(tmp_path / "experts.csv", "id,class", rows_of(SPLITS.holdout))
    report = compare_answers(run, table)
    (rater,) = report.raters
    assert report.groups == 5
    assert (rater.model_alone, rater.rater_alone) == (0, 8)
    assert rater.p == 1.0
    assert rater.verdict == "no evidence of a difference on 40 cells"
    assert rater.model.accuracy.low < 0.4
    code, printed, _ = command("compare", run, "--answers", table)
    assert code == 0
    assert "in 5 groups" in printed


def test_a_worse_expert_and_a_like_one(run: Path, tmp_path: Path) -> None:
    held = SPLITS.holdout
    third = [str(CELLS.ids[cell]) for cell in held if CELLS.labels[cell] == 2]
    first = [str(CELLS.ids[cell]) for cell in held if CELLS.labels[cell] == 0]
    second = [str(CELLS.ids[cell]) for cell in held if CELLS.labels[cell] == 1]
    bad = dict.fromkeys(first, "class-2") | dict.fromkeys(second, "class-0")
    like = dict.fromkeys(third[:7], "class-0")
    table = written(
        tmp_path / "experts.csv",
        "rater,id,class",
        [("bad", *row) for row in rows_of(held, **bad)]
        + [("like", *row) for row in rows_of(held, **like)],
    )
    report = compare_answers(run, table)
    by = {each.rater: each for each in report.raters}
    assert by["bad"].verdict.startswith("better by 0.600 (")
    assert by["like"].p == pytest.approx(1.0)
    assert by["like"].verdict == "no evidence of a difference on 40 cells"
    assert report.best is by["like"]
    assert by["bad"].p_holm == pytest.approx(2 * by["bad"].p)


def test_where_accuracy_and_balanced_accuracy_disagree_both_are_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SPLITS, pooled_wrong=50)
    pooled = np.concatenate(SPLITS.folds)
    rare = [str(CELLS.ids[cell]) for cell in pooled if CELLS.labels[cell] == 2]
    # 27 of the 32 rarest wrong cost less accuracy, but more balanced accuracy, than 50 of 80.
    table = written(
        tmp_path / "experts.csv",
        "id,class",
        rows_of(pooled, **dict.fromkeys(rare[:27], "class-0")),
    )
    (rater,) = compare_answers(run, table, part="oof").raters
    assert rater.cells == len(pooled)
    assert rater.p == pytest.approx(mcnemar(27, 50))
    assert rater.verdict.startswith("worse by 0.144 (")
    assert " in accuracy, but better by 0.073 (" in rater.verdict


def test_the_order_of_rows_and_columns_does_not_matter(run: Path, tmp_path: Path) -> None:
    rows = [
        (rater, *row)
        for rater, wrong in (("a", {}), ("b", {str(CELLS.ids[SPLITS.holdout[-1]]): "class-0"}))
        for row in rows_of(SPLITS.holdout, **wrong)
    ]
    plain = compare_answers(run, written(tmp_path / "a.csv", "expert,cell,answer", rows))
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    turned = [(given, cell, rater) for rater, cell, given in shuffled]
    other = written(tmp_path / "b.tsv", "Label,Cell_ID,Rater", turned, mark="\t")
    assert compare_answers(run, other) == plain
    assert plain.best is plain.raters[0]


def test_unnamed_columns_are_taken_in_order(run: Path, tmp_path: Path) -> None:
    rows = rows_of(SPLITS.holdout)
    named = compare_answers(run, written(tmp_path / "a.csv", "id,class", rows))
    assert compare_answers(run, written(tmp_path / "b.csv", "image,phase", rows)) == named


def test_only_cells_of_both_count_and_the_others_are_told(run: Path, tmp_path: Path) -> None:
    rows = [*rows_of(SPLITS.holdout[:30]), *rows_of(SPLITS.folds[0][:5])]
    rows.append((str(CELLS.ids[SPLITS.holdout[35]]), ""))
    table = written(tmp_path / "experts.csv", "id,class", rows)
    (rater,) = compare_answers(run, table).raters
    assert (rater.cells, rater.unanswered, rater.outside) == (30, 10, 5)
    (rater,) = compare_answers(run, table, part="oof").raters
    assert (rater.cells, rater.outside) == (5, 30)
    table = written(tmp_path / "others.csv", "id,class", rows_of(SPLITS.folds[0]))
    with pytest.raises(DataError, match=r"answered no cell of the hold-out.*part=.oof."):
        compare_answers(run, table)


def test_every_fault_is_told_at_once_with_its_line(run: Path, tmp_path: Path) -> None:
    (a, first), (b, _), (c, _), *_ = rows_of(SPLITS.holdout)
    rows = [
        ("ann", a, first),
        ("ann", "nobody", "class-0"),
        ("ann", b, "clas-1"),
        ("", c, "class-0"),
        ("ann", a, first),
        ("bob", a, first),
    ]
    table = written(tmp_path / "experts.csv", "rater,id,class", rows)
    with pytest.raises(DataError) as error:
        compare_answers(run, table)
    told = str(error.value).splitlines()
    assert "4 problems" in told[0]
    assert told[1:5] == [
        "  line 3: the run has no cell 'nobody'",
        "  line 4: no class 'clas-1'; did you mean 'class-1'? "
        "(there are class-0, class-1, class-2)",
        "  line 5: no rater",
        f"  line 6: a second answer of ann for {a!r}, after line 2",
    ]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("id", "no column for the class given"),
        ("id,class,answer", "class and answer could both be the class given"),
        ("id,rater", "no column for the class given"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(
    run: Path, tmp_path: Path, header: str, told: str
) -> None:
    row = ("000000", "class-0", "class-0")[: header.count(",") + 1]
    with pytest.raises(DataError, match=rf"line 1: {told}"):
        compare_answers(run, written(tmp_path / "t.csv", header, [row]))


def test_a_run_without_a_card_says_so(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "id,class", [("0", "a")])
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match=r"it holds no run\.json"):
        compare_answers(tmp_path / "run", table)
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(RunError, match="no card yet; finish it with"):
        compare_answers(tmp_path / "run", table)


def test_mcnemar_and_holm_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(5, 1) == mcnemar(1, 5)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_command_prints_tables_csv_and_json(command, run: Path, tmp_path: Path) -> None:
    rows = [("ann", *row) for row in rows_of(SPLITS.holdout)]
    rows += [("bob", *row) for row in rows_of(SPLITS.holdout[:20])]
    table = written(tmp_path / "experts.csv", "rater,id,class", rows)
    out = tmp_path / "figures.csv"
    code, printed, error = command("compare", run, "--answers", table, "--csv", out)
    assert code == 0, error
    assert "model against ann" in printed
    assert "worse by 0.200" in printed
    assert "bob: 20 of the 40 cells have no answer" in printed
    lines = list(csv.DictReader(out.read_text().splitlines()))
    assert [line["rater"] for line in lines] == ["ann", "bob"]
    assert float(lines[0]["difference_accuracy"]) == pytest.approx(-0.2)
    assert sorted(line["best"] for line in lines) == ["false", "true"]
    code, printed, _ = command("compare", run, "--answers", table, "--json")
    facts = json.loads(printed)
    assert facts["raters"][0]["p"] == pytest.approx(2 / 2**8)
    assert facts["best"] in ("ann", "bob")
    code, _, error = command("compare", run, "--answers", table, "--part", "all")
    assert code == 2
    assert "expected holdout or oof" in error


def test_neither_torch_nor_ray_is_loaded(run: Path, tmp_path: Path) -> None:
    table = written(tmp_path / "experts.csv", "id,class", rows_of(SPLITS.holdout))
    code = (
        "import sys; from cellsearch.compare.raters import compare_answers as c; "
        f"c({str(run)!r}, {str(table)!r}); "
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
