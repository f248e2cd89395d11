"""The description that lies beside the arrays of a saved data set, and what it says again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cellsearch.data.arrays import digest
from cellsearch.data.file_traits import as_stored
from cellsearch.data.provenance import Provenance
from cellsearch.data.source_columns import SourceColumns
from cellsearch.data.storage import read_folder
from cellsearch.errors import DataError

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset

ARRAYS = ("images", "labels", "ids", "sources", "object_numbers")


def described(cells: CellDataset) -> dict[str, Any]:
    """All that is no array, as plain values."""
    return {
        "name": cells.name,
        "sha256": cells.sha256,
        "shape": list(cells.images.shape),
        "dtype": str(cells.images.dtype),
        "classes": list(cells.classes),
        "channels": list(cells.channels),
        "provenance": asdict(cells.provenance),
        "columns": cells.columns.described(),
    }


def sha256_of(cells: CellDataset) -> str:
    """Hex sha256 of pixels, labels, ids, groups, and the names of classes and channels."""
    header = {"classes": cells.classes, "channels": cells.channels}
    parts = [cells.images, cells.labels, cells.ids]
    if cells.groups is not None:
        header["groups"] = ("yes",)
        parts.append(cells.groups)
    return digest(header, parts)


def require_unchanged(cells: CellDataset) -> None:
    """Refuse arrays in memory that are no more what they were.

    Raises:
        DataError: their digest is another one than when the data set was made of them.
    """
    if sha256_of(cells) != cells.sha256:
        raise DataError(
            f"{cells.name}: its arrays were changed after the data set was made of them; make it "
            "anew from the arrays that are meant, or from a copy"
        )


def fields_in(folder: Path) -> dict[str, Any]:
    """The fields of the data set that ``folder`` holds; its arrays are memory-mapped.

    Raises:
        DataError: no data set there, or a file is missing, truncated or of another version.
    """
    description, arrays = read_folder(folder, ARRAYS)
    try:
        return {
            "name": description["name"],
            "classes": tuple(description["classes"]),
            "channels": tuple(description["channels"]),
            "provenance": Provenance.from_facts(description["provenance"]),
            "columns": _columns(description, arrays),
            "sha256": description["sha256"],
            "folder": folder,
            "groups": arrays.get("groups"),
            "file_traits": as_stored(arrays.get("file_traits")),
            **{name: arrays[name] for name in ARRAYS},
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder}/dataset.json describes no data set: {error!r}") from error


def _columns(description: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> SourceColumns:
    """Those saved; none of a data set that was saved before there were any."""
    if "columns" not in description:
        return SourceColumns()
    return SourceColumns.from_described(description["columns"], arrays)
