"""What a table of images says, bad rows counted instead of refused."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellsearch.data.arrays import listed
from cellsearch.data.readers.options import parse_options
from cellsearch.data.readers.paths import Finder
from cellsearch.data.readers.table import Options, choose_columns, read_rows
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
    groups: list[str] = []
    bad: list[str] = []
    names = parsed.class_names or {}
    for row in rows:
        value = row.values.get(columns.path, "")
        label = row.values.get(columns.label or "", "")
        try:
            if not value or not label:
                raise ReadError(f"no {columns.path if not value else columns.label}")
            cells.append((finder.find(value),))
        except ReadError as error:
            bad.append(f"line {row.line}: {error}")
            continue
        labels.append(names.get(label, label))
        groups.append(row.values.get(columns.group or "", ""))
    result = Layout("table", "table", path, cells, labels, options=dict(options))
    result.options |= {"path_column": columns.path, "label_column": columns.label}
    result.notes.append(f"column {columns.path!r} names the image, {columns.label!r} the class")
    if columns.group:
        result.groups, result.group_word = groups, columns.group
        result.options["group_column"] = columns.group
    if columns.number:
        result.options["number_column"] = columns.number
    if bad:
        result.problems.append(
            f"{len(bad)} of {len(rows)} rows cannot be used ({listed(bad, most=3)}): correct or "
            "remove them"
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
