"""Leaks planted on purpose: each is refused, leaves no way to happen, or is found by the audit.

Marker cells (``test_leakage``) prove that a fit reads no cell but those it was given. Here the code
around it is sabotaged, or a run's files are altered, and the audit must name the cells.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellsearch import resume
from cellsearch.audit import Check, audit_run
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.errors import RunError
from cellsearch.learn import fit as fit_module
from cellsearch.learn.evaluate import cross_validate
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.normalise import Normalise
from cellsearch.learn.precision import Precision
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import RunRecord, read_record, write_record
from cellsearch.space.recipe import Balance, CnnModel, Gan, Recipe, Train
from cellsearch.tune.job import fold_path

from conftest import squares
from run_cases import tiny_search

pytestmark = pytest.mark.slow

MODEL = CnnModel(depth=1, width=8, kernel=(3,), batch_norm=True, head_layers=0, head=())
PLAIN = Precision("float32", channels_last=False)
STOPPED = Recipe(model=MODEL, train=Train(batch_size=32, epochs=1, patience=1))
GENERATED = Recipe(
    model=MODEL,
    balance=Balance(method="over"),
    gan=Gan(kind="wgan-gp", below=0.4, steps=1, critic_steps=1, batch=4, width=8),
    train=Train(batch_size=32, epochs=1),
)


def made(
    folder: Path, cells: CellDataset, splits: Splits | None = None, *, recipe: Recipe | None = None
) -> Path:
    """A run of one trial, without a study; its folds are trained where a recipe is given."""
    run = folder / "run"
    saved = cells.save(folder / "cells")
    splits = splits or draw_splits(saved, folds=2, duplicates=())
    splits = replace(splits, dataset_sha256=saved.sha256, sha256="")
    run.mkdir()
    splits.save(run / "splits.json")
    record = RunRecord(
        config=RunConfig.of(dataset="squares", folds=2, backend="local"),
        dataset_folder=saved.folder,
        dataset_sha256=saved.sha256,
        space_sha256="0" * 64,
        splits_sha256=splits.sha256,
        created="2026-01-01T00:00:00+00:00",
        command="cellsearch run",
    )
    write_record(run, record)
    if recipe is not None:
        for result in cross_validate(
            recipe, saved, splits, seed=0, device="cpu", threads=1, precision=PLAIN
        ):
            result.save(fold_path(run, 0, result.fold))
    return run


def found(run: Path, name: str) -> Check:
    return next(check for check in audit_run(run).checks if check.name == name)


def validation_of(run: Path, fold: int) -> set[str]:
    cells = CellDataset.open(read_record(run).dataset_folder)
    return set(cells.ids[Splits.load(run / "splits.json", cells).validation(fold)].tolist())


# Duplicates and resampling


def doubled() -> CellDataset:
    """Resampled before the split: rare cells come twice."""
    cells = squares((30, 20, 10))
    rare = np.flatnonzero(cells.labels == 2)
    everyone = np.concatenate([np.arange(len(cells)), rare])
    return CellDataset.from_arrays(
        cells.images[everyone], cells.labels[everyone], classes=cells.classes, name="doubled"
    )


def augmented() -> CellDataset:
    """As ``doubled``, but the copies were mirrored and made brighter before."""
    cells = doubled()
    pixels = np.array(cells.images)
    pixels[60:] = np.clip(1.03 * pixels[60:, ..., ::-1], 0, 255).round()
    return CellDataset.from_arrays(pixels, cells.labels, classes=cells.classes, name="augmented")


@pytest.mark.parametrize("cells", [doubled, augmented])
def test_cells_resampled_before_the_split_stay_on_one_side(
    cells: Callable[[], CellDataset],
) -> None:
    splits = draw_splits(cells(), folds=2)
    parts = [splits.holdout, *splits.folds]
    for first, copy in zip(range(50, 60), range(60, 70), strict=True):
        assert any(first in part and copy in part for part in parts)


@pytest.mark.parametrize("cells", [doubled, augmented])
def test_splits_that_know_nothing_of_copies_are_found(
    cells: Callable[[], CellDataset], tmp_path: Path
) -> None:
    check = found(made(tmp_path, cells()), "near-duplicates are on one side of every split")
    assert check.status == "FAILED"
    assert "show the same image, in" in check.detail
    assert set(check.cells) <= {f"{n:06d}" for n in range(50, 70)}
    assert len(check.cells) >= 2


def test_a_duplicate_that_trains_in_a_fixed_split_is_found(tmp_path: Path) -> None:
    cells = squares((30, 20, 10))
    pixels = np.array(cells.images)
    pixels[7] = pixels[3]
    cells = CellDataset.from_arrays(pixels, cells.labels, classes=cells.classes, name="duplicates")
    order = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(60), [3, 7]))
    splits = Splits(
        holdout=np.sort(order[:10]),
        folds=(np.sort(np.append(order[10:20], 3)),),
        train_only=np.sort(np.append(order[20:], 7)),
        not_estimable=(),
        seed=0,
        dataset_sha256=cells.sha256,
    )
    check = found(made(tmp_path, cells, splits), "near-duplicates are on one side of every split")
    assert check.cells == ("000003", "000007")
    assert "fold 0 and cells that only train" in check.detail


# Groups


def donors(cells: CellDataset) -> CellDataset:
    return CellDataset.from_arrays(
        np.array(cells.images),
        cells.labels,
        classes=cells.classes,
        groups=[f"donor-{n % 9}" for n in range(len(cells))],
        name="donors",
    )


@pytest.mark.parametrize("options", [{"folds": 3}, {"split": "60/20/20"}])
@pytest.mark.parametrize("seed", range(3))
def test_no_split_of_ours_tears_a_group(options: dict, seed: int) -> None:
    cells = donors(squares((60, 40, 30)))
    splits = draw_splits(cells, **options, seed=seed, duplicates=())
    for fold in range(splits.k):
        parts = (splits.training(fold), splits.validation(fold), splits.holdout)
        names = [set(cells.groups[part]) for part in parts]
        assert sum(map(len, names)) == len(set.union(*names)) == 9


def test_early_stopping_watches_whole_groups() -> None:
    cells = donors(squares((60, 40, 30)))
    indices = np.arange(0, len(cells), 2)
    for seed in range(5):
        inner, watched = fit_module.inner_split(cells, indices, rng=np.random.default_rng(seed))
        assert sorted([*inner, *watched]) == sorted(indices)
        assert not set(cells.groups[inner]) & set(cells.groups[watched])
        assert 0.05 < len(watched) / len(indices) < 0.25
        assert set(cells.labels[inner]) == {0, 1, 2}


def test_where_whole_groups_would_leave_a_class_untrained_cells_are_watched() -> None:
    cells = squares((40, 30, 20))
    cells = CellDataset.from_arrays(
        np.array(cells.images), cells.labels, groups=[f"slide-{k}" for k in cells.labels]
    )
    inner, watched = fit_module.inner_split(
        cells, np.arange(len(cells)), rng=np.random.default_rng(0)
    )
    assert np.bincount(cells.labels[watched]).tolist() == [4, 3, 2]
    assert set(cells.labels[inner]) == {0, 1, 2}


def test_a_group_torn_between_folds_is_found(tmp_path: Path) -> None:
    cells = squares((30, 20, 10))
    # Drawn as if the cells were independent.
    splits = draw_splits(cells, folds=2, duplicates=())
    cells = donors(cells)
    check = found(made(tmp_path, cells, splits), "groups are on one side of every split")
    assert check.status == "FAILED"
    assert "group donor-0 is in the hold-out and fold 0" in check.detail
    assert set(check.cells) <= set(cells.ids)


# Sabotaged fits


def to_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of the whole data set."""
    fit = Normalise.fit
    monkeypatch.setattr(
        Normalise, "fit", lambda self, images, _: fit(self, images, np.arange(len(images)))
    )


