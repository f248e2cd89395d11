"""Predictions for CellProfiler Analyst, IDEAS, QuPath and napari: ids survive, readers agree."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellsearch.card.abstain import Abstention
from cellsearch.card.conformal import PredictionSets
from cellsearch.card.predict import Row, predict_cells, to_rows
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError, ConfigError
from cellsearch.interop.bench import Target, Written, parse_targets, refuse_places, write_for
from cellsearch.interop.decided import safe_names
from cellsearch.interop.numbering import origins, places
from cellsearch.terminal.progress import after
from cellsearch.util.wording import as_option

from card_cases import Made, made
from conftest import squares

CLASSES = ("G1", "g1", "CD4+")
# Two files: one with numbers from 0, one whose cells have none.
SOURCES = ("plate/a.cif", "plate/a.cif", "plate/a.cif", "plate/a.cif", "b, c.tif", "b, c.tif")
NUMBERS = (0, 7, 31_999, 12, 0, 0)
IDS = ("a-0", "a-7", "a-31999", "a-12", "6f1c1e0e-0001", "6f1c1e0e-0002")
PROBABILITIES = np.array(
    [
        [0.9, 0.06, 0.04],
        [0.1, 0.8, 0.1],
        [0.05, 0.05, 0.9],
        [0.4, 0.3, 0.3],
        [0.2, 0.7, 0.1],
        [0.1, 0.1, 0.8],
    ],
    np.float32,
)
DECIDED = ["G1", "g1", "CD4+", "uncertain", "g1", "CD4+"]


def rows(*, rules: bool = True) -> list[Row]:
    cells = CellDataset.from_arrays(
        np.zeros((6, 1, 4, 4), np.uint8),
        np.zeros(6, np.int64),
        classes=("x",),
        ids=np.array(IDS),
        sources=np.array(SOURCES),
        object_numbers=np.array(NUMBERS),
    )
    abstention = Abstention(rule="coverage", level=0.9, thresholds=(0.5, 0.5, 0.5))
    sets = PredictionSets(level=0.9, thresholds=(0.25, 0.25, 0.25), cells=(9, 9, 9))
    return to_rows(
        cells,
        PROBABILITIES,
        CLASSES,
        abstention=abstention if rules else None,
        sets=sets if rules else None,
    )


def written(programme: str, path: Path, *, rules: bool = True) -> Written:
    return write_for(Target(programme, path), rows(rules=rules), CLASSES)


def test_numbers_are_given_or_counted_and_never_mixed_up() -> None:
    found = places(rows())
    assert [place.image for place in found] == [1, 1, 1, 1, 2, 2]
    assert [place.number for place in found] == [0, 7, 31_999, 12, 1, 2]
    assert [place.given for place in found] == [True] * 4 + [False] * 2
    assert [(o.image, o.name, o.cells, o.numbers) for o in origins(found)] == [
        (1, "plate/a.cif", 4, "given"),
        (2, "b, c.tif", 2, "counted"),
    ]


@pytest.mark.parametrize(
    ("sources", "numbers", "expected"),
    [
        # Several cells without a number beside two that have one: counted on from the largest.
        (["a"] * 4, [5, 0, 2, 0], [(1, 5), (1, 6), (1, 2), (1, 7)]),
        # The same number twice says nothing of either cell.
        (["a"] * 3, [5, 5, 2], [(1, 1), (1, 2), (1, 3)]),
        # One file a cell, without a number.
        (["x.png", "y.png"], [0, 0], [(1, 1), (2, 1)]),
        # Channels in files of their own: what counts is the folder, and 0 is a number.
        (["s/0_Ch3.tif", "s/9_Ch3.tif", "t/0_Ch3.tif"], [0, 9, 0], [(1, 0), (1, 9), (2, 0)]),
    ],
)
def test_what_a_number_counts_in(
    sources: list[str], numbers: list[int], expected: list[tuple[int, int]]
) -> None:
    pairs = zip(sources, numbers, strict=True)
    found = places([{"source": s, "object_number": str(n)} for s, n in pairs])
    assert [(place.image, place.number) for place in found] == expected


def test_cellprofiler_analyst_finds_each_object_in_a_database(tmp_path: Path) -> None:
    done = written("cellprofiler", tmp_path / "cpa.csv")
    assert done.files == (tmp_path / "cpa.csv", tmp_path / "cpa.images.csv")
    assert done.note.startswith("2 of 6 cells have no object number of their own")
    table, images = (pd.read_csv(file) for file in done.files)
    with sqlite3.connect(":memory:") as database:
        table.to_sql("per_class", database, index=False)
        images.to_sql("per_image", database, index=False)
        # Analyst puts names of columns into its queries as they are.
        columns = [c for c in table.columns if c.startswith("probability_")]
        found = database.execute(
            f"SELECT FileName, ObjectNumber, class, class_number, {', '.join(columns)} "
            "FROM per_class JOIN per_image USING (ImageNumber) ORDER BY per_class.rowid"
        ).fetchall()
        counts = database.execute(
            "SELECT ImageNumber, ObjectNumber, COUNT(*) FROM per_class GROUP BY 1, 2 "
            "HAVING COUNT(*) > 1"
        ).fetchall()
    assert counts == []
    assert columns == ["probability_G1", "probability_g1_2", "probability_CD4"]
    assert [row[:2] for row in found] == list(zip(SOURCES, [0, 7, 31_999, 12, 1, 2], strict=True))
    assert [row[2] for row in found] == DECIDED
    assert [row[3] for row in found] == [1, 2, 3, 4, 2, 3]
    np.testing.assert_allclose([row[4:] for row in found], PROBABILITIES, rtol=1e-5)
    assert list(table["predicted_class"])[3] == "G1"
    assert list(table["prediction_set"])[3] == "G1|g1|CD4+"
    assert list(images["ObjectNumbers"]) == ["given", "counted"]


def test_ideas_gets_one_list_a_class_and_file(tmp_path: Path) -> None:
    done = written("ideas", tmp_path / "lists")
    index = pd.read_csv(tmp_path / "lists" / "populations.csv", keep_default_na=False)
    assert list(index["source"]) == ["plate/a.cif"] * 4
    assert list(index["class"]) == [*CLASSES, "uncertain"]
    found: dict[str, list[int]] = {}
    for file, kind in zip(index["file"], index["class"], strict=True):
        data = (tmp_path / "lists" / file).read_bytes()
        assert data.endswith(b"\r\n")
        found[kind] = [int(line) for line in data.split()]
    assert found == {"G1": [0], "g1": [7], "CD4+": [31_999], "uncertain": [12]}
    # No two names that Windows would take for one.
    assert len({str(file).lower() for file in done.files}) == len(done.files) == 5
    left = pd.read_csv(tmp_path / "lists" / "without_number.csv")
    assert list(left["id"]) == list(IDS[4:])
    assert "they are in no list" in done.note


def test_lists_of_an_earlier_prediction_do_not_stay(tmp_path: Path) -> None:
    written("ideas", tmp_path / "lists")
    written("ideas", tmp_path / "lists", rules=False)
    names = sorted(p.name for p in (tmp_path / "lists").rglob("*.txt"))
    assert names == ["CD4.txt", "G1.txt", "g1_2.txt"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(CardError, match="holds other things"):
        written("ideas", tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_ideas_is_refused_where_no_cell_has_a_number(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="none of these cells has an object number"):
        write_for(Target("ideas", tmp_path / "lists"), rows()[4:], CLASSES)
    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize(("name", "mark"), [("q.tsv", "\t"), ("q.csv", ",")])
def test_qupath_keeps_its_object_ids(tmp_path: Path, name: str, mark: str) -> None:
    written("qupath", tmp_path / name)
    table = pd.read_csv(tmp_path / name, sep=mark)
    assert list(table.columns[:4]) == ["Image", "Object ID", "Object number", "Classification"]
    assert list(table["Object ID"]) == list(IDS)
    assert list(table["Image"]) == list(SOURCES)
    assert list(table["Classification"]) == DECIDED
    named = [f"Probability: {name}" for name in CLASSES]
    np.testing.assert_allclose(table[named], PROBABILITIES, rtol=1e-5)


def test_napari_finds_the_row_of_a_label(tmp_path: Path) -> None:
    written("napari", tmp_path / "n.csv", rules=False)
    table = pd.read_csv(tmp_path / "n.csv")
    one = table[table["source"] == "plate/a.cif"]
    # How a Labels layer maps a label to a row of its features.
    row_of = {label: row for row, label in enumerate(one["index"])}
    assert one.iloc[row_of[31_999]]["class"] == "CD4+"
    assert one.iloc[row_of[7]]["p(g1)"] == pytest.approx(0.8)
    assert list(table["index"]) == list(table["label"])
    assert list(table["class_number"]) == [1, 2, 3, 1, 2, 3]
    assert "prediction_set" not in table


def test_targets_name_every_mistake_at_once() -> None:
    assert parse_targets(None) == ()
    assert parse_targets(["ideas=a=b"]) == (Target("ideas", Path("a=b")),)
    with pytest.raises(ConfigError) as caught:
        parse_targets(["ideas", "excel=x.csv", "qupath=a", "napari=a"])
    for part in ("got 'ideas'", "'excel' is not one of", "a is given twice"):
        assert part in str(caught.value)


def test_places_that_cannot_be_written_are_told_before_cells_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    fine = parse_targets([f"ideas={tmp_path / 'new'}", f"qupath={tmp_path / 'a.tsv'}"])
    refuse_places(fine, {"out": tmp_path / "o.csv", "fractions": None})
    wrong = parse_targets(
        [
            f"qupath={tmp_path / 'a.geojson'}",
            f"napari={tmp_path / 'o.csv'}",
            f"cellprofiler={tmp_path / 'folder'}",
            f"ideas={tmp_path / 'file'}",
        ]
    )
    with pytest.raises(ConfigError) as caught:
        refuse_places(wrong, {"out": tmp_path / "o.csv", "fractions": tmp_path / "no" / "f.csv"})
    for part in (
        f"--fractions {tmp_path / 'no' / 'f.csv'}: there is no folder {tmp_path / 'no'}",
        "a.geojson: it is a table; let its name end in .csv or .tsv or .txt",
        "o.csv: --out writes there already",
        "folder: that is a folder; name a file in it",
        "file: that is a file; name a folder",
    ):
        assert part in caught.value.message.worded(as_option)


def test_safe_names_differ_even_where_case_does_not_count() -> None:
    assert safe_names(["G1", "g1", "+", "CD4+", "CD4-", "x" * 99]) == [
        *("G1", "g1_2", "unnamed", "CD4", "CD4_2"),
        "x" * 60,
    ]


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def test_pieces_give_what_the_whole_gives(case: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellsearch.card.predict.CELLS_AT_ONCE", 40)
    images, told = case.dataset.images, []
    found = predict_cells(
        case.card.predictor, images, on_progress=lambda *facts: told.append(facts)
    )
    np.testing.assert_allclose(found, case.card.predict(images), rtol=1e-4, atol=1e-9)
    assert told == [("classifying", done, 90) for done in (40, 80, 90)]
    with pytest.raises(CardError, match="no images"):
        predict_cells(case.card.predictor, images[:0])


def test_short_work_shows_no_bar() -> None:
    told: list[str] = []
    after(60, lambda *facts: told.append(facts[0]))("reading", 1, 2)
    after(0, lambda *facts: told.append(facts[0]))("reading", 2, 2)
    assert told == ["reading"]


def test_the_command_writes_all_and_prints_one_document(case: Made, tmp_path: Path) -> None:
    cells = squares(seed=9)
    np.savez(tmp_path / "new.npz", images=cells.images)
    asked = [f"{p}={tmp_path / p}" for p in ("cellprofiler", "ideas", "napari", "qupath")]
    arguments = ["predict", str(case.card.folder), str(tmp_path / "new.npz"), "--json"]
    for target in asked:
        arguments += ["--to", target]
    script = (
        "import sys, cellsearch.cli as c\n"
        f"sys.argv = ['cellsearch', *{arguments!r}]\n"
        "try: c.main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'matplotlib', 'sklearn', 'fastapi'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["count"] == len(facts["cells"]) == len(cells)
    assert sum(facts["counts"].values()) == len(cells)
    assert sum(facts["cells"][3]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert [each["programme"] for each in facts["written"]] == [
        "cellprofiler",
        "ideas",
        "napari",
        "qupath",
    ]
    table = pd.read_csv(tmp_path / "cellprofiler")
    # Numbers of an .npz count from 0.
    assert list(table["ObjectNumber"]) == list(range(len(cells)))
    assert [cell["object_number"] for cell in facts["cells"]] == list(table["ObjectNumber"])
