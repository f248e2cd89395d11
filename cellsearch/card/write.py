"""write_card: everything that is handed over, wholly or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import cellsearch
from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import files_of, write_checksums
from cellsearch.card.compare import compare_holdout, compare_pooled, comparison_as_json
from cellsearch.card.config import (
    CONFIG,
    SEEN_CELLS,
    CardConfig,
    DatasetFacts,
    OnnxFacts,
    channel_ranges,
    dtype_range,
)
from cellsearch.card.embedding import Projection
from cellsearch.card.evidence import write_evidence
from cellsearch.card.export import Fitted, export, feature_facts, inputs_of, whole_module
from cellsearch.card.figures import (
    LEVEL,
    REPEATS,
    BaselineFigures,
    OofFigures,
    predicted_classes,
)
from cellsearch.card.generated import GeneratorFigures
from cellsearch.card.parts import (
    versions,
    write_json,
    write_plots,
    write_recipe,
    write_tables,
    write_test_cells,
)
from cellsearch.card.predict import CardPredictor
from cellsearch.card.readme import Story, write_readme
from cellsearch.card.replay import README
from cellsearch.data.dataset import CellDataset
from cellsearch.data.digests import cell_digests
from cellsearch.errors import CardError

__all__ = ["BaselineFigures", "GeneratorFigures", "OofFigures", "write_card"]

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits
    from cellsearch.space.recipe import Recipe

COMPARED_CELLS = 256
SAME_PROBABILITIES = 1e-2


def write_card(
    folder: Path | str,
    *,
    predictors: Sequence[Fitted],
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    holdout_probabilities: NDArray[np.float32],
    oof: OofFigures,
    baseline: BaselineFigures | None,
    search_facts: Mapping[str, Any],
    command: str,
    generators: Sequence[GeneratorFigures] = (),
    projection: Projection = "tsne",
) -> ModelCard:
    """Export, measure and describe the winner of a search.

    All is written to ``<folder>.tmp`` and renamed at the end, so a failure leaves nothing behind
    and an older card as it was.

    Args:
        folder: of the card; an older card there is replaced, anything else is refused.
        predictors: one refitted network, or those of the folds, whose probabilities are averaged.
        recipe: of the winner.
        dataset: all cells, hold-out included.
        splits: hold-out and folds.
        holdout_probabilities: (n, K) float32, rows in the order of ``splits.holdout``.
        oof: the winner's out-of-fold predictions.
        baseline: of trial 0, on the same cells; None where there is none.
        search_facts: any of ``metric``, ``seed``, ``budget`` (trials or None), ``trials``
            ({"complete": n, "pruned": n, "failed": n}), ``seconds`` spent in trials, ``space``,
            ``space_sha256``, ``winner`` and ``baseline_trial`` (trial numbers), ``variant`` of the
            data set, ``fit`` (how crops of another size are brought to this one: refuse, pad,
            resize). Others are kept in metrics.json, if JSON holds them.
        command: that repeats the run.
        generators: of the classes that cells were generated for.
        projection: of the map of the hold-out; ``umap`` where umap-learn is installed, else t-SNE.

    Raises:
        CardError: the export differs from the trained model, the hold-out's probabilities are not
            the predictors', the folder is taken, or the disk refuses.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and not _is_empty(folder):
        raise CardError(f"{folder} exists and is not a card; name another folder")
    building = folder.with_name(f"{folder.name}.tmp")
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        _write_into(
            building,
            predictors=predictors,
            recipe=recipe,
            dataset=dataset,
            splits=splits,
            holdout_probabilities=holdout_probabilities,
            oof=oof,
            baseline=baseline or BaselineFigures(),
            search_facts=search_facts,
            command=command,
            generators=generators,
            projection=projection,
        )
        write_checksums(building)
        _replace(building, folder)
    except OSError as error:
        raise CardError(f"cannot write the card {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return ModelCard.load(folder)


def _write_into(
    folder: Path,
    *,
    predictors: Sequence[Fitted],
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    holdout_probabilities: NDArray[np.float32],
    oof: OofFigures,
    baseline: BaselineFigures,
    search_facts: Mapping[str, Any],
    command: str,
    generators: Sequence[GeneratorFigures],
    projection: Projection,
) -> None:
    held = np.asarray(splits.holdout, dtype=np.int64)
    k = len(dataset.classes)
    predicted_classes(holdout_probabilities, len(held), k)
    compared = held[np.linspace(0, len(held) - 1, min(len(held), COMPARED_CELLS)).astype(int)]
    module = whole_module(predictors)
    exported = export(module, inputs_of(module, dataset.images[compared]), folder)
    config = CardConfig(
        cellsearch_version=cellsearch.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=dataset.classes,
        channels=dataset.channels,
        dtype=str(dataset.images.dtype),
        dtype_range=dtype_range(dataset.images.dtype),
        ranges=channel_ranges(dataset.images, splits.development, dataset.channels),
        height=dataset.images.shape[2],
        width=dataset.images.shape[3],
        fit=search_facts.get("fit", "refuse"),
        members=len(predictors),
        parameters=exported.parameters,
        not_estimable=tuple(splits.not_estimable),
        dataset=_dataset_facts(dataset, search_facts),
        splits_sha256=splits.sha256,
        recipe=recipe.to_params(),
        onnx=OnnxFacts(input=exported.input, opset=exported.opset),
        features=feature_facts(module, dataset.channels),
    )
    write_json(folder / CONFIG, config.model_dump(mode="json"))
    write_checksums(folder)
    predictor = CardPredictor.load(folder)
    _require_same(predictor, dataset, held, holdout_probabilities)
    write_test_cells(folder, predictor, dataset, held)

    seed = int(search_facts.get("seed") or 0)
    holdout = compare_holdout(dataset, splits, holdout_probabilities, baseline, seed=seed)
    pooled = compare_pooled(dataset, splits, oof, baseline, seed=seed)
    write_tables(folder, dataset, held, holdout_probabilities, oof)
    write_json(
        folder / "metrics.json",
        {
            "level": LEVEL,
            "bootstrap_samples": REPEATS,
            "intervals": "bootstrap within classes; recall and specificity of a class: "
            "Clopper-Pearson",
            "export_largest_difference": exported.largest_difference,
            "not_estimable": list(splits.not_estimable),
            "search": dict(search_facts),
            "hold_out": comparison_as_json(holdout),
            "out_of_fold": comparison_as_json(pooled),
        },
    )
    splits.save(folder / "splits.json")
    np.save(folder / SEEN_CELLS, np.sort(cell_digests(dataset.images)), allow_pickle=False)
    write_recipe(folder / "recipe.yaml", recipe)
    write_json(folder / "versions.json", versions())
    names = write_plots(
        folder / "plots",
        [predictor.history for predictor in predictors],
        holdout,
        pooled,
    )
    evidence = write_evidence(
        folder,
        predictors,
        dataset,
        held,
        holdout_probabilities,
        oof,
        not_estimable=tuple(splits.not_estimable),
        generators=generators,
        projection=projection,
        seed=seed,
    )
    story = Story(
        config=config,
        citation=dataset.provenance.citation,
        notes=dataset.provenance.notes,
        label_free=dataset.provenance.label_free,
        pixel_size_um=dataset.provenance.pixel_size_um,
        grouped=dataset.groups is not None,
        counts=tuple(dataset.counts.tolist()),
        folds=splits.k,
        development=len(splits.development),
        holdout=holdout,
        oof=pooled,
        search=search_facts,
        command=command,
        plots=tuple(names),
        evidence=evidence,
        export_difference=exported.largest_difference,
        files=tuple(files_of(folder)),
    )
    (folder / README).write_text(write_readme(story), encoding="utf-8")


def _dataset_facts(dataset: CellDataset, search_facts: Mapping[str, Any]) -> DatasetFacts:
    origin = dataset.provenance
    return DatasetFacts(
        name=dataset.name,
        variant=search_facts.get("variant"),
        title=origin.title,
        licence=origin.licence,
        url=origin.url,
        synthetic=origin.synthetic,
        sha256=dataset.sha256,
        cells=len(dataset),
    )


def _require_same(
    predictor: CardPredictor,
    dataset: CellDataset,
    held: NDArray[np.int64],
    probabilities: NDArray[np.float32],
) -> None:
    """The hold-out's figures must be those of the model that the card holds."""
    largest = 0.0
    for start in range(0, len(held), 512):
        cells = held[start : start + 512]
        found = predictor.predict(dataset.images[cells])
        largest = max(largest, float(np.abs(found - probabilities[start : start + 512]).max()))
    if not largest <= SAME_PROBABILITIES:
        raise CardError(
            f"the hold-out's probabilities differ from those of the exported model by up to "
            f"{largest:.2g}: they are of another model, or their rows are not in the order of the "
            "hold-out; no card is written"
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _replace(building: Path, folder: Path) -> None:
    """Put the finished card in place; an older one goes only when the new one is there."""
    if not folder.exists():
        building.replace(folder)
        return
    older = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(older, ignore_errors=True)
    folder.replace(older)
    building.replace(folder)
    shutil.rmtree(older, ignore_errors=True)
