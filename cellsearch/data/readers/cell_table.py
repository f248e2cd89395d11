"""Labels of cells that lie many in a file: from a table beside it, or from the folder's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.folder_walk import walk
from cellsearch.data.natural_order import natural
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, column_notes
from cellsearch.data.readers.beside import by_option, source_columns
from cellsearch.data.readers.column_notes import normal
from cellsearch.data.readers.column_texts import is_missing, meant
from cellsearch.data.readers.foreign_paths import plain
from cellsearch.data.readers.label_candidates import label_candidates, listed_candidates
from cellsearch.data.readers.options import Names, Renames, known_names, new_labels
from cellsearch.data.readers.table import (
    GROUP_COLUMN,
    GROUP_NAMES,
    LABEL_NAMES,
    PATH_NAMES,
    WITHOUT_GROUPS,
    Row,
    groups_of,
    no_groups,
    read_rows,
    require_one_spelling,
    values_of,
)
from cellsearch.data.readers.table_text import TextOptions
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.util.messages import Setting
from cellsearch.util.named_path import named_path, taken_for
from cellsearch.util.spelling import Spellings, both_forms
from cellsearch.util.yaml_files import near_miss

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
NUMBER_NAMES = ("object number", "object", "object id", "number", "cell number")


class LabelOptions(TextOptions):
    """Options of readers whose files hold many cells."""

    labels: str | None = Field(
        None, description="table of labels, relative to the data; default: <name>.csv beside it"
    )
    label_column: str | None = Field(None, description="column with the class")
    number_column: str | None = Field(None, description="default: object_number")
    file_column: str | None = Field(None, description="of several files; default: file, path ...")
    group_column: str | None = Field(None, description=GROUP_COLUMN)
    class_names: Renames | None = Field(None, description="1=neutrophil,2=lymphocyte; in order")
    classes: Names | None = Field(None, description="class folders, in order; default: all, sorted")
    labelled: bool = Field(True, description="false: labels are neither needed nor read")


def many_celled(
    root: Path, suffixes: tuple[str, ...], options: LabelOptions
) -> list[tuple[Path, str]]:
    """Files with many cells, each with the class that its folder names ("" for none).

    Raises:
        ReadError: nothing there, or no such files.
        DataError: a class folder that is not there or holds no such file.
    """
    if not root.exists():
        raise ReadError(f"{root}: no such file or folder")
    if root.is_file():
        return [(root, "")]

    there = walk(root)
    there.require_whole()
    inside: dict[Path, list[Path]] = {root: [], **{folder: [] for folder in there.folders}}
    for path in there.files:
        if path.parent in inside and path.name.lower().endswith(suffixes):
            inside[path.parent].append(path)
    if direct := inside.pop(root):
        return [(path, "") for path in direct]
    on_disk = {folder.name: files for folder, files in inside.items()}
    spellings = Spellings.of(on_disk)
    known = both_forms(on_disk)
    classes = known_names(options.classes, known, option="classes", what="class folder")
    folders = {
        name: [path for meant in spellings.meant(name) for path in on_disk[meant]]
        for name in classes or on_disk
    }
    absent = [name for name in classes or () if not folders[name]]
    if absent:
        raise DataError(
            f"{root}: no {min(suffixes)} file in the class folder {listed(absent)}; "
            f"there are {listed(list(on_disk)) or 'no folders'}"
        )
    found = [(path, name) for name, files in folders.items() for path in files]
    if not found:
        raise ReadError(f"{root}: no {min(suffixes)} file in it or in the folders in it")
    return found


def table_of(root: Path, options: LabelOptions) -> Path | None:
    """The table of labels: the one named, or the one beside the data; None where there is none.

    Raises:
        ReadError: the one named is not there.
    """
    if not options.labelled:
        return None
    if options.labels is not None:
        path = named_path(root.parent / options.labels)
        path = path if path.is_file() else named_path(root / options.labels)
        if not path.is_file():
            near = taken_for(root.parent / options.labels)
            raise ReadError(f"option labels: no file {options.labels} beside {root.name}{near}")
        return path
    name = root.name
    while "." in name[1:]:
        name = name.rsplit(".", 1)[0]
        for suffix in (".csv", ".tsv"):
            if (root.parent / f"{name}{suffix}").is_file():
                return root.parent / f"{name}{suffix}"
    return None


def by_folder(root: Path, raw: RawCells, labels: Sequence[str], options: LabelOptions) -> RawCells:
    """Cells with the classes of their folders, where these name one, and notes on what was left."""
    if root.is_dir() and (notes := walk(root).notes()):
        raw = replace(raw, provenance=(raw.provenance or Provenance()).with_notes(*notes))
    if not options.labelled or not any(labels):
        return raw
    there = tuple(dict.fromkeys(labels))
    classes = known_names(options.classes, there, option="classes", what="class folder") or there
    return replace(raw, labels=list(labels), classes=classes)


def labelled_by(table: Path | None, raw: RawCells, options: LabelOptions) -> RawCells:
    """Cells with what a table says of them; cells without a row are left out, which a note says.

    Rows find cells by object number (and file, where there are several); without a column of
    numbers, they are taken in order and must be as many as the cells.

    Raises:
        ConfigError: columns that are not there or cannot be told apart.
        ReadError: rows without a label or cell, or two rows for a cell; each with its line.
    """
    if table is None:
        return raw
    header, rows = read_rows(table, options.dialect)
    label = _column(table, header, options.label_column, LABEL_NAMES, "label_column")
    number = _column(table, header, options.number_column, NUMBER_NAMES, "number_column")
    group = None
    if not no_groups(options.group_column, header):
        group = _column(table, header, options.group_column, GROUP_NAMES, "group_column")
    several = len(set(raw.sources)) > 1
    file = _column(table, header, options.file_column, PATH_NAMES, "file_column")
    if label is None:
        ranked = label_candidates(values_of(header, rows), {number, file})
        raise ConfigError(
            f"{table.name}: no column is called as the class: ",
            listed_candidates(ranked),
            f"; columns: {', '.join(header)}",
        )
    if number is None:
        if len(rows) != len(raw.labels):
            raise DataError(
                f"{table.name}: {len(rows)} rows for {len(raw.labels)} cells, and no column of "
                "object numbers to tell which are meant: give ",
                Setting("number_column", "COLUMN", reader=True),
            )
        cells = list(range(len(rows)))
    else:
        if several and file is None:
            raise ConfigError(
                f"{table.name}: object numbers of several files need a column with the file: give ",
                Setting("file_column", "COLUMN", reader=True),
            )
        cells = _cells(table, rows, number, file if several else None, raw)
    values = [row.values.get(label, "") for row in rows]
    names = new_labels(options.class_names, values)
    bad = [
        f"line {row.line}"
        for row, value in zip(rows, values, strict=True)
        if is_missing(value) and value not in (names or ())
    ]
    if bad:
        words = meant(values, but=names or ())
        raise ReadError(f"{table.name}: no {label} in {listed(bad)}", words)
    there = dict.fromkeys([*values, *(names or {}).values()])
    wanted = known_names(options.classes, there, option="classes", what="class") or ()
    require_one_spelling(table, rows, label, {*(names or ()), *wanted})
    unknown = sorted({value for value in values if names is not None and value not in names})
    if unknown:
        raise DataError(f"option class_names: no name for the label {listed(unknown)}")
    texts = [names[value] if names is not None else value for value in values]
    order = dict.fromkeys(names.values()) if names is not None else sorted(set(texts), key=natural)
    settled = (raw.groups, options.group_pattern, options.group_column)
    notes = column_notes.of_table(
        values_of(header, rows),
        texts,
        taken=label,
        used=(label, number, file),
        label_names=() if options.label_column else LABEL_NAMES,
        group=group,
        settled=any(each is not None for each in settled),
    )
    if left := len(raw.labels) - len(cells):
        text = f"{left:,} of {len(raw.labels):,} cells have no row in {table.name} and are left out"
        notes.append(Note("other", text))
    if notes:
        told = (raw.provenance or Provenance()).with_notes(*notes)
        raw = replace(raw, provenance=told)
    columns = source_columns(
        _in_order(values_of(header, rows), cells),
        used={label, number, file},
        group=group,
        declare=by_option("group_column"),
        without=WITHOUT_GROUPS,
    )
    return _picked(
        replace(raw, columns=columns),
        cells,
        texts,
        known_names(options.classes, order, option="classes", what="class")
        or tuple(name for name in order if name in set(texts)),
        groups_of(table.name, rows, group) if group else None,
    )


def _column(
    table: Path, header: Sequence[str], given: str | None, names: Sequence[str], option: str
) -> str | None:
    if given is not None:
        if given not in header:
            raise ConfigError(
                f"{table.name}: option {option}: no column {given!r}{near_miss(given, header)}; "
                f"columns: {', '.join(header)}"
            )
        return given
    ranked = sorted(
        (column for column in header if normal(column) in names),
        key=lambda column: names.index(normal(column)),
    )
    return ranked[0] if ranked else None


def _cells(
    table: Path, rows: Sequence[Row], number: str, file: str | None, raw: RawCells
) -> list[int]:
    """Position of each row's cell."""
    place: dict[tuple[str, int], set[int]] = {}
    for k, (source, value) in enumerate(zip(raw.sources, raw.object_numbers, strict=True)):
        for name in _names(source) if file else {""}:
            place.setdefault((name, value), set()).add(k)
    found: list[int] = []
    taken: dict[int, int] = {}
    bad: list[str] = []
    for row in rows:
        text = row.values.get(number, "")
        named = plain(row.values.get(file, "")) if file else ""
        where = f" of {named}" if file else ""
        if not _WHOLE.fullmatch(text):
            remedy = ", which is not a whole number" if text else ""
            bad.append(f"line {row.line}: no cell {text or 'without a number'}{remedy}{where}")
            continue
        cells = place.get((named, int(text))) or place.get((_last(named), int(text))) or set()
        if len(cells) > 1:
            files = listed(sorted({raw.sources[k] for k in cells}))
            bad.append(f"line {row.line}: {named} could be {files}: name the folder too")
        elif not cells:
            bad.append(f"line {row.line}: no cell {text}{where}")
        elif (cell := min(cells)) in taken:
            bad.append(f"lines {taken[cell]} and {row.line}: both cell {text}")
        else:
            taken[cell] = row.line
            found.append(cell)
    if bad:
        raise ReadError(f"{table.name}: {len(bad)} bad rows: {listed(bad)}")
    return found


