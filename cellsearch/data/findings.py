"""What a check finds: one value a finding, in words a bench user can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from cellsearch.util.messages import Message
from cellsearch.util.validation import near_miss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cellsearch.data.dataset import CellDataset

SHOWN = 5
Severity = Literal["error", "warning", "note"]
Kind = Literal[
    "exact-duplicate",
    "near-duplicate",
    "duplicate-across-classes",
    "constant",
    "constant-channel",
    "saturated",
    "outlier-intensity",
    "tiny-class",
    "one-class",
    "one-group",
    "not-estimable",
    "unlabelled",
    "duplicate-id",
    "undeclared-groups",
    "look-alike-classes",
    "look-alike-channels",
    "look-alike-groups",
    "ignored-files",
    "crop-sizes",
    "files-differ",
    "class-revealed-by-files",
]

FORMER_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "exact-twin": "exact-duplicate",
        "near-twin": "near-duplicate",
        "twin-across-classes": "duplicate-across-classes",
        "passed-over": "ignored-files",
        "class-told-by-files": "class-revealed-by-files",
    }
)
"""Names of older versions, which are still accepted, and what they are called now."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: what it is.
        severity: ``error``: figures would be wrong; ``warning``: look at it; ``note``: know it.
        cells: ids of the cells it is about; for duplicates those that show one image.
        message: one line: what, where, and what to do.
    """

    kind: Kind
    severity: Severity
    cells: tuple[str, ...]
    message: Message


def present_kind(name: str) -> str:
    """The name that a kind of finding has now; a word that is none stays as it is."""
    return FORMER_KINDS.get(name, name)


def unknown_kind(name: object) -> str:
    """Why a word is no kind of finding, with the nearest one; empty where it is one."""
    kinds = get_args(Kind)
    if name in kinds or name in FORMER_KINDS:
        return ""
    known = f"expected a kind of finding, one of {', '.join(kinds)}; got {name!r}"
    return known + near_miss(str(name), kinds)


def named(dataset: CellDataset, cells: NDArray[np.int64]) -> tuple[str, ...]:
    """Ids of the cells at these indices."""
    return tuple(str(name) for name in dataset.ids[cells])


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    from cellsearch.data.arrays import listed

    return listed(names, most=SHOWN)
