"""Names of classes, channels and groups that the eye takes for one: ``live`` and ``live ``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from cellsearch.data.arrays import listed
from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import Finding, Kind, Severity
from cellsearch.util.messages import Message, Setting
from cellsearch.util.spelling import (
    differences,
    escaped,
    is_invisible,
    look_alike,
    loosely,
    print_same,
    printed,
)

_REMEDIES = {
    "classes": Message.of(
        "each is trained as a separate class: give both the same name, or merge them (",
        Setting("merge"),
        ")",
    ),
    "channels": Message.of("rename one"),
    "groups": Message.of(
        "cells of one may be on both sides of a split: give both the same name if they are the same"
    ),
}
_KINDS: dict[str, Kind] = {
    "classes": "look-alike-classes",
    "channels": "look-alike-channels",
    "groups": "look-alike-groups",
}


def look_alikes(dataset: CellDataset) -> list[Finding]:
    """A finding for the classes, the channels and the groups that look like another.

    Names that print the same (composed and decomposed letters, spaces, invisible characters,
    letters of other alphabets) are errors; names that differ in case alone, or in letters that
    many typefaces draw alike, are warnings. No pixel is read.
    """
    groups = [] if dataset.groups is None else sorted(set(dataset.groups.tolist()))
    return [
        *_of("classes", dataset.classes),
        *_of("channels", dataset.channels),
        *_of("groups", groups),
    ]


def _of(what: str, names: Sequence[str]) -> list[Finding]:
    near: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        near[loosely(name)].append(name)
    pairs = [pair for several in near.values() for pair in combinations(several, 2)]
    same = [pair for pair in pairs if print_same(*pair)]
    close = [pair for pair in pairs if not print_same(*pair) and look_alike(*pair)]
    found = []
    severity: Severity
    for severity, members, word in (
        ("error", same, "print the same"),
        ("warning", close, "look alike"),
    ):
        if members:
            told = listed([_differ(a, b) for a, b in members], most=5)
            message = Message.of(f"{what} that {word}: {told}; ", _REMEDIES[what])
            found.append(Finding(_KINDS[what], severity, (), message))
    odd = [name for name in names if any(map(is_invisible, name)) or name != name.strip()]
    odd = [name for name in odd if not any(name in pair for pair in same)]
    if odd:
        message = Message.of(
            f"{what} with invisible characters: "
            f"{listed([f'{escaped(name)} for {printed(name)}' for name in odd], most=5)}; rename "
            "them, or tables that name them will not match"
        )
        found.append(Finding(_KINDS[what], "warning", (), message))
    return found


def _differ(a: str, b: str) -> str:
    return f"{escaped(a)} and {escaped(b)} (they differ in {differences(a, b)})"
