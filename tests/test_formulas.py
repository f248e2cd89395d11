"""Text that a spreadsheet would run is shown, and numbers stay numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cellsearch.card.whole_files import no_formula, write_csv


@pytest.mark.parametrize("text", ["=1+1", "=cmd|' /C calc'!A0", "+a", "-a", "@SUM(A)", "\t=1", "-"])
def test_text_that_begins_a_formula_is_quoted(text: str) -> None:
    assert no_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e-9", "-3", "-.5", "a=b", "", "-inf", -1.5, 3, None])
def test_numbers_and_other_text_stay(value: object) -> None:
    assert no_formula(value) == value


def test_tables_for_people_hold_no_formula_in_a_cell_or_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    write_csv(path, [{"id": "=1+1", "=class": "-0.25", "n": -3}], for_people=True)
    with path.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {"id": "'=1+1", "'=class": "-0.25", "n": "-3"}
    # Tables that are read again hold what was given.
    write_csv(path, [{"id": "=1+1"}])
    assert path.read_text() == "id\n=1+1\n"
