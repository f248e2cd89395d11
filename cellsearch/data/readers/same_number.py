"""Texts that are one number written in two ways: ``1`` and ``1.0``, ``7`` and ``007``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

_NUMBER = re.compile(r"[-+]?\d{1,30}(?:[.,]\d{1,30})?")


def two_ways(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of texts that are one number; the spelling that comes first, and each other one.

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
