"""Predictions as a features table of a napari Labels layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cellsearch.card.predict import Row
from cellsearch.card.whole_files import write_csv
from cellsearch.interop.decided import decided, decisions, probabilities
from cellsearch.interop.numbering import Place


def write(
    rows: Sequence[Row], classes: Sequence[str], places: Sequence[Place], path: Path
) -> list[Path]:
    """Write one row a cell.

    ``index`` is the column by which a Labels layer finds the row of a label (without it, rows are
    labels in order), ``label`` the same under the name that scikit-image and plugins use.
    ``class_number`` counts from 1 and can colour the labels. With several files, the rows of one
    are those with its ``source``.

    Raises:
        CardError: the disk refuses.
    """
    numbers = {name: k for k, name in enumerate(decisions(rows, classes), start=1)}
    table = []
    for row, place in zip(rows, places, strict=True):
        values: Row = {
            "index": str(place.number),
            "label": str(place.number),
            "source": place.origin,
            "cell_id": row["id"],
            "class": decided(row),
            "class_number": str(numbers[decided(row)]),
            "predicted_class": row["predicted_class"],
            "confidence": row["confidence"],
        }
        if "set" in row:
            values["prediction_set"] = row["set"]
        named = zip(classes, probabilities(row, classes), strict=True)
        table.append(values | {f"p({name})": value for name, value in named})
    write_csv(path, table)
    return [path]
