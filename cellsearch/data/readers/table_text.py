"""The text of a table: its encoding, what separates its values, its header and its rows."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.readers.column_notes import normal
from cellsearch.data.readers.images import is_image
from cellsearch.data.readers.options import ImageOptions
from cellsearch.errors import ConfigError, ReadError
from cellsearch.util.messages import Message, Setting

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_WORDS = {**{word: sign for sign, word in SEPARATORS.items()}, "\\t": "\t", "space": " "}
_SAMPLE = 200
_SEP_LINE = re.compile(r'(?i)"?sep=([^\r\n"]|\\t)"?[,;|\t ]*(?:\r\n|\r|\n|\Z)')
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)")
# "#path,label" is a header all the same.
_COMMENT = re.compile(r"#(?![^\s#!][^\r\n]*[,;\t|])")
_QUOTED_BY_R = re.compile(r'"[^"]*"(?: "[^"]*")+')
_CONTAINERS = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "compressed by gzip"),
)


@dataclass(frozen=True)
class Dialect:
    """What somebody said of a table's text; None where it is to be found out.

    Attributes:
        encoding: name of the encoding, such as ``cp1252``.
        separator: one sign, or ``tab``, ``comma``, ``semicolon``, ``bar`` or ``space``.
    """

    encoding: str | None = None
    separator: str | None = None


class TextOptions(ImageOptions):
    """Options of readers that read a table."""

    encoding: str | None = Field(None, description="of the table; default: UTF-8, UTF-16 by mark")
    separator: str | None = Field(None, description="comma, semicolon, tab ...; default: found")

    @property
    def dialect(self) -> Dialect:
        """What they say of the table's text."""
        return Dialect(self.encoding, self.separator)


@dataclass(frozen=True)
class Record:
    """One record, with the line that it starts in; a quoted value may run over several."""

    line: int
    values: tuple[str, ...]


def read_records(
    path: Path, dialect: Dialect | None, *, known: Collection[str], may_end_early: bool = False
) -> tuple[list[str], int, list[Record]]:
    """Header, its line, and the records below it; blank ones are left out.

    A first line ``sep=;``, comments (``# ...``) and blank lines above the header are passed over.
    Where R wrote the names of the rows without a name for their column, the header gets "" for it.

    Args:
        path: the table.
        dialect: what its reader's options say; None where the reader has no such options.
        known: names of columns, normalised, that tell a header from other texts.
        may_end_early: rows may leave out blank values at their end, as people do who fill one in.

    Raises:
        ConfigError: an encoding or a separator that does not exist.
        ReadError: missing, not text, in an encoding that must be named, a quote that never closes,
            no header, columns of one name, or rows longer or shorter than the header.
    """
    text = _text(path, dialect)
    asked = _separator(dialect.separator) if dialect and dialect.separator else None
    above = 0
    if match := _SEP_LINE.match(text):
        asked = asked or _WORDS.get(match[1], match[1])
        text, above = text[match.end() :], 1
    text, skipped = _without_comments(text)
    above += skipped
    sign = asked or _found_separator(path, text, above + 1, known=known, options=dialect)
    records = list(_records(path, text, sign, above))
    if len(records) < 2:
        raise ReadError(f"{path}: a table without rows")
    head, *rows = records
    header = [name.strip() for name in head.values]
    _require_header(path, head, rows)
    twice = sorted({name for name in header if header.count(name) > 1 and name})
    if twice:
        raise ReadError(
            f"{path}: line {head.line}: columns have the same name: {listed(twice)}; rename one "
            "or take "
            "it out"
        )
    if _has_row_names(header, rows):
        header = ["", *header]
    _require_short(path, header, rows, sign)
    if not may_end_early:
        _require_whole(path, header, rows)
    return header, head.line, rows


