"""The contract of a backend, on both: the same search, whoever runs its trials."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellsearch.errors import RunError
from cellsearch.learn.cost import cost
from cellsearch.space.recipe import Recipe
from cellsearch.tune.job import SearchJob
from cellsearch.tune.limits import Fitted
from cellsearch.tune.search import search
from cellsearch.tune.storage import open_storage
from cellsearch.tune.study import SearchOutcome, read_study

import search_cases as cases
from conftest import REPOSITORY, squares

BACKENDS = ["local", pytest.param("ray", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=BACKENDS)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A backend; Ray is started once for all tests, and a backend leaves alone what it finds."""
    if request.param == "local":
        yield "local"
        return
    from ray import cloudpickle

    from cellsearch.tune import ray_tune

    # Workers cannot import modules of the tests.
    cloudpickle.register_pickle_by_value(cases)
    with ray_tune.cluster(slots=2, threads=1):
        yield "ray"


def run(
    name: str, folder: Path, compute: str = "fake", **changes: object
) -> tuple[SearchJob, cases.Recorder, SearchOutcome]:
    slots = 2 if name == "ray" else 1
    job = cases.prepare(squares(), folder, **{"slots": slots, "budget": 5, **changes})
    seen = cases.Recorder()
    outcome = search(job, cases.space(), seen, cases.backend_of(name, compute))
    return job, seen, outcome


def test_spends_its_budget_baseline_first_and_each_fold_once(name: str, tmp_path: Path) -> None:
    job, seen, outcome = run(name, tmp_path, race=False)
    assert [row.state for row in outcome.rows] == ["COMPLETE"] * 5
    assert sorted(row.number for row in outcome.rows) == list(range(5))
    assert outcome.baseline is not None
    assert (outcome.baseline.number, outcome.baseline.recipe.optim.lr) == (0, 1e-3)
    assert outcome.best is not None
    assert outcome.best.score == max(row.score or 0.0 for row in outcome.rows)
    assert sorted(seen.folds) == [(trial, fold) for trial in range(5) for fold in range(3)]
    done = cases.computed(job)
    assert len(done) == len(set(done)) == 15
    assert not outcome.interrupted


@pytest.mark.slow
def test_stops_a_loser_after_a_fold(name: str, tmp_path: Path) -> None:
    job, _, outcome = run(name, tmp_path, budget=10)
    pruned = [row for row in outcome.rows if row.state == "PRUNED"]
    assert pruned, "learning rates of 1e-4 are wrong most of the time and must lose"
    for row in pruned:
        assert 1 <= row.folds < 3
        assert "on the same" in row.reason
    trained = sum(row.folds for row in outcome.rows)
    assert len(cases.computed(job)) == trained, "a stopped trial must not train another fold"
    assert outcome.baseline is not None
    assert outcome.baseline.state == "COMPLETE"


def test_goes_on_after_failures_which_do_not_count(name: str, tmp_path: Path) -> None:
    job, _, outcome = run(name, tmp_path, "failing", race=False)
    states = [row.state for row in outcome.rows]
    assert states.count("COMPLETE") == 5
    failed = [row for row in outcome.rows if row.state == "FAIL"]
    assert failed, "half of the draws are weighted and fail"
    assert {row.reason for row in failed} == {"loss is not finite in epoch 1"}
    error = job.run_folder / "trials" / f"{failed[0].number:04d}" / "error.txt"
    assert "TrialError" in error.read_text()


def test_gives_up_where_every_trial_fails(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"6 trials failed.*ZeroDivisionError: division by zero"):
        run(name, tmp_path, "hopeless", budget=3)


def test_draws_again_beyond_the_limits(name: str, tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, slots=2 if name == "ray" else 1, budget=6, race=False)
    shape = (2, 16, 16)
    shallow = cost(Recipe.from_params({"model.depth": 1, "model.width": 8}), shape, 3).parameters
    deep = cost(Recipe.from_params({"model.depth": 2, "model.width": 8}), shape, 3).parameters
    assert shallow != deep, "else the limit below parts nothing"
    spared = 1 if shallow < deep else 2
    seen = cases.Recorder()
    limited = cases.space(limits={"parameters": min(shallow, deep)})
    outcome = search(job, limited, seen, cases.backend_of(name, "fake"))
    assert [row.state for row in outcome.rows] == ["COMPLETE"] * 6
    assert {row.recipe.model.depth for row in outcome.rows if not row.baseline} == {spared}
    assert outcome.baseline is not None
    assert outcome.baseline.recipe.model == Recipe().model, "limits spare the baseline"
    trials = read_study(job.storage_url, job.study_name).trials
    assert len(trials) == 6, "refused draws never enter the study"
    assert sorted(seen.started) == list(range(6))