def before_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generators of all cells of a class."""
    generate = fit_module.generated_cells

    def all_cells(dataset: CellDataset, _: np.ndarray, *rest: object, **options: object) -> object:
        return generate(dataset, np.arange(len(dataset)), *rest, **options)

    monkeypatch.setattr(fit_module, "generated_cells", all_cells)


def on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early stopping on what the fold is judged by (and on the hold-out)."""
    monkeypatch.setattr(
        fit_module,
        "inner_split",
        lambda dataset, indices, *, rng: (
            indices,
            np.setdiff1d(np.arange(len(dataset)), indices),
        ),
    )


def on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold's own validation cells among its training cells."""
    monkeypatch.setattr(Splits, "training", lambda self, fold: np.sort(np.concatenate(self.folds)))


@pytest.mark.parametrize(
    ("sabotage", "recipe", "name", "words"),
    [
        (
            to_everything,
            STOPPED,
            "normalisation was fitted on training cells only",
            "trial 0, fold 0: the normalisation was fitted on its own validation cells",
        ),
        (
            before_the_split,
            GENERATED,
            "generated cells come from training cells only",
            "trial 0, fold 0: the generator of class-2 was trained on its own validation cells",
        ),
        (
            on_the_others,
            STOPPED,
            "early stopping used training cells only",
            "trial 0, fold 0: early stopping used its own validation cells",
        ),
        (
            on_all,
            STOPPED,
            "networks were trained on training cells only",
            "trial 0, fold 0: its own validation cells trained it",
        ),
    ],
)
def test_a_sabotaged_fit_gives_itself_away(
    sabotage: Callable[[pytest.MonkeyPatch], None],
    recipe: Recipe,
    name: str,
    words: str,
    tmp_path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sabotage(patch)
        run = made(tmp_path, squares((30, 20, 10)), recipe=recipe)
    check = found(run, name)
    assert check.status == "FAILED"
    assert words in check.detail
    assert set(check.cells) & validation_of(run, 0)
    assert set(check.cells) & validation_of(run, 1)


def test_an_honest_fit_is_not_accused(tmp_path: Path) -> None:
    watching = Train(batch_size=32, epochs=1, patience=1)
    recipe = GENERATED.model_copy(update={"train": watching})
    run = made(tmp_path, squares((40, 30, 15)), recipe=recipe)
    report = audit_run(run)
    assert not report.failed, [check.line() for check in report.failed]
    passed = {check.name for check in report.checks if check.status == "passed"}
    assert "generated cells come from training cells only" in passed
    assert "early stopping used training cells only" in passed


# A finished run, altered


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_search(tmp_path_factory.mktemp("runs") / "one", budget=2, race=False).folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "one")


