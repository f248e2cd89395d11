"""``rdf.yaml``: a card described in the terms of BioImage.IO's model format 0.5."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cellsearch.card.card import ModelCard
from cellsearch.errors import CardError
from cellsearch.interop.local_paths import without_places
from cellsearch.interop.references import Reference, references
from cellsearch.util.messages import Message, Setting

RDF = "rdf.yaml"
ATTACHED = (
    "config.json",
    "metrics.json",
    "calibration.json",
    "curves.json",
    "importance.json",
    "splits.json",
    "recipe.yaml",
    "versions.json",
)


@dataclass(frozen=True)
class Author:
    """Who answers for a package; ``orcid`` as 0000-0000-0000-0000."""

    name: str
    affiliation: str | None = None
    orcid: str | None = None


@dataclass(frozen=True)
class About:
    """What the card may not know of itself.

    Attributes:
        authors: of the model.
        licence: SPDX id; by default the licence of the cells, where it is one.
        cite: further works.
        pixel_size_um: side of a pixel, micrometres.
        name: of the model; by default from the data set.
    """

    authors: tuple[Author, ...] = ()
    licence: str | None = None
    cite: tuple[Reference, ...] = ()
    pixel_size_um: float | None = None
    name: str | None = None


def described(spec: Any, card: ModelCard, about: About, root: Path) -> tuple[Any, list[Message]]:
    """``ModelDescr`` of the files that lie in ``root``, and what it lacks for an upload.

    Args:
        spec: ``bioimageio.spec.model.v0_5``.
        card: of a model that takes images.
        about: what the card does not know.
        root: with the card's model, test tensors, README.md and cover.png.

    Raises:
        CardError: the licence is not an SPDX id, or bioimageio.spec refuses a field; all are named.
    """
    from bioimageio.spec import ValidationContext
    from pydantic import ValidationError

    notes: list[Message] = []
    cited = [*references(card.config.dataset.citation), *about.cite]
    licence = _licence(about, card)
    for missing, option in (
        (not about.authors, Message.of("authors (", Setting("author", "NAME"), ")")),
        (licence is None, Message.of("a licence (", Setting("licence", "SPDX-ID"), ")")),
        (not cited, Message.of("a work to cite (", Setting("cite", "TEXT 10.1234/DOI"), ")")),
    ):
        if missing:
            notes.append(option)
    try:
        with ValidationContext(root=root, file_name=RDF, log_warnings=False):
            return _model(spec, card, about, licence, cited), notes
    except ValidationError as error:
        if "SerializationInfo" in str(error):
            raise CardError(
                "bioimageio.spec 0.5.12 does not work with pydantic 2.14 or newer: "
                "pip install 'pydantic<2.14'"
            ) from None
        problems = "\n".join(
            f"  {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()
        )
        raise CardError(f"bioimageio.spec refuses the description:\n{problems}") from None


def _model(
    spec: Any,
    card: ModelCard,
    about: About,
    licence: str | None,
    cited: Sequence[Reference],
) -> Any:
    config, dataset = card.config, card.config.dataset
    size = about.pixel_size_um or dataset.pixel_size_um
    scale = {} if size is None else {"scale": size, "unit": "micrometer"}
    space = [
        spec.SpaceInputAxis(id=spec.AxisId(axis), size=length, **scale)
        for axis, length in (("y", config.height), ("x", config.width))
    ]
    image = spec.InputTensorDescr(
        id=spec.TensorId(config.onnx.input),
        description="raw intensities of one cell",
        axes=[spec.BatchAxis(), spec.ChannelAxis(channel_names=list(config.channels)), *space],
        data=spec.IntervalOrRatioDataDescr(type=config.dtype),
        # The graph takes float32 of the same values; nothing else is done to them.
        preprocessing=[spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))],
        test_tensor=spec.FileDescr(source=Path("test_input.npy")),
    )
    chances = spec.OutputTensorDescr(
        id=spec.TensorId(config.onnx.output),
        description="probability of each class",
        axes=[spec.BatchAxis(), spec.ChannelAxis(channel_names=list(config.classes))],
        data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        test_tensor=spec.FileDescr(source=Path("test_output.npy")),
    )
    title = without_places(dataset.title or dataset.name)[0]
    named = re.sub(r"[^A-Za-z0-9_+ ()-]", "-", dataset.name)
    return spec.ModelDescr(
        name=about.name or f"cellsearch {named} classifier"[:128],
        description=(
            f"Classifies single cells ({', '.join(config.channels)}) into "
            f"{len(config.classes)} classes: {', '.join(config.classes)}. Trained on {title}."
        )[:1024],
        **_people(spec, about, licence, cited),
        tags=_tags(card),
        documentation=spec.FileDescr(source=Path("README.md")),
        covers=[spec.FileDescr(source=Path("cover.png"))],
        attachments=[
            spec.FileDescr(source=Path(name)) for name in ATTACHED if (card.folder / name).is_file()
        ],
        inputs=[image],
        outputs=[chances],
        timestamp=datetime.fromisoformat(config.created),
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(source=Path("model.onnx"), opset_version=config.onnx.opset)
        ),
        config=_extra(spec, card),
    )


def _people(
    spec: Any, about: About, licence: str | None, cited: Sequence[Reference]
) -> dict[str, Any]:
    """Authors, licence and citations; what is not known is left out rather than empty."""
    authors = [
        spec.Author(**{name: value for name, value in asdict(author).items() if value})
        for author in about.authors
    ]
    works = [spec.CiteEntry(text=work.text, doi=work.doi) for work in cited]
    facts = {"authors": authors, "license": licence, "cite": works}
    return {name: value for name, value in facts.items() if value}


def _extra(spec: Any, card: ModelCard) -> Any:
    """What the format has no field for, and how closely outputs must be reproduced."""
    config = card.config
    bench = spec.BioimageioConfig(
        reproducibility_tolerance=[
            spec.ReproducibilityTolerance(
                relative_tolerance=1e-3, absolute_tolerance=1e-4, mismatched_elements_per_million=0
            )
        ],
        task="classification",
        model_parameter_count=config.parameters,
        out_of_scope_use="Decisions about patients: it is not a diagnostic device.",
    )
    ranges = {
        part.channel: [part.low, part.typical_low, part.typical_high, part.high]
        for part in config.ranges
    }
    return spec.Config(
        bioimageio=bench,
        cellsearch={
            "version": config.cellsearch_version,
            "synthetic_data": config.dataset.synthetic,
            "training_intensities": json.loads(json.dumps(ranges)),
        },
    )


def _licence(about: About, card: ModelCard) -> str | None:
    from bioimageio.spec.utils import get_spdx_licenses

    ids = [each["licenseId"] for each in get_spdx_licenses()["licenses"]]
    known = {name.lower(): name for name in ids}
    asked = about.licence or card.config.dataset.licence
    if about.licence is not None and asked.lower() not in known:
        raise CardError(
            Setting("licence"),
            f": {asked!r} is not an SPDX id, such as MIT, BSD-3-Clause or CC-BY-4.0 "
            "(https://spdx.org/licenses)",
        )
    return known.get(asked.lower())


def _tags(card: ModelCard) -> list[str]:
    tags = ["2d", "cells", "image-classification", "onnx", "single-cell", "cellsearch"]
    return [*tags, "synthetic-data"] if card.config.dataset.synthetic else tags
