"""Searches inside outer folds and on repeated hold-outs: each cell once, resumable, honest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellsearch import CellDataset, SearchResult, SearchSpace
from cellsearch.audit import audit_run
from cellsearch.data.near_duplicates import DuplicatePair
from cellsearch.data.outer_splits import draw_outer_splits
from cellsearch.errors import MismatchError, RunError, SplitError
from cellsearch.run.config import NestedRequest, RunConfig
from cellsearch.run.folder import SUMMARY, nested_runs, read_record
from cellsearch.run.inputs import Given
from cellsearch.run.nested import NestedSummary, OneSearch, _mean, nested_search, summarise
from cellsearch.run.search import Run

from conftest import squares
from run_cases import TINY, Stopper

pytestmark = pytest.mark.slow


def config(**settings: object) -> RunConfig:
    values = {"dataset": "squares", "space": "tiny", "budget": 2, "folds": 2, "backend": "local"}
    return RunConfig.of(**(values | {"threads": 1} | settings))


def nested(out: Path, **settings: object):
    return nested_search(
        config(), cells=squares((24, 16, 8)), space=SearchSpace.from_dict(TINY), out=out, **settings
    )


def noise(counts: tuple[int, ...], groups: list[str] | None = None) -> CellDataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(0).integers(0, 255, (len(labels), 1, 8, 8), np.uint8)
    return CellDataset.from_arrays(
        images, labels, classes=list("abcd")[: len(counts)], groups=groups
    )


@pytest.mark.parametrize(("outer", "folds"), [(2, 2), (5, 3)])
def test_the_hold_outs_of_the_outer_folds_are_all_cells_once(outer: int, folds: int) -> None:
    dataset = noise((60, 20, 8))
    drawn = draw_outer_splits(dataset, outer=outer, folds=folds, duplicates=())
    held = np.concatenate([each.holdout for each in drawn])
    assert sorted(held) == list(range(len(dataset)))
    for each in drawn:
        assert each.k == folds
        assert sorted(np.concatenate([each.holdout, each.development])) == list(range(len(dataset)))
        for part in (each.holdout, *each.folds):
            assert np.bincount(dataset.labels[part], minlength=3).min() >= 1


def test_groups_and_duplicates_are_torn_by_no_outer_or_inner_fold() -> None:
    rng = np.random.default_rng(0)
    dataset = noise((150, 90), [f"donor-{n}" for n in rng.integers(0, 30, 240)])
    for each in draw_outer_splits(
        dataset, outer=4, folds=3, duplicates=[DuplicatePair(0, 200, "near", 1.0)]
    ):
        parts = [each.holdout, *each.folds]
        names = [set(dataset.groups[part]) for part in parts]
        assert sum(map(len, names)) == len(set.union(*names))
        assert sum(0 in part and 200 in part for part in parts) == 1


def test_a_class_too_small_for_the_outer_folds_is_refused_or_trains_only() -> None:
    dataset = noise((40, 40, 4))
    with pytest.raises(SplitError, match=r"5 outer folds with 3 folds inside.*c 4"):
        draw_outer_splits(dataset, outer=5, folds=3, duplicates=())
    drawn = draw_outer_splits(dataset, outer=5, folds=3, rare="keep", duplicates=())
    for each in drawn:
        assert each.not_estimable == ("c",)
        assert set(each.train_only) == set(np.flatnonzero(dataset.labels == 2))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """Begun, broken off inside the second outer fold, and gone on with."""
    out = tmp_path_factory.mktemp("nested") / "run"
    stopped = nested(out, outer=2, observer=Stopper(6))
    assert stopped.interrupted
    assert stopped.summary is None
    first = (out / "outer-1" / "run.json").stat().st_mtime_ns
    result = nested(out, outer=2)
    # The first outer fold was finished, and is not done again.
    assert (out / "outer-1" / "run.json").stat().st_mtime_ns == first
    return result


def test_outer_folds_pool_every_cell_once(finished) -> None:
    assert [run.name for run in nested_runs(finished.folder)] == ["outer-1", "outer-2"]
    assert all(read_record(run).state == "finished" for run in finished.runs)
    pooled = finished.summary.pooled
    assert [each.support for each in pooled.per_class.values()] == [24, 16, 8]
    # By hand from the cards.
    counts = np.zeros((3, 3), int)
    for run in finished.runs:
        metrics = json.loads((run / "card" / "metrics.json").read_text())
        counts += np.array(metrics["hold_out"]["winner"]["confusion"])
    np.testing.assert_array_equal(pooled.confusion, counts)
    figure = pooled.metrics["balanced_accuracy"]
    assert figure.value == pytest.approx((np.diag(counts) / counts.sum(1)).mean())
    assert figure.low <= figure.value <= figure.high


def test_the_summary_is_a_file_without_a_verdict(finished) -> None:
    facts = json.loads((finished.folder / "summary.json").read_text())
    assert facts["headline"] == finished.summary.headline
    assert "48 cells, each predicted once" in facts["headline"]
    assert [each["name"] for each in facts["searches"]] == ["outer-1", "outer-2"]
    assert "better" not in json.dumps(facts)
    assert NestedSummary.of(finished.folder) == finished.summary


def test_a_damaged_summary_is_none(tmp_path: Path) -> None:
    assert NestedSummary.of(tmp_path) is None
    for text in ("{", '{"headline": "all is well"}', '{"format_version": 2}'):
        (tmp_path / SUMMARY).write_text(text)
        assert NestedSummary.of(tmp_path) is None


def test_each_of_the_searches_passes_the_audit(finished) -> None:
    for run in finished.runs:
        assert not audit_run(run).failed


def test_another_request_in_the_same_folder_is_refused(finished) -> None:
    with pytest.raises(MismatchError, match="was outer=2, is outer=4"):
        nested(finished.folder, outer=4)


def test_repeated_hold_outs_have_seeds_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Run] = []

    def execute(run: Run) -> SearchResult:
        asked.append(run)
        return SearchResult(run.folder, None, None, (), None, interrupted=len(asked) == 3)

    monkeypatch.setattr(Run, "execute", execute)
    monkeypatch.setattr("cellsearch.run.nested._require_card", lambda result: None)
    assert nested(tmp_path / "run", repeats=4).interrupted
    named = [(run.record.config.seed, run.splits.seed, run.folder.name) for run in asked]
    assert named == [(0, 0, "repeat-1"), (1, 1, "repeat-2"), (2, 2, "repeat-3")]
    assert len({tuple(run.splits.holdout) for run in asked}) == 3


def test_repeated_hold_outs_are_averaged_and_not_pooled(finished) -> None:
    request = NestedRequest.of(config(), outer=None, repeats=2)
    summary = summarise(finished.runs, request)
    assert summary.pooled is None
    found = [each.winner["balanced_accuracy"] for each in summary.searches]
    assert summary.means["balanced_accuracy"].value == pytest.approx(np.mean(found))
    assert "mean of 2 newly drawn hold-outs" in summary.headline


def test_the_interval_of_repeats_counts_what_their_training_cells_share() -> None:
    searches = [OneSearch(str(n), 0, 20, {}, {}, 80) for n in range(4)]
    values = [0.70, 0.74, 0.78, 0.82]
    figure = _mean(values, searches)
    # s^2 = 0.00266667; (1/4 + 20/80) s^2 = 0.00133333; t(0.975, 3) = 3.18245
    assert figure.value == pytest.approx(0.76)
    assert figure.high - figure.value == pytest.approx(3.18245 * 0.00133333**0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({}, {"outer": 3, "repeats": 3}, "one of outer and repeats"),
        ({}, {"outer": 1}, "outer: expected 2 to 100, got 1"),
        ({"storage": "sqlite:///x.db"}, {"repeats": 2}, "leave out storage"),
        ({"split": "60/20/20", "folds": 1, "holdout": 0.2}, {"outer": 3}, "split"),
    ],
)
def test_options_that_do_not_go_together(settings, options, words, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=words):
        nested_search(config(**settings), out=tmp_path / "run", **options)


def test_splits_of_other_cells_are_refused(tmp_path: Path) -> None:
    cells = squares((24, 16, 8))
    drawn = draw_outer_splits(cells, outer=3, folds=2, duplicates=())[0]
    with pytest.raises(MismatchError, match="another data set"):
        Run.create(
            config(),
            out=tmp_path / "run",
            given=Given.of(config(), cells, SearchSpace.from_dict(TINY)),
            splits=replace(drawn, dataset_sha256="0" * 64),
        )
