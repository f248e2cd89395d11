"""A CSV or TSV table: a row a cell, with the path of its image and its label."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.file_traits import traits_of
from cellsearch.data.natural_order import natural
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, column_notes
from cellsearch.data.readers.beside import by_option, source_columns
from cellsearch.data.readers.column_notes import normal
from cellsearch.data.readers.column_texts import is_missing, meant, two_ways
from cellsearch.data.readers.folders import unique_ids
from cellsearch.data.readers.foreign_paths import WEB, Translated, plain, translated
from cellsearch.data.readers.images import is_image
from cellsearch.data.readers.label_candidates import label_candidates, listed_candidates
from cellsearch.data.readers.options import Names, Renames, known_names, new_labels
from cellsearch.data.readers.paths import Finder
from cellsearch.data.readers.stack import find_groups, read_images
from cellsearch.data.readers.table_text import Dialect, TextOptions, read_records
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.util.messages import Message, Setting, joined, some
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

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


GROUP_NAMES = ("group", "groups")
KNOWN_NAMES = frozenset(
    {*PATH_NAMES, *ID_NAMES, *LABEL_NAMES, *GROUP_NAMES, "split", "object number", "source"}
)
"""What columns are called; a line with such names is a header."""


_SHOWN = 80
_LONGEST_PATH, _LONGEST_NAME = 4096, 255
"""Bytes that systems take."""


PLAIN_STEMS = {"labels", "label", "cells", "index", "table", "annotations", "metadata", "images"}

GROUP_COLUMN = "column with the group; default: group or groups; none: no groups"


class Options(TextOptions):
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


def read_rows(
    path: Path, dialect: Dialect | None = None, *, may_end_early: bool = False
) -> tuple[list[str], list[Row]]:
    """Header and rows of a table; see ``table_text.read_records``.

    Args:
        path: the table.
        dialect: what options of a reader say of its text; None where there are no such options.
        may_end_early: rows may leave out blank values at their end.

    Raises:
        ConfigError: an encoding or a separator that does not exist.
        ReadError: missing, not a text table, or rows that do not fit the header.
    """
    if path.is_dir():
        raise ReadError(f"{path}: a folder, and a table was expected; name the .csv or .tsv in it")
    header, _, records = read_records(path, dialect, known=KNOWN_NAMES, may_end_early=may_end_early)
    return header, [
        Row(record.line, dict(zip(header, record.values, strict=False))) for record in records
    ]


def values_of(header: Sequence[str], rows: Sequence[Row]) -> dict[str, list[str]]:
    """Each column's values; "" where a row is too short."""
    return {name: [row.values.get(name, "") for row in rows] for name in header if name}


def _are_images(values: Sequence[str]) -> bool:
    """Whether values end as names of images do, each another."""
    names = [plain(value) for value in values]
    return len(set(names)) == len(names) and all(is_image(Path(name)) for name in names)


