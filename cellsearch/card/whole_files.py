"""Files written wholly or not at all."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellsearch.errors import CardError
from cellsearch.util.atomic import whole_file

FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|nan)")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as it is, wholly or not at all.

    Raises:
        CardError: the disk refuses; an older file is left as it was.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes, wholly or not at all; a link stays a link, a pipe or a device is written into.

    Raises:
        CardError: the disk refuses; an older file is left as it was.
    """
    try:
        # A rename would put a file in the place of a pipe that somebody reads.
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.write(data)
        else:
            with whole_file(Path(os.path.realpath(path))) as file:
                file.write(data)
    except (OSError, ValueError) as error:
        # A zero byte in the path is no error of the disk.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CardError(f"cannot write {path}: {reason}") from None


def no_formula(value: Any) -> Any:
    """A value of a table as a spreadsheet shows it, whatever it begins with."""
    if not isinstance(value, str) or not value.startswith(FORMULA) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def write_csv(
    path: Path | str,
    rows: Sequence[Mapping[str, Any]],
    *,
    delimiter: str = ",",
    for_people: bool = False,
) -> None:
    """Write rows of the same columns as CSV (UTF-8, LF), wholly or not at all.

    A link is followed, and a pipe or device written into.

    Args:
        path: of the file.
        rows: column to value, each of the same columns.
        delimiter: between values.
        for_people: it may be opened by a spreadsheet, which runs text that begins with = as a
            formula: such text gets an apostrophe. Numbers stay as they are.

    Raises:
        CardError: no rows, or the file cannot be written; then an older one is left as it was.
    """
    path = Path(path)
    if not rows:
        raise CardError(f"no rows to write to {path}")
    text = io.StringIO()
    if for_people:
        rows = [{no_formula(key): no_formula(value) for key, value in row.items()} for row in rows]
    columns = list(rows[0])
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
