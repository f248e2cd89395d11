"""Names that no file can have, and names as long as one may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cellsearch
from cellsearch import CellDataset
from cellsearch.card.card import ModelCard
from cellsearch.card.predict import CardPredictor
from cellsearch.card.whole_files import write_csv
from cellsearch.data.source import load_dataset
from cellsearch.errors import CellsearchError
from cellsearch.run.history import card_of
from cellsearch.util.yaml_files import read_yaml

USES: dict[str, Callable[[str], object]] = {
    "card": ModelCard.load,
    "predictor": CardPredictor.load,
    "card of a run": lambda name: card_of(Path(name)),
    "cells": load_dataset,
    "saved cells": CellDataset.open,
    "YAML": lambda name: read_yaml(Path(name)),
    "table": lambda name: write_csv(name, [{"a": 1}]),
    "resumed": cellsearch.resume,
    "run": lambda name: cellsearch.search("demo", out=name),
}


@pytest.mark.parametrize("name", ["a\0b", "a" * 256], ids=["zero byte", "256 bytes"])
@pytest.mark.parametrize("use", USES)
def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path, use: str, name: str) -> None:
    with pytest.raises(CellsearchError) as raised:
        USES[use](str(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_a_card_is_saved_under_no_such_name(finished_card: Path, tmp_path: Path) -> None:
    card = ModelCard.load(finished_card)
    for name in ("a\0b", "a" * 256):
        with pytest.raises(CellsearchError):
            card.save(tmp_path / name)
    assert card.save(tmp_path / ("a" * 255)).verify().cells


def test_names_as_long_as_a_disk_takes_are_read(tmp_path: Path) -> None:
    root, kind, file = ("x" * 255, "a" * 255, "z" * 251 + ".png")
    for folder in (kind, "b"):
        (tmp_path / root / folder).mkdir(parents=True)
        for number in range(3):
            picture = Image.fromarray(np.full((8, 8), 9 * number, np.uint8))
            picture.save(tmp_path / root / folder / f"{number}{file[1:]}")
    cells = load_dataset(tmp_path / root, cache=tmp_path / "cache")
    assert len(cells) == 6
    assert cells.classes == (kind, "b")
