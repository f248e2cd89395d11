"""The dashboard of a run: note, report and learning curves, also of runs made before."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sqlite3
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cellsearch import SearchResult, SearchSpace
from cellsearch.errors import RunError
from cellsearch.report.dashboard import BEGIN, merged, open_dashboard, refresh
from cellsearch.run.folder import read_record, storage_url
from cellsearch.tune.attachments import artifacts_of, read_note, write_note
from cellsearch.tune.study import read_study

from conftest import squares
from run_cases import TINY, Stopper, tiny_search


@pytest.fixture
def finished(finished_run: SearchResult) -> Path:
    return finished_run.folder


def copied(run: Path, folder: Path) -> Path:
    """A run of the same name, since the study bears it."""
    return Path(shutil.copytree(run, folder / run.name))


def study_of(run: Path):
    return read_study(storage_url(read_record(run).config, run), run.name)


def get(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_a_trial_leaves_its_learning_curves(finished: Path) -> None:
    study = study_of(finished)
    for trial in study.trials:
        found = artifacts_of(study._storage, study._study_id, trial._trial_id)
        assert list(found) == ["learning_curves.svg"]
        picture = (finished / "artifacts" / found["learning_curves.svg"]).read_text()
        folds = len(trial.intermediate_values)
        # A value after each fold, which the dashboard draws as "intermediate values".
        assert folds in (1, 2)
        assert f"trial {trial.number} (n = {folds} fold{'s' * (folds > 1)})" in picture
        assert "training loss" in picture


@pytest.mark.slow
def test_the_dashboard_serves_note_report_and_curves(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    run = copied(finished, tmp_path)
    server, url, complaint = open_dashboard(run, host="127.0.0.1", port=0)
    assert complaint == ""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://{urlsplit(url).netloc}"
        assert get(url)[0].startswith("text/html")
        number = url.rsplit("/", 1)[1]
        facts = json.loads(get(f"{base}/api/studies/{number}")[1])
        body = facts["note"]["body"]
        sentence = json.loads((run / "card" / "metrics.json").read_text())["verdict"]["sentence"]
        assert sentence[1:] in body
        (report,) = [a for a in facts["artifacts"] if a["filename"] == "report.html"]
        link = f"/artifacts/{number}/{report['artifact_id']}"
        assert f"({link})" in body
        kind, text = get(base + link)
        assert kind == "text/html"
        assert text == (run / "report.html").read_bytes()
        for trial in facts["trials"]:
            assert trial["note"]["body"]
            names = {a["filename"]: a["artifact_id"] for a in trial["artifacts"]}
            assert set(names) == {"confusion.png", "learning_curves.svg"}
            path = f"/artifacts/{number}/{trial['trial_id']}/{names['learning_curves.svg']}"
            assert get(base + path)[0] == "image/svg+xml"
        with pytest.raises(RunError, match=r"in use.*port"):
            open_dashboard(run, host="127.0.0.1", port=server.server_port)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_run_made_before_gets_what_it_lacks_and_a_person_keeps_their_note(
    finished: Path, tmp_path: Path
) -> None:
    run = copied(finished, tmp_path)
    with sqlite3.connect(run / "study.db") as database:
        database.execute(
            "DELETE FROM study_system_attributes WHERE key LIKE 'dashboard:artifacts:%'"
        )
    assert refresh(run) == ""
    study = study_of(run)
    storage, number = study._storage, study._study_id
    for trial in study.trials:
        assert "learning_curves.svg" in artifacts_of(storage, number, trial._trial_id)
    note = read_note(storage, number)
    assert note.startswith(BEGIN)
    assert note.count("Which choice mattered") == 1
    beside = f"mine, before\n\n{note}\nmine, after\n"
    write_note(storage, number, beside)
    artifacts = sorted((run / "artifacts").iterdir())
    made = (run / "report.html").stat().st_mtime_ns
    assert refresh(run) == ""
    assert read_note(storage, number) == beside
    # Nothing is uploaded twice, and a report that is newer than its card is not made anew.
    assert sorted((run / "artifacts").iterdir()) == artifacts
    assert (run / "report.html").stat().st_mtime_ns == made


def test_a_shorter_note_leaves_nothing_of_a_longer_one(finished: Path, tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    study = study_of(copied(finished, tmp_path))
    for body in ("x" * 5000, "short", "y" * 3000):
        write_note(study._storage, study._study_id, body)
        assert read_note(study._storage, study._study_id) == body
        assert dashboard.get_note(study) == body


def test_a_note_of_ours_is_replaced_and_one_of_a_person_kept() -> None:
    ours = merged("", "new", "the verdict")
    assert merged("the verdict\n\n## Which choice mattered", "new", "the verdict") == ours
    assert merged(ours, "newer", "") == ours.replace("new\n", "newer\n")
    assert merged("by hand", "new", "the verdict") == f"{ours}\nby hand"


@pytest.mark.slow
def test_a_run_under_way_has_a_note_without_a_report(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert tiny_search(run, observer=Stopper(3)).interrupted
    assert refresh(run) == ""
    study = study_of(run)
    note = read_note(study._storage, study._study_id)
    assert "the run has not ended" in note
    assert "report.html" not in artifacts_of(study._storage, study._study_id)


def test_what_cannot_be_opened_is_said_in_one_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="holds no study"):
        open_dashboard(tmp_path, host="127.0.0.1", port=0)
    from cellsearch.run.config import NestedRequest

    nested = tmp_path / "nested"
    nested.mkdir()
    request = NestedRequest.of(read_record(finished).config, outer=2, repeats=None)
    (nested / "nested.json").write_text(request.model_dump_json())
    with pytest.raises(RunError, match="repeated searches"):
        open_dashboard(nested, host="127.0.0.1", port=0)
    monkeypatch.setitem(__import__("sys").modules, "optuna_dashboard", None)
    with pytest.raises(RunError, match=r"pip install 'cellsearch\[dashboard\]'"):
        open_dashboard(finished, host="127.0.0.1", port=0)


def test_a_free_port_is_needed_before_anything_is_drawn(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    run = copied(finished, tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match=r"cannot listen at 127.0.0.1:\d+"):
            open_dashboard(run, host="127.0.0.1", port=taken.getsockname()[1])
    assert not (run / "report.html").exists()


def test_a_run_whose_study_lies_in_postgresql(tmp_path: Path) -> None:
    url = os.environ.get("CELLSEARCH_TEST_POSTGRESQL")
    if not url:
        pytest.skip("no PostgreSQL; CELLSEARCH_TEST_POSTGRESQL names an empty database")
    run = tmp_path / f"dashboard-{os.getpid()}"
    space = SearchSpace.from_dict(TINY)
    import cellsearch

    cellsearch.search(
        squares(), space, out=run, budget=2, folds=2, backend="local", threads=1, storage=url
    )
    server, address, complaint = open_dashboard(run, host="127.0.0.1", port=0)
    server.server_close()
    assert complaint == ""
    study = study_of(run)
    assert address.endswith(f"/studies/{study._study_id}")
    assert "report.html" in artifacts_of(study._storage, study._study_id)


def answered(server_port: int, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server_port, timeout=300)
    connection.request(method, path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_forged_name_or_a_page_of_another_site_changes_nothing(
    finished: Path, tmp_path: Path
) -> None:
    run = copied(finished, tmp_path)
    server, _, _ = open_dashboard(run, host="127.0.0.1", port=0, allow_host=["cells.lab"])
    port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    study = f"/api/studies/{study_of(run)._study_id}"
    try:
        for host in ("evil.example", f"evil.example:{port}", ""):
            assert answered(port, "DELETE", study, {"Host": host}) == 421
            assert answered(port, "GET", "/api/studies", {"Host": host}) == 421
        own = f"localhost:{port}"
        for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert answered(port, "DELETE", study, {"Host": own, **foreign}) == 403
        assert study_of(run).trials
        for host in (own, "cells.lab", f"127.0.0.1:{port}"):
            assert answered(port, "GET", "/api/studies", {"Host": host}) == 200
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=300)
