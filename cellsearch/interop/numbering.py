"""Which number a cell bears in its file, for tools that know cells by file and number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Place:
    """Where a cell is found again.

    Attributes:
        origin: the file, or the folder of single-channel images, that its number counts in.
        image: number of the origin, from 1 in the order of appearance.
        number: of the cell in its origin; unique there.
        given: whether the number came with the cell, and was not counted here.
    """

    origin: str
    image: int
    number: int
    given: bool


@dataclass(frozen=True)
class Origin:
    """One file with its cells.

    Attributes:
        name: relative path.
        image: its number, from 1.
        cells: predicted in it.
        counted: cells without a number of their own.
    """

    name: str
    image: int
    cells: int
    counted: int

    @property
    def numbers(self) -> str:
        """Where the numbers are from: ``given``, ``counted``, or ``given and counted``."""
        if not self.counted:
            return "given"
        return "counted" if self.counted == self.cells else "given and counted"


def places(rows: Sequence[Mapping[str, str]]) -> list[Place]:
    """The place of each cell, in the order of the rows.

    A number of 0 means "none", but for formats that count from 0 it is also the first cell. It is
    taken for a number where the other cells of its file have numbers of their own, and no other
    cell there has 0. Images of one channel each, named ``<number>_Ch<k>``, belong to their folder.
    Cells without a number are counted on after the largest number of their file, and so are all
    cells of a file in which two bear the same number.

    Args:
        rows: with ``source`` and ``object_number``, as ``cellsearch.card.predict.to_rows`` gives.
    """
    numbers = [int(row["object_number"] or 0) for row in rows]
    found = [_origin(row["source"], number) for row, number in zip(rows, numbers, strict=True)]
    members: dict[str, list[int]] = {}
    for index, (origin, _) in enumerate(found):
        members.setdefault(origin, []).append(index)
    result: dict[int, Place] = {}
    for image, (origin, indices) in enumerate(members.items(), start=1):
        own = _own_numbers([numbers[i] for i in indices], [found[i][1] for i in indices])
        following = max((n for n in own if n is not None), default=0)
        for index, number in zip(indices, own, strict=True):
            if number is None:
                following += 1
            result[index] = Place(
                origin, image, following if number is None else number, number is not None
            )
    return [result[index] for index in range(len(rows))]


def origins(found: Sequence[Place]) -> list[Origin]:
    """The files of the cells, in the order of their numbers."""
    counts: dict[tuple[int, str], list[bool]] = {}
    for place in found:
        counts.setdefault((place.image, place.origin), []).append(place.given)
    return [
        Origin(name, image, len(given), given.count(False))
        for (image, name), given in counts.items()
    ]


def _origin(source: str, number: int) -> tuple[str, bool]:
    """What a number counts in, and whether the file's name says the number."""
    path = PurePosixPath(source)
    if re.match(rf"0*{number}_Ch\d+", path.name):
        parent = str(path.parent)
        return ("images" if parent == "." else parent), True
    return source, False


def _own_numbers(numbers: Sequence[int], named: Sequence[bool]) -> list[int | None]:
    sure = [n for n, said in zip(numbers, named, strict=True) if n or said]
    if len(set(sure)) < len(sure):
        return [None] * len(numbers)
    zeros = len(numbers) - len(sure)
    if zeros == 1 and len(numbers) > 1 and 0 not in sure:
        return list(numbers)
    return [n if n or said else None for n, said in zip(numbers, named, strict=True)]
