"""What a table of images says, bad rows counted instead of refused."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellsearch.data.arrays import listed
from cellsearch.data.readers import column_notes
from cellsearch.data.readers.column_notes import normal
from cellsearch.data.readers.column_texts import is_missing, meant, two_ways
from cellsearch.data.readers.options import known_names, new_labels, parse_options
from cellsearch.data.readers.paths import Finder
from cellsearch.data.readers.table import (
    GROUP_NAMES,
    LABEL_NAMES,
    NO_GROUPS,
    NOT_HERE,
    READ_HERE,
    Options,
    Row,
    choose_columns,
    find_image,
    image_paths,
    one_group_each,
    read_rows,
    require_label,
    require_one_spelling,
    values_of,
)
from cellsearch.errors import CellsearchError, DataError, ReadError
from cellsearch.scan.layout import Layout
from cellsearch.util.messages import Message, some


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
    header, rows = read_rows(path, parsed.dialect)
    columns = choose_columns(path, header, rows, parsed)
    paths = image_paths(path, rows, columns, parsed)
    finder = Finder(path.parent, parsed.path_format)
    cells: list[tuple[Path, ...]] = []
    labels: list[str] = []
    kept: list[Row] = []
    bad: list[Message] = []
    every = [row.values.get(columns.label or "", "") for row in rows]
    names = new_labels(parsed.class_names, every) or {}
    known = dict.fromkeys([*every, *names.values()])
    wanted = known_names(parsed.classes, known, option="classes", what="class") or ()
    for row, text in zip(rows, paths.texts, strict=True):
        label = row.values.get(columns.label or "", "")
        try:
            require_label(row, columns, {*names, *wanted})
            cells.append((find_image(finder, row, columns, text),))
        except ReadError as error:
            bad.append(Message.of(f"line {row.line}: ", error.message))
            continue
        labels.append(names.get(label, label))
        kept.append(row)
    result = Layout("table", "table", path, cells, labels, options=dict(options))
    result.options |= {"path_column": columns.path, "label_column": columns.label}
    result.notes.append(f"column {columns.path!r} names the image, {columns.label!r} the class")
    if paths.root:
        result.notes.append(f"paths below {paths.root}, of another machine, {READ_HERE}")
    there = values_of(header, kept)
    if parsed.label_column is None and columns.label:
        told = column_notes.of_labels(there, columns.label, LABEL_NAMES)
        result.notes += [each.message for each in told]
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
        result.notes += [each.of("column").message for each in crossing]
        lines = [row.line for row, each in zip(kept, groups, strict=True) if is_missing(each)]
        if pairs := two_ways(groups):
            result.problems.append(one_group_each(path.name, kept, columns.group, pairs))
        if lines:
            result.problems.append(
                Message.of(
                    f"no {columns.group} in line {listed(lines)}", meant(groups), "; ", NO_GROUPS
                )
            )
    elif parsed.group_column is None and parsed.group_pattern is None:
        result.columns = {k: list(v) for k, v in column_notes.suggesting(left, labels).items()}
    if columns.number:
        result.options["number_column"] = columns.number
    if bad:
        said = [row.values.get(columns.label or "", "") for row in rows]
        result.problems.append(
            Message.of(
                f"{len(bad)} of {len(rows)} rows cannot be used (",
                some(bad, most=3),
                "): correct or remove them",
                NOT_HERE if paths.elsewhere else "",
                meant(said, but=names),
            )
        )
    if len(set(cells)) < len(cells):
        result.problems.append(
            f"{len(cells) - len(set(cells))} rows name an image that another row names: remove them"
        )
    if not cells:
        elsewhere = NOT_HERE if paths.elsewhere else ""
        raise DataError(f"{path}: no row can be used: ", some(bad, most=5), elsewhere)
    try:
        if columns.label:
            require_one_spelling(path, kept, columns.label, {*names, *wanted})
    except ReadError as error:
        result.problems.append(error.message)
    return result


def table_beside(tables: list[Path]) -> Layout | None:
    """The one table in a folder of images that names images and classes; None where none does."""
    fitting = []
    for path in tables:
        with contextlib.suppress(CellsearchError):
            fitting.append(of_table(path, {}))
    return fitting[0] if len(fitting) == 1 else None


def passed_over(tables: list[Path]) -> list[Message]:
    """Why tables that lie beside images are not read, such as that no column is the class."""
    found = []
    for path in tables:
        try:
            of_table(path, {})
        except CellsearchError as error:
            found.append(Message.of("ignored: ", error.message))
    return found
