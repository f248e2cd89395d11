"""The column of a table that holds groups, or the word that there is none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cellsearch.data.arrays import listed
from cellsearch.data.readers.missing import is_missing, meant
from cellsearch.errors import ReadError

if TYPE_CHECKING:
    from cellsearch.data.readers.table import Row

GROUP_NAMES = ("group", "groups")
GROUP_COLUMN = "column with the group; default: group or groups; none: no groups"
NO_GROUPS = "fill them in, or read the cells without groups: --option group_column=none"


def groups_of(table: str, rows: Sequence[Row], column: str) -> list[str]:
    """The group of each row.

    Raises:
        ReadError: rows without one, with their lines.
    """
    groups = [row.values.get(column, "") for row in rows]
    lines = [row.line for row, group in zip(rows, groups, strict=True) if is_missing(group)]
    if lines:
        raise ReadError(
            f"{table}: no {column} in line {listed(lines)}", meant(groups), "; ", NO_GROUPS
        )
    return groups


def no_groups(asked: str | None, header: Collection[str]) -> bool:
    """Whether the option says that no column is the group."""
    return asked is not None and asked.lower() in ("", "none") and asked not in header
