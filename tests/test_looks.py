"""The ledger of looks: whose hold-out was scored before is told, on the card and by the audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsearch import CellDataset, SearchResult
from cellsearch.audit import audit_run
from cellsearch.card.metrics import LooksEntry
from cellsearch.data.digests import NO_PICTURE, channel_digests
from cellsearch.data.splits import Splits
from cellsearch.report import write_report
from cellsearch.run.config import NestedRequest, RunConfig
from cellsearch.run.folder import RunRecord, read_record
from cellsearch.run.looks import looks_of, take_look, warn_of_looks
from cellsearch.run.nested import summarise
from cellsearch.run.observer import Silent
from cellsearch.tune.ledger import Look, count_looks, own_ledger, record_look
from cellsearch.tune.looks import Looks, caution, looked, ordinal, together

from conftest import squares
from run_cases import tiny_search


class Listener(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: object) -> None:
        self.messages.append(str(text))


def digests(*cells: int) -> NDArray[np.uint64]:
    return np.array([[2 * cell + 1, 2 * cell + 2] for cell in cells], np.uint64)


def look(name: str, family: str = "") -> Look:
    return Look(name, family or name, "squares", f"/runs/{name}")


def taken(name: str, cells: NDArray[np.uint64], family: str = "", url: str = "") -> Looks:
    earlier = record_look(url or own_ledger(), look(name, family), cells, shared=bool(url))
    return count_looks(cells, earlier)[0]


@pytest.mark.parametrize(
    ("times", "number", "words"),
    [
        ((10,), 1, "the first look at these hold-out cells"),
        ((6, 4), 1, "the first look at most of these hold-out cells: 4 of 10 were scored before"),
        ((5, 5), 1, "the first look at most of these hold-out cells: 5 of 10 were scored before"),
        ((4, 6), 2, "the second look at most of these hold-out cells: 6 of 10 were scored before"),
        ((0, 10), 2, "the second look at these hold-out cells"),
        ((0, 4, 0, 6), 4, "the fourth look at most of these hold-out cells: 10 of 10 were scored "),
        ((), None, "looks at these hold-out cells could not be counted"),
    ],
)
def test_which_look_it_is_goes_by_most_of_the_cells(times, number, words) -> None:
    assert Looks(times).number == number
    assert looked(Looks(times)).startswith(words)


def test_only_further_looks_are_warned_of() -> None:
    assert caution(Looks((6, 4))) == caution(Looks()) == ""
    assert caution(Looks((0, 0, 7))) == (
        "this is the third look at these hold-out cells, and the interval holds for a first look "
        "only"
    )
    assert "at most of these" in caution(Looks((1, 7)))


def test_ordinals_are_english() -> None:
    assert [ordinal(n) for n in (3, 9, 10, 11, 21, 22, 33, 112)] == [
        *("third", "ninth", "10th", "11th", "21st", "22nd", "33rd", "112th")
    ]


def test_several_hold_outs_are_counted_together() -> None:
    assert together([Looks((3, 1)), Looks((0, 2, 5))]) == Looks((3, 3, 5))
    assert together([Looks((3, 1)), Looks()]) == Looks()


def test_each_further_run_on_the_same_cells_is_a_further_look() -> None:
    cells = digests(*range(8))
    assert [taken(name, cells).number for name in "abc"] == [1, 2, 3]
    # A run that goes on, or one that was copied, keeps its look, whoever came after it.
    assert [taken(name, cells).number for name in "abc"] == [1, 2, 3]


def test_cells_count_one_by_one() -> None:
    taken("a", digests(0, 1, 2))
    taken("b", digests(2, 3))
    assert taken("c", digests(1, 2, 3, 9, 10)) == Looks((2, 2, 1))


def test_searches_of_one_estimate_are_no_further_looks_for_each_other() -> None:
    cells = digests(*range(5))
    assert [taken(name, cells, "nested").number for name in "abc"] == [1, 1, 1]
    # For others they are one.
    assert taken("d", cells) == Looks((0, 5))


def test_a_run_on_fewer_channels_is_a_look_at_the_same_cells() -> None:
    cells = squares()
    every, one = (
        channel_digests(each.images, np.arange(20))
        for each in (cells, cells.select_channels(["darkfield"]))
    )
    assert (every.shape, one.shape) == ((20, 2), (20, 1))
    taken("a", every)
    assert taken("b", one) == Looks((0, 20))
    # Other cells of the same data set are others.
    assert taken("c", channel_digests(cells.images, np.arange(20, 40))) == Looks((20,))


def test_empty_channels_make_no_two_cells_the_same() -> None:
    images = np.array(squares().images)
    images[:, 1] = 7
    found = channel_digests(images, np.arange(30))
    assert (found[:, 1] == NO_PICTURE).all()
    taken("a", found[:10])
    assert taken("b", found[10:]) == Looks((20,))


def test_the_same_look_in_two_ledgers_counts_once(tmp_path: Path) -> None:
    url, cells = f"sqlite:///{tmp_path / 'shared.db'}", digests(1, 2, 3)
    earlier = []
    for name in ("a", "b"):
        earlier = [
            *record_look(own_ledger(), look(name), cells, shared=False),
            *record_look(url, look(name), cells, shared=True),
        ]
    looks, runs = count_looks(cells, earlier)
    assert looks == Looks((0, 3))
    assert [run.name for run in runs] == ["a"]


def parts(run: Path) -> tuple[RunRecord, CellDataset, NDArray[np.int64]]:
    record = read_record(run)
    cells = CellDataset.open(record.dataset_folder)
    return record, cells, Splits.load(run / "splits.json", cells).holdout


def forgotten(run: Path) -> None:
    """``holdout.json`` as it is just before the looks are counted."""
    facts = json.loads((run / "holdout.json").read_text())
    del facts["scored_before"], facts["scored_before_by"]
    (run / "holdout.json").write_text(json.dumps(facts))


def test_a_copy_of_a_run_is_the_same_look_and_another_run_is_not(
    finished_run: SearchResult, tmp_path: Path
) -> None:
    for name in ("a", "copy", "other"):
        shutil.copytree(finished_run.folder, tmp_path / name)
        forgotten(tmp_path / name)
    record, cells, held = parts(tmp_path / "a")
    number = finished_run.best.number
    assert record.id
    told = Listener()
    for name in ("a", "copy", "a"):
        looks = take_look(record, tmp_path / name, number, cells, held, told)
        assert looks == looks_of(tmp_path / name) == Looks((len(held),))
    other = record.model_copy(update={"id": "another"})
    looks = take_look(other, tmp_path / "other", number, cells, held, told)
    assert looks == Looks((0, len(held)))
    assert told.messages == []
    third = record.model_copy(update={"id": "third"})
    for _ in range(2):  # before a search nothing is written
        heard = Listener()
        warn_of_looks(third, tmp_path / "third", cells, held, heard)
        assert ["this will be the third look at these" in each for each in heard.messages] == [True]
    unknown = Listener()
    warn_of_looks(third, tmp_path / "third", cells, held[:0], unknown)
    assert unknown.messages == []
    passed = {check.name: check for check in audit_run(tmp_path / "other").checks}
    line = passed["this run read its hold-out once"].line()
    assert line.endswith(f"the second look at these hold-out cells, scored before by {tmp_path}/a")
    # A winner that a copy was searched on for is another look.
    forgotten(tmp_path / "copy")
    again = take_look(record, tmp_path / "copy", number + 1, cells, held, told)
    assert again.number == 3


def test_runs_of_older_versions_have_one_look_too(
    finished_run: SearchResult, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(finished_run.folder, tmp_path / name)
        forgotten(tmp_path / name)
    record, cells, held = parts(tmp_path / "a")
    old = record.model_copy(update={"id": ""})
    for name in ("a", "b"):
        assert take_look(old, tmp_path / name, 0, cells, held, Silent()).number == 1


@pytest.mark.parametrize("broken", ["not a folder", "not a database", "another database"])
def test_a_ledger_that_does_not_work_is_told_of_in_a_line(
    finished_run: SearchResult, tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "run")
    forgotten(tmp_path / "run")
    ledger = tmp_path / "ledger"
    monkeypatch.setenv("CELLSEARCH_LEDGER", str(ledger))
    if broken == "not a folder":
        ledger.write_text("")
    else:
        ledger.mkdir()
        (ledger / "looks.db").write_text("no database at all, but text " * 100)
    if broken == "another database":
        import sqlite3

        (ledger / "looks.db").unlink()
        with sqlite3.connect(ledger / "looks.db") as connection:
            connection.execute("create table cellsearch_looks (id integer)")
        connection.close()
    record, cells, held = parts(tmp_path / "run")
    told = Listener()
    assert take_look(record, tmp_path / "run", 0, cells, held, told) == Looks()
    assert looks_of(tmp_path / "run") == Looks()
    (message,) = told.messages
    assert message.startswith("the ledger of looks at hold-outs does not work (")
    assert message.endswith("name another folder with CELLSEARCH_LEDGER")
    assert len(message.splitlines()) == 1
    # Once the ledger works, a run that goes on is counted.
    monkeypatch.setenv("CELLSEARCH_LEDGER", str(tmp_path / "works"))
    assert take_look(record, tmp_path / "run", 0, cells, held, told).number == 1


@pytest.mark.slow
def test_a_second_run_in_another_folder_says_so_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    first = tiny_search(tmp_path / "one", budget=1, storage=url).card
    # Another user of the same database, whose own ledger knows nothing.
    monkeypatch.setenv("CELLSEARCH_LEDGER", str(tmp_path / "another-home"))
    before = Listener()
    second = tiny_search(tmp_path / "two", budget=1, storage=url, observer=before).card
    warned = [each for each in before.messages if "other runs have scored" in each]
    assert warned == [
        "other runs have scored these hold-out cells: this will be the second look at these "
        "hold-out cells; a fresh hold-out takes new cells"
    ]
    assert first.figures.looks.number == 1
    assert "second" not in first.figures.verdict.sentence
    assert second.figures.looks.number == 2
    said = "this is the second look at these hold-out cells, and the interval holds for a first"
    assert said in second.figures.verdict.sentence
    readme = (second.folder / "README.md").read_text()
    assert said in readme
    assert "The second look at these hold-out cells." in readme
    page = write_report(tmp_path / "two", tmp_path / "report.html").file.read_text()
    assert said in page
    assert "scored once at the end; the second look at these hold-out cells" in page
    # A home that cannot be written: the run ends, and its card says what is not known.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLSEARCH_LEDGER", str(tmp_path / "file"))
    told = Listener()
    third = tiny_search(tmp_path / "three", budget=1, observer=told).card
    assert third.figures.looks == LooksEntry()
    readme = (third.folder / "README.md").read_text()
    assert "Looks at these hold-out cells could not be counted." in readme
    assert sum("the ledger of looks" in message for message in told.messages) == 1


def test_repeated_searches_say_which_look_they_are(
    finished_run: SearchResult, tmp_path: Path
) -> None:
    for name in ("repeat-1", "repeat-2"):
        shutil.copytree(finished_run.folder, tmp_path / name)
        facts = json.loads((tmp_path / name / "holdout.json").read_text())
        cells = sum(facts["scored_before"])
        facts["scored_before"] = [0, cells]
        (tmp_path / name / "holdout.json").write_text(json.dumps(facts))
    request = NestedRequest.of(RunConfig.of(dataset="squares"), outer=None, repeats=2)
    found = summarise([tmp_path / "repeat-1", tmp_path / "repeat-2"], request)
    assert found.scored_before == (0, 2 * cells)
    assert found.headline.endswith("and the interval holds for a first look only")
