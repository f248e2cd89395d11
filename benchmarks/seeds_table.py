"""A paper's recipes re-run, and the winner of the wider space, on the same cells and folds.

Run: python benchmarks/seeds_table.py RUN_OF_THE_RECIPES [RUN_OF_THE_WIDER_SPACE]

Prints a Markdown table of out-of-fold figures with 95 % intervals, a row for each complete trial,
and the paired difference between the best of the recipes and the winner of the wider space, both by
the metric of the first run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import RunError
from cellsearch.run.folder import read_record
from cellsearch.space.recipe import Recipe, brief
from cellsearch.stats.comparison import compare
from cellsearch.stats.metrics import confusion, score
from cellsearch.tune.job import finished_folds

FIGURES = ("weighted_f1", "balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class Row:
    """A complete trial and its pooled out-of-fold predictions, in the order of the cells."""

    number: int
    recipe: Recipe
    cells: NDArray[np.int64]
    predicted: NDArray[np.int64]


def opened(run: Path) -> tuple[CellDataset, Splits]:
    """The cells and splits of a run."""
    cells = CellDataset.open(read_record(run).dataset_folder)
    return cells, Splits.load(run / "splits.json", cells)


def rows_of(run: Path, folds: int) -> list[Row]:
    """Its complete trials."""
    found = []
    for folder in sorted((run / "trials").iterdir()):
        params = json.loads((folder / "recipe.json").read_text())["recipe"]
        try:
            results = finished_folds(run, int(folder.name), range(folds))
        except RunError:
            continue
        cells = np.concatenate([fold.cells for fold in results])
        predicted = np.concatenate([fold.probabilities.argmax(axis=1) for fold in results])
        order = np.argsort(cells)
        found.append(
            Row(int(folder.name), Recipe.from_params(params), cells[order], predicted[order])
        )
    return found


def main() -> None:
    """Print the table."""
    paper, *wider = [Path(name) for name in sys.argv[1:3]]
    cells, splits = opened(paper)
    rows = rows_of(paper, splits.k)
    labels = cells.labels[rows[0].cells]

    def figures(row: Row, other: Row | None = None) -> dict[str, tuple[float, str]]:
        compared = compare(labels, row.predicted, other and other.predicted, cells.classes)
        source = compared.differences if other else compared.winner.metrics
        shown = {}
        for name in FIGURES:
            estimate = source[name]
            bounds = f"{estimate.low:.3f} to {estimate.high:.3f}"
            shown[name] = (estimate.value, f"{estimate.value:.3f} ({bounds})")
        return shown

    def line(label: str, shown: dict[str, tuple[float, str]]) -> str:
        return f"| {label} | " + " | ".join(shown[name][1] for name in FIGURES) + " |"

    print(f"{cells.name}: {len(labels)} cells out of fold, {splits.k} folds\n")
    print("| trial | weighted F1 | balanced accuracy | accuracy |\n|---|---|---|---|")
    for row in rows:
        name = "baseline" if row.number == 0 else f"{row.number}: {brief(row.recipe)}"
        print(line(name, figures(row)))
    metric = read_record(paper).config.metric

    def searched(row: Row) -> float:
        counts = confusion(labels, row.predicted, len(cells.classes))
        return float(score(metric, counts))

    best = max(rows[1:] or rows, key=searched)
    for run in wider:
        others = rows_of(run, splits.k)
        assert (others[0].cells == rows[0].cells).all(), "other splits"
        winner = max(others, key=searched)
        print(line(f"wider space, {winner.number}: {brief(winner.recipe)}", figures(winner)))
        print(line(f"paired difference to {best.number}", figures(winner, best)))


if __name__ == "__main__":
    main()
