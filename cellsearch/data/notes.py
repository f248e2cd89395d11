"""Notes: what a reader says of the cells beside its result, as values that edges word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from cellsearch.util.messages import Message, Setting

NoteKind = Literal[
    "undeclared-groups", "crossing-groups", "ignored-files", "crop-sizes", "other-label", "other"
]


@dataclass(frozen=True)
class Note:
    """One thing that must be known of how cells were read.

    Attributes:
        kind: what it is about: ``undeclared-groups``, a column of donors or plates that was not
            used as groups; ``crossing-groups``, one that lies across the groups; ``ignored-files``,
            files that were not read; ``crop-sizes``, how crops were brought to one size;
            ``other-label``, a second column of classes; ``other``.
        text: what it is, and what that means; stands in the notes of the provenance, too.
        severity: ``warning``: look at it; ``note``: know it.
        remedy: what to do about it where the cells were read; None where nothing can be done, and
            in a copy of the cells, of which other options are asked.
        column: name of the column that a note on groups is about; empty for others.
        values: distinct values of the column; 0 for other notes.
    """

    kind: NoteKind
    text: str
    severity: Literal["warning", "note"] = "note"
    remedy: Message | None = None
    column: str = ""
    values: int = 0

    def __str__(self) -> str:
        return self.text

    def of(self, where: str) -> Note:
        """The same with a word before it that says where the column is."""
        return replace(self, text=f"{where} {self.text}")

    @property
    def message(self) -> Message:
        """Text and remedy."""
        return Message.of(self.text, "; ", self.remedy) if self.remedy else Message.of(self.text)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Note:
        """The same from the plain values of ``dataclasses.asdict``, as a file holds them.

        Raises:
            KeyError, TypeError, ValueError: keys that are not known, or values that do not fit.
        """
        if facts["kind"] not in get_args(NoteKind):
            raise ValueError(f"no kind of note: {facts['kind']!r}")
        remedy = facts.get("remedy")
        if remedy is not None:
            parts = remedy["parts"]
            remedy = Message.of(*(p if isinstance(p, str) else Setting(**p) for p in parts))
        return cls(**{**facts, "remedy": remedy})
