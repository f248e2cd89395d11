"""The password of a database is used, and written down nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

import cellsearch
from cellsearch import SearchResult
from cellsearch.cli.search import _typed
from cellsearch.errors import MismatchError, StorageError
from cellsearch.interop.local_paths import clean_folder
from cellsearch.run.config import NestedRequest, RunConfig
from cellsearch.run.folder import read_record, storage_url, unfinished, write_record
from cellsearch.tune.storage import open_engine, shown_url
from cellsearch.util.passwords import without_password

SECRET = "s3cr/et:p@ss"
URL = f"postgresql+psycopg://anna:{SECRET}@db.example.org/studies"
KEPT = "postgresql+psycopg://anna@db.example.org/studies"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (URL, KEPT),
        (
            f"cellsearch run --storage {URL} --budget 3",
            f"cellsearch run --storage {KEPT} --budget 3",
        ),
        (f"--storage='{URL}'", f"--storage='{KEPT}'"),
        ("mysql://h/db?password=x&charset=utf8", "mysql://h/db?charset=utf8"),
        ("mysql://h/db?charset=utf8&password=x", "mysql://h/db?charset=utf8"),
        ("mysql://h/db?password=x", "mysql://h/db"),
        (KEPT, KEPT),
        ("sqlite:////home/anna/a:b@c/study.db", "sqlite:////home/anna/a:b@c/study.db"),
        ("see http://host:8080/path and a@b.org", "see http://host:8080/path and a@b.org"),
    ],
)
def test_an_address_loses_its_password_and_nothing_else(text: str, kept: str) -> None:
    assert without_password(text) == kept


def test_no_record_holds_it_and_this_process_uses_it(
    finished_run: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["cellsearch", "run", f"--storage={URL}"])
    typed = _typed()
    record = read_record(finished_run.folder)
    config = record.config.changed(storage=URL)
    record = record.model_validate(record.model_dump() | {"config": config, "command": typed})
    assert storage_url(config, tmp_path) == URL
    write_record(tmp_path, record)
    nested = NestedRequest.of(RunConfig.of(dataset="demo", storage=None), outer=None, repeats=2)
    nested = nested.model_copy(update={"config": config})
    for text in ((tmp_path / "run.json").read_text(), nested.model_dump_json(), typed):
        assert SECRET not in text
    assert json.loads((tmp_path / "run.json").read_text())["config"]["storage"] == KEPT
    shown = shown_url(URL + "?password=other")
    assert "other" not in shown
    assert SECRET not in shown


def test_a_run_is_found_and_resumed_with_the_password_given_anew(
    finished_run: SearchResult, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    record = read_record(finished_run.folder)
    config = record.config.changed(storage=URL)
    record = record.model_copy(update={"config": config, "state": "searching", "built": ()})
    write_record(run, record)
    assert unfinished(config, tmp_path) == run
    with pytest.raises(MismatchError, match="give that with its password"):
        cellsearch.resume(run, storage="postgresql+psycopg://anna@elsewhere/studies")


def test_where_a_password_is_wanted_one_line_says_how_to_give_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")

    def refused(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("", {}, Exception("fe_sendauth: no password supplied"))

    monkeypatch.setattr(sa, "create_engine", refused)
    with pytest.raises(StorageError) as raised:
        open_engine(KEPT)
    text = str(raised.value)
    assert "\n" not in text
    assert "PGPASSWORD" in text
    assert "storage" in text


def test_what_is_handed_on_holds_none(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"made by\n\n    cellsearch run --storage {URL}\n")
    clean_folder(tmp_path)
    assert SECRET not in (tmp_path / "README.md").read_text()
