"""The formats that a card can be written in: one file of this folder each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from cellsearch.card.card import ModelCard
from cellsearch.interop.rdf import About
from cellsearch.util.messages import Message


@dataclass(frozen=True)
class Exported:
    """What an exporter wrote.

    Attributes:
        facts: for ``--json``; plain values and paths.
        lines: for a person, one fact each.
    """

    facts: Mapping[str, Any]
    lines: tuple[str | Message, ...]


class Exporter(Protocol):
    """``export`` of a file of this folder.

    Raises CardError where the card does not verify, cannot become that format, or something is
    there already and ``force`` is not set. Nothing half written is left.
    """

    def __call__(self, card: ModelCard, out: Path, *, about: About, force: bool) -> Exported:
        """Write the card to ``out``, a folder or file."""


def _of(module: str) -> Exporter:
    def export(card: ModelCard, out: Path, *, about: About, force: bool) -> Exported:
        made: Exported = import_module(f"{__package__}.{module}").export(
            card, out, about=about, force=force
        )
        return made

    return export


EXPORTERS: Mapping[str, Exporter] = MappingProxyType(
    {
        "bioimageio": _of("bioimageio"),
        "huggingface": _of("hub"),
        "onnx": _of("onnx_file"),
    }
)
"""Exporters by the name that ``cellsearch export --to`` takes; imported when first called."""
