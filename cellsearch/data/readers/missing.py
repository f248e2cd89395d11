"""Words by which tables and arrays say that a value is missing; no class and no group is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cellsearch.data.arrays import listed
from cellsearch.data.columns import WORDS
from cellsearch.util.messages import Message, Setting


def is_missing(text: str) -> bool:
    """Whether a text is blank or one of ``WORDS``."""
    return not text.strip() or text.strip() in WORDS


def meant(texts: Sequence[str], *, but: Collection[str] = ()) -> Message:
    """``; NA is read as missing: ...`` of the words among texts; "" where there are none.

    Args:
        texts: values of a column.
        but: words that somebody named as a class, and which are one.
    """
    found = sorted({text.strip() for text in texts} & WORDS - set(but))
    if not found:
        return Message.of("")
    are = "is" if len(found) == 1 else "are"
    return Message.of(
        f"; {listed(found)} {are} read as missing: leave these cells out; what is really called so "
        "is named by ",
        Setting("class_names", f"{found[0]}=NAME,...", reader=True),
        ", or in a manifest's classes",
    )