@pytest.mark.slow
def test_a_draw_that_takes_too_long_is_told_by_the_worker(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ray":
        pytest.skip("the estimate is replaced in this process; workers are others")
    monkeypatch.setattr(
        "cellsearch.tune.work.fitted",
        lambda bounds, recipe, *_, **__: Fitted(
            recipe, "9 minutes" if recipe.model.depth == 2 else ""
        ),
    )
    job = cases.prepare(squares(), tmp_path, budget=6, race=False)
    seen = cases.Recorder()
    limited = cases.space(limits={"minutes_per_fold": 1.0})
    outcome = search(job, limited, seen, cases.backend_of(name, "fake"))
    assert [row.state for row in outcome.rows] == ["COMPLETE"] * 6
    assert {row.recipe.model.depth for row in outcome.rows if not row.baseline} == {1}
    trials = read_study(job.storage_url, job.study_name).trials
    refused = [t for t in trials if t.user_attrs.get("beyond_limits")]
    assert refused
    assert {(t.state.name, t.user_attrs["reason"]) for t in refused} == {("PRUNED", "9 minutes")}
    assert set(seen.started) == {row.number for row in outcome.rows}


def test_limits_that_leave_nothing_to_draw_are_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellsearch.tune.draw.REDRAWS", 20)
    job = cases.prepare(squares(), tmp_path, budget=3, race=False)
    nothing = cases.space(limits={"parameters": 10})
    with pytest.raises(
        RunError, match=r"20 draws in a row were over budget .* parameters, limit 10\)"
    ):
        search(job, nothing, cases.Recorder(), cases.backend_of(name, "fake"))


@pytest.mark.slow
def test_time_limit_puts_trials_off_and_a_later_start_ends_them(name: str, tmp_path: Path) -> None:
    # Time for a first fold on a slow machine; the second takes all the rest, on any machine.
    slots, seconds = (2, 15.0) if name == "ray" else (1, 3.0)
    space = cases.space()
    job = cases.prepare(squares(), tmp_path, slots=slots, budget=4, race=False, seconds=seconds)
    cases.spend_until(job, time.time() + seconds + 1)
    first = search(job, space, cases.Recorder(), cases.backend_of(name, "spending"))
    assert first.timed_out
    assert not first.interrupted
    states = [row.state for row in first.rows]
    assert "RUNNING" in states
    assert "FAIL" not in states
    before = cases.computed(job)
    second = search(
        cases.replace(job, seconds=None), space, cases.Recorder(), cases.backend_of(name, "fake")
    )
    assert [row.state for row in second.rows] == ["COMPLETE"] * 4
    after = cases.computed(job)
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == 12, "no fold lost, none computed twice"


@pytest.mark.slow
def test_the_same_draws_at_the_same_seed(tmp_path: Path) -> None:
    recipes = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        outcome = run("local", tmp_path / folder)[2]
        recipes.append([row.recipe for row in sorted(outcome.rows, key=lambda row: row.number)])
    assert recipes[0] == recipes[1]


@pytest.mark.slow
def test_a_worker_that_dies_is_retried_from_its_last_fold(tmp_path: Path) -> None:
    job, _, outcome = run("ray", tmp_path, "dying", budget=2, race=False)
    assert [row.state for row in outcome.rows] == ["COMPLETE"] * 2
    done = cases.computed(job)
    assert len(done) == len(set(done)) == 6


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_fails_its_trial(tmp_path: Path) -> None:
    _, _, outcome = run("ray", tmp_path, "doomed", budget=3, race=False)
    states = [row.state for row in outcome.rows]
    assert states.count("COMPLETE") == 3
    for row in outcome.rows:
        if row.state == "FAIL":
            assert "died 3 times" in row.reason
    assert "RUNNING" not in states


@pytest.mark.slow
def test_real_training_learns_with_ray(tmp_path: Path) -> None:
    job, _, outcome = run("ray", tmp_path, "train", budget=3)
    assert len(outcome.rows) == 3
    assert outcome.baseline is not None
    assert outcome.baseline.score is not None
    assert outcome.baseline.score > 0.45, "chance is 0.33; the squares are easy"
    storage = open_storage(job.storage_url)
    assert storage.get_all_studies()
    assert not (job.run_folder / "ray").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="no uv on the path")
def test_under_uv_run_workers_are_where_the_driver_is(tmp_path: Path) -> None:
    """Ray's own way would pack the working directory and install everything for each worker."""
    script = tmp_path / "where.py"
    script.write_text(
        "import os\n"
        "from cellsearch.tune import ray_tune\n"
        "with ray_tune.cluster(slots=1, threads=1):\n"
        "    print(ray_tune.ray.get(ray_tune.ray.remote(lambda: os.getcwd()).remote()))\n"
    )
    command = ["uv", "run", "--no-sync", "--project", str(REPOSITORY), "python", str(script)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=500
    )
    assert done.stdout.strip() == str(tmp_path)


LISTENS = """
import json, os, sys
if sys.argv[1] == "before":
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
import psutil
from cellsearch.tune import ray_tune
with ray_tune.cluster(slots=1, threads=1):
    me, there = psutil.Process(), []
    ray_tune.ray.get(ray_tune.ray.remote(lambda: 42).remote())
    for one in [me, *me.children(recursive=True)]:
        try:
            there += [c.laddr.ip for c in one.net_connections("tcp") if c.status == "LISTEN"]
        except psutil.Error:
            continue
    folder = ray_tune.ray._private.worker._global_node.get_temp_dir_path()
    facts = {"listens": there, "folder": oct(os.stat(os.path.dirname(folder)).st_mode & 0o777)}
    print(json.dumps(facts | {"path": folder}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("ray", ["after", "before"])
def test_a_ray_of_this_machine_alone_is_reached_from_nowhere_else(tmp_path: Path, ray: str) -> None:
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    if ray == "before":
        token.write_text("5" * 64)
        token.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-c", LISTENS, ray],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    facts = json.loads(done.stdout.splitlines()[-1])
    assert len(facts["listens"]) >= 4
    assert {ip.removeprefix("::ffff:") for ip in facts["listens"]} == {"127.0.0.1"}
    assert facts["folder"] == "0o700"
    assert not Path(facts["path"]).parent.exists()
    assert token.stat().st_mode & 0o777 == 0o600
    assert ("asks for no token" in done.stderr) == (ray == "before")


def test_where_the_folder_of_sockets_would_have_too_long_a_path_rays_own_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cellsearch.tune import ray_tune

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(str(tmp_path)) > ray_tune.LONGEST_FOLDER
    assert ray_tune.private_folder() is None
    assert list(tmp_path.iterdir()) == []
