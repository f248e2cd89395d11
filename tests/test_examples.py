"""The examples run as a reader would run them, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.run.folder import read_record

from conftest import REPOSITORY

pytestmark = pytest.mark.slow


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(REPOSITORY / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_arrays_to_a_card_to_predictions(tmp_path: Path) -> None:
    printed = run("custom_arrays.py", tmp_path / "shapes")
    assert "out-of-fold balanced accuracy" in printed
    cells = CellDataset.open(read_record(tmp_path / "shapes").dataset_folder)
    np.save(tmp_path / "new.npy", cells.images[:5])
    printed = run("using_a_card.py", tmp_path / "shapes" / "card", tmp_path / "new.npy")
    assert sum(line.startswith("cell ") for line in printed.splitlines()) == 5


def test_a_folder_of_images(tmp_path: Path) -> None:
    printed = run("folder_of_images.py", tmp_path)
    assert "G1: 140 cells" in printed
    assert (tmp_path / "run" / "card" / "model.onnx").is_file()


def test_generated_cells_before_the_split_raise_the_figure() -> None:
    printed = run(
        "augmented_before_the_split.py", "demo", "--steps", 12, "--epochs", 3, "--width", 8,
        "--folds", 2,
    )  # fmt: skip
    rows = [line for line in printed.splitlines() if line.startswith("WGAN")]
    assert len(rows) == 2
    for row in rows:
        values = [float(word) for word in row.removesuffix("%").split() if "0." in word]
        assert values[3] > values[1] + 0.1, row
