"""What a row of predictions says, in the words that tables of other programmes use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cellsearch.card.abstain import UNCERTAIN
from cellsearch.card.predict import Row, class_columns


def decided(row: Row) -> str:
    """The class a cell is given: the predicted one, or ``uncertain`` where the card abstains."""
    return row.get("decision", row["predicted_class"])


def decisions(rows: Sequence[Row], classes: Sequence[str]) -> list[str]:
    """What ``decided`` may give for these rows: the classes and, with a rule, ``uncertain``."""
    return [*classes, *([UNCERTAIN] if rows and "decision" in rows[0] else [])]


def probabilities(row: Row, classes: Sequence[str]) -> list[str]:
    """K probabilities as text, in the order of the classes."""
    return [row[column] for column in class_columns(classes)]


def safe_names(names: Iterable[str], *, most: int = 60) -> list[str]:
    """Names of letters, digits and underscores, distinct even where case does not count.

    Databases and file systems of Windows do not tell ``g1`` from ``G1``.
    """
    taken: set[str] = set()
    result = []
    for name in names:
        plain = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")[:most] or "unnamed"
        unique, count = plain, 1
        while unique.lower() in taken:
            count += 1
            unique = f"{plain}_{count}"
        taken.add(unique.lower())
        result.append(unique)
    return result
