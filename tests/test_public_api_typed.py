"""A user's own program against the public API: mypy --strict knows every name and its type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cellsearch

PROGRAM = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cellsearch
from cellsearch import (
    BASELINE, CellClassifier, CellDataset, InputError, ModelCard, Recipe, RunConfig, SearchResult,
    SearchSpace, Silent, Splits, TrialRow, VerifyReport, cells_frame, draw_splits, figures_frame,
    load_card, load_dataset, resume, search, trials_frame,
)

images: NDArray[np.uint8] = np.zeros((8, 2, 16, 16), np.uint8)
cells: CellDataset = CellDataset.from_arrays(images, ["a", "b"] * 4, name="mine")
splits: Splits = draw_splits(cells, folds=2)
space: SearchSpace = SearchSpace.from_dict({"parameters": {"train.epochs": 2}})
result: SearchResult = search(cells, space, budget=2, backend="local", out=Path("run"))
again: SearchResult = resume("run")
card: ModelCard = load_card("card")
probabilities: NDArray[np.float32] = card.predict(images)
recipe: Recipe = BASELINE if result.best is None else result.best.recipe
config: RunConfig = RunConfig.of(dataset="demo")
made: RunConfig = RunConfig(dataset="demo", budget=3)


class Mine(Silent):
    def message(self, text: str) -> None:
        print(text)


watched: SearchResult = search(Path("cells"), {"parameters": {}}, observer=Mine())
rows: list[TrialRow] = watched.leaderboard()
report: VerifyReport = card.verify()
shown: str = card.headline
counts: NDArray[np.int64] = load_dataset("demo").counts
frame = trials_frame(result)
classifier: CellClassifier = CellClassifier(recipe=recipe).fit(images, ["a", "b"] * 4)
score: float = classifier.score(images, ["a", "b"] * 4)
held: ModelCard | None = classifier.card_
said: str = classifier.verdict_
try:
    classifier.predict(images)
except InputError as error:
    raise SystemExit(str(error)) from error
reveal_type(cellsearch.search)
"""


@pytest.mark.slow
def test_a_users_program_type_checks_strictly(tmp_path: Path) -> None:
    def checked(text: str) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "program.py"
        program.write_text(text)
        options = ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
        return subprocess.run(
            [sys.executable, "-m", "mypy", *options, "program.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    passed = checked(PROGRAM)
    assert passed.returncode == 0, passed.stdout
    assert 'Revealed type is "def (dataset:' in passed.stdout
    # A misspelt name is found, though names are loaded on first use.
    wrong = checked(PROGRAM + "\nwrong: int = card.headline\ncellsearch.serach\n")
    assert wrong.returncode == 1
    assert wrong.stdout.count("error:") == 2, wrong.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(cellsearch.__file__).parent / "py.typed").is_file()
