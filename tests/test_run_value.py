"""Run: made, opened again, and taken away where it is refused; nothing is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CellsearchError, MismatchError, RunError
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import read_record, write_record
from cellsearch.run.inputs import Given
from cellsearch.run.search import Run
from cellsearch.space.search_space import SearchSpace

from conftest import squares
from run_cases import TINY

SPACE = SearchSpace.from_dict(TINY)


@pytest.fixture
def cells() -> CellDataset:
    return squares((24, 16, 8))


def config(**changes: object) -> RunConfig:
    settings = {"dataset": "squares", "folds": 2, "budget": 1, "seed": 3, **changes}
    return RunConfig.of(**settings)


def create(cells: CellDataset, folder: Path, **changes: object) -> Run:
    asked = config(**changes)
    return Run.create(asked, out=folder, given=Given.of(asked, cells, SPACE))


def test_a_new_run_is_on_disk_before_it_is_executed(cells: CellDataset, tmp_path: Path) -> None:
    run = create(cells, tmp_path / "run")
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "run.json", "space.yaml", "splits.json",
    ]  # fmt: skip
    assert read_record(run.folder) == run.record
    assert run.record.built == ("cells", "space")
    assert run.record.command == f"cellsearch resume {run.folder}"
    assert (run.splits.k, run.splits.seed) == (2, 3)


def test_it_is_opened_with_what_it_was_begun_with(cells: CellDataset, tmp_path: Path) -> None:
    run = create(cells, tmp_path / "run")
    again = Run.open(run.folder)
    assert again.record == run.record
    assert again.cells.sha256 == run.cells.sha256
    assert again.splits.sha256 == run.splits.sha256
    assert again.space.sha256 == run.space.sha256
    assert again.job() == run.job()


def test_another_request_is_refused_and_leaves_it_as_it_was(
    cells: CellDataset, tmp_path: Path
) -> None:
    run = create(cells, tmp_path / "run")
    with pytest.raises(MismatchError, match="seed: was 3, is 4"):
        Run.open(run.folder, config=config(seed=4))
    assert read_record(run.folder) == run.record


def test_a_finished_run_is_not_opened(
    cells: CellDataset, finished_card: Path, tmp_path: Path
) -> None:
    run = create(cells, tmp_path / "run")
    shutil.copytree(finished_card, run.folder / "card")
    write_record(run.folder, run.record.model_copy(update={"state": "finished"}))
    with pytest.raises(RunError, match="is finished: its hold-out has been scored"):
        Run.open(run.folder)


@pytest.mark.parametrize("there", [False, True])
def test_a_refused_run_leaves_nothing_behind(
    cells: CellDataset, tmp_path: Path, there: bool
) -> None:
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    with pytest.raises(CellsearchError):
        create(cells, folder, folds=40)
    assert folder.exists() == there
    assert not there or not any(folder.iterdir())


def test_a_run_that_cannot_reach_its_database_is_taken_away(
    cells: CellDataset, tmp_path: Path
) -> None:
    run = create(cells, tmp_path / "run", storage="sqlite:////nonexistent/x.db")
    with pytest.raises(CellsearchError):
        run.execute()
    assert not run.folder.exists()


def test_a_folder_of_other_things_is_refused(cells: CellDataset, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files"):
        create(cells, tmp_path)
    with pytest.raises(RunError, match="is not the folder of a run"):
        Run.open(tmp_path)
