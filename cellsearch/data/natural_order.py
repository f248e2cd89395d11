"""The order in which people list names: ``cell2`` before ``cell10``."""

from __future__ import annotations

import re
import unicodedata

_DIGITS = re.compile(r"(\d+)")
Key = tuple[tuple[tuple[int, str], ...], str]


def natural(text: str) -> Key:
    """Sort key by which ``cell2`` stands before ``cell10``; names that differ never tie.

    Digits of any script count by their value. Superscripts and the like are letters: ``10⁵`` has
    no value that a reader would agree on.
    """
    parts = _DIGITS.split(text)
    key = [_number(part) if place % 2 else (-1, part) for place, part in enumerate(parts)]
    return tuple(key), text


def _number(digits: str) -> tuple[int, str]:
    if not digits.isascii():
        digits = "".join(str(unicodedata.decimal(digit)) for digit in digits)
    # By length, then by digits: Python makes no integer of more than 4,300 of them.
    plain = digits.lstrip("0")
    return len(plain), plain
