"""Predictions as tables of other programmes: one list of columns a programme, one writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cellsearch.card.predict import Row
from cellsearch.card.whole_files import write_csv
from cellsearch.interop.decided import decided, decisions, probabilities, safe_names
from cellsearch.interop.numbering import Place, origins

Fact = Literal[
    "id",
    "origin",
    "image",
    "number",
    "class",
    "class_number",
    "predicted_class",
    "confidence",
    "set",
    "probabilities",
]
"""What is known of a predicted cell: its place, its class (``uncertain`` where the card abstains;
class numbers count from 1), its prediction set where the card gives one, K probabilities."""


@dataclass(frozen=True)
class Table:
    """How a programme names what is known of a cell.

    Attributes:
        columns: name -> fact, in the order of the file; ``{}`` stands for a class.
        suffixes: what the file's name may end in; ``.tsv`` and ``.txt`` are parted by tabs.
        images: columns of ``<name>.images.csv``, a second table of the files; empty for none.
        safe: whether classes in names of columns are letters, digits and underscores only.
    """

    columns: Mapping[str, Fact]
    suffixes: tuple[str, ...] = (".csv",)
    images: tuple[str, ...] = ()
    safe: bool = False


TABLES: Mapping[str, Table] = {
    # ImageNumber and ObjectNumber are the keys of CellProfiler Analyst; class and class_number are
    # the columns of the table that its Classifier's "Score All" writes (class_table of a
    # properties file). A database takes column names as they are.
    "cellprofiler": Table(
        {
            "ImageNumber": "image",
            "ObjectNumber": "number",
            "class": "class",
            "class_number": "class_number",
            "predicted_class": "predicted_class",
            "confidence": "confidence",
            "prediction_set": "set",
            "probability_{}": "probabilities",
            "cell_id": "id",
        },
        images=("ImageNumber", "FileName", "Cells", "ObjectNumbers"),
        safe=True,
    ),
    # A Labels layer of napari finds the row of a label by the column index (without it, rows are
    # labels in order); label is the same under the name that scikit-image and plugins use.
    # class_number can colour the labels. With several files, the rows of one are those with its
    # source.
    "napari": Table(
        {
            "index": "number",
            "label": "number",
            "source": "origin",
            "cell_id": "id",
            "class": "class",
            "class_number": "class_number",
            "predicted_class": "predicted_class",
            "confidence": "confidence",
            "prediction_set": "set",
            "p({})": "probabilities",
        }
    ),
    # Image, Object ID and Classification are the columns of QuPath's own export. The object id is
    # the cell's id: where crops were exported under QuPath's ids, it is QuPath's own. There are no
    # centroids: crops do not know where they were cut.
    "qupath": Table(
        {
            "Image": "origin",
            "Object ID": "id",
            "Object number": "number",
            "Classification": "class",
            "Predicted class": "predicted_class",
            "Confidence": "confidence",
            "Prediction set": "set",
            "Probability: {}": "probabilities",
        },
        suffixes=(".csv", ".tsv", ".txt"),
    ),
}


def write_table(
    table: Table, rows: Sequence[Row], classes: Sequence[str], places: Sequence[Place], path: Path
) -> list[Path]:
    """Write one row a cell, and the table of images where the programme has one.

    Raises:
        CardError: the disk refuses.
    """
    numbers = {name: str(k) for k, name in enumerate(decisions(rows, classes), start=1)}
    names = safe_names(classes) if table.safe else classes
    cells: list[Row] = []
    for row, place in zip(rows, places, strict=True):
        facts: dict[str, str] = {
            "id": row["id"],
            "origin": place.origin,
            "image": str(place.image),
            "number": str(place.number),
            "class": decided(row),
            "class_number": numbers[decided(row)],
            "predicted_class": row["predicted_class"],
            "confidence": row["confidence"],
            **({"set": row["set"]} if "set" in row else {}),
        }
        cell: Row = {}
        for column, fact in table.columns.items():
            if fact == "probabilities":
                named = zip(names, probabilities(row, classes), strict=True)
                cell |= {column.format(name): value for name, value in named}
            elif fact in facts:
                cell[column] = facts[fact]
        cells.append(cell)
    write_csv(path, cells, delimiter="\t" if path.suffix.lower() in (".tsv", ".txt") else ",")
    if not table.images:
        return [path]
    images = path.with_suffix(".images.csv")
    facts_of_images = ((o.image, o.name, o.cells, o.numbers) for o in origins(places))
    write_csv(images, [dict(zip(table.images, facts, strict=True)) for facts in facts_of_images])
    return [path, images]
