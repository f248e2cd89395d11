"""What a table of images says, bad rows counted instead of refused."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellsearch.data.arrays import listed
from cellsearch.data.readers import column_notes
from cellsearch.data.readers.column_notes import normal
from cellsearch.data.readers.missing import is_missing, meant
from cellsearch.data.readers.options import new_labels, parse_options
from cellsearch.data.readers.paths import Finder
from cellsearch.data.readers.table import (
    LABEL_NAMES,
    Options,
    Row,
    choose_columns,
    read_rows,
    values_of,
)
from cellsearch.data.readers.table_groups import GROUP_NAMES, NO_GROUPS
from cellsearch.errors import CellsearchError, DataError, ReadError
from cellsearch.first_look.layout import Layout


def of_table(path: Path, options: Mapping[str, Any]) -> Layout:
    """The cells that a table names.

    Args:
        path: the CSV or TSV.
        options: of the table's reader, as given by ``--option``.

    Raises:
        ConfigError: columns that are not there or cannot be told apart.
        ReadError: not a table.
    """
    parsed = parse_options(Options, options, reader="reader table")
    header, rows = read_rows(path)
    columns = choose_columns(path, header, parsed)
    finder = Finder(path.parent, parsed.path_format)
    cells: list[tuple[Path, ...]] = []
    labels: list[str] = []
    kept: list[Row] = []
    bad: list[str] = []
    every = [row.values.get(columns.label or "", "") for row in rows]
    names = new_labels(parsed.class_names, every) or {}
    for row in rows:
        value = row.values.get(columns.path, "")
        label = row.values.get(columns.label or "", "")
        try:
            if not value or (is_missing(label) and label not in names):
                raise ReadError(f"no {columns.path if not value else columns.label}")
            cells.append((finder.find(value),))
        except ReadError as error:
            bad.append(f"line {row.line}: {error}")
            continue
        labels.append(names.get(label, label))
        kept.append(row)
    result = Layout("table", "table", path, cells, labels, options=dict(options))
    result.options |= {"path_column": columns.path, "label_column": columns.label}
    result.notes.append(f"column {columns.path!r} names the image, {columns.label!r} the class")
    there = values_of(header, kept)
    if parsed.label_column is None and columns.label:
        result.notes += column_notes.of_labels(there, columns.label, LABEL_NAMES)
    used = (columns.path, columns.number, columns.id, columns.source, columns.split)
    left = {k: v for k, v in there.items() if k not in (*used, columns.label, columns.group)}
    if columns.group:
        groups = there[columns.group]
        word = "group" if normal(columns.group) in GROUP_NAMES else columns.group
        result.groups, result.group_word = groups, word
        result.options["group_column"] = columns.group
        remedies = {name: column_notes.option("group_column", name) for name in left}
        crossing = column_notes.of_crossing(
            left, labels, groups, taken=columns.group, remedies=remedies
        )
        result.notes += [f"column {each}" for each in crossing]
        lines = [row.line for row, each in zip(kept, groups, strict=True) if is_missing(each)]
        if lines:
            result.problems.append(
                f"no {columns.group} in line {listed(lines)}{meant(groups)}; {NO_GROUPS}"
            )
    elif parsed.group_column is None and parsed.group_pattern is None:
        result.columns = {k: list(v) for k, v in column_notes.suggesting(left, labels).items()}
    if columns.number:
        result.options["number_column"] = columns.number
    if bad:
        said = [row.values.get(columns.label or "", "") for row in rows]
        words = meant(said, but=names)
        result.problems.append(
            f"{len(bad)} of {len(rows)} rows cannot be used ({listed(bad, most=3)}): correct or "
            f"remove them{words}"
        )
    if len(set(cells)) < len(cells):
        result.problems.append(
            f"{len(cells) - len(set(cells))} rows name an image that another row names: remove them"
        )
    if not cells:
        raise DataError(f"{path}: no row can be used: {listed(bad, most=5)}")
    return result


def table_beside(tables: list[Path]) -> Layout | None:
    """The one table in a folder of images that names images and classes; None where none does."""
    fitting = []
    for path in tables:
        with contextlib.suppress(CellsearchError):
            fitting.append(of_table(path, {}))
    return fitting[0] if len(fitting) == 1 else None
