"""Provenance: what a reader of a result must know of where the cells came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cellsearch.data.notes import Note


@dataclass(frozen=True)
class Provenance:
    """Title, licence and the like of a set of cells.

    Attributes:
        title: one line.
        licence: SPDX identifier where there is one.
        citation: what to cite.
        url: where to find more.
        synthetic: generated, not measured.
        label_free: channels that are visible without a stain.
        pixel_size_um: side of a pixel in micrometres; None where it is not known.
        notes: what one must know of the cells.
        fit: how crops of several sizes were brought to one; empty where they have one.
        reader_notes: those of the notes that a reader made, as values.
    """

    title: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    synthetic: bool = False
    label_free: tuple[str, ...] = ()
    pixel_size_um: float | None = None
    notes: str = ""
    fit: Literal["", "pad", "resize", "shrink"] = ""
    reader_notes: tuple[Note, ...] = ()

    def with_notes(self, *notes: str | Note) -> Provenance:
        """The same with those of these notes that it lacks, below those it has."""
        held, values = self.notes, {note.text: note for note in self.reader_notes}
        for note in notes:
            if str(note) not in held:
                held = f"{held}\n{note}".strip()
            if isinstance(note, Note):
                values[note.text] = note
        return replace(self, notes=held, reader_notes=tuple(values.values()))

    def of_a_copy(self) -> Provenance:
        """The same for a copy of the cells, in which no option of their source is of use."""
        kept = tuple(replace(note, remedy=None) for note in self.reader_notes)
        return replace(self, reader_notes=kept)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Provenance:
        """The same from the plain values of ``dataclasses.asdict``, as a file holds them.

        Raises:
            KeyError, TypeError, ValueError: keys that are not known, or values that do not fit.
        """
        size = facts.get("pixel_size_um")
        return cls(
            **{
                **facts,
                "label_free": tuple(facts.get("label_free", ())),
                "pixel_size_um": None if size is None else float(size),
                "reader_notes": tuple(map(Note.from_facts, facts.get("reader_notes", ()))),
            }
        )
