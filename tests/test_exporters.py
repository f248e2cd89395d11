"""One contract for every exporter of a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellsearch.card.card import ModelCard
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.interop.exporters import EXPORTERS
from cellsearch.interop.rdf import About
from cellsearch.util.json_text import json_text
from cellsearch.util.wording import worded

from card_cases import Made, made

every_exporter = pytest.mark.parametrize("name", EXPORTERS)


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@every_exporter
def test_an_exporter_writes_what_it_says_and_leaves_the_card_alone(
    name: str, case: Made, tmp_path: Path
) -> None:
    card = ModelCard.load(case.card.folder)
    before = bytes_of(card.folder)
    out = tmp_path / "exported"
    found = EXPORTERS[name](card, out, about=About(), force=False)
    assert out.exists()
    assert found.lines
    assert str(out) in worded(found.lines[0])
    assert str(out) in json.loads(json_text(dict(found.facts))).values()
    assert bytes_of(card.folder) == before


@every_exporter
def test_an_exporter_replaces_only_with_force(name: str, case: Made, tmp_path: Path) -> None:
    card = ModelCard.load(case.card.folder)
    out = tmp_path / "exported"
    EXPORTERS[name](card, out, about=About(), force=False)
    with pytest.raises(CardError, match="exists; name another") as caught:
        EXPORTERS[name](card, out, about=About(), force=False)
    assert "--force" in worded(caught.value.message)
    EXPORTERS[name](card, out, about=About(), force=True)


@every_exporter
def test_an_exporter_refuses_a_card_that_was_changed(name: str, case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path / "card")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-20])
    with pytest.raises(CardError):
        EXPORTERS[name](ModelCard.load(folder), tmp_path / "out", about=About(), force=False)
    assert not (tmp_path / "out").exists()
