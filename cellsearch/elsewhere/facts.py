"""What a card knows of itself that packages elsewhere ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cellsearch.card.card import ModelCard

_DOI = re.compile(
    r"(?:doi:\s*|(?:https?://)?doi\.org/)?(10\.\d{4,9}/[^\s;,]+?)(?=[.,;)]*(?:\s|$))", re.IGNORECASE
)


@dataclass(frozen=True)
class Reference:
    """A work to cite: its text, and its DOI without ``doi:``."""

    text: str
    doi: str


@dataclass(frozen=True)
class Facts:
    """Of the cells a card was made from.

    Attributes:
        citation: as the data set states it; empty where it does not.
        pixel_size_um: side of a pixel, micrometres; None where it is not known.
    """

    citation: str
    pixel_size_um: float | None


def facts_of(card: ModelCard) -> Facts:
    """Read from README.md what ``config.json`` does not hold."""
    cited = re.search(r"^- cite: (.+)$", card.readme, re.MULTILINE)
    text = "" if cited is None or cited[1] == "not stated" else cited[1]
    scale = re.search(r"^- crops of .*, ([0-9.e-]+) um a pixel$", card.readme, re.MULTILINE)
    return Facts(
        text.replace("\\|", "|").replace("&lt;", "<"), None if scale is None else float(scale[1])
    )


def references(text: str) -> list[Reference]:
    """The works of a citation that bear a DOI, each with the text before it."""
    found, start = [], 0
    for match in _DOI.finditer(text):
        before = text[start : match.start()].lstrip(" .,;)").rstrip(" .,;(")
        found.append(Reference(before or match[1], match[1]))
        start = match.end()
    return found
