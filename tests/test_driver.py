"""Crash, resume, Ctrl-C, second drivers: what must never lose or repeat a fold."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import MismatchError, RunError, StorageError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.recipe import BASELINE, Recipe
from cellsearch.tune.attachments import read_note
from cellsearch.tune.backend import LocalBackend
from cellsearch.tune.interrupt import EXIT_STATUS
from cellsearch.tune.job import Report, SearchJob, Task, finished_folds, fold_path
from cellsearch.tune.limits import Bounds, Fitted, fitted
from cellsearch.tune.search import search
from cellsearch.tune.storage import open_storage
from cellsearch.tune.study import SearchOutcome, read_study, recipe_params
from cellsearch.tune.work import attempt, execute

import search_cases as cases
from conftest import squares

SCRIPT = Path(cases.__file__)


@contextmanager
def started(
    folder: Path, backend: str, *, budget: int = 4, compute: str = "fake", epochs: int = 20
) -> Iterator[subprocess.Popen[str]]:
    """A driver in a process of its own; a fold takes 0.4 s."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), backend, str(budget), compute, str(epochs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], line: str) -> list[str]:
    """Read lines up to the one that begins so."""
    assert process.stdout is not None
    seen = []
    for text in process.stdout:
        seen.append(text.strip())
        if text.startswith(line):
            return seen
    raise AssertionError("\n".join(seen))


def finish(job: SearchJob, *, budget: int = 4, epochs: int = 20) -> SearchOutcome:
    """Go on in this process, to the end."""
    rest = cases.replace(job, budget=budget)
    space = cases.space(epochs)
    return search(rest, space, cases.Recorder(), cases.backend_of("local", "fake"))


def whole(job: SearchJob, outcome: SearchOutcome, *, budget: int = 4) -> None:
    """No trial is left over, no fold is missing, none was computed to its end twice."""
    assert "RUNNING" not in {row.state for row in outcome.rows}
    assert sum(row.state in ("COMPLETE", "PRUNED") for row in outcome.rows) == budget
    done = cases.computed(job)
    assert len(done) == len(set(done))
    for row in outcome.rows:
        if row.state == "COMPLETE":
            assert len(finished_folds(job.run_folder, row.number, range(3))) == 3


def group_is_gone(leader: int, *, seconds: float = 300.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "line",
    [
        "fold 0 0",
        pytest.param("started 0", marks=pytest.mark.slow),
        pytest.param("ended 0", marks=pytest.mark.slow),
        pytest.param("fold 1 0", marks=pytest.mark.slow),
    ],
)
def test_kill_9_loses_nothing(tmp_path: Path, line: str) -> None:
    job = cases.prepare(squares(), tmp_path)
    with started(tmp_path, "local") as process:
        wait_for(process, line)
        process.kill()
    before = cases.computed(job)
    outcome = finish(job)
    assert cases.computed(job)[: len(before)] == before
    whole(job, outcome)


