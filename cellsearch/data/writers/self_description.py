"""What a written file says of its cells, so that it reads back as it was."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cellsearch.data.readers.self_described import COLUMNS, VERSION

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset


def facts_of(cells: CellDataset) -> dict[str, Any]:
    """Name, classes in order, channels and provenance as plain values."""
    return {
        "version": VERSION,
        "name": cells.name,
        "classes": list(cells.classes),
        "channels": list(cells.channels),
        "provenance": asdict(cells.provenance.of_a_copy()),
    }


def columns_of(cells: CellDataset) -> dict[str, NDArray[Any]]:
    """One value a cell, each (N,): labels as positions among the classes, and the rest."""
    columns = {name: getattr(cells, name) for name in COLUMNS}
    return {name: column for name, column in columns.items() if column is not None}
