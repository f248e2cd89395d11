"""Predictions as a table of measurements, named as QuPath names them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cellsearch.card.predict import Row
from cellsearch.card.whole_files import write_text
from cellsearch.interop.decided import decided, probabilities
from cellsearch.interop.numbering import Place


def write(
    rows: Sequence[Row], classes: Sequence[str], places: Sequence[Place], path: Path
) -> list[Path]:
    """Write one row a cell, parted by tabs where the file is a ``.tsv`` or ``.txt``, else commas.

    ``Image``, ``Object ID`` and ``Classification`` are the columns of QuPath's own export. The
    object id is the cell's id: where crops were exported under QuPath's ids, it is QuPath's own.
    There are no centroids: crops do not know where they were cut.

    Raises:
        CardError: the disk refuses.
    """
    table = []
    for row, place in zip(rows, places, strict=True):
        values: Row = {
            "Image": place.origin,
            "Object ID": row["id"],
            "Object number": str(place.number),
            "Classification": decided(row),
            "Predicted class": row["predicted_class"],
            "Confidence": row["confidence"],
        }
        if "set" in row:
            values["Prediction set"] = row["set"]
        named = zip(classes, probabilities(row, classes), strict=True)
        table.append(values | {f"Probability: {name}": value for name, value in named})
    text = io.StringIO()
    mark = "\t" if path.suffix.lower() in (".tsv", ".txt") else ","
    writer = csv.DictWriter(text, list(table[0]), delimiter=mark, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(path, text.getvalue())
    return [path]
