"""A card's graph as one ONNX file that says in itself what it takes and gives."""

from __future__ import annotations

import json
from pathlib import Path

from cellsearch.card.card import ModelCard
from cellsearch.card.config import CardConfig
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
    about: About,
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
    if config.onnx.decided is not None:
        facts["outputs"] = json.dumps([config.onnx.output, config.onnx.decided])
    if config.features is not None:
        facts["features"] = json.dumps(config.features.names)
    onnx.helper.set_model_props(model, facts)
    write_bytes(path, model.SerializeToString())
    return path


def only_probabilities(path: Path, config: CardConfig) -> None:
    """Cut a copy of a card's graph down to its probabilities, for formats of one output.

    Args:
        path: of the copy, written anew.
        config: of the card.
    """
    import onnx
    from onnx.utils import Extractor

    if config.onnx.decided is None:
        return
    whole = onnx.load(path)
    inputs = [name for name in (config.onnx.input, config.onnx.features) if name is not None]
    cut = Extractor(whole).extract_model(inputs, [config.onnx.output])
    onnx.checker.check_model(cut)
    onnx.save(cut, path)
