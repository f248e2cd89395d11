"""Texts of others in Markdown, so that they are read as they are."""

from __future__ import annotations

import re

# Underscores within a word are no marks.
_MARKS = re.compile(r"[\\*\[\]$|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def plain(text: str) -> str:
    """Text that breaks neither a table nor a line, and has no formula, link or emphasis."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split())).replace("<", "&lt;")