@pytest.mark.slow
def test_kill_9_loses_nothing_with_ray(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    with started(tmp_path, "ray") as process:
        wait_for(process, "ended 0")
        process.kill()
    with started(tmp_path, "ray") as process:
        lines = wait_for(process, "outcome")
        assert process.wait() == 0
    assert lines[-1].startswith("outcome interrupted=False")
    whole(job, finish(job))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_amid_a_fold(tmp_path: Path, number: signal.Signals) -> None:
    job = cases.prepare(squares(), tmp_path)
    with started(tmp_path, "local", compute="held") as process:
        wait_for(process, "fold 0 0")
        process.send_signal(number)
        lines = wait_for(process, "outcome")
        assert process.wait() == 0
    assert lines[-1] == "outcome interrupted=True RUNNING"
    assert len(cases.computed(job)) == 1, "the fold that never ends is not waited for"
    whole(job, finish(job, budget=1), budget=1)


@pytest.mark.slow
def test_ctrl_c_stops_ray_amid_a_fold_and_leaves_no_process(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    with started(tmp_path, "ray", compute="held") as process:
        wait_for(process, "fold 0 0")
        # As a terminal does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        lines = wait_for(process, "outcome")
        process.wait()
    assert lines[-1].startswith("outcome interrupted=True")
    assert group_is_gone(process.pid)
    whole(job, finish(job))


def test_second_ctrl_c_exits_at_once(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "from cellsearch.tune.interrupt import Interrupts\n"
        "with Interrupts():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(1)\n"
        "    print('too late', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (EXIT_STATUS, "still here\n")


def test_second_driver_is_refused(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    with started(tmp_path, "local") as process:
        wait_for(process, "started 0")
        with pytest.raises(RunError, match=f"is in use by process {process.pid} on"):
            finish(job)


def test_another_space_is_refused(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=1)
    finish(job, budget=1, epochs=1)
    before = cases.computed(job)
    with pytest.raises(MismatchError, match=r"space: was [0-9a-f]{12}, is [0-9a-f]{12}"):
        finish(job, budget=2, epochs=2)
    with pytest.raises(MismatchError, match="metric: was balanced_accuracy, is macro_f1"):
        finish(cases.replace(job, metric="macro_f1"), epochs=1)
    assert cases.computed(job) == before


def test_another_run_of_the_same_name_is_refused(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = cases.prepare(squares(), tmp_path / "a", storage_url=shared)
    second = cases.prepare(squares(), tmp_path / "b", storage_url=shared)
    finish(first, budget=1, epochs=1)
    with pytest.raises(MismatchError, match="of another run"):
        finish(second, budget=1, epochs=1)


def test_a_spent_budget_asks_nothing_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    finish(job, budget=2, epochs=1)
    done = cases.computed(job)
    assert len(finish(job, budget=2, epochs=1).rows) == 2
    assert cases.computed(job) == done
    outcome = finish(job, budget=4, epochs=1)
    assert sorted(row.number for row in outcome.rows) == [0, 1, 2, 3]
    recipes = {row.recipe for row in outcome.rows}
    assert len(recipes) == 4, "a restart must not draw the same points again"


def test_a_trial_lost_between_its_draw_and_its_recipe_is_adopted(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    finish(job, budget=1, epochs=1)
    study = read_study(job.storage_url, job.study_name)
    trial = study.ask()
    rate = trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    outcome = finish(job, budget=2, epochs=1)
    (row,) = [row for row in outcome.rows if row.number == trial.number]
    assert row.state in ("COMPLETE", "PRUNED")
    assert row.recipe.optim.lr == rate, "what was drawn is kept, what is missing is drawn"


def test_a_trial_that_waited_in_a_study_of_before_is_taken(tmp_path: Path) -> None:
    """Its recipe stood in JSON under ``given``."""
    job = cases.prepare(squares(), tmp_path)
    finish(job, budget=1, epochs=1)
    given = {"optim.lr": 0.005, "train.epochs": 2}
    study = read_study(job.storage_url, job.study_name)
    study.enqueue_trial(
        dict(cases.space(1).fixed_params(Recipe.from_params(given))),
        user_attrs={"baseline": False, "given": json.dumps(given), "spared": True},
    )
    outcome = finish(job, budget=2, epochs=1)
    (row,) = [row for row in outcome.rows if not row.baseline]
    assert row.recipe == Recipe.from_params(given)
    assert row.state in ("COMPLETE", "PRUNED")


def test_what_the_study_holds_of_a_trial(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    finish(job, budget=3, epochs=1)
    study = read_study(job.storage_url, job.study_name)
    assert study.trials[0].user_attrs["baseline"] is True
    for trial in study.trials:
        attrs = trial.user_attrs
        folds = finished_folds(job.run_folder, trial.number, range(attrs["folds"]))
        cells = np.concatenate([fold.cells for fold in folds])
        called = np.concatenate([fold.probabilities for fold in folds]).argmax(axis=1)
        labels = squares().labels[cells]
        assert sorted(trial.intermediate_values) == list(range(attrs["folds"]))
        assert attrs["seconds"] == pytest.approx(sum(fold.seconds for fold in folds))
        assert attrs["images_per_second"] > 0
        recalls = [(called[labels == label] == label).mean() for label in range(3)]
        assert trial.value == pytest.approx(np.mean(recalls))
        note = read_note(study._storage, study._study_id, trial._trial_id)
        assert f"| class-0 | {(labels[called == 0] == 0).mean():.3f} | {recalls[0]:.3f} |" in note
        assert "| optim.lr | " in note
        assert Recipe.from_params(recipe_params(trial)).to_params()
        short = [str(value) for key, value in attrs.items() if key != "reason"]
        assert max(map(len, short)) < 40, "the dashboard makes a column of each"
        if trial.state == optuna.trial.TrialState.PRUNED:
            assert trial.value == trial.intermediate_values[attrs["folds"] - 1]


def test_execute_reads_what_is_there_and_never_another_recipe(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    first, second = Recipe(), Recipe.from_params({"optim.lr": 1e-4})

    def run(recipe: Recipe) -> list[np.ndarray]:
        results = execute(job, 7, recipe.to_params(), compute=cases.fake)
        return [result.probabilities for result in results]

    a = run(first)
    assert len(cases.computed(job)) == 3
    assert all(np.array_equal(x, y) for x, y in zip(a, run(first), strict=True))
    assert len(cases.computed(job)) == 3, "the second time they are read"
    fold_path(job.run_folder, 7, 1).write_bytes(b"torn")
    assert all(np.array_equal(x, y) for x, y in zip(a, run(first), strict=True))
    assert len(cases.computed(job)) == 4, "a damaged fold is computed again"
    b = run(second)
    assert len(cases.computed(job)) == 7, "folds of another recipe are not taken"
    assert not all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_fold_is_on_disk_before_anyone_is_told(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    for report in attempt(job, Task(0, Recipe()), compute=cases.fake):
        if report.event == "fold":
            assert fold_path(job.run_folder, 0, report.fold).exists()
    assert report.event == "final"


def test_attempt_never_raises(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    reports = list(attempt(job, Task(3, Recipe()), compute=cases.hopeless))
    assert reports[-1].event == "failed"
    assert reports[-1].text == "ZeroDivisionError: division by zero"
    text = (job.run_folder / "trials" / "0003" / "error.txt").read_text()
    assert "in hopeless" in text
    lost = cases.replace(job, splits_path=tmp_path / "nowhere.json")
    assert list(attempt(lost, Task(4, Recipe()), compute=cases.fake))[-1].event == "broken"


def full_disk(*_: object) -> Iterator[FoldResult]:
    raise OSError(28, "No space left on device")
    yield


def test_a_full_disk_ends_the_run_and_fails_no_recipe(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=2)
    with pytest.raises(RunError, match=r"trial 0 cannot continue: .*No space left on device"):
        search(job, cases.space(), cases.Recorder(), LocalBackend(full_disk))
    whole(job, finish(job, budget=2, epochs=1), budget=2)


def test_a_storage_that_fails_as_the_study_is_made_is_one_line(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=1)
    open_storage(job.storage_url).remove_session()
    with closing(sqlite3.connect(job.run_folder / "study.db")) as connection:
        connection.execute(
            "create trigger broken before insert on study_user_attributes "
            "begin insert into gone values (1); end"
        )
    with pytest.raises(StorageError, match=r"stopped answering: .*no such table.*gone") as raised:
        search(job, cases.space(), cases.Recorder(), LocalBackend(cases.fake))
    assert "\n" not in str(raised.value)


def test_a_storage_that_goes_away_is_one_line(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=3)

    def breaking(*given: Any) -> Iterator[FoldResult]:
        for result in cases.fake(*given):
            if result.fold == 1:
                with closing(sqlite3.connect(job.run_folder / "study.db")) as connection:
                    connection.execute("drop table trial_intermediate_values")
            yield result

    with pytest.raises(StorageError, match="stopped answering: no such table") as raised:
        search(job, cases.space(), cases.Recorder(), LocalBackend(breaking))
    assert "\n" not in str(raised.value)


def test_attempt_begins_nothing_after_the_deadline(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    late = Task(0, Recipe(), deadline=time.time() - 1)
    assert [r.event for r in attempt(job, late, compute=cases.fake)] == ["suspended"]


def test_real_limits_are_counted_before_training(tmp_path: Path) -> None:
    pytest.importorskip("cellsearch.learn.cost")
    job = cases.prepare(squares(), tmp_path)
    task = Task(0, Recipe(), bounds=Bounds(parameters=10))
    (report,) = attempt(job, task, compute=cases.hopeless)
    assert report.event == "beyond_limits"
    assert report.text.endswith("parameters, limit 10")


def test_a_network_that_got_fewer_epochs_keeps_them_when_it_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study then holds the shortened recipe; timing it anew would lose its folds."""
    job = cases.prepare(squares(), tmp_path)
    drawn = Recipe.from_params({"train.epochs": 4})
    shorter = Recipe.from_params({"train.epochs": 3})
    bounds = Bounds(minutes_per_fold=1.0, least_epochs=1)
    monkeypatch.setattr("cellsearch.tune.work.fitted", lambda *_, **__: Fitted(shorter))
    first = list(attempt(job, Task(3, drawn, bounds=bounds), compute=cases.fake))
    assert (first[0].event, first[0].epochs) == ("started", 3)
    done = cases.computed(job)
    slower = Recipe.from_params({"train.epochs": 2})
    monkeypatch.setattr("cellsearch.tune.work.fitted", lambda *_, **__: Fitted(slower))
    for recipe in (drawn, shorter):
        again = list(attempt(job, Task(3, recipe, bounds=bounds), compute=cases.fake))
        assert [report.event for report in again] == [report.event for report in first]
        assert again[0].epochs == 3
    assert cases.computed(job) == done, "no fold is trained again"


@pytest.mark.slow
def test_the_baseline_gets_fewer_epochs_where_another_network_is_refused(tmp_path: Path) -> None:
    """Without a baseline there is no verdict, however short the time."""
    job = cases.prepare(squares(), tmp_path)
    cells = CellDataset.open(job.dataset_folder)
    splits = Splits.load(job.splits_path, cells)
    no_time = Bounds(minutes_per_fold=1e-9, least_epochs=5)
    refused = fitted(no_time, BASELINE, cells, splits, device="cpu", threads=1)
    assert "minutes a fold, limit" in refused.reason
    always = dataclasses.replace(no_time, refuse=False)
    kept = fitted(always, BASELINE, cells, splits, device="cpu", threads=1)
    assert kept.reason == ""
    assert kept.recipe.train.epochs == 5
    ample = dataclasses.replace(always, minutes_per_fold=60.0)
    assert fitted(ample, BASELINE, cells, splits, device="cpu", threads=1).recipe == BASELINE


def test_tasks_and_reports_travel_as_plain_values() -> None:
    task = Task(3, Recipe.from_params({"optim.lr": 0.1}), False, Bounds(minutes_per_fold=2.0), 9.0)
    assert Task.from_json(task.to_json()) == task
    report = Report("fold", fold=2, seconds=1.5)
    assert Report.from_dict(report.to_dict() | {"done": False}) == report


def test_dead_storage_is_one_line_without_the_password(tmp_path: Path, slept: list[float]) -> None:
    pytest.importorskip("psycopg")
    job = cases.prepare(squares(), tmp_path)
    url = "postgresql+psycopg://user:s3cret@127.0.0.1:1/none"
    with pytest.raises(StorageError) as raised:
        finish(cases.replace(job, storage_url=url))
    assert sum(slept) < 8.0
    text = str(raised.value)
    assert "\n" not in text
    assert "s3cret" not in text
    assert "user:***@127.0.0.1:1/none does not answer" in text
    assert not list(job.run_folder.glob("trials/*"))


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_refused_without_waiting(
    tmp_path: Path, slept: list[float]
) -> None:
    job = cases.prepare(squares(), tmp_path, address="127.0.0.1:1")
    backend = cases.backend_of("ray", "fake")
    with pytest.raises(RunError, match=r"Ray cluster at 127.0.0.1:1 does not answer: .*refused"):
        search(job, cases.space(), cases.Recorder(), backend)
    assert sum(slept) < 10.0
