"""A CSV or TSV table: a row a cell, with the path of its image and its label."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from cellsearch.catalog import near_miss
from cellsearch.data.arrays import listed
from cellsearch.data.file_traits import traits_of
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import Progress, RawCells, column_notes
from cellsearch.data.readers.column_notes import normal
from cellsearch.data.readers.folders import natural, unique_ids
from cellsearch.data.readers.missing import is_missing, meant
from cellsearch.data.readers.options import ImageOptions, Names, Renames
from cellsearch.data.readers.paths import Finder
from cellsearch.data.readers.stack import find_groups, read_images
from cellsearch.data.readers.table_groups import GROUP_COLUMN, GROUP_NAMES, groups_of, no_groups
from cellsearch.errors import ConfigError, DataError, ReadError

PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file name",
    "filepath",
    "image path",
    "image file",
    "image",
)
ID_NAMES = ("image id", "cell id", "id", "image number", "img", "cell", "name", "number")
LABEL_NAMES = (
    "label",
    "class",
    "class label",
    "class name",
    "category",
    "phase",
    "cell type",
    "type",
)
PLAIN_STEMS = {"labels", "label", "cells", "index", "table", "annotations", "metadata", "images"}


class Options(ImageOptions):
    """Options of a table; columns are found by their names where they are not given."""

    path_column: str | None = Field(None, description="column with the image's path or number")
    label_column: str | None = Field(None, description="column with the class")
    group_column: str | None = Field(None, description=GROUP_COLUMN)
    number_column: str | None = Field(None, description="default: object_number")
    id_column: str | None = Field(
        None, description="column with the cell's id; default: id, where each is another"
    )
    source_column: str | None = Field(
        None, description="column with the file a cell was cut from; default: source"
    )
    split_column: str | None = Field(None, description="column with the split; default: split")
    use_split: Names | None = Field(None, description="rows of these splits only; default: all")
    path_format: str | None = Field(None, description="path of a row, such as images/{:03d}.bmp")
    class_names: Renames | None = Field(None, description="1=neutrophil,2=lymphocyte; in order")
    classes: Names | None = Field(
        None, description="the classes; one that is called NA or None is then not a missing label"
    )
    labelled: bool = Field(True, description="false: labels are neither needed nor read")


@dataclass(frozen=True)
class Row:
    """One row, with its line in the file."""

    line: int
    values: Mapping[str, str]


@dataclass(frozen=True)
class Columns:
    """Which column means what."""

    path: str
    label: str | None
    group: str | None
    number: str | None
    split: str | None
    id: str | None
    source: str | None


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Header and rows of a comma-, semicolon- or tab-separated file.

    Raises:
        ReadError: missing, empty, not UTF-8, or rows that are longer than the header.
    """
    if path.is_dir():
        raise ReadError(f"{path}: a folder, and a table was expected; name the .csv or .tsv in it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max("\t,;", key=first.count)
            reader = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, values) for values in reader if any(map(str.strip, values))]
    except UnicodeDecodeError:
        raise ReadError(f"{path}: not UTF-8 text; save the table as UTF-8") from None
    except OSError as error:
        raise ReadError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except csv.Error as error:
        raise ReadError(f"{path}: not a table ({error})") from None
    if not header or not rows:
        raise ReadError(f"{path}: a table without rows")
    twice = sorted({name for name in header if header.count(name) > 1 and name})
    if twice:
        raise ReadError(f"{path}: columns named twice: {listed(twice)}")
    long = [line for line, values in rows if any(value.strip() for value in values[len(header) :])]
    if long:
        raise ReadError(
            f"{path}: more values than the {len(header)} columns in line {listed(long)}"
        )
    return header, [
        Row(line, {name: value.strip() for name, value in zip(header, values, strict=False)})
        for line, values in rows
    ]


def values_of(header: Sequence[str], rows: Sequence[Row]) -> dict[str, list[str]]:
    """Each column's values; "" where a row is too short."""
    return {name: [row.values.get(name, "") for row in rows] for name in header if name}


def choose_columns(path: Path, header: Sequence[str], options: Options) -> Columns:
    """The columns asked for, or those whose names say what they are.

    Raises:
        ConfigError: a column that is not there, or none or several that would fit.
    """
    problems: list[str] = []

    def asked(name: str | None, option: str, *defaults: str) -> str | None:
        if name is None:
            fits = [column for each in defaults for column in header if normal(column) == each]
            return fits[0] if fits else None
        if name not in header:
            problems.append(f"option {option}: no column {name!r}{near_miss(name, header)}")
        return name

    def guessed(option: str, *tiers: Sequence[str]) -> str | None:
        for tier in tiers:
            fits = [column for column in header if normal(column) in tier]
            if len(fits) == 1:
                return fits[0]
            if fits:
                problems.append(f"columns {', '.join(fits)} could be it: give option {option}")
                return None
        problems.append(f"no column looks like it: give option {option}")
        return None

    where = asked(options.path_column, "path_column") if options.path_column else None
    label = asked(options.label_column, "label_column") if options.label_column else None
    where = where or guessed("path_column", PATH_NAMES, ID_NAMES)
    if options.labelled:
        label = label or guessed("label_column", LABEL_NAMES[:1], LABEL_NAMES)
    group = None
    if not no_groups(options.group_column, header):
        group = asked(options.group_column, "group_column", *GROUP_NAMES)
    number = asked(options.number_column, "number_column", "object number")
    split = asked(options.split_column, "split_column", "split")
    identity = asked(options.id_column, "id_column", "id")
    source = asked(options.source_column, "source_column", "source")
    if options.use_split and split is None:
        problems.append("option use_split: no split column: give option split_column")
    if problems or where is None:
        raise ConfigError(f"{path.name}: {'; '.join(problems)}; columns: {', '.join(header)}")
    return Columns(
        where, label if options.labelled else None, group, number, split, identity, source
    )


