"""Our tables beside Optuna's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from cellsearch.tune.driver import search
from cellsearch.tune.store import RunFacts, Store, runs
from cellsearch.tune.study import open_engine

import search_cases as cases
from conftest import squares


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    opened.close()


def facts(study: str = "jurkat-1") -> RunFacts:
    return RunFacts(
        name=study,
        study_name=study,
        folder="/runs/jurkat-1",
        dataset="jurkat",
        dataset_sha256="a" * 64,
        splits_sha256="b" * 64,
        space="default",
        space_sha256="c" * 64,
        metric="mcc",
        seed=2**31,
    )


def test_a_run_is_written_once_and_its_end_too(store: Store, url: str) -> None:
    first = store.record_run(facts())
    assert [row.state for row in store.runs()] == ["searching"]
    store.finish_run(first, "interrupted")
    assert store.record_run(facts()) == first, "a run that goes on keeps its row"
    assert store.runs()[0].finished is None
    store.finish_run(first, "searched")
    second = store.record_run(facts("jurkat-2"))
    found = runs(url)
    assert [row.id for row in found] == [second, first]
    assert (found[1].facts, found[1].state) == (facts(), "searched")
    assert found[1].finished is not None


def test_a_fold_told_twice_is_one_row(store: Store) -> None:
    run = store.record_run(facts())
    for seconds in (1.0, 2.0):
        store.record_fold(
            run,
            4,
            1,
            seconds=seconds,
            images_per_second=10.0,
            confusion=np.array([[1, 2], [3, 4]]),
            path=Path("fold-1.npz"),
        )
    (row,) = store.folds(run)
    assert (row.trial, row.fold, row.seconds) == (4, 1, 2.0)
    assert row.confusion == [[1, 2], [3, 4]]


def test_a_search_fills_the_tables_beside_optunas(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=2, race=False)
    search(job, cases.space(), cases.Recorder(), cases.backend_of("local", "fake"))
    engine = open_engine(job.storage_url)
    tables = set(sa.inspect(engine).get_table_names())
    with engine.connect() as connection:
        artifacts = connection.execute(
            sa.text("select trial, kind, path from cellsearch_artifacts order by trial")
        ).all()
        cells = connection.execute(sa.text("select count(*) from cellsearch_folds")).scalar_one()
    engine.dispose()
    assert {"studies", "trials", "cellsearch_runs", "cellsearch_folds"} <= tables
    assert cells == 6
    assert [(trial, kind) for trial, kind, _ in artifacts] == [
        (0, "confusion matrix"),
        (1, "confusion matrix"),
    ]
    for _, _, path in artifacts:
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    (run,) = runs(job.storage_url)
    assert (run.state, run.facts.dataset, run.facts.space) == ("searched", "squares", "tiny")
    assert len(list((job.run_folder / "artifacts").iterdir())) == 2
