"""Columns of a table that could be the class, where none is called so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cellsearch.data.readers.column_notes import group_like, normal
from cellsearch.data.readers.column_texts import is_missing
from cellsearch.util.messages import Message, Setting

MOST_CLASSES = 50
_SHOWN_VALUES = 3
_SHOWN_COLUMNS = 6
# fmt: off
_WORDS = frozenset({
    "label", "labels", "class", "classes", "category", "type", "celltype", "phase", "stage",
    "state", "kind", "annotation", "target", "truth", "gt", "diagnosis", "condition", "treatment",
    "compound", "drug", "genotype", "phenotype", "status", "outcome", "moa", "pattern", "grade",
})
# fmt: on
"""Words in what columns of classes are called."""

_PARTS = frozenset({"split", "splits", "fold", "folds", "subset", "partition"})
"""Last words of columns that say where a cell goes, not what it is."""

_DIGEST = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f-]{4,}")


@dataclass(frozen=True)
class LabelCandidate:
    """A column that could be the class.

    Attributes:
        column: its name.
        counts: values and how many cells each has, the most frequent first.
        missing: cells without a value.
        group: it is called as donors, plates or wells are, so it is rather a group.
    """

    column: str
    counts: tuple[tuple[str, int], ...]
    missing: int
    group: bool

    def describe(self) -> str:
        """``phase (G1 540, S 90, G2 60 and 3 more)``."""
        shown = ", ".join(f"{value} {count:,}" for value, count in self.counts[:_SHOWN_VALUES])
        left = len(self.counts) - _SHOWN_VALUES
        more = f" and {left} more" if left > 0 else ""
        blank = f"; {self.missing:,} blank" if self.missing else ""
        return f"{self.column} ({shown}{more}{blank})"


def label_candidates(
    columns: Mapping[str, Sequence[str]], used: Collection[str | None] = ()
) -> tuple[LabelCandidate, ...]:
    """Columns of few values, each of several cells; those that look most like a class first.

    Columns called as donors, plates or wells come last; numbers with decimals are measures.

    Args:
        columns: name -> N values as texts.
        used: columns that mean something else.
    """
    grouped = set(group_like(columns))
    found = []
    for name, values in columns.items():
        there = [value for value in values if not is_missing(value)]
        counts = Counter(there).most_common()
        last = normal(name).split()[-1:]
        if name in used or normal(name) == "set" or _PARTS.intersection(last):
            continue
        if not 2 <= len(counts) <= min(MOST_CLASSES, max(2, len(there) // 2)):
            continue
        if any(_DIGEST.fullmatch(value) for value, _ in counts):
            continue
        if all(re.fullmatch(r"-?\d*[.,]\d+(?:[eE][-+]?\d+)?", value) for value in there) and any(
            not re.fullmatch(r"-?\d+[.,]0*", value) for value in there
        ):
            continue
        found.append(LabelCandidate(name, tuple(counts), len(values) - len(there), name in grouped))

    def rank(each: LabelCandidate) -> tuple[bool, bool, bool, bool, int]:
        words = set(normal(each.column).split())
        numbers = all(re.fullmatch(r"[-+\d.,]+", value) for value, _ in each.counts)
        named = bool(words & _WORDS)
        return each.group, not named, each.missing > 0, numbers, len(each.counts)

    return tuple(sorted(found, key=rank))


def listed_candidates(found: Sequence[LabelCandidate]) -> Message:
    """``could be the class: phase (G1 540, S 90), ...; choose with label_column="phase"``."""
    if not found:
        return Message.of(
            "none has a few values that are of several cells each: add a column with the class, or "
            "name one with ",
            Setting("label_column", "COLUMN", reader=True),
        )
    likely = [each for each in found if not each.group]
    rest = [each for each in found if each.group]
    shown = [each.describe() for each in likely[:_SHOWN_COLUMNS]]
    left = len(likely) - len(shown)
    texts = (
        [f"it could be {', '.join(shown)}" + (f" and {left} more" if left else "")] if shown else []
    )
    if rest:
        groups = ", ".join(each.describe() for each in rest[:_SHOWN_VALUES])
        texts.append(f"less likely, because groups have such names, {groups}")
    return Message.of(
        "; ".join(texts) + "; choose with ", Setting("label_column", found[0].column, reader=True)
    )
