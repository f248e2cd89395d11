"""Results as pandas frames: the same figures as in the files they come from."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import cellsearch
from cellsearch.errors import CardError, RunError
from cellsearch.sklearn.frames import (
    cells_frame,
    confusion_frame,
    figures_frame,
    fold_scores_frame,
    predictions_frame,
    trials_frame,
)

from conftest import squares

pd = pytest.importorskip("pandas")


@pytest.fixture
def run(finished_run: cellsearch.SearchResult) -> cellsearch.SearchResult:
    return finished_run


def test_trials_are_the_leaderboard(run) -> None:
    frame = trials_frame(run)
    assert frame["trial"].tolist() == [row.number for row in run.trials]
    assert frame["score"].tolist() == [row.score for row in run.trials]
    assert frame["optim.lr"].tolist() == [row.recipe.optim.lr for row in run.trials]
    # The baseline has a head, the others none: what is absent is missing.
    baseline = frame[frame["baseline"]].iloc[0]
    assert baseline["trial"] == 0
    assert frame.loc[~frame["baseline"], "model.head.1"].isna().all()
    pd.testing.assert_frame_equal(frame, trials_frame(run.folder))
    pd.testing.assert_frame_equal(frame, trials_frame(str(run.folder)))


def test_a_run_without_trials_gives_an_empty_frame(run) -> None:
    from dataclasses import replace

    frame = trials_frame(replace(run, trials=()))
    assert frame.empty
    assert "score" in frame.columns


def test_scores_of_folds_pool_to_the_score_of_the_trial(run) -> None:
    frame = fold_scores_frame(run)
    assert set(frame["fold"]) == {0, 1}
    cells = frame.groupby("trial")["cells"].sum()
    whole = [row.number for row in run.trials if row.state == "COMPLETE"]
    assert (cells[whole] == 72).all()
    # Of a trial that was stopped early some folds were never trained.
    assert (cells <= 72).all()
    # By accuracy the pooled figure is the mean over cells, so it can be checked from outside.
    scores = trials_frame(run).set_index("trial")["score"]
    for trial, folds in frame.groupby("trial"):
        assert folds["score"].min() - 0.2 <= scores[trial] <= folds["score"].max() + 0.2
    pd.testing.assert_frame_equal(frame, fold_scores_frame(run.folder))


def test_figures_are_those_of_the_card(run) -> None:
    frame = figures_frame(run.card)
    picked = frame.query("part == 'hold-out' and model == 'winner' and `class` == ''")
    stated = run.card.metrics["hold_out"]["winner"]["metrics"]["balanced_accuracy"]
    row = picked.set_index("figure").loc["balanced_accuracy"]
    assert (row["value"], row["low"], row["high"]) == tuple(stated.values())
    of_class = frame.query("part == 'out-of-fold' and `class` == 'class-2' and figure == 'recall'")
    assert set(of_class["model"]) == {"winner", "baseline", "winner minus baseline"}
    recall = run.card.metrics["out_of_fold"]["winner"]["per_class"]["class-2"]["recall"]
    assert of_class.set_index("model").loc["winner", "high"] == recall["high"]
    for other in (run.folder, run.card.folder, str(run.card.folder)):
        pd.testing.assert_frame_equal(frame, figures_frame(other))


def test_predictions_and_confusion_agree(run) -> None:
    for part, cells in (("holdout", 18), ("oof", 72)):
        frame = predictions_frame(run.card, part)
        assert len(frame) == cells
        assert frame[list(run.card.classes)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
        counts = confusion_frame(run.card, part)
        crossed = pd.crosstab(frame["true_class"], frame["predicted_class"])
        for true in counts.index:
            for predicted in counts.columns:
                known = true in crossed.index and predicted in crossed.columns
                assert counts.loc[true, predicted] == (crossed.loc[true, predicted] if known else 0)


def test_classes_named_like_nothing_or_numbers_stay_text(run, tmp_path: Path) -> None:
    import shutil

    card = Path(shutil.copytree(run.card.folder, tmp_path / "card"))
    path = card / "predictions.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[1][3], rows[2][3] = "NA", "1"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    frame = predictions_frame(card)
    assert frame["true_class"].tolist()[:2] == ["NA", "1"]
    assert frame["id"].tolist()[0] == rows[1][0]


def test_cells_know_their_class_and_part(run) -> None:
    cells = squares()
    splits = cellsearch.draw_splits(cells, folds=2, seed=1)
    frame = cells_frame(cells, splits)
    assert frame["class"].value_counts().to_dict() == {"class-0": 50, "class-1": 30, "class-2": 10}
    assert list(frame["class"].cat.categories) == list(cells.classes)
    assert frame.index[frame["part"] == "hold-out"].tolist() == splits.holdout.tolist()
    assert frame.index[frame["part"] == "fold 1"].tolist() == splits.folds[1].tolist()
    assert "group" not in cells_frame(cells)
    some = cellsearch.CellDataset.from_arrays(
        cells.images[:4], [0, -1, 1, 1], classes=["a", "b"], groups=["d", "d", "e", "e"]
    )
    told = cells_frame(some)
    assert told["class"].isna().tolist() == [False, True, False, False]
    assert told["group"].tolist() == ["d", "d", "e", "e"]
    with pytest.raises(RunError, match="another data set"):
        cells_frame(some, splits)


def test_what_is_not_there_is_said(run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json"):
        trials_frame(tmp_path)
    with pytest.raises(CardError):
        figures_frame(tmp_path)
    with pytest.raises(RunError, match="part: must be one of holdout, oof"):
        predictions_frame(run.card, "all")


def test_frames_cost_nothing_until_asked_for() -> None:
    import subprocess
    import sys

    code = "import cellsearch, sys; cellsearch.trials_frame; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
