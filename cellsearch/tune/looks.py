"""How often the cells of a hold-out were scored before, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

_WORDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


@dataclass(frozen=True)
class Looks:
    """What other runs had scored of the cells of a hold-out.

    Attributes:
        times: ``times[m]`` cells were scored by m other runs before; empty where that could not be
            counted.
    """

    times: tuple[int, ...] = ()

    @property
    def cells(self) -> int:
        """Of the hold-out."""
        return sum(self.times)

    @property
    def scored_before(self) -> int:
        """Cells that another run had scored."""
        return sum(self.times[1:])

    @property
    def number(self) -> int | None:
        """Which look this is: one more than how often most of the cells were scored before."""
        if not self.cells:
            return None
        return 1 + max(m for m in range(len(self.times)) if 2 * sum(self.times[m:]) > self.cells)

    @property
    def whole(self) -> bool:
        """Whether ``number`` holds for all of the cells, and not for most of them only."""
        before = (self.number or 1) - 1
        return sum(self.times[before:] if before else self.times[:1]) == self.cells


def together(parts: Iterable[Looks]) -> Looks:
    """Several hold-outs as one; not counted where one of them is not."""
    found = list(parts)
    if not all(part.cells for part in found):
        return Looks()
    columns = zip_longest(*(part.times for part in found), fillvalue=0)
    return Looks(tuple(map(sum, columns)))


def looked(looks: Looks) -> str:
    """``the third look at these hold-out cells``, or that it is not known which."""
    number = looks.number
    if number is None:
        return "looks at these hold-out cells could not be counted"
    named = f"the {ordinal(number)} look at"
    if looks.whole:
        return f"{named} these hold-out cells"
    return (
        f"{named} most of these hold-out cells: {looks.scored_before:,} of {looks.cells:,} were "
        "scored before"
    )


def caution(looks: Looks) -> str:
    """What a figure of the hold-out needs beside it; empty of a first look."""
    if looks.number is None or looks.number < 2:
        return ""
    most = "" if looks.whole else "most of "
    return (
        f"this is the {ordinal(looks.number)} look at {most}these hold-out cells, and the interval "
        "holds for a first look only"
    )


def ordinal(number: int) -> str:
    """``third``, ``12th``, ``21st``."""
    if number <= len(_WORDS):
        return _WORDS[number - 1]
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
