"""Predictions as CellProfiler Analyst keeps them: one row an object, by image and number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cellsearch.card.predict import Row
from cellsearch.card.whole_files import write_csv
from cellsearch.interop.decided import decided, decisions, probabilities, safe_names
from cellsearch.interop.numbering import Place, origins


def write(
    rows: Sequence[Row], classes: Sequence[str], places: Sequence[Place], path: Path
) -> list[Path]:
    """Write the table of objects, and beside it ``<name>.images.csv``.

    ``ImageNumber`` and ``ObjectNumber`` are the keys; ``class`` and ``class_number`` (from 1) are
    the columns of the table that Classifier's "Score All" writes (``class_table`` of a properties
    file). A database takes column names as they are, so those of the probabilities are letters,
    digits and underscores.

    Raises:
        CardError: the disk refuses.
    """
    numbers = {name: k for k, name in enumerate(decisions(rows, classes), start=1)}
    columns = [f"probability_{name}" for name in safe_names(classes)]
    table = []
    for row, place in zip(rows, places, strict=True):
        values: Row = {
            "ImageNumber": str(place.image),
            "ObjectNumber": str(place.number),
            "class": decided(row),
            "class_number": str(numbers[decided(row)]),
            "predicted_class": row["predicted_class"],
            "confidence": row["confidence"],
        }
        if "set" in row:
            values["prediction_set"] = row["set"]
        values |= dict(zip(columns, probabilities(row, classes), strict=True))
        values["cell_id"] = row["id"]
        table.append(values)
    images = path.with_suffix(".images.csv")
    write_csv(path, table)
    write_csv(
        images,
        [
            {
                "ImageNumber": str(origin.image),
                "FileName": origin.name,
                "Cells": str(origin.cells),
                "ObjectNumbers": origin.numbers,
            }
            for origin in origins(places)
        ],
    )
    return [path, images]
