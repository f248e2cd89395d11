"""What ``datasets check`` calls an error stops a run before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import cellsearch
from cellsearch import CellClassifier, CellDataset
from cellsearch.data import check, near_duplicates, rare, splits
from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import sha256_of
from cellsearch.data.findings import Kind
from cellsearch.errors import DataError, InputError, RunError, SplitError
from cellsearch.run.check import NEVER, Checked
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import read_record
from cellsearch.run.nested import nested_search, resume_nested
from cellsearch.run.observer import Silent
from cellsearch.util.wording import as_option

from conftest import squares
from run_cases import TINY, Stopper, tiny_search

KEYS: dict[str, Any] = {"budget": 1, "folds": 2, "backend": "local", "threads": 1}
LOGREG = {"model.family": "logreg", "model.features": "pixels", "model.l2": 0.01}


def cells_with(
    *, crossing: int = 0, blank: int = 0, counts: tuple[int, ...] = (20, 16)
) -> CellDataset:
    """Squares, of which some of the second class repeat some of the first, and some are black."""
    drawn = squares(counts)
    images = np.array(drawn.images)
    for cell in range(crossing):
        images[counts[0] + cell] = images[cell]
    images[crossing : crossing + blank] = 0
    return CellDataset.from_arrays(
        images, drawn.labels, classes=drawn.classes, channels=drawn.channels, name="squares"
    )


def with_double_ids() -> CellDataset:
    drawn = squares((20, 16))
    ids = np.array([f"cell {max(1, k)}" for k in range(36)])
    doubled = replace(drawn, ids=ids)
    return replace(doubled, sha256=sha256_of(doubled))


def saved(cells: CellDataset, path: Path) -> Path:
    """An ``.npz`` that the command line reads."""
    np.savez(path, images=cells.images, labels=np.array(cells.classes)[cells.labels])
    return path


class Lines(Silent):
    """What a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often duplicates are looked for, wherever that is."""
    calls: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(len(args[0]))
        return near_duplicates.find_duplicates(*args, **options)

    for module in (check, rare, splits, cellsearch.run.inputs):
        monkeypatch.setattr(module, "find_duplicates", counted)
    return calls


def test_all_errors_are_told_at_once_each_with_its_kind_and_nothing_is_trained(
    tmp_path: Path,
) -> None:
    cells = cells_with(crossing=2, blank=1, counts=(20, 16, 2))
    with pytest.raises(DataError) as caught:
        tiny_search(tmp_path / "run", cells)
    text = str(caught.value)
    assert "the check of the cells found 4 errors" in text
    assert text.count("duplicate-across-classes: ") == 2
    assert "  constant: 1 cell is blank" in text
    assert "  not-estimable: 2 folds and a hold-out need 3 cells of each class; too few" in text
    assert 'accept=("duplicate-across-classes", "constant")' in text
    assert "--accept duplicate-across-classes --accept constant" in caught.value.message.worded(
        as_option
    )
    assert not (tmp_path / "run").exists()


def test_the_command_line_stops_names_the_option_and_goes_on_with_it(
    command: Any, tmp_path: Path
) -> None:
    path = saved(cells_with(crossing=1), tmp_path / "cells.npz")
    words = ("run", "--dataset", path, "--backend", "local", "--folds", 2, "--budget", 1)
    code, _, error = command(*words, "--out", tmp_path / "run")
    assert code == 2
    assert "duplicate-across-classes: " in error
    assert "run anyway with --accept duplicate-across-classes" in error
    assert not (tmp_path / "run").exists()
    code, out, _ = command("datasets", "check", path)
    assert (code, "duplicate-across-classes" in out) == (1, True)
    code, _, error = command(
        *words, "--out", tmp_path / "run", "--accept", "duplicate-across-clases"
    )
    assert code == 2
    assert "--accept" in error
    assert "did you mean 'duplicate-across-classes'?" in error


def test_ids_given_twice_stop_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="duplicate-id: 1 ids belong to more than one cell"):
        tiny_search(tmp_path / "run", with_double_ids())


@pytest.mark.slow
def test_what_is_accepted_is_told_and_kept(tmp_path: Path) -> None:
    out, watching = tmp_path / "run", Lines()
    result = tiny_search(
        out,
        cells_with(crossing=2),
        budget=1,
        accept=("duplicate-across-classes", "duplicate-id"),
        observer=watching,
    )
    record = read_record(out)
    assert record.config.accept == ("duplicate-across-classes", "duplicate-id")
    assert [each.kind for each in record.accepted] == ["duplicate-across-classes"] * 2
    assert any(line.startswith("accepted: duplicate-across-classes: ") for line in watching.said)
    assert result.card is not None
    limits = result.card.readme.split("## Limits")[1]
    assert "**Accepted error of the check of the cells**: duplicate-across-classes: " in limits
    assert "(and 1 more of this kind)" in limits


@pytest.mark.slow
def test_a_resumed_run_is_not_stopped_and_keeps_what_it_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = KEYS | {"budget": 2}
    cells = cells_with(crossing=1)
    stopped = cellsearch.search(
        cells, TINY, observer=Stopper(1), accept=["duplicate-across-classes"], **keys
    )
    assert stopped.interrupted
    # The same request without the word goes on with it.
    again = cellsearch.search(cells, TINY, observer=Stopper(1), **keys)
    assert (again.folder, again.interrupted) == (stopped.folder, True)
    # A run of before there was a check, which holds neither field.
    path = stopped.folder / "run.json"
    facts = json.loads(path.read_text())
    assert facts["config"]["accept"] == ["duplicate-across-classes"]
    assert len(facts["accepted"]) == 1
    del facts["config"]["accept"], facts["accepted"]
    path.write_text(json.dumps(facts))
    ended = cellsearch.resume(stopped.folder)
    assert ended.card is not None
    assert read_record(ended.folder).accepted == ()


@pytest.mark.slow
def test_rare_keep_settles_classes_too_small_and_is_not_refused(tmp_path: Path) -> None:
    cells = cells_with(counts=(20, 16, 2))
    with pytest.raises(SplitError, match=r"too few: class-2 2"):
        tiny_search(tmp_path / "refused", cells)
    result = tiny_search(tmp_path / "kept", cells, rare="keep", budget=1)
    assert result.card is not None
    assert read_record(tmp_path / "kept").accepted == ()


def test_what_cannot_be_trained_on_is_refused_whatever_is_accepted(tmp_path: Path) -> None:
    alone = cells_with(crossing=0, blank=2, counts=(30,))
    with pytest.raises(DataError) as caught:
        tiny_search(tmp_path / "one", alone, accept=("one-class",))
    text = str(caught.value)
    assert "one-class: there is only one class, class-0" in text
    assert "constant: 2 cells are blank" in text
    assert text.endswith('errors of the kind constant can be accepted with accept=("constant",)')
    drawn = squares((20, 16))
    grouped = CellDataset.from_arrays(drawn.images, drawn.labels, groups=["d"] * 36)
    with pytest.raises(SplitError, match="all cells are of one group"):
        tiny_search(tmp_path / "group", grouped, accept=("one-group", "not-estimable"))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_finding_can_be_named(kind: Any) -> None:
    assert RunConfig.of(dataset="cells", accept=[kind, kind]).accept == (kind,)
    assert kind in (RunConfig.model_fields["accept"].examples or ())
    finding = replace(check_dataset(with_double_ids()).findings[0], kind=kind)
    report = replace(check_dataset(squares()), findings=(finding,))
    found = Checked.of(report, (kind,))
    assert (len(found.accepted), len(found.errors)) == (
        (1, 0) if kind not in NEVER else (0, int(kind == "one-class"))
    )


@pytest.mark.parametrize("accept", ["duplicate-id", ("duplicate-ids",), ("",)])
def test_words_that_are_no_findings_are_refused(accept: Any) -> None:
    with pytest.raises(RunError, match="accept"):
        RunConfig.of(dataset="cells", accept=accept)
    with pytest.raises(InputError, match="accept: expected"):
        CellClassifier(recipe=LOGREG, accept=accept).fit(squares().images, squares().labels)


def test_warnings_are_one_line_with_the_command_that_shows_them(
    command: Any, tmp_path: Path
) -> None:
    drawn = squares((20, 16))
    images = np.array(drawn.images)
    images[1] = images[0]
    images[3] = images[2]
    cells = CellDataset.from_arrays(images, drawn.labels, classes=drawn.classes)
    path = saved(cells, tmp_path / "cells.npz")
    watching = Lines()
    config = RunConfig.of(dataset=str(path), options={"groups": "none"}, folds=2)
    report = cellsearch.run.check.check_cells(config, cells, watching, named=True)
    assert report.errors == ()
    (line,) = [line for line in watching.said if "warnings" in line]
    assert line == (
        "2 warnings (exact-duplicate 2); see them with "
        f"`cellsearch datasets check {path} --option groups=none`"
    )
    _, out, _ = command("datasets", "check", path, "--option", "groups=none")
    assert out.count("exact-duplicate") == 2


def test_duplicates_are_looked_for_once(tmp_path: Path, searches: list[int]) -> None:
    crossing = cells_with(crossing=1)
    asked: tuple[dict[str, Any], ...] = ({}, {"rare": "merge=other"}, {"rare": "keep"})
    for settings in asked:
        searches.clear()
        with pytest.raises(DataError, match="duplicate-across-classes"):
            tiny_search(tmp_path / "run", crossing, **settings)
        assert searches == [36]


def test_repeated_searches_are_checked_once_before_any_begins(
    tmp_path: Path, searches: list[int]
) -> None:
    config = RunConfig.of(dataset="squares", **KEYS)
    repetitions: tuple[dict[str, Any], ...] = ({"outer": 3}, {"repeats": 2})
    for repetition in repetitions:
        searches.clear()
        with pytest.raises(DataError, match="duplicate-across-classes") as caught:
            nested_search(config, **repetition, out=tmp_path / "n", cells=cells_with(crossing=1))
        assert "--accept duplicate-across-classes" in caught.value.message.worded(as_option)
        assert searches == [36]
        assert not (tmp_path / "n").exists()


@pytest.mark.slow
def test_repeated_searches_go_on_with_what_was_accepted(
    tmp_path: Path, searches: list[int]
) -> None:
    cells = cells_with(crossing=1)
    path = saved(cells, tmp_path / "cells.npz")
    (tmp_path / "tiny.yaml").write_text(cellsearch.SearchSpace.from_dict(TINY).to_yaml())
    config = RunConfig.of(
        dataset=str(path),
        space=str(tmp_path / "tiny.yaml"),
        accept=("duplicate-across-classes",),
        **KEYS,
    )
    stopped = nested_search(config, repeats=2, out=tmp_path / "n", observer=Stopper(1))
    assert stopped.interrupted
    assert searches == [36]
    request = json.loads((tmp_path / "n" / "nested.json").read_text())
    request["config"]["accept"] = []
    (tmp_path / "n" / "nested.json").write_text(json.dumps(request))
    ended = resume_nested(tmp_path / "n")
    assert len(ended.runs) == 2
    assert searches == [36, 36]


def test_one_recipe_is_trained_on_sound_cells_alone() -> None:
    cells = cells_with(crossing=1)
    with pytest.raises(InputError, match=r"(?s)fit: .*duplicate-across-classes") as caught:
        CellClassifier(recipe=LOGREG).fit(cells.images, cells.labels)
    assert isinstance(caught.value, ValueError)
    fitted = CellClassifier(recipe=LOGREG, accept=("duplicate-across-classes",))
    assert fitted.fit(cells.images, cells.labels).classes_.tolist() == [0, 1]


def test_a_search_of_the_classifier_is_stopped_as_a_run_is() -> None:
    cells = cells_with(crossing=1)
    searching = CellClassifier(folds=2, budget=1, space=cellsearch.SearchSpace.from_dict(TINY))
    with pytest.raises(DataError, match=r"accept=\(.duplicate-across-classes.,\)"):
        searching.fit(cells.images, cells.labels)


def test_near_duplicates_and_blank_images_are_not_told_of_a_few_values() -> None:
    few = np.random.default_rng(0).normal(size=(60, 1, 1, 3)).astype(np.float32)
    assert near_duplicates.find_duplicates(few) == []
    few[7] = few[3]
    few[9] = 1
    assert not near_duplicates.flat_channels(few).any()
    assert [(each.a, each.b) for each in near_duplicates.find_duplicates(few)] == [(3, 7)]


def test_images_of_one_row_hold_a_picture() -> None:
    rng = np.random.default_rng(0)
    row = rng.integers(0, 255, (6, 1, 1, 20), np.uint8)
    row[0] = 7
    assert near_duplicates.flat_channels(row)[:, 0].tolist() == [True, *[False] * 5]
    assert near_duplicates.flat_channels(row.transpose(0, 1, 3, 2))[:, 0].tolist() == [
        True,
        *[False] * 5,
    ]
