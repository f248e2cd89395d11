"""The columns of a table that could be the groups in place of those that are."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from cellsearch.data.readers.column_notes import group_like, partition
from cellsearch.data.readers.column_texts import is_missing
from cellsearch.data.source_columns import OtherColumn, SourceColumns
from cellsearch.util.messages import Setting

MOST = 12
_DECIMAL = re.compile(r"-?\d*[.,]\d+(?:[eE][-+]?\d+)?")


def source_columns(
    columns: Mapping[str, Sequence[str]],
    *,
    used: Collection[str | None],
    group: str | None,
    declare: Callable[[str], Setting],
    without: Setting | None,
) -> SourceColumns:
    """What a reader knows of columns that it does not use.

    A column counts where it has a value for every cell, at least two of them, and at least two
    cells a value on average; of those that part the cells alike, the first. Measures do not count.

    Args:
        columns: name -> N values as texts.
        used: columns that mean something else.
        group: column that is the groups.
        declare: what makes a column of this name the groups.
        without: what reads the cells without groups.
    """
    named = group_like(columns)
    order = [*named, *(name for name in columns if name not in set(named))]
    found: list[OtherColumn] = []
    known = {partition(columns[group])} if group is not None and group in columns else set()
    for name in order:
        values = columns[name]
        if name in used or name == group or len(found) == MOST:
            continue
        distinct = set(values)
        if not 2 <= len(distinct) <= len(values) // 2 or any(map(is_missing, distinct)):
            continue
        if all(map(_DECIMAL.fullmatch, distinct)) or (parted := partition(values)) in known:
            continue
        known.add(parted)
        found.append(OtherColumn.of(name, values, declare(name)))
    return SourceColumns(group or "", without, tuple(found))


def by_option(option: str) -> Callable[[str], Setting]:
    """What gives an option of a reader a name."""
    return lambda name: Setting(option, name, reader=True)