def choose_columns(
    path: Path, header: Sequence[str], rows: Sequence[Row], options: Options
) -> Columns:
    """The columns asked for, or those whose names say what they are.

    Raises:
        ConfigError: a column that is not there, or none or several that would fit; where it is the
            class, the columns that could be it, with their values.
    """
    problems: list[Message] = []

    def asked(name: str | None, option: str, *defaults: str) -> str | None:
        if name is None:
            fits = [column for each in defaults for column in header if normal(column) == each]
            alike = [column for column in fits if normal(column) == normal(fits[0])]
            if len(alike) > 1:
                problems.append(
                    Message.of(
                        f"columns {' and '.join(alike)} are called alike: choose one, ",
                        Setting(option, alike[0], reader=True),
                    )
                )
            return fits[0] if fits else None
        if name not in header:
            problems.append(
                Message.of(f"option {option}: no column {name!r}{near_miss(name, header)}")
            )
        return name

    def guessed(option: str, what: str, *tiers: Sequence[str]) -> str | None:
        fits: list[str] = []
        for tier in tiers:
            fits = [column for column in header if normal(column) in tier]
            if len(fits) == 1:
                return fits[0]
            if fits:
                break
        found = f"columns {', '.join(fits)} could be" if fits else "no column is called as"
        if option == "label_column":
            columns = values_of(header, rows)
            ranked = label_candidates({k: columns[k] for k in fits} if fits else columns, {where})
            problems.append(Message.of(f"{found} {what}: ", listed_candidates(ranked)))
            return None
        named = fits or [name for name, its in values_of(header, rows).items() if _are_images(its)]
        likely = f"{', '.join(named)} could be it: " if named and not fits else ""
        remedy = Setting(option, named[0] if named else "COLUMN", reader=True)
        problems.append(Message.of(f"{found} {what}: {likely}give ", remedy))
        return None

    where = asked(options.path_column, "path_column") if options.path_column else None
    label = asked(options.label_column, "label_column") if options.label_column else None
    where = where or guessed("path_column", "the image's path", PATH_NAMES, ID_NAMES)
    if options.labelled:
        label = label or guessed("label_column", "the class", LABEL_NAMES[:1], LABEL_NAMES)
    group = None
    if not no_groups(options.group_column, header):
        group = asked(options.group_column, "group_column", *GROUP_NAMES)
    number = asked(options.number_column, "number_column", "object number")
    split = asked(options.split_column, "split_column", "split")
    identity = asked(options.id_column, "id_column", "id")
    source = asked(options.source_column, "source_column", "source")
    if options.use_split and split is None:
        problems.append(
            Message.of(
                "option use_split: no split column: give ",
                Setting("split_column", "COLUMN", reader=True),
            )
        )
    if problems or where is None:
        names = ", ".join(name or "(without a name)" for name in header)
        raise ConfigError(f"{path.name}: ", joined(problems, "; "), f"; columns: {names}")
    return Columns(
        where, label if options.labelled else None, group, number, split, identity, source
    )


@dataclass(frozen=True)
class _Table:
    """Columns, each row with its file, and what folder the table's stands for."""

    header: list[str]
    columns: Columns
    rows: list[Row]
    files: list[Path]
    root: str


def _rows(path: Path, options: Options) -> _Table:
    header, rows = read_rows(path, options.dialect)
    columns = choose_columns(path, header, rows, options)
    if columns.split and options.use_split:
        known = sorted({row.values.get(columns.split, "") for row in rows})
        splits = known_names(options.use_split, known, option="use_split", what="split") or ()
        unknown = [name for name in splits if name not in known]
        if unknown:
            raise ConfigError(f"option use_split: no {listed(unknown)}; there are {listed(known)}")
        rows = [row for row in rows if row.values.get(columns.split) in splits]
    labels = [row.values.get(columns.label, "") for row in rows] if columns.label else []
    names = new_labels(options.class_names, labels) or {}
    there = dict.fromkeys([*labels, *names.values()])
    classes = options.classes if columns.label else None
    named = {*names, *(known_names(classes, there, option="classes", what="class") or ())}
    paths = image_paths(path, rows, columns, options)
    finder = Finder(path.parent, options.path_format)
    found: list[Path] = []
    bad: list[Message] = []
    for row, text in zip(rows, paths.texts, strict=True):
        try:
            require_label(row, columns, named)
            found.append(find_image(finder, row, columns, text))
        except ReadError as error:
            bad.append(Message.of(f"line {row.line}: ", error.message))
    if bad:
        words = meant(labels, but=named)
        elsewhere = NOT_HERE if paths.elsewhere else ""
        raise ReadError(f"{path.name}: {len(bad)} bad rows: ", some(bad), elsewhere, words)
    if columns.label:
        require_one_spelling(path, rows, columns.label, named)
    first: dict[Path, int] = {}
    for row, file in zip(rows, found, strict=True):
        if first.setdefault(file, row.line) != row.line:
            bad.append(Message.of(f"{file.name} in lines {first[file]} and {row.line}"))
    if bad:
        raise ReadError(f"{path.name}: images named twice: ", some(bad))
    return _Table(header, columns, rows, found, paths.root)


READ_HERE = "are looked up below the table's folder"


NOT_HERE = (
    "; absolute paths are of another machine: put the images below the table's folder as they lie "
    "there, or write paths relative to it"
)


def image_paths(path: Path, rows: Sequence[Row], columns: Columns, options: Options) -> Translated:
    """What to look for in place of each row's path."""
    values = [row.values.get(columns.path, "") for row in rows]
    if options.path_format is not None:
        return Translated(tuple(values))
    return translated(path.parent, values)


