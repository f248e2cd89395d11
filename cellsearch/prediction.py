"""Predictions of many cells: told how far they have come, and as facts for JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.inputs import Images, measured, prepare
from cellsearch.card.predict import CardPredictor, Row, class_columns, set_names
from cellsearch.card.session import run_session

Progress = Callable[[str, int, int], None]
CELLS_AT_ONCE = 1024


def predict_cells(
    predictor: CardPredictor,
    images: Images,
    *,
    fit: str | None = None,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """As ``CardPredictor.predict``, in pieces.

    Args:
        predictor: of the card.
        images: (N, C, H, W) raw intensities in the card's dtype, or a sequence of (C, h, w).
        fit: ``refuse``, ``pad``, ``shrink`` or ``resize`` crops of another size; by default the
            card's rule.
        on_progress: told "classifying", the cells done and all cells after each 1,024.

    Returns:
        (N, K) float32; rows add up to 1.

    Raises:
        CardError: images that do not suit the card; all are looked at before the first is
            classified.
    """
    config = predictor.config
    cells = prepare(images, config, fit=fit)
    parts = []
    for start in range(0, len(cells), CELLS_AT_ONCE):
        piece = cells[start : start + CELLS_AT_ONCE]
        parts.append(
            run_session(
                predictor.session,
                piece if config.features is None else measured(piece),
                input_name=config.onnx.input,
                output_name=config.onnx.output,
            )
        )
        if on_progress is not None:
            on_progress("classifying", min(start + CELLS_AT_ONCE, len(cells)), len(cells))
    return np.concatenate(parts)


def after(seconds: float, on_progress: Progress) -> Progress:
    """The same, silent for the first seconds: short work needs no bar."""
    begun = time.monotonic()

    def told(stage: str, done: int, total: int) -> None:
        if time.monotonic() - begun >= seconds:
            on_progress(stage, done, total)

    return told


def cell_facts(rows: Sequence[Row], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of ``to_rows`` as the REST API gives them: numbers as numbers, sets as lists.

    ``decision`` is null where the card has no rule of abstention, ``set`` where it has no sets.
    """
    columns = dict(zip(classes, class_columns(classes), strict=True))
    return [
        {
            "index": index,
            "id": row["id"],
            "source": row["source"],
            "object_number": int(row["object_number"]),
            "predicted_class": row["predicted_class"],
            "confidence": float(row["confidence"]),
            "decision": row.get("decision"),
            "set": set_names(row["set"], classes) if "set" in row else None,
            "probabilities": {name: float(row[column]) for name, column in columns.items()},
        }
        for index, row in enumerate(rows)
    ]
