"""Words by which tables and arrays say that a value is missing; no class and no group is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cellsearch.data.arrays import listed
from cellsearch.data.columns import WORDS


def is_missing(text: str) -> bool:
    """Whether a text is blank or one of ``WORDS``."""
    return not text.strip() or text.strip() in WORDS


def meant(texts: Sequence[str], *, but: Collection[str] = ()) -> str:
    """``; NA is read as missing: ...`` of the words among texts; "" where there are none.

    Args:
        texts: values of a column.
        but: words that somebody named as a class, and which are one.
    """
    found = sorted({text.strip() for text in texts} & WORDS - set(but))
    if not found:
        return ""
    are = "is" if len(found) == 1 else "are"
    return (
        f"; {listed(found)} {are} read as missing: leave these cells out; what is really called so "
        f"is named by --option class_names={found[0]}=NAME,..., or in a manifest's classes"
    )
