"""Our tables beside Optuna's."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import numpy as np
import pytest
import sqlalchemy as sa

from cellsearch.tune.dashboard import artifact_store
from cellsearch.tune.search import search
from cellsearch.tune.storage import open_engine, open_storage
from cellsearch.tune.store import RunFacts, Store, runs

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


def test_the_dashboard_shows_the_picture_and_the_note(tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    job = cases.prepare(squares(), tmp_path, budget=1)
    search(job, cases.space(), cases.Recorder(), cases.backend_of("local", "fake"))
    storage = open_storage(job.storage_url)
    app = dashboard.wsgi(storage, artifact_store=artifact_store(job.run_folder))

    def get(path: str) -> bytes:
        environment: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(environment)
        status: list[str] = []
        body = b"".join(app(environment, lambda text, *_: status.append(text)))
        assert status == ["200 OK"]
        return body

    (trial,) = json.loads(get("/api/studies/1"))["trials"]
    (artifact,) = trial["artifacts"]
    assert "| class-1 |" in trial["note"]["body"]
    picture = get(f"/artifacts/1/{trial['trial_id']}/{artifact['artifact_id']}")
    assert picture.startswith(b"\x89PNG")
    storage.remove_session()
    storage.engine.dispose()


def test_the_same_search_on_postgresql(tmp_path: Path) -> None:
    url = os.environ.get("CELLSEARCH_TEST_POSTGRESQL")
    if url is None:
        pytest.skip("no PostgreSQL; CELLSEARCH_TEST_POSTGRESQL names an empty database")
    name = tmp_path.name + secrets.token_hex(4)
    job = cases.prepare(squares(), tmp_path, budget=3, storage_url=url, study_name=name)
    for _ in range(2):
        outcome = search(job, cases.space(), cases.Recorder(), cases.backend_of("local", "fake"))
    assert sum(row.state in ("COMPLETE", "PRUNED") for row in outcome.rows) == 3
    assert runs(url)[0].facts.study_name == name
