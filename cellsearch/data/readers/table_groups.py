"""The column of a table that holds groups, or the word that there is none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cellsearch.data.arrays import listed
from cellsearch.data.readers.missing import is_missing, meant
from cellsearch.data.readers.same_number import two_ways
from cellsearch.errors import ReadError
from cellsearch.util.messages import Message, Setting

if TYPE_CHECKING:
    from cellsearch.data.readers.table import Row

GROUP_NAMES = ("group", "groups")
GROUP_COLUMN = "column with the group; default: group or groups; none: no groups"
WITHOUT_GROUPS = Setting("group_column", "none", reader=True)
NO_GROUPS = Message.of("fill them in, or read the cells without groups: ", WITHOUT_GROUPS)


def groups_of(table: str, rows: Sequence[Row], column: str) -> list[str]:
    """The group of each row.

    Raises:
        ReadError: rows without one, with their lines, or one number written in two ways, which
            would be two groups.
    """
    groups = [row.values.get(column, "") for row in rows]
    lines = [row.line for row, group in zip(rows, groups, strict=True) if is_missing(group)]
    if lines:
        raise ReadError(
            f"{table}: no {column} in line {listed(lines)}", meant(groups), "; ", NO_GROUPS
        )
    if pairs := two_ways(groups):
        raise ReadError(one_group_each(table, rows, column, pairs))
    return groups


def one_group_each(
    table: str, rows: Sequence[Row], column: str, pairs: Sequence[tuple[str, str]]
) -> str:
    """What is told of groups that are one number written in two ways."""
    return (
        f"{table}: {column}: {places(rows, column, pairs)}; write each group in one way, or a "
        "split would tear it apart"
    )


def places(rows: Sequence[Row], column: str, pairs: Sequence[tuple[str, str]]) -> str:
    """``1 (line 2) and 1.0 (line 5) are one number``, of values and the first line of each."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(row.values.get(column, ""), row.line)
    return listed(
        [f"{a} (line {first[a]}) and {b} (line {first[b]}) are one number" for a, b in pairs]
    )


def no_groups(asked: str | None, header: Collection[str]) -> bool:
    """Whether the option says that no column is the group."""
    return asked is not None and asked.lower() in ("", "none") and asked not in header
