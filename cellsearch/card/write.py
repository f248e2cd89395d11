"""write_card: everything that is handed over, wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import files_of, write_checksums
from cellsearch.card.confidence import confidence_as_json, measure_confidence, write_confidence
from cellsearch.card.config import CONFIG, SEEN_CELLS
from cellsearch.card.described import described
from cellsearch.card.embedding import Projection
from cellsearch.card.evidence import write_evidence
from cellsearch.card.export import Fitted, export, feature_facts, inputs_of, whole_module
from cellsearch.card.generated import GeneratorFigures
from cellsearch.card.metrics import METRICS_FILE, card_metrics
from cellsearch.card.parts import (
    versions,
    write_importance,
    write_json,
    write_plots,
    write_recipe,
    write_tables,
    write_test_cells,
)
from cellsearch.card.predict import CardPredictor
from cellsearch.card.readme import Story, write_readme
from cellsearch.card.replay import README
from cellsearch.card.rules import find_rules
from cellsearch.card.scoring import compare_holdout, compare_pooled, decided_both_ways
from cellsearch.data.dataset import CellDataset
from cellsearch.data.digests import cell_digests
from cellsearch.errors import CardError
from cellsearch.stats.calibration import scaled
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.decision import Decision
from cellsearch.stats.evaluation import BaselineFigures, OofFigures, predicted_classes
from cellsearch.tune.findings import Found
from cellsearch.util.atomic import whole_folder

__all__ = ["BaselineFigures", "GeneratorFigures", "OofFigures", "write_card"]

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits
    from cellsearch.space.recipe import Recipe

Findings = Callable[[Comparison], Found]
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
    decision: Decision | None = None,
    oof: OofFigures,
    baseline: BaselineFigures | None,
    search_facts: Mapping[str, Any],
    command: str,
    generators: Sequence[GeneratorFigures] = (),
    projection: Projection = "tsne",
    abstain: str | None = None,
    sets: float | None = None,
    findings: Findings | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> ModelCard:
    """Export, measure and describe the winner of a search.

    All is written beside the folder and renamed at the end, so a failure leaves nothing behind
    and an older card as it was.

    Args:
        folder: of the card; an older card there is replaced, anything else is refused.
        predictors: one refitted network, or those of the folds, whose probabilities are averaged.
        recipe: of the winner.
        dataset: all cells, hold-out included.
        splits: hold-out and folds.
        holdout_probabilities: (n, K) float32 of the predictors, not calibrated; rows in the order
            of ``splits.holdout``.
        decision: how the predictors' probabilities become classes; None takes the greatest.
        oof: the winner's out-of-fold predictions.
        baseline: of trial 0, on the same cells; None where there is none.
        search_facts: any of ``metric``, ``seed``, ``budget`` (trials or None), ``trials``
            ({"complete": n, "pruned": n, "failed": n}), ``seconds`` spent in trials, ``space``,
            ``space_sha256``, ``winner`` and ``baseline_trial`` (trial numbers), ``variant`` of the
            data set, ``accepted`` (errors of the check of the cells, a line each). Others are kept
            in metrics.json, if JSON holds them.
        command: that repeats the run.
        generators: of the classes that cells were generated for.
        projection: of the map of the hold-out; ``umap`` where umap-learn is installed, else t-SNE.
        abstain: ``coverage=0.9`` or ``precision=0.95``: when a cell is ``uncertain``.
        sets: level of prediction sets, such as 0.9.
        findings: gives the verdict on the search, and which choice mattered, for the comparison
            with the baseline on the hold-out.
        on_stage: told what is being done.

    Raises:
        CardError: the export differs from the trained model, the hold-out's probabilities are not
            the predictors', the folder is taken, or the disk refuses.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and not _is_empty(folder):
        raise CardError(f"{folder} exists and is not a card; name another folder")
    try:
        with whole_folder(folder) as building:
            building.mkdir()
            _write_into(
                building,
                predictors=predictors,
                recipe=recipe,
                dataset=dataset,
                splits=splits,
                holdout_probabilities=holdout_probabilities,
                decision=decision,
                oof=oof,
                baseline=baseline or BaselineFigures(),
                search_facts=search_facts,
                command=command,
                generators=generators,
                projection=projection,
                abstain=abstain,
                sets=sets,
                findings=findings,
                tell=on_stage or _to_nobody,
            )
            write_checksums(building)
    except OSError as error:
        raise CardError(f"cannot write the card {folder}: {error.strerror or error}") from None
    return ModelCard.load(folder)


