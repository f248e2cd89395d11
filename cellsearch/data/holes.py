"""Parts of a file that were never written: the system reads them as zeros and says nothing."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

BLOCK_BYTES = 512


def holes(path: Path) -> list[tuple[int, int]]:
    """Start and end, in bytes, of each hole of a file, in order; none where it cannot be seen.

    Windows shows no holes to Python, and some file systems keep none.
    """
    seek_hole, seek_data = getattr(os, "SEEK_HOLE", None), getattr(os, "SEEK_DATA", None)
    if seek_hole is None or seek_data is None:
        return []
    found: list[tuple[int, int]] = []
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_blocks * BLOCK_BYTES >= status.st_size:
            return []
        place = 0
        try:
            while (start := os.lseek(file.fileno(), place, seek_hole)) < status.st_size:
                try:
                    place = os.lseek(file.fileno(), start, seek_data)
                except OSError:  # nothing but a hole is left
                    place = status.st_size
                found.append((start, place))
        except OSError:
            return found
    return found


def in_holes(path: Path, ranges: Iterable[tuple[int, int]]) -> list[int]:
    """Positions of the byte ranges (start, end) that lie wholly in holes of a file."""
    found = holes(path)
    starts = [low for low, _ in found]
    inside = []
    for number, (start, end) in enumerate(ranges if found else ()):
        at = bisect_right(starts, start) - 1
        if end > start and at >= 0 and end <= found[at][1]:
            inside.append(number)
    return inside


def ranged(numbers: Sequence[int], *, most: int = 10) -> str:
    """Sorted whole numbers as ``0 to 3, 7 and 12 more``, after ``most`` runs as a count."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:most])
    left = sum(b - a + 1 for a, b in runs[most:])
    return f"{shown} and {left} more" if left else shown
