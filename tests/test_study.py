"""The study: opening, sampling, the leaderboard."""

from __future__ import annotations

import gc
import json
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from cellsearch.errors import MismatchError, StorageError
from cellsearch.space.recipe import BASELINE, Recipe
from cellsearch.tune import study as studies
from cellsearch.tune.dashboard import note, save_note
from cellsearch.tune.lock import driver_lock
from cellsearch.tune.storage import open_storage

FACTS = studies.StudyFacts("a" * 64, "b" * 64, "c" * 64, "mcc")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def opened(url: str, folder: Path, facts: studies.StudyFacts = FACTS) -> optuna.Study:
    return studies.open_study(open_storage(url), "s", facts, run_folder=folder, seed=3)


def add(
    study: optuna.Study, state: TrialState, value: float | None = None, **attrs: object
) -> None:
    trial = study.ask()
    studies.keep_recipe(trial, BASELINE)
    for key, content in attrs.items():
        trial.set_user_attr(key, content)
    if state != TrialState.RUNNING:
        study.tell(trial, value, state=state)


def test_every_fact_that_changed_is_named(url: str, tmp_path: Path) -> None:
    opened(url, tmp_path)
    opened(url, tmp_path)
    other = studies.StudyFacts("a" * 64, "x" * 64, "c" * 64, "macro_f1")
    with pytest.raises(MismatchError) as raised:
        opened(url, tmp_path, other)
    text = str(raised.value)
    assert f"dataset: was {'b' * 12}, is {'x' * 12}" in text
    assert "metric: was mcc, is macro_f1" in text
    assert "space" not in text


def test_opening_warns_of_nothing_and_samples_by_tpe(url: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = opened(url, tmp_path)
    assert isinstance(study.sampler, optuna.samplers.TPESampler)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_restart_does_not_repeat_its_points(url: str, tmp_path: Path) -> None:
    drawn = []
    for _ in range(3):
        study = opened(url, tmp_path)
        trial = study.ask()
        drawn.append(trial.suggest_float("x", 0.0, 1.0))
        study.tell(trial, 0.0)
    assert len(set(drawn)) == 3


def test_leaderboard_ranks_complete_trials_and_leaves_out_refused_draws(
    url: str, tmp_path: Path
) -> None:
    study = opened(url, tmp_path)
    add(study, TrialState.COMPLETE, 0.5, baseline=True, seconds=2.5)
    add(study, TrialState.COMPLETE, 0.7)
    add(study, TrialState.PRUNED, beyond_limits=True, reason="too many parameters")
    add(study, TrialState.FAIL, reason="loss is not finite")
    add(study, TrialState.COMPLETE, 0.7)
    add(study, TrialState.RUNNING)
    study.ask()
    rows = studies.leaderboard(study)
    assert [(row.number, row.state) for row in rows] == [
        (1, "COMPLETE"),
        (4, "COMPLETE"),
        (0, "COMPLETE"),
        (3, "FAIL"),
        (5, "RUNNING"),
    ]
    assert (rows[2].baseline, rows[2].seconds, rows[2].score) == (True, 2.5, 0.5)
    assert rows[3].reason == "loss is not finite"
    assert rows[0].recipe == BASELINE
    outcome = studies.outcome_of(study, interrupted=False, timed_out=False)
    assert outcome.best == rows[0]
    assert outcome.baseline == rows[2]


def test_a_stopped_trial_shows_its_last_score(url: str, tmp_path: Path) -> None:
    study = opened(url, tmp_path)
    trial = study.ask()
    studies.keep_recipe(trial, BASELINE)
    trial.report(0.4, step=0)
    trial.report(0.3, step=1)
    study.tell(trial, state=TrialState.PRUNED)
    (row,) = studies.leaderboard(study)
    assert (row.state, row.score, row.folds) == ("PRUNED", 0.3, 2)
    outcome = studies.outcome_of(study, interrupted=False, timed_out=False)
    assert outcome.best is None, "a stopped trial never wins"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("not a url", "expected a URL"),
        ("user:pw@host", "expected a URL"),
        ("oracle+nothing://user:pw@host/db", "driver is not installed"),
        ("sqlite:////nowhere/at/all/study.db", "does not answer: unable to open database file"),
    ],
)
def test_storage_that_cannot_be_is_one_line(url: str, words: str) -> None:
    with pytest.raises(StorageError, match=words) as raised:
        open_storage(url)
    assert "\n" not in str(raised.value)
    assert "pw" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("these are not the tables you are looking for\n" * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{path}")


def test_a_study_that_is_not_there(url: str) -> None:
    with pytest.raises(StorageError, match="no study 'absent' in sqlite"):
        studies.read_study(url, "absent")


def test_sqlite_waits_for_no_disk(url: str, tmp_path: Path) -> None:
    opened(url, tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_lock_is_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with driver_lock(tmp_path):
            pass


def test_notes_are_where_the_dashboard_looks(url: str, tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    study = opened(url, tmp_path)
    trial = study.ask()
    body = note(np.array([[3, 1], [0, 0]]), ("a|b", "c"), headline="x" * 3000)
    save_note(trial, body)
    assert dashboard.get_note(trial) == body
    assert "| a\\|b | 1.000 | 0.750 | 0.857 | 4 |" in body
    assert "| c | not estimable | not estimable | not estimable | 0 |" in body


def test_a_study_of_before_is_still_read(url: str, tmp_path: Path) -> None:
    """Its recipes are attributes of the user, in JSON."""
    study = opened(url, tmp_path)
    trial = study.ask()
    trial.set_user_attr("recipe", json.dumps({"optim.lr": 0.01}))
    study.tell(trial, 0.5)
    (row,) = studies.leaderboard(study)
    assert row.recipe.optim.lr == 0.01


@pytest.mark.slow
def test_who_lets_go_of_a_storage_leaves_no_connection(url: str) -> None:
    storage = open_storage(url)
    storage.get_all_studies()
    engine = storage.engine
    pool = engine.pool
    assert pool.checkedin() == 1
    del storage
    gc.collect()
    assert pool.checkedin() == 0


def test_a_short_training_counts_as_a_look_until_the_full_one_is_judged() -> None:
    def row(state: str, folds: int, loss: float | None = 0.4) -> studies.TrialRow:
        return studies.TrialRow(3, state, None, folds, 1.0, False, Recipe(), "", short_loss=loss)

    assert row("PRUNED", 0).only_short
    assert row("PRUNED", 0).looked_at_briefly
    assert row("RUNNING", 0).looked_at_briefly, "the time ended it between two trainings"
    assert row("RUNNING", 2).looked_at_briefly, "its full training is in no comparison"
    assert row("FAIL", 0).looked_at_briefly
    assert not row("RUNNING", 0).only_short
    assert not row("COMPLETE", 5).looked_at_briefly
    assert not row("PRUNED", 2).looked_at_briefly
    assert not row("PRUNED", 2, None).looked_at_briefly