def _to_nobody(stage: str) -> None:
    del stage


def _write_into(
    folder: Path,
    *,
    predictors: Sequence[Fitted],
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    holdout_probabilities: NDArray[np.float32],
    decision: Decision | None,
    oof: OofFigures,
    baseline: BaselineFigures,
    search_facts: Mapping[str, Any],
    command: str,
    generators: Sequence[GeneratorFigures],
    projection: Projection,
    abstain: str | None,
    sets: float | None,
    findings: Findings | None,
    tell: Callable[[str], None],
) -> None:
    tell("exporting the card")
    held = np.asarray(splits.holdout, dtype=np.int64)
    k = len(dataset.classes)
    predicted = predicted_classes(holdout_probabilities, len(held), k, decision)
    seed = int(search_facts.get("seed") or 0)
    rules = find_rules(oof, dataset.classes, abstain=abstain, sets=sets, seed=seed)
    plain_probabilities = holdout_probabilities
    holdout_probabilities = scaled(plain_probabilities, rules.temperature.value)
    compared = held[np.linspace(0, len(held) - 1, min(len(held), COMPARED_CELLS)).astype(int)]
    module = whole_module(predictors)
    exported = export(
        module,
        inputs_of(module, dataset.images[compared]),
        folder,
        temperature=rules.temperature.value,
        decision=decision,
    )
    config = described(
        recipe,
        dataset,
        splits,
        search_facts,
        rules,
        exported,
        feature_facts(module, dataset.channels),
        decision,
        members=len(predictors),
    )
    write_json(folder / CONFIG, config.model_dump(mode="json"))
    write_checksums(folder)
    predictor = CardPredictor.load(folder)
    _require_same(predictor, dataset, held, holdout_probabilities)
    write_test_cells(folder, predictor, dataset, held)

    tell("finding the intervals of the hold-out's figures")
    holdout = compare_holdout(dataset, splits, predicted, baseline, seed=seed)
    pooled = compare_pooled(dataset, splits, oof, baseline, seed=seed)
    decisions = decided_both_ways(
        dataset, splits, holdout_probabilities, config, holdout.winner, seed=seed
    )
    found = findings(holdout) if findings is not None else Found()
    tell("measuring confidence")
    confidence = measure_confidence(
        rules,
        dataset,
        held,
        plain_probabilities,
        predicted,
        oof,
        not_estimable=tuple(splits.not_estimable),
        seed=seed,
    )
    write_tables(folder, dataset, held, holdout_probabilities, predicted, oof)
    figures = card_metrics(
        holdout,
        pooled,
        found,
        export_largest_difference=exported.largest_difference,
        not_estimable=tuple(splits.not_estimable),
        search=search_facts,
        confidence=confidence_as_json(confidence, dataset.classes),
        decisions=decisions,
    )
    write_json(folder / METRICS_FILE, figures.model_dump(exclude_unset=True))
    splits.save(folder / "splits.json")
    np.save(folder / SEEN_CELLS, np.sort(cell_digests(dataset.images)), allow_pickle=False)
    write_recipe(folder / "recipe.yaml", recipe)
    write_json(folder / "versions.json", versions())
    tell("drawing the card's figures")
    names = write_plots(
        folder / "plots",
        [predictor.history for predictor in predictors],
        holdout,
        pooled,
    )
    write_confidence(folder, confidence)
    write_importance(folder, found.importance)
    tell("drawing curves, saliency and the map of the hold-out")
    evidence = write_evidence(
        folder,
        predictors,
        dataset,
        held,
        holdout_probabilities,
        predicted,
        oof,
        not_estimable=tuple(splits.not_estimable),
        generators=generators,
        projection=projection,
        seed=seed,
    )
    story = Story(
        config=config,
        notes=dataset.provenance.notes,
        label_free=dataset.provenance.label_free,
        grouped=dataset.groups is not None,
        counts=tuple(dataset.counts.tolist()),
        folds=splits.k,
        development=len(splits.development),
        holdout=holdout,
        oof=pooled,
        decisions=decisions,
        search=search_facts,
        command=command,
        plots=tuple(names),
        evidence=evidence,
        confidence=confidence,
        found=found,
        export_difference=exported.largest_difference,
        files=tuple(files_of(folder)),
    )
    (folder / README).write_text(write_readme(story), encoding="utf-8")


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
