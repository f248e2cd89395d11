"""The whole job, in this process, on few cells: search, refit, hold-out once, card, resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import cellsearch
from cellsearch import CellDataset, SearchSpace
from cellsearch.errors import MismatchError, RunError
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import read_record, unfinished
from cellsearch.run.history import past_run
from cellsearch.util.wording import as_option

from conftest import squares
from run_cases import TINY, Stopper, tiny_search


@pytest.fixture
def finished(finished_run: cellsearch.SearchResult) -> cellsearch.SearchResult:
    return finished_run


def test_a_run_leaves_what_it_promises(finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert {"run.json", "space.yaml", "splits.json", "study.db", "trials", "card"} <= names
    assert read_record(finished.folder).state == "finished"
    assert finished.baseline.number == 0
    assert finished.baseline.recipe == cellsearch.BASELINE
    assert [row.score for row in finished.leaderboard()] == sorted(
        (row.score for row in finished.leaderboard()), reverse=True
    )


def test_the_card_is_of_the_winner_and_verifies(finished) -> None:
    assert finished.card.verify().cells > 0
    facts = json.loads((finished.folder / "holdout.json").read_text())
    assert facts["trial"] == finished.best.number


def test_the_hold_out_figures_are_those_of_the_exported_model(finished) -> None:
    cells = CellDataset.open(read_record(finished.folder).dataset_folder)
    splits = cellsearch.Splits.load(finished.folder / "splits.json", cells)
    predicted = finished.card.decide(finished.card.predict(cells.images[splits.holdout]))
    truth = cells.labels[splits.holdout]
    recalls = [(predicted[truth == k] == k).mean() for k in range(len(cells.classes))]
    metrics = json.loads((finished.card.folder / "metrics.json").read_text())
    stated = metrics["hold_out"]["winner"]["metrics"]["balanced_accuracy"]["value"]
    assert stated == pytest.approx(np.mean(recalls), abs=1e-6)


def test_trials_never_saw_the_hold_out(finished) -> None:
    cells = CellDataset.open(read_record(finished.folder).dataset_folder)
    splits = cellsearch.Splits.load(finished.folder / "splits.json", cells)
    for path in (finished.folder / "trials").glob("*/fold-*.npz"):
        with np.load(path) as fold:
            assert not set(fold["cells"]) & set(splits.holdout)


@pytest.mark.parametrize("what", ["zeroed", "lost"])
def test_a_card_that_a_power_cut_spoiled_is_written_anew(
    finished, tmp_path: Path, what: str
) -> None:
    run = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    before = read_record(run)
    if what == "zeroed":
        model = run / "card" / "model.onnx"
        model.write_bytes(bytes(model.stat().st_size))
    else:
        shutil.rmtree(run / "card")
    result = cellsearch.resume(run)
    assert result.card.verify().cells
    assert result.best.number == finished.best.number
    assert len(result.trials) == len(finished.trials)
    assert result.card.metrics["hold_out"] == finished.card.metrics["hold_out"]
    assert read_record(run).state == before.state == "finished"
    kept = [path.name for path in run.glob("card-damaged-*")]
    assert kept == (["card-damaged-1"] if what == "zeroed" else [])
    with pytest.raises(RunError, match="is finished"):
        cellsearch.resume(run)


def test_a_picture_that_cannot_be_drawn_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undrawable(*_: object, **__: object) -> bytes:
        raise ValueError("a superscript of a superscript")

    names = ("$x^y^z$", "\\frac{$", "_^_^ {$\\undefined$}")
    drawn = squares()
    cells = CellDataset.from_arrays(
        drawn.images, drawn.labels, classes=names, channels=drawn.channels, name="squares"
    )
    with monkeypatch.context() as patched:
        patched.setattr("cellsearch.tune.dashboard.confusion_png", undrawable)
        # Who sets LaTeX for their own figures has it for none of ours.
        patched.setitem(matplotlib.rcParams, "text.usetex", True)
        result = tiny_search(tmp_path / "run", cells, budget=2)
    assert [row.state for row in result.trials] == ["COMPLETE", "COMPLETE"]
    picture = (result.card.folder / "plots" / "confusion_hold_out.svg").read_text()
    assert names[0] in picture


def test_a_finished_run_refuses_to_search_on(finished) -> None:
    with pytest.raises(RunError, match="hold-out has been scored"):
        cellsearch.resume(finished.folder, budget=9)


@pytest.mark.slow
def test_ctrl_c_and_resume_lose_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped = tiny_search(out, observer=Stopper(3))
    assert stopped.interrupted
    assert stopped.card is None
    folds = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/fold-*.npz")}
    assert len(folds) >= 3
    result = cellsearch.resume(out)
    assert not result.interrupted
    assert result.card is not None
    assert len([r for r in result.trials if r.state in ("COMPLETE", "PRUNED")]) == 3
    for path, written in folds.items():
        assert path.stat().st_mtime_ns == written


@pytest.mark.slow
def test_resuming_with_other_cells_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tiny_search(out, observer=Stopper(1))
    with pytest.raises(MismatchError, match="another data set"):
        tiny_search(out, squares(seed=5))


@pytest.mark.slow
def test_resuming_with_another_space_shows_the_difference(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tiny_search(out, observer=Stopper(1))
    other = SearchSpace.from_dict(TINY | {"parameters": TINY["parameters"] | {"model.width": 16}})
    with pytest.raises(MismatchError, match=r"\+ .*model\.width: 16"):
        cellsearch.search(squares(), other, out=out, budget=3, folds=2, backend="local")


@pytest.mark.slow
def test_the_same_request_finds_its_unfinished_run(tmp_path: Path) -> None:
    tiny_search(tmp_path / "run", observer=Stopper(1), metric="macro_f1")
    config = read_record(tmp_path / "run").config
    these = {"cells": squares(), "space": SearchSpace.from_dict(TINY)}
    assert unfinished(config, tmp_path, **these) == tmp_path / "run"
    other = RunConfig.of(**(config.model_dump() | {"metric": "mcc"}))
    assert unfinished(other, tmp_path, **these) is None
    # A name alone means a built-in's or a folder's cells, not those of Python code.
    assert unfinished(config, tmp_path) is None
    assert unfinished(config, tmp_path, **(these | {"cells": squares(seed=5)})) is None


def test_every_setting_out_of_bounds_is_told_at_once() -> None:
    with pytest.raises(cellsearch.RunError) as caught:
        RunConfig.of(dataset="demo", budget=0, metric="f1", holdout=0.9)
    assert caught.value.message.worded(as_option).split("; --") == [
        "--metric: expected one of balanced_accuracy, macro_f1, weighted_f1, mcc, worst_recall, "
        "accuracy, got 'f1'; did you mean 'macro_f1'?",
        "holdout: expected at most 0.5, got 0.9",
        "budget: expected an integer >= 1, got 0",
    ]


def test_a_run_that_cannot_start_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(cellsearch.StorageError):
        tiny_search(tmp_path / "run", storage="postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_card_of_the_folds_averages_their_networks(tmp_path: Path) -> None:
    result = tiny_search(tmp_path / "run", budget=1, final="folds")
    assert result.card.verify().cells > 0
    assert result.card.config.members == 2


@pytest.mark.slow
def test_kept_rare_classes_are_said_not_estimable(tmp_path: Path) -> None:
    cells = squares((40, 24, 2))
    result = tiny_search(tmp_path / "run", cells, budget=1, rare="keep")
    text = (result.card.folder / "README.md").read_text()
    assert "not estimable" in text


@pytest.mark.slow
def test_the_trials_of_a_run_whose_folder_was_renamed_are_found(tmp_path: Path) -> None:
    run = tiny_search(tmp_path / "run", race=False)
    moved = run.folder.rename(tmp_path / "other")
    assert [row.number for row in past_run(moved).rows] == [row.number for row in run.leaderboard()]