def _text(path: Path, dialect: Dialect | None) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReadError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    for magic, what in _CONTAINERS:
        if data.startswith(magic):
            raise ReadError(
                f"{path}: this is {what}, not a text table: "
                + ("unpack it first" if "gzip" in what else "save the sheet as CSV UTF-8")
            )
    encoding = dialect.encoding if dialect else None
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif data.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif encoding is None and b"\0" in data:
        encoding = _wide(data)
    if encoding is None and b"\0" in data:
        line = _line_of(data, data.index(b"\0"))
        raise ReadError(f"{path}: line {line}: holds a zero byte, so it is not a text table")
    try:
        return data.decode(encoding or "utf-8").lstrip("\ufeff")
    except LookupError:
        raise ConfigError(
            f"option encoding: no encoding {encoding!r}; give such as cp1252, mac-roman, shift-jis"
        ) from None
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: ", _undecodable(data, error, dialect)) from None


def _wide(data: bytes) -> str | None:
    """UTF-16 without its mark, as the zeros of its plain letters tell."""
    half = len(data) // 2
    if data[1::2].count(0) > 0.5 * half and 0 not in data[0::2]:
        return "utf-16-le"
    if data[0::2].count(0) > 0.5 * half and 0 not in data[1::2]:
        return "utf-16-be"
    return None


def _line_of(data: bytes, at: int) -> int:
    return len(re.findall(rb"\r\n|\r|\n", data[:at])) + 1


def _undecodable(data: bytes, error: UnicodeDecodeError, dialect: Dialect | None) -> Message:
    where = f"line {_line_of(data, error.start)}: byte 0x{data[error.start]:02X}"
    if dialect is not None and dialect.encoding is not None:
        return Message.of(
            f"{where} does not exist in the encoding {dialect.encoding}: name another with ",
            Setting("encoding", "NAME", reader=True),
        )
    start = max(data.rfind(sign, 0, error.start) for sign in (b"\n", b"\r", b",", b";", b"\t")) + 1
    shown = re.split(rb"[\r\n,;\t]", data[start : start + 60])[0].decode("cp1252", "replace")
    save = f"{where} is not UTF-8: save the table as UTF-8"
    if dialect is None:
        return Message.of(save)
    return Message.of(
        f"{save}, or name its encoding: ",
        Setting("encoding", "cp1252", reader=True),
        f" (Windows, Western Europe) reads {shown.strip()!r} there",
    )


def _separator(text: str) -> str:
    sign = _WORDS.get(text.strip().lower(), text)
    if len(sign) != 1 or sign in '"\r\n':
        raise ConfigError(
            f"option separator: expected one sign, or {', '.join(SEPARATORS.values())} or space, "
            f"got {text!r}"
        )
    return sign


def _without_comments(text: str) -> tuple[str, int]:
    """The text from its header on, and how many lines stand above."""
    above = at = 0
    while line := _LINE.match(text, at):
        bare = line[0].strip().strip(',;|\t" ')
        if bare and not _COMMENT.match(bare):
            break
        at, above = line.end(), above + 1
    return text[at:], above


def _rows_of(text: str, sign: str) -> Iterator[list[str]]:
    return iter(csv.reader(io.StringIO(text, newline=""), delimiter=sign, skipinitialspace=True))


def _found_separator(
    path: Path, text: str, line: int, *, known: Collection[str], options: Dialect | None
) -> str:
    """The sign by which the header has most known names, and rows are as long as the header."""
    ranks: dict[str, tuple[int, float, int]] = {}
    for sign in SEPARATORS:
        try:
            header, *rows = islice(_rows_of(text, sign), _SAMPLE + 1)
        except (csv.Error, ValueError):
            continue
        if len(header) < 2:
            continue
        alike = sum(len(row) == len(header) for row in rows if any(row))
        named = sum(normal(name) in known for name in header)
        ranks[sign] = named, alike / max(1, sum(map(any, rows))), len(header)
    if not ranks:
        first = re.split(r"[\r\n]", text, maxsplit=1)[0].strip()
        return " " if _QUOTED_BY_R.fullmatch(first) else ","
    best = max(ranks.values())
    fits = [sign for sign, rank in ranks.items() if rank == best]
    if len(fits) > 1:
        names = [SEPARATORS[sign] for sign in fits]
        both = f"{path}: line {line}: both {' and '.join(names)} could separate the values: "
        if options is None:
            raise ReadError(both, "separate them by tabs")
        raise ReadError(both, "say which with ", Setting("separator", names[0], reader=True))
    return fits[0]


