"""The single files of a card: tables, pictures, test cells, versions."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card import plots
from cellsearch.card.predict import GROUP, CardPredictor, Row, to_rows
from cellsearch.card.replay import TEST_INPUT, TEST_OUTPUT
from cellsearch.card.scoring import groups_of
from cellsearch.card.whole_files import write_csv
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.evaluation import LEVEL
from cellsearch.stats.groups import Codes
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.findings import Importance

if TYPE_CHECKING:
    from cellsearch.space.recipe import Recipe

TEST_CELLS_PER_CLASS = 3
PACKAGES = (
    "captum",
    "cellsearch",
    "huggingface_hub",
    "imbalanced-learn",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "optuna",
    "pillow",
    "pydantic",
    "ray",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
    "xgboost",
    "xgboost-cpu",
)


def versions() -> dict[str, Any]:
    """Python, platform, and the packages a figure may depend on."""
    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
        "packages": packages,
    }


def write_tables(
    folder: Path,
    dataset: CellDataset,
    held: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
    oof: Predictions,
) -> None:
    """``predictions.csv`` of the hold-out and, where cells are given, ``out_of_fold.csv``."""
    rows = to_rows(
        dataset, probabilities, dataset.classes, cells=held, called=predicted, truth=True
    )
    groups = groups_of(dataset, held)
    write_csv(folder / "predictions.csv", _numbered(rows, groups))
    if oof.cells is not None and oof.probabilities is not None:
        rows = to_rows(
            dataset,
            oof.probabilities,
            dataset.classes,
            cells=oof.cells,
            called=oof.predicted,
            truth=True,
        )
        write_csv(folder / "out_of_fold.csv", _numbered(rows, oof.groups))


def _numbered(rows: list[Row], groups: Codes | None) -> list[Row]:
    """Rows with the number of each cell's group, where there are groups.

    No names, since a card goes to others.
    """
    if groups is None:
        return rows
    return [row | {GROUP: str(own)} for row, own in zip(rows, groups.tolist(), strict=True)]


def write_plots(
    folder: Path,
    histories: Sequence[Sequence[dict[str, float]]],
    holdout: Comparison,
    pooled: Comparison,
) -> list[str]:
    """Every picture as PNG and SVG; returns their names without suffix."""
    folder.mkdir()
    caption = (
        f"{100 * LEVEL:.0f} % intervals: recall and specificity exact, precision and F1 by "
        "smoothed bootstrap\n"
        "n: cells of the class; n/e: not estimable (no cell of the class, or for precision none "
        "predicted)"
    )
    pictures = {
        "confusion_hold_out": plots.confusion_matrix(holdout.winner, title="Hold-out"),
        "confusion_out_of_fold": plots.confusion_matrix(pooled.winner, title="Out-of-fold"),
        "per_class_hold_out": plots.per_class_bars(
            holdout.winner, holdout.baseline, title="Each class, hold-out", caption=caption
        ),
        "per_class_out_of_fold": plots.per_class_bars(
            pooled.winner, pooled.baseline, title="Each class, out-of-fold", caption=caption
        ),
        "history": plots.history(histories, title="Training of the final model"),
    }
    drawn = {name: picture for name, picture in pictures.items() if picture is not None}
    for name, picture in drawn.items():
        plots.save(picture, folder, name)
    return list(drawn)


def write_importance(folder: Path, found: Importance | None) -> None:
    """``importance.json`` and, where there is something to draw, ``plots/importance``."""
    from cellsearch.card.importance_plot import importance_figure

    if found is None:
        return
    write_json(folder / "importance.json", found.to_dict())
    picture = importance_figure(found)
    if picture is not None:
        plots.save(picture, folder / "plots", "importance")


def write_recipe(path: Path, recipe: Recipe) -> None:
    """``recipe.yaml``: flat parameters, as ``Recipe.from_params`` reads them."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    with path.open("w", encoding="utf-8") as file:
        file.write("# The winner's parameters: Recipe.from_params reads them.\n")
        writer.dump(recipe.to_params(), file)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Plain values as JSON.

    Raises:
        CardError: NaN, or a value that JSON cannot hold.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise CardError(f"{path.name} cannot be written: {error}") from None
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def write_test_cells(
    folder: Path, predictor: CardPredictor, dataset: CellDataset, held: NDArray[np.int64]
) -> None:
    """A few hold-out cells of every class and what the exported model gives for them."""
    labels = dataset.labels[held]
    chosen = [held[labels == label][:TEST_CELLS_PER_CLASS] for label in range(len(dataset.classes))]
    images = np.ascontiguousarray(dataset.images[np.concatenate(chosen)])
    np.save(folder / TEST_INPUT, images, allow_pickle=False)
    np.save(folder / TEST_OUTPUT, predictor.predict(images), allow_pickle=False)
