"""``config.json`` of a card that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from cellsearch.card.config import (
    CardConfig,
    DatasetFacts,
    EnsembleMember,
    FeatureFacts,
    Fit,
    OnnxFacts,
    channel_ranges,
    dtype_range,
)
from cellsearch.card.export import Exported
from cellsearch.card.rules import Rules
from cellsearch.data.dataset import CellDataset
from cellsearch.stats.decision import Decision
from cellsearch.util.version import __version__

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits
    from cellsearch.space.recipe import Recipe


def described(
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    variant: str | None,
    rules: Rules,
    exported: Exported,
    features: FeatureFacts | None,
    decision: Decision | None,
    *,
    members: int,
    ensemble: Sequence[EnsembleMember] = (),
) -> CardConfig:
    """What a program needs to know of the exported model.

    Args:
        recipe: of the winner.
        dataset: all cells, hold-out included.
        splits: hold-out and folds.
        variant: of the data set.
        rules: of calibration, abstention, sets and priors.
        exported: the graph.
        features: that the graph takes; None where it takes images.
        decision: of the classes; None where the greatest probability decides.
        members: networks in it.
        ensemble: the trials that these are of; empty where they are of one recipe.
    """
    return CardConfig(
        cellsearch_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=dataset.classes,
        channels=dataset.channels,
        dtype=str(dataset.images.dtype),
        dtype_range=dtype_range(dataset.images.dtype),
        ranges=channel_ranges(dataset.images, splits.development, dataset.channels),
        height=dataset.images.shape[2],
        width=dataset.images.shape[3],
        fit=dataset.provenance.fit if dataset.provenance.fit in get_args(Fit) else "refuse",
        members=members,
        parameters=exported.parameters,
        not_estimable=tuple(splits.not_estimable),
        dataset=_dataset_facts(dataset, variant),
        splits_sha256=splits.sha256,
        recipe=recipe.to_params(),
        ensemble=tuple(ensemble),
        onnx=OnnxFacts(
            input=exported.input,
            features=exported.features,
            decided=exported.decided,
            opset=exported.opset,
        ),
        features=features,
        temperature=rules.temperature.value,
        abstention=rules.abstention,
        sets=rules.sets,
        prevalence=rules.prevalence,
        decision=decision,
    )


def _dataset_facts(dataset: CellDataset, variant: str | None) -> DatasetFacts:
    origin = dataset.provenance
    return DatasetFacts(
        name=dataset.name,
        variant=variant,
        title=origin.title,
        licence=origin.licence,
        citation=origin.citation,
        url=origin.url,
        # Files are known that say 0 where they do not know.
        pixel_size_um=origin.pixel_size_um if (origin.pixel_size_um or 0.0) > 0.0 else None,
        synthetic=origin.synthetic,
        sha256=dataset.sha256,
        cells=len(dataset),
    )
