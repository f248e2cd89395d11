"""Searches that climb: short trainings first, the best of them in full; crashes amid it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.attachments import read_note
from cellsearch.tune.backend import LocalBackend
from cellsearch.tune.job import SearchJob, finished_folds
from cellsearch.tune.search import search
from cellsearch.tune.study import SearchOutcome, TrialRow, read_study
from cellsearch.tune.work import Work

import search_cases as cases
from conftest import squares

BUDGET = 6


def space() -> SearchSpace:
    """Networks of 20 epochs of 24 steps: a short training has 5, on two of three folds."""
    return SearchSpace.from_dict(
        {
            "name": "climbing",
            "parameters": {
                "model.depth": {"int": [1, 2]},
                "model.width": 8,
                "model.kernel": 3,
                "loss.weighting": {"choice": ["none", "sqrt"]},
                "optim.lr": {"float": [1e-4, 1e-2], "log": True},
                "train.epochs": 20,
                "train.batch_size": 2,
            },
        }
    )


def swift(job: SearchJob, work: Work) -> Iterator[FoldResult]:
    """``fake``, with the rung and the fold in what it writes down, and no time lost."""
    number = 0 if work.rung is None else work.rung.number
    recipe = work.recipe
    name = f"{recipe.optim.lr:.12g} {recipe.loss.weighting} {recipe.model.brief()}"
    instant = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 1})})
    for result in cases.fake(job, Work(instant, work.dataset, work.splits, work.folds)):
        cases.note(job, f"trained {name} rung {number} fold {result.fold}")
        yield result


def trained(job: SearchJob) -> list[str]:
    lines = (job.run_folder / "computed.log").read_text().splitlines()
    return [line for line in lines if line.startswith("trained")]


def finish(job: SearchJob) -> SearchOutcome:
    return search(job, space(), cases.Recorder(), LocalBackend(swift))


def as_planned(job: SearchJob, outcome: SearchOutcome) -> dict[str, list[TrialRow]]:
    """Every trial is over, and as many as planned were trained further."""
    rows = [row for row in outcome.rows if not row.baseline]
    assert {row.state for row in outcome.rows} <= {"COMPLETE", "PRUNED"}
    assert len(outcome.rows) == BUDGET
    assert all(row.short_loss is not None for row in rows)
    half = [row for row in rows if row.half_loss is not None]
    full = [row for row in rows if row.folds]
    assert len(half) in (2, 3), "2 of 5, and one more where it is as good"
    assert len(full) == 1
    assert {row.number for row in full} <= {row.number for row in half}
    for row in rows:
        assert len(finished_folds(job.run_folder, row.number, range(2), 1)) == 2
    for row in half:
        assert len(finished_folds(job.run_folder, row.number, range(2), 2)) == 2
    return {"half": half, "full": full, "short": [row for row in rows if row not in half]}


def test_the_best_of_the_short_trainings_are_trained_further(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=BUDGET)
    observer = cases.Recorder()
    outcome = search(job, space(), observer, LocalBackend(swift))
    found = as_planned(job, outcome)
    worst = max(row.short_loss or 0.0 for row in found["half"])
    assert all((row.short_loss or 0.0) >= worst - 0.2 for row in found["short"])
    assert min(observer.rungs, key=lambda each: each[2])[0] in {r.number for r in found["half"]}
    for row in found["short"]:
        assert row.score is None
        assert row.reason.startswith(f"log loss {row.short_loss:.3f} after its short training")
        assert row.seconds > 0
        notes = read_study(job.storage_url, job.study_name)
        trial = notes.trials[row.number]
        note = read_note(notes._storage, notes._study_id, trial._trial_id)
        assert "| optim.lr | " in note
        assert "after its short training" in note
    (best,) = found["full"]
    assert best.state in ("COMPLETE", "PRUNED")
    assert outcome.baseline is not None
    assert outcome.baseline.short_loss is None


def test_a_budget_smaller_than_the_recipes_of_the_space_ends(tmp_path: Path) -> None:
    named = [{"optim.lr": rate, "train.epochs": 20} for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)]
    plain = {"train.epochs": 20, "train.batch_size": 2, "optim.lr": {"float": [1e-4, 1e-2]}}
    initial = [{**recipe, "train.batch_size": 2} for recipe in named]
    space = SearchSpace.from_dict({"name": "named", "initial": initial, "parameters": plain})
    job = cases.prepare(squares(), tmp_path, budget=3)
    outcome = search(job, space, cases.Recorder(), LocalBackend(swift))
    assert [row.number for row in sorted(outcome.rows, key=lambda row: row.number)] == [0, 1, 2]
    assert {row.state for row in outcome.rows} <= {"COMPLETE", "PRUNED"}


def test_without_the_ladder_every_trial_is_trained_in_full(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=3, ladder=False)
    outcome = finish(job)
    assert all(row.short_loss is None and row.folds for row in outcome.rows)


@pytest.mark.parametrize("at", [4, 7, 14, 16, 19])
def test_a_crash_loses_nothing_and_the_plan_is_kept(tmp_path: Path, at: int) -> None:
    """3 folds of the baseline, 10 of the short trainings, 4 or 6 half ones, 3 in full."""
    job = cases.prepare(squares(), tmp_path, budget=BUDGET)
    left = at

    def crashing(job: SearchJob, work: Work) -> Iterator[FoldResult]:
        nonlocal left
        for result in swift(job, work):
            left -= 1
            if left <= 0:
                raise OSError(28, "No space left on device")
            yield result

    with pytest.raises(RunError, match="cannot continue"):
        search(job, space(), cases.Recorder(), LocalBackend(crashing))
    before = trained(job)
    outcome = finish(job)
    as_planned(job, outcome)
    done = trained(job)
    assert done[: len(before)] == before
    again = [line for line in set(done) if done.count(line) > 1]
    assert again in ([], [before[-1]]), "only the fold that was lost is trained again"


def test_children_and_new_draws_say_where_they_come_from(tmp_path: Path) -> None:
    job = cases.prepare(squares(), tmp_path, budget=16, ladder=False)
    outcome = finish(job)
    origins = [row.origin for row in outcome.rows if not row.baseline]
    assert all(origin for origin in origins)
    children = [origin for origin in origins if origin.startswith("child of trial")]
    assert children
    numbers = {row.number for row in outcome.rows}
    assert all(int(origin.rsplit(" ", 1)[1]) in numbers for origin in children)
    assert "drawn anew" in origins