def require_label(row: Row, columns: Columns, named: Collection[str]) -> None:
    """Refuse a row without a path or, where there are labels, without one.

    Raises:
        ReadError: what is missing, in which column.
    """
    value = row.values.get(columns.path, "")
    if not value:
        raise ReadError(f"no {columns.path}")
    label = row.values.get(columns.label or "", "")
    if columns.label and is_missing(label) and label not in named:
        raise ReadError(f"no label in column {columns.label!r} ({columns.path} {value})")
    if "\n" in label or "\r" in label:
        raise ReadError(f"label {label!r} in column {columns.label!r} holds a line break")


def find_image(finder: Finder, row: Row, columns: Columns, text: str) -> Path:
    """The file that ``text`` leads to; errors name the path as the table has it.

    Raises:
        ReadError: no such file, or a web address.
    """
    value = row.values[columns.path]
    if WEB.match(value):
        raise ReadError(f"{value} is a web address: download the images and name the files")
    if len(text.encode()) > _LONGEST_PATH or any(
        len(part.encode()) > _LONGEST_NAME for part in text.split("/")
    ):
        raise ReadError(
            f"no such file: {_short(value)!r}, which cannot be a file name here: file name too long"
        )
    try:
        return finder.find(text)
    except ReadError as error:
        if value in str(error):
            raise
        raise ReadError(f"{error} ({value})") from None
    except (OSError, ValueError):
        # Longer than the system takes, or with signs that no name may hold.
        raise ReadError(
            f"no such file: {_short(value)!r}, which cannot be a file name here"
        ) from None


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."


def require_one_spelling(
    path: Path, rows: Sequence[Row], column: str, named: Collection[str]
) -> None:
    """Refuse classes that are one number written in two ways, unless somebody named both.

    Raises:
        ReadError: the values, with the first line of each.
    """
    labels = [row.values.get(column, "") for row in rows]
    pairs = [pair for pair in two_ways(labels) if not set(pair) <= set(named)]
    if pairs:
        first, other = pairs[0]
        raise ReadError(
            f"{path.name}: {column}: {places(rows, column, pairs)}; spell each class one way, or"
            " name what each is: ",
            Setting("class_names", f"{first}=NAME,{other}=NAME", reader=True),
        )


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
    if not re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        raise ReadError(
            f"line {row.line}: {column} is not a whole number: {value!r}; write digits alone"
        )
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


def _told(table: _Table, labels: Sequence[str], options: Options) -> list[Note]:
    own = table.columns
    if own.label is None:
        return []
    notes = column_notes.of_table(
        values_of(table.header, table.rows),
        labels,
        taken=own.label,
        used=(own.path, own.label, own.number, own.id, own.source, own.split),
        label_names=() if options.label_column else LABEL_NAMES,
        group=own.group,
        settled=options.group_pattern is not None or options.group_column is not None,
    )
    if table.root:
        text = f"paths below {table.root}, of another machine, {READ_HERE}"
        notes.append(Note("other", text))
    return notes


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
        texts = [row.values[column] for row in rows]
        labels, classes = _classes(texts, new_labels(options.class_names, texts))
    # Who predicts asks for no groups, so none can be missing.
    grouped = options.labelled and columns.group is not None
    groups = groups_of(root.name, rows, columns.group or "") if grouped else None
    notes = _told(table, labels, options)
    beside = source_columns(
        values_of(table.header, rows),
        used={columns.path, columns.label, columns.number, columns.id, columns.split},
        group=columns.group if grouped else None,
        declare=by_option("group_column"),
        without=WITHOUT_GROUPS,
    )
    pixels, channels, sources, fitting = read_images(root.parent, table.files, options, on_progress)
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
        provenance=Provenance().with_notes(*notes) if notes else None,
        columns=beside,
        name=root.resolve().parent.name if root.stem.lower() in PLAIN_STEMS else root.stem,
        fitting=fitting,
        file_traits=traits,
    )


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
        f"{table}: {column}: {places(rows, column, pairs)}; spell each group one way, or a split "
        "would separate its cells"
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