def bare(name: str) -> str:
    """A file's name or path without ``.tif``, ``.png`` or ``.ome.tif``."""
    return re.sub(r"(?i)(?:\.ome)?\.[a-z]+$", "", name)


def _names(source: str) -> set[str]:
    """What a table may call a file: its path or name, with its suffix or without."""
    last = source.rsplit("/", 1)[-1]
    return {source, last, bare(source), bare(last)}


def _last(named: str) -> str:
    """The file's name alone, of a path on another machine."""
    absolute = re.match(r"/|[A-Za-z]:/", named)
    return named.rsplit("/", 1)[-1] if absolute else named


def _in_order(columns: dict[str, list[str]], cells: Sequence[int]) -> dict[str, list[str]]:
    """Columns in the order of the cells in the file, as ``_picked`` leaves them."""
    order = sorted(range(len(cells)), key=lambda k: cells[k])
    return {name: [values[k] for k in order] for name, values in columns.items()}


def _picked(
    raw: RawCells,
    cells: Sequence[int],
    labels: Sequence[str],
    classes: tuple[str, ...],
    groups: Sequence[str] | None,
) -> RawCells:
    """The cells that have a row, in the order of the file."""
    order = sorted(range(len(cells)), key=lambda k: cells[k])
    kept = [cells[k] for k in order]
    images = raw.images
    if kept != list(range(len(raw.labels))):
        images = np.asarray(images)[kept]
    own = None if raw.groups is None else [raw.groups[k] for k in kept]
    return replace(
        raw,
        images=images,
        labels=[labels[k] for k in order],
        ids=[raw.ids[k] for k in kept],
        sources=[raw.sources[k] for k in kept],
        object_numbers=[raw.object_numbers[k] for k in kept],
        groups=[groups[k] for k in order] if groups is not None else own,
        classes=classes,
        fitting=None if raw.fitting is None else raw.fitting.picked(kept),
    )
