"""A fixed part of the malformed inputs: each is read right or refused in one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_answers import SPLITS, write_run

from cellsearch.data.dataset import CellDataset

import malformed
from card_cases import made
from malformed import SECONDS, Valid, call, make_valid, try_case, unhelpful

CASES = 60


@pytest.fixture(scope="module")
def valid(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Valid:
    folder = tmp_path_factory.mktemp("valid")
    card = made(tiny_dataset, tmp_path_factory).card.folder
    return make_valid(folder / "inputs", card, write_run(folder / "run", SPLITS))


@pytest.mark.parametrize("number", range(CASES))
def test_a_malformed_input_is_read_right_or_refused_in_one_message(
    number: int, valid: Valid, tmp_path: Path
) -> None:
    found = try_case(number, valid, tmp_path, seed=0)
    assert found.verdict in ("read right", "refused"), f"{found.change}: {found.why}"
    assert found.seconds < SECONDS


def test_what_is_wrong_with_a_message_is_seen(tmp_path: Path) -> None:
    assert unhelpful("cellsearch: a.csv: line 3: no class; give one\n", tmp_path) is None
    assert unhelpful("", tmp_path)
    assert unhelpful("cellsearch: KeyError: 'a'\n", tmp_path)
    assert unhelpful("cellsearch: a\nb\n", tmp_path)
    assert unhelpful("cellsearch: \x1b[31m\n", tmp_path)


def test_cells_that_were_read_wrongly_are_seen(
    valid: Valid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [(image, "live") for image in valid.cells.images]
    assert "cells differ" in str(malformed.differing(valid.folder / "cells.npz", wanted))
    right = [(p, valid.cells.classes[k]) for p, k in zip(*_of(valid.cells), strict=True)]
    assert malformed.differing(valid.folder / "cells.npz", right) is None


def _of(cells: CellDataset) -> tuple[object, object]:
    return cells.images, cells.labels


def test_a_command_that_is_called_in_this_process_tells_its_code(tmp_path: Path) -> None:
    code, out, err = call(("datasets", "describe", str(tmp_path / "gone.npz")))
    assert (code, out) == (2, "")
    assert "no such file" in err