def test_it_is_clean_before_it_is_altered(run: Path) -> None:
    assert not audit_run(run).failed


def test_predictions_of_other_cells_are_found(run: Path) -> None:
    path = fold_path(run, 1, 0)
    result = FoldResult.load(path)
    stranger = FoldResult.load(fold_path(run, 1, 1)).cells[0]
    replace(result, cells=np.append(result.cells[1:], stranger)).save(path)
    check = found(run, "out-of-fold predictions cover the cells of their fold")
    assert check.detail == "trial 1, fold 0: 1 cells of other parts, 1 missing"
    assert f"{stranger:06d}" in check.cells
    # The stranger trained the network that predicts it.
    trained = found(run, "networks were trained on training cells only")
    assert trained.cells == (f"{stranger:06d}",)


def test_a_cell_moved_in_the_splits_is_found_and_named(run: Path) -> None:
    path = run / "splits.json"
    facts = json.loads(path.read_text())
    moved = facts["holdout"]["indices"].pop(0)
    name = facts["holdout"]["ids"].pop(0)
    facts["folds"][0]["indices"].append(moved)
    facts["folds"][0]["ids"].append(name)
    path.write_text(json.dumps(facts))
    check = found(run, "the splits are those drawn at the start")
    assert "was changed after it was drawn" in check.detail
    assert check.cells == (name,)


def test_another_draw_of_the_splits_is_found(run: Path) -> None:
    cells = CellDataset.open(read_record(run).dataset_folder)
    draw_splits(cells, folds=2, seed=9).save(run / "splits.json")
    failed = {check.name: check for check in audit_run(run).failed}
    assert failed["the splits are those drawn at the start"].cells
    assert failed["out-of-fold predictions cover the cells of their fold"].cells
    assert failed["final networks were trained without the hold-out"].cells


