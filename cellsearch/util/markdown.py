"""Texts of others in Markdown, so that they are read as they are; tables."""

from __future__ import annotations

import re

from cellsearch.util.tables import Kind, Table

# Underscores within a word are no marks.
_MARKS = re.compile(r"[\\*\[\]$|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def plain(text: str) -> str:
    """Text that breaks neither a table nor a line, and has no formula, link or emphasis."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split())).replace("<", "&lt;")


def table(found: Table) -> str:
    """The table, with the synonyms of its columns; its title is left to the text around it."""
    names = [column.full_name for column in found.columns]
    rule = ["---:" if column.kind == "number" else "---" for column in found.columns]
    kinds = [column.kind for column in found.columns]
    rows = [
        [_cell(text, kind) for text, kind in zip(row, kinds, strict=True)] for row in found.texts
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (map(plain, names), rule, *rows))


def _cell(text: str, kind: Kind) -> str:
    if kind == "code":
        return f"`{text}`".replace("|", "\\|")
    return f"**{plain(text)}**" if kind == "heading" else plain(text)