def _records(path: Path, text: str, sign: str, above: int) -> Iterator[Record]:
    """Records that are not blank.

    Raises:
        ReadError: a quote that never closes, or closes within a value, with the line it opens in.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=sign, strict=True, skipinitialspace=True
    )
    columns = 0
    while True:
        line = above + reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ReadError(f"{path}: line {line}: {_quoting(str(error))}") from None
        last = above + reader.line_num
        columns = columns or len(values)
        inner = [each for value in values for each in value.splitlines()[1:]] if last > line else []
        if any(each.count(sign) >= max(1, columns - 1) for each in inner):
            raise ReadError(
                f"{path}: line {line}: a quoted value runs on to line {last} and holds what look "
                "like rows: close the quote in line "
                f'{line}, or write "" for a quote within a value'
            )
        bare = tuple([value.strip("\ufeff \t\r\n\xa0").strip() for value in values])
        if any(bare):
            yield Record(line, bare)


def _quoting(error: str) -> str:
    if "end of data" in error or "field limit" in error:
        return 'a quote (") is opened and never closed: close it, or write "" for one in a value'
    if "expected after" in error:
        return 'text follows a closing quote ("): write "" for a quote within a quoted value'
    return f"not a table ({error})"


def _require_header(path: Path, head: Record, rows: Sequence[Record]) -> None:
    for at, name in enumerate(head.values):
        below = rows[0].values[at : at + 1]
        if is_image(Path(name)) and below and is_image(Path(below[0])):
            raise ReadError(
                f"{path}: line {head.line}: {name!r} is a file, not the name of a column: put a "
                "line with the names of the columns above it, such as path,label"
            )


def _has_row_names(header: Sequence[str], rows: Sequence[Record]) -> bool:
    """Whether R's ``write.table`` wrote 1, 2, 3 ... before each row, and no name above them."""
    if any(len(row.values) != len(header) + 1 for row in rows):
        return False
    return [row.values[0] for row in rows] == [str(k + 1) for k in range(len(rows))]


def _require_short(path: Path, header: Sequence[str], rows: Sequence[Record], sign: str) -> None:
    long = [row for row in rows if any(row.values[len(header) :])]
    if not long:
        return
    word = SEPARATORS.get(sign, sign)
    remedy = f"remove the extra values, or put values that contain a {word} in quotes"
    halves = re.compile(r"(?:^|,)(-?\d+,\d+)(?:,|$)")
    decimal = halves.search(",".join(long[0].values))
    if sign == "," and decimal and all(halves.search(",".join(row.values)) for row in long):
        remedy = (
            f"is {decimal[1]} in line {long[0].line} a number with a decimal comma? Save the table "
            "with semicolons or tabs between columns"
        )
    elif len(long) == len(rows) and len({len(row.values) for row in rows}) == 1:
        remedy = "a name is missing in the header, or a value is too much in every row"
    raise ReadError(
        f"{path}: more values than the {len(header)} columns in line "
        f"{listed([row.line for row in long])}; {remedy}"
    )


def _require_whole(path: Path, header: Sequence[str], rows: Sequence[Record]) -> None:
    """Refuse rows that lack values: where a separator is lost, all behind it would move."""
    columns = max((at + 1 for at, name in enumerate(header) if name), default=0)
    short = [row for row in rows if len(row.values) < columns]
    if not short:
        return
    if len(short) == len(rows):
        raise ReadError(
            f"{path}: {columns} columns in the header, and fewer values in every row, such as "
            f"{len(short[0].values)} in line {short[0].line}; does the header end where its line "
            "does? Each row needs a value, or nothing between two separators, for each column"
        )
    raise ReadError(
        f"{path}: fewer values than the {columns} columns in line "
        f"{listed([f'{row.line} ({len(row.values)})' for row in short])}; a separator is missing, "
        "or blank values at the end: write a separator for each"
    )