def test_a_hold_out_read_for_a_second_trial_is_refused(run: Path) -> None:
    from cellsearch.run.finalize import _record_scoring
    from cellsearch.run.history import past_run
    from cellsearch.tune.study import SearchOutcome

    rows = list(past_run(run).rows)
    looked = json.loads((run / "holdout.json").read_text())
    other = next(row for row in rows if row.number != looked["trial"])
    outcome = SearchOutcome(other, None, rows, interrupted=False, timed_out=False)
    with pytest.raises(RunError, match="would be selecting by it"):
        _record_scoring(run, other, outcome)


def test_a_hold_out_read_twice_is_found(run: Path) -> None:
    looked = json.loads((run / "holdout.json").read_text())
    (run / "holdout.json").write_text(json.dumps(looked | {"trial": 1 - looked["trial"]}))
    check = found(run, "this run read its hold-out once")
    assert check.status == "FAILED"
    assert f"again for trial {looked['trial']} of the card" in check.detail
    (run / "holdout.json").unlink()
    assert found(run, "this run read its hold-out once").status == "FAILED"


def test_trials_made_after_the_look_are_found(run: Path) -> None:
    looked = json.loads((run / "holdout.json").read_text())
    (run / "holdout.json").write_text(json.dumps(looked | {"trials": [0]}))
    check = found(run, "this run read its hold-out once")
    assert check.detail == "trials were trained after it was read: 1"


def test_a_run_whose_hold_out_was_read_makes_no_more_trials(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = []

    def hand_over(record: RunRecord, *rest: object, **options: object) -> None:
        handed.append(record)

    monkeypatch.setattr("cellsearch.run.finalize.hand_over", hand_over)
    # As if the writing of the card had died.
    write_record(run, read_record(run).model_copy(update={"state": "searching"}))
    result = resume(run, budget=9)
    assert len(handed) == 1
    assert sorted(row.number for row in result.trials) == [0, 1]


def test_a_card_of_other_splits_or_cells_is_found(run: Path) -> None:
    path = run / "card" / "config.json"
    facts = json.loads(path.read_text())
    facts["splits_sha256"] = "0" * 64
    facts["dataset"]["sha256"] = "1" * 64
    path.write_text(json.dumps(facts))
    check = found(run, "the card is of this run's best trial")
    assert "it belongs to another data set" in check.detail
    assert "it has other splits: sha256 000000000000" in check.detail


def test_calibration_on_the_hold_out_is_found(run: Path) -> None:
    path = run / "card" / "config.json"
    facts = json.loads(path.read_text())
    facts["temperature"] = 1.7 * facts["temperature"]
    path.write_text(json.dumps(facts))
    check = found(run, "calibration was fitted on out-of-fold predictions only")
    assert check.status == "FAILED"
    assert "it was fitted on other cells" in check.detail


@pytest.mark.parametrize(("error", "status"), [(None, "passed"), (0.05, "FAILED")])
def test_thresholds_of_older_rules_are_not_held_against_the_new_ones(
    run: Path, error: float | None, status: str
) -> None:
    path = run / "card" / "config.json"
    facts = json.loads(path.read_text())
    classes = len(facts["classes"])
    older = {"level": 0.9, "thresholds": [0.123] * classes, "cells": [7] * classes}
    facts["sets"] = older if error is None else older | {"error": error}
    del facts["prevalence"]["by_group"]
    path.write_text(json.dumps(facts))
    check = found(run, "calibration was fitted on out-of-fold predictions only")
    assert check.status == status


def test_other_pixels_are_found(run: Path, tmp_path: Path) -> None:
    record = read_record(run)
    folder = shutil.copytree(record.dataset_folder, tmp_path / "cells")
    write_record(run, record.model_copy(update={"dataset_folder": folder}))
    images = np.load(folder / "images.npy")
    images[0] = 0
    np.save(folder / "images.npy", images)
    with pytest.raises(RunError, match="its bytes are not those that were written"):
        found(run, "the cells are those the run started with")


def test_weights_that_have_seen_the_cells_are_found(run: Path) -> None:
    record = read_record(run)
    config = record.config.model_copy(update={"init_from": run / "card"})
    write_record(run, record.model_copy(update={"config": config}))
    check = found(run, "the warm-start card has seen none of these cells")
    assert check.status == "FAILED"
    assert len(check.cells) == 90
