"""Notes of readers: values that are saved with the cells, go with copies, and are never parsed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_passed_over import CELLS, DONORS, LABELS, read, table

from cellsearch.data.dataset import CellDataset
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.source import load_dataset
from cellsearch.data.suggested_groups import suggest_groups, undeclared
from cellsearch.data.writers.registry import write_cells
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting

NOTE = Note(
    "undeclared-groups",
    "column donor (6 values) is not used as groups",
    "warning",
    Message.of("declare them with ", Setting("group_column", "donor", reader=True)),
    column="donor",
    values=6,
)


def noted(*notes: Note) -> CellDataset:
    images = np.arange(8 * 36, dtype=np.uint16).reshape(8, 1, 6, 6)
    origin = Provenance(licence="CC0-1.0").with_notes("of last year", *notes)
    return CellDataset.from_arrays(images, list("aabbaabb"), provenance=origin)


def test_a_note_is_a_value_and_a_line_for_the_card() -> None:
    cells = noted(NOTE)
    assert cells.provenance.notes == f"of last year\n{NOTE.text}"
    assert cells.notes_of("undeclared-groups") == (NOTE,)
    assert cells.notes_of("crop-sizes") == ()
    (finding,) = undeclared(cells)
    assert str(finding.message) == f'{NOTE.text}; declare them with group_column="donor"'


def test_a_text_alone_is_no_note_of_a_kind() -> None:
    text = "passed over: column donor is not used as groups, crosses the groups"
    cells = noted()
    origin = cells.provenance.with_notes(text)
    assert text in origin.notes
    assert origin.reader_notes == ()


def test_the_same_note_is_kept_once_as_it_was_made_last() -> None:
    bare = Note(NOTE.kind, NOTE.text, NOTE.severity)
    origin = Provenance().with_notes(bare, NOTE)
    assert origin.notes == NOTE.text
    assert origin.reader_notes == (NOTE,)


def test_notes_are_saved_and_are_not_in_the_digest(tmp_path: Path) -> None:
    cells = noted(NOTE, Note("ignored-files", "ignored: 1 link to nothing"))
    again = cells.save(tmp_path / "cells")
    assert again.provenance == cells.provenance
    assert again.sha256 == noted().sha256


def test_cells_saved_before_there_were_notes_are_opened(tmp_path: Path) -> None:
    noted(NOTE).save(tmp_path / "cells")
    path = tmp_path / "cells" / "dataset.json"
    facts = json.loads(path.read_text())
    del facts["provenance"]["reader_notes"]
    facts["columns"]["remedies"] = [[NOTE.text, ["declare them with ", {"name": "group_column"}]]]
    path.write_text(json.dumps(facts))
    found = CellDataset.open(tmp_path / "cells")
    assert NOTE.text in found.provenance.notes
    assert found.group_notes == ()


@pytest.mark.parametrize("change", [{"kind": "odd"}, {"colour": "red"}, {"remedy": {"part": []}}])
def test_a_note_that_cannot_be_read_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    noted(NOTE).save(tmp_path / "cells")
    path = tmp_path / "cells" / "dataset.json"
    facts = json.loads(path.read_text())
    facts["provenance"]["reader_notes"][0] |= change
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="describes no data set"):
        CellDataset.open(tmp_path / "cells")


@pytest.mark.parametrize("name", ["x.npz", "x.h5", "x.ome.zarr", "table", "folder"])
def test_copies_keep_notes_without_the_options_of_their_source(name: str, tmp_path: Path) -> None:
    cells = noted(NOTE)
    to = name if name in ("table", "folder") else None
    written = write_cells(cells, tmp_path / name, to=to)
    found = load_dataset(written.readable, cache=tmp_path / "cache")
    (note,) = found.group_notes
    assert (note.kind, note.text, note.severity) == (NOTE.kind, NOTE.text, "warning")
    assert (note.column, note.values, note.remedy) == ("donor", 6, None)
    assert NOTE.text in found.provenance.notes


def test_a_column_that_crosses_the_groups_is_a_note_of_its_own(tmp_path: Path) -> None:
    plates = [f"p{k % 3}" for k in range(CELLS)]
    cells = read(table(tmp_path, label=LABELS, group=plates, donor=DONORS))
    (note,) = cells.group_notes
    assert (note.kind, note.column, note.values) == ("crossing-groups", "donor", 6)
    assert cells.notes_of("undeclared-groups") == ()


@pytest.mark.parametrize("word", ["participant", "case", "litter", "coverslip", "donor"])
def test_names_of_files_suggest_what_names_of_columns_do(word: str) -> None:
    images = np.zeros((12, 1, 4, 4), np.uint8)
    sources = [f"{word}{k // 4}_cell{k % 4}.png" for k in range(12)]
    cells = CellDataset.from_arrays(images, ["a", "b"] * 6, sources=sources)
    assert suggest_groups(cells)[0].what == word
