"""What texts of a column say: that a value is missing, or one number in two spellings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from cellsearch.data.arrays import listed
from cellsearch.data.columns import WORDS
from cellsearch.util.messages import Message, Setting

_NUMBER = re.compile(r"[-+]?\d{1,30}(?:[.,]\d{1,30})?")


def is_missing(text: str) -> bool:
    """Whether a text is blank or one of ``WORDS``; no class and no group is one."""
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


def two_ways(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of texts that are one number, as ``1`` and ``1.0``, ``7`` and ``007``.

    The spelling that comes first, and each other one.

    Programs write whole numbers as ``1.0`` where one of a column is missing, or drop zeros.
    """
    first: dict[Decimal, str] = {}
    pairs = []
    for text in dict.fromkeys(texts):
        if not _NUMBER.fullmatch(text):
            continue
        number = Decimal(text.replace(",", "."))
        if first.setdefault(number, text) != text:
            pairs.append((first[number], text))
    return pairs
