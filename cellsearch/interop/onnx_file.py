"""A card's graph as one ONNX file that says in itself what it takes and gives."""

from __future__ import annotations

import json
from pathlib import Path

from cellsearch.card.card import ModelCard
from cellsearch.card.predict import CardPredictor
from cellsearch.card.whole_files import write_bytes
from cellsearch.errors import CardError
from cellsearch.interop.exporters import Exported
from cellsearch.interop.rdf import About
from cellsearch.util.messages import Setting


def export(
    card: ModelCard,
    out: Path,
    *,
    about: About,  # noqa: ARG001  (the format has no place for it)
    force: bool,
) -> Exported:
    """``write_onnx`` as an exporter; see ``exporters``."""
    write_onnx(card, out, force=force)
    line = f"{out}: classes, channels, dtype and size are in its metadata"
    return Exported({"file": out}, (line,))


def write_onnx(card: ModelCard, path: Path, *, force: bool = False) -> Path:
    """Write ``model.onnx`` with classes, channels, dtype and size in its metadata.

    Raises:
        CardError: the file is there already, the model has changed since the card was written, or
            the disk refuses.
    """
    import onnx

    if path.exists() and not force:
        raise CardError(
            f"{path} exists; name another file, or replace it with ", Setting("force", True)
        )
    config = CardPredictor.load(card.folder).config
    model = onnx.load(card.folder / "model.onnx")
    facts = {
        "classes": json.dumps(config.classes),
        "channels": json.dumps(config.channels),
        "dtype": config.dtype,
        "height": str(config.height),
        "width": str(config.width),
        "cellsearch_version": config.cellsearch_version,
        "dataset": config.dataset.name,
        "licence_of_the_cells": config.dataset.licence,
    }
    if config.features is not None:
        facts["features"] = json.dumps(config.features.names)
    onnx.helper.set_model_props(model, facts)
    write_bytes(path, model.SerializeToString())
    return path
