"""The manifest that lies in a written folder, so that ``--dataset FOLDER`` reads it as it was."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cellsearch.data.dataset import CellDataset
from cellsearch.data.provenance import Provenance
from cellsearch.data.writers.place import MARK
from cellsearch.util.yaml_files import WITHIN

NOT_STATED = "not stated"


def manifest_name(name: str) -> str:
    """A name as manifests take it: small letters, digits, ``.``, ``_`` and ``-``."""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-._") or "cells"


def write_manifest(
    cells: CellDataset, folder: Path, *, reader: str, target: str, options: Mapping[str, Any]
) -> None:
    """Write ``dataset.yaml`` into a folder of labelled cells.

    Args:
        cells: what lies in the folder.
        folder: where to.
        reader: that reads it.
        target: what the reader is given, relative to the folder.
        options: of the reader.
    """
    origin = cells.provenance
    size = {} if origin.pixel_size_um is None else {"pixel_size_um": origin.pixel_size_um}
    groups = {} if cells.groups is None else {"groups": "as in the cells converted"}
    document = {
        "name": manifest_name(cells.name),
        "title": origin.title or cells.name,
        "licence": origin.licence or NOT_STATED,
        "citation": origin.citation,
        "url": origin.url,
        "notes": origin.notes,
        **_reader_notes(origin),
        "synthetic": origin.synthetic,
        "source": {"folder": target},
        "layout": {"reader": reader, "options": dict(options)},
        "classes": [
            {"name": name, "count": int(count)}
            for name, count in zip(cells.classes, cells.counts, strict=True)
        ],
        "channels": [
            {"name": name, "label_free": name in origin.label_free} for name in cells.channels
        ],
        **size,
        **groups,
    }
    text = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.allow_unicode = True
    yaml.dump(document, text)
    (folder / WITHIN).write_text(MARK + text.getvalue(), encoding="utf-8")


def _reader_notes(origin: Provenance) -> dict[str, Any]:
    notes = [asdict(note) for note in origin.of_a_copy().reader_notes]
    kept = [{key: value for key, value in each.items() if value} for each in notes]
    return {"reader_notes": kept} if kept else {}
