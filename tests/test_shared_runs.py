"""A laboratory's shared database: runs of everybody, found by name."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellsearch.errors import RunError, StorageError
from cellsearch.run.shared import locate, shared_run, shared_runs

from run_cases import tiny_search

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('shared') / 'lab.db'}"


@pytest.fixture(scope="module")
def run(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anna") / "anaphases"
    tiny_search(folder, storage=url)
    return folder


def test_a_run_is_listed_with_its_scores_and_its_card(run: Path, url: str) -> None:
    (found,) = shared_runs(url)
    assert found.row.facts.name == "anaphases"
    assert found.row.state == "finished"
    assert Path(found.row.card) == (run / "card").resolve()
    assert found.is_here
    assert found.best is not None
    assert found.best.score is not None
    assert found.baseline is not None
    assert found.baseline.number == 0


def test_the_command_lists_and_shows_runs_of_a_database(command, run: Path, url: str) -> None:
    code, out, _ = command("runs", "--storage", url)
    assert code == 0
    assert "anaphases" in out
    assert "finished" in out
    code, out, _ = command("runs", "--storage", url, "--json")
    assert json.loads(out)[0]["card"] == str((run / "card").resolve())
    code, out, _ = command("show", "anaphases", "--storage", url)
    assert code == 0
    assert "cellsearch predict" in out


def test_a_name_that_is_not_there_offers_the_nearest(run: Path, url: str) -> None:
    with pytest.raises(RunError, match=r"no run 'anaphase'.*anaphases"):
        shared_run(url, "anaphase")


def test_a_run_of_another_machine_is_shown_from_the_database(
    command,
    url: str,
    run: Path,
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "moved"
    shutil.move(run, elsewhere)
    try:
        with pytest.raises(RunError, match="cannot be read from here"):
            locate(Path("anaphases"), url)
        code, out, _ = command("show", "anaphases", "--storage", url)
        assert code == 0
        assert "cannot be read from here" in out
        assert "baseline" in out
    finally:
        shutil.move(elsewhere, run)


def test_listing_writes_nothing_into_a_foreign_database(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.touch()
    assert shared_runs(f"sqlite:///{path}") == []
    engine = sa.create_engine(f"sqlite:///{path}")
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_mistyped_file_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no file .*typo\.db"):
        shared_runs(f"sqlite:///{tmp_path / 'typo.db'}")
    assert not list(tmp_path.iterdir())


def test_the_same_on_postgresql(tmp_path: Path) -> None:
    url = os.environ.get("CELLSEARCH_TEST_POSTGRESQL")
    if url is None:
        pytest.skip("no PostgreSQL; CELLSEARCH_TEST_POSTGRESQL names an empty database")
    name = f"anaphases-{secrets.token_hex(4)}"
    tiny_search(tmp_path / name, storage=url)
    assert shared_run(url, name).row.state == "finished"
    assert locate(Path(name), url) == (tmp_path / name).resolve()
