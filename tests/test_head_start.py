"""A trial that is begun in a process of its own while Ray starts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cellsearch.space.recipe import Recipe
from cellsearch.tune.head_start import HeadStart
from cellsearch.tune.job import Report, SearchJob, Task, finished_folds

import search_cases as cases
from conftest import squares

QUICK = Recipe.from_params({"model.family": "logreg"})


def until_over(ahead: HeadStart) -> list[Report]:
    found: list[Report] = []
    end = time.monotonic() + 300
    while not ahead.over and time.monotonic() < end:
        found += ahead.reports()
        time.sleep(0.1)
    return found


def test_a_job_travels_as_a_line_of_text(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, seconds=9.0, init_from=tmp_path / "card")
    assert SearchJob.from_json(job.to_json()) == job
    plain = cases.replace(job, init_from=None)
    assert SearchJob.from_json(plain.to_json()) == plain


@pytest.mark.slow
def test_it_reports_like_any_worker_and_its_folds_are_on_disk(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    ahead = HeadStart(job, Task(1, QUICK))
    events = [report.event for report in until_over(ahead)]
    assert events == ["started", "fold", "fold", "fold", "final"]
    assert not ahead.lost
    assert len(finished_folds(job.run_folder, 1, range(3))) == 3


@pytest.mark.slow
def test_a_process_that_dies_leaves_its_task_to_others(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    ahead = HeadStart(cases.replace(job, splits_path=Path("/dev/null/none")), Task(1, QUICK))
    ahead._process.kill()
    assert until_over(ahead) == []
    assert ahead.lost


def test_a_process_that_is_stopped_says_no_more(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path)
    ahead = HeadStart(job, Task(1, QUICK))
    ahead.stop()
    assert ahead.over
    assert not ahead.lost
    assert list(ahead.reports()) == []