@dataclass(frozen=True)
class _Table:
    """Columns, and each row with its file."""

    header: list[str]
    columns: Columns
    rows: list[Row]
    files: list[Path]


def _rows(path: Path, options: Options) -> _Table:
    header, rows = read_rows(path)
    columns = choose_columns(path, header, options)
    if columns.split and options.use_split:
        known = sorted({row.values.get(columns.split, "") for row in rows})
        unknown = [name for name in options.use_split if name not in known]
        if unknown:
            raise ConfigError(f"option use_split: no {listed(unknown)}; there are {listed(known)}")
        rows = [row for row in rows if row.values.get(columns.split) in options.use_split]
    finder = Finder(path.parent, options.path_format)
    named = {*(options.class_names or ()), *(options.classes or ())}
    found: list[Path] = []
    bad: list[str] = []
    for row in rows:
        value = row.values.get(columns.path, "")
        try:
            if not value:
                raise ReadError(f"no {columns.path}")
            label = row.values.get(columns.label or "", "")
            if columns.label and is_missing(label) and label not in named:
                raise ReadError(f"no label in column {columns.label!r} ({columns.path} {value})")
            found.append(finder.find(value))
        except ReadError as error:
            bad.append(f"line {row.line}: {error}")
    if bad:
        labels = [row.values.get(columns.label, "") for row in rows] if columns.label else []
        words = meant(labels, but=named)
        raise ReadError(f"{path.name}: {len(bad)} bad rows: {listed(bad)}{words}")
    first: dict[Path, int] = {}
    for row, file in zip(rows, found, strict=True):
        if first.setdefault(file, row.line) != row.line:
            bad.append(f"{file.name} in lines {first[file]} and {row.line}")
    if bad:
        raise ReadError(f"{path.name}: images named twice: {listed(bad)}")
    return _Table(header, columns, rows, found)


def _classes(labels: Sequence[str], names: Mapping[str, str] | None) -> tuple[list[str], list[str]]:
    """Labels after renaming, and the classes in order."""
    if names is None:
        return list(labels), sorted(set(labels), key=natural)
    unknown = sorted({label for label in labels if label not in names}, key=natural)
    if unknown:
        raise DataError(f"option class_names: no name for the label {listed(unknown)}")
    renamed = [names[label] for label in labels]
    present = set(renamed)
    return renamed, [name for name in dict.fromkeys(names.values()) if name in present]


def _number(row: Row, column: str | None) -> int:
    value = row.values.get(column, "") if column else ""
    if not value:
        return 0
    if not re.fullmatch(r"-?\d{1,18}", value):
        raise ReadError(f"line {row.line}: {column} is not a whole number: {value!r}")
    return int(value)


def _ids(root: Path, rows: Sequence[Row], columns: Columns, options: Options) -> list[str] | None:
    """Ids of the column that was asked for, or of ``id`` where it tells the cells apart."""
    if columns.id is None or columns.id == columns.path:
        return None
    ids = [row.values.get(columns.id, "") for row in rows]
    fit = all(ids) and len(set(ids)) == len(ids)
    if not fit and options.id_column:
        raise ReadError(
            f"{root.name}: column {columns.id!r} does not tell the cells apart: "
            f"{len(set(ids) - {''})} ids for {len(ids)} rows"
        )
    return ids if fit else None


def _told(table: _Table, labels: Sequence[str], options: Options) -> Provenance | None:
    own = table.columns
    if own.label is None:
        return None
    notes = column_notes.of_table(
        values_of(table.header, table.rows),
        labels,
        taken=own.label,
        used=(own.path, own.label, own.number, own.id, own.source, own.split),
        label_names=() if options.label_column else LABEL_NAMES,
        group=own.group,
        settled=options.group_pattern is not None or options.group_column is not None,
    )
    return Provenance().with_notes(*notes) if notes else None


def files(root: Path, options: Options) -> list[Path]:
    """The table and every image that would be read."""
    return [root, *_rows(root, options).files]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read the image of every row; ``root`` is the table itself.

    Raises:
        ConfigError: columns that are not there or cannot be told apart.
        ReadError: rows without path or label, images that are missing or unreadable.
    """
    table = _rows(root, options)
    columns, rows = table.columns, table.rows
    labels, classes = [""] * len(rows), ()  # type: tuple[list[str], Sequence[str]]
    if columns.label:
        column = columns.label
        labels, classes = _classes([row.values[column] for row in rows], options.class_names)
    # Who predicts asks for no groups, so none can be missing.
    grouped = options.labelled and columns.group is not None
    groups = groups_of(root.name, rows, columns.group or "") if grouped else None
    pixels, channels, sources = read_images(root.parent, table.files, options, on_progress)
    # Who predicts asks of no class what gives it away.
    traits = None
    if options.labelled:
        traits = traits_of([(path,) for path in table.files], on_progress)
    return RawCells(
        images=pixels,
        labels=labels,
        ids=_ids(root, rows, columns, options) or unique_ids(sources),
        sources=[row.values.get(columns.source, "") for row in rows] if columns.source else sources,
        object_numbers=[_number(row, columns.number) for row in rows],
        channels=channels,
        groups=groups or find_groups(options.group_pattern, sources),
        classes=tuple(classes),
        provenance=_told(table, labels, options),
        name=root.resolve().parent.name if root.stem.lower() in PLAIN_STEMS else root.stem,
        file_traits=traits,
    )
