"""The works that a card's cells ask to be cited, as packages elsewhere want them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DOI = re.compile(
    r"(?:doi:\s*|(?:https?://)?doi\.org/)?(10\.\d{4,9}/[^\s;,]+?)(?=[.,;)]*(?:\s|$))", re.IGNORECASE
)


@dataclass(frozen=True)
class Reference:
    """A work to cite: its text, and its DOI without ``doi:``."""

    text: str
    doi: str


def references(text: str) -> list[Reference]:
    """The works of a citation that bear a DOI, each with the text before it."""
    found, start = [], 0
    for match in _DOI.finditer(text):
        before = text[start : match.start()].lstrip(" .,;)").rstrip(" .,;(")
        found.append(Reference(before or match[1], match[1]))
        start = match.end()
    return found
