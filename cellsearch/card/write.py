"""write_card: everything that is handed over, wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import files_of, write_checksums
from cellsearch.card.confidence import (
    calibration_of,
    confidence_metrics,
    measure_confidence,
    write_confidence,
)
from cellsearch.card.config import CONFIG, SEEN_CELLS, EnsembleMember
from cellsearch.card.described import described
from cellsearch.card.embedding import Projection
from cellsearch.card.evidence import write_evidence
from cellsearch.card.export import Fitted, Share, export, feature_facts, inputs_of, whole_module
from cellsearch.card.generated import GeneratorFigures, entries
from cellsearch.card.limits import limits_of
from cellsearch.card.metrics import METRICS_FILE, SearchFacts, card_metrics
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
from cellsearch.card.scoring import decided_both_ways
from cellsearch.data.dataset import CellDataset
from cellsearch.data.digests import cell_digests
from cellsearch.data.held_groups import HeldGroups
from cellsearch.errors import CardError
from cellsearch.stats.calibration import scaled
from cellsearch.stats.comparison import Scores
from cellsearch.stats.decision import Decision
from cellsearch.stats.evaluation import predicted_classes
from cellsearch.stats.metrics import confusion
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.ensemble import Choice
from cellsearch.tune.findings import Found
from cellsearch.util.atomic import whole_folder

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits
    from cellsearch.space.recipe import Recipe

COMPARED_CELLS = 256
SAME_PROBABILITIES = 1e-2


@dataclass(frozen=True)
class JoinedTrial:
    """A trial of the ensemble that is handed over.

    Attributes:
        trial: its number.
        recipe: that its predictor was trained by.
        share: how its predictor enters the mean.
    """

    trial: int
    recipe: Recipe
    share: Share


@dataclass(frozen=True, eq=False)
class Winner:
    """The model that is handed over, and what it predicts.

    Attributes:
        predictors: one refitted network, those of the folds, whose probabilities are averaged, or
            one of each trial of an ensemble.
        recipe: of the winner; of an ensemble that of its heaviest member.
        holdout_probabilities: (n, K) float32 of the predictors, not calibrated; rows in the order
            of ``splits.holdout``.
        oof: its out-of-fold predictions.
        generators: of the classes that cells were generated for.
        decision: how its probabilities become classes; None takes the greatest.
        joined: the trials of an ensemble, in the order of the predictors.
        choice: what joining them is worth; None where none was looked for.
    """

    predictors: Sequence[Fitted]
    recipe: Recipe
    holdout_probabilities: NDArray[np.float32]
    oof: Predictions
    generators: Sequence[GeneratorFigures] = ()
    decision: Decision | None = None
    joined: Sequence[JoinedTrial] = ()
    choice: Choice | None = None


@dataclass(frozen=True)
class CardOptions:
    """What a person chose for the card.

    Attributes:
        abstain: ``coverage=0.9`` or ``precision=0.95``: when a cell is ``uncertain``.
        sets: level of prediction sets, such as 0.9.
        projection: of the map of the hold-out; ``umap`` where umap-learn is installed, else t-SNE.
    """

    abstain: str | None = None
    sets: float | None = None
    projection: Projection = "tsne"


def write_card(
    folder: Path | str,
    winner: Winner,
    *,
    dataset: CellDataset,
    splits: Splits,
    scores: Scores,
    search: SearchFacts,
    command: str,
    found: Found | None = None,
    options: CardOptions | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> ModelCard:
    """Export, measure and describe the winner of a search.

    All is written beside the folder and renamed at the end, so a failure leaves nothing behind
    and an older card as it was.

    Args:
        folder: of the card; an older card there is replaced, anything else is refused.
        winner: the model and its predictions.
        dataset: all cells, hold-out included.
        splits: hold-out and folds.
        scores: winner and baseline, of ``card.scoring.score``.
        search: what the search was.
        command: that repeats the run.
        found: verdict on the search, and which choice mattered.
        options: of the card; by default none.
        on_stage: called with what is being done.

    Raises:
        CardError: the export differs from the trained model, the hold-out's probabilities are not
            the predictors' or not those that were scored, the folder is taken, or the disk refuses.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and not _is_empty(folder):
        raise CardError(f"{folder} exists and is not a card; name another folder")
    try:
        with whole_folder(folder) as building:
            building.mkdir()
            _write_into(
                building,
                winner,
                dataset=dataset,
                splits=splits,
                scores=scores,
                search=search,
                command=command,
                found=found or Found(),
                options=options or CardOptions(),
                on_stage=on_stage or _no_one,
            )
            write_checksums(building)
    except OSError as error:
        raise CardError(f"cannot write the card {folder}: {error.strerror or error}") from None
    return ModelCard.load(folder)


def _no_one(stage: str) -> None:
    del stage


def _write_into(
    folder: Path,
    winner: Winner,
    *,
    dataset: CellDataset,
    splits: Splits,
    scores: Scores,
    search: SearchFacts,
    command: str,
    found: Found,
    options: CardOptions,
    on_stage: Callable[[str], None],
) -> None:
    on_stage("exporting the card")
    held = np.asarray(splits.holdout, dtype=np.int64)
    oof, seed, not_estimable = winner.oof, search.seed, tuple(splits.not_estimable)
    predictors, uncalibrated = winner.predictors, winner.holdout_probabilities
    decision = winner.decision
    predicted = predicted_classes(uncalibrated, len(held), len(dataset.classes), decision)
    _require_scored(predicted, scores, dataset, held)
    rules = find_rules(oof, dataset.classes, abstain=options.abstain, sets=options.sets, seed=seed)
    probabilities = scaled(uncalibrated, rules.temperature.value)
    compared = held[np.linspace(0, len(held) - 1, min(len(held), COMPARED_CELLS)).astype(int)]
    module = whole_module(predictors, [each.share for each in winner.joined], decision)
    exported = export(
        module,
        inputs_of(module, dataset.images[compared]),
        folder,
        temperature=rules.temperature.value,
        decision=decision,
    )
    config = described(
        winner.recipe,
        dataset,
        splits,
        search.variant,
        rules,
        exported,
        feature_facts(module, dataset.channels),
        decision,
        members=len(predictors),
        ensemble=[
            EnsembleMember(
                trial=each.trial, weight=each.share.weight, recipe=each.recipe.to_params()
            )
            for each in winner.joined
        ],
    )
    write_json(folder / CONFIG, config.model_dump(mode="json"))
    write_checksums(folder)
    predictor = CardPredictor.load(folder)
    _require_same(predictor, dataset, held, probabilities)
    write_test_cells(folder, predictor, dataset, held)

    on_stage("measuring confidence")
    confidence = measure_confidence(
        rules, dataset, held, uncalibrated, predicted, oof, not_estimable=not_estimable, seed=seed
    )
    write_tables(folder, dataset, held, probabilities, predicted, oof)
    metrics = card_metrics(
        scores,
        found,
        export_largest_difference=exported.largest_difference,
        not_estimable=not_estimable,
        search=search,
        confidence=confidence_metrics(confidence, dataset.classes),
        decisions=decided_both_ways(
            dataset, splits, probabilities, config, scores.hold_out.winner, seed=seed
        ),
        limits=limits_of(
            config, scores.hold_out.winner, search, held=HeldGroups.of(dataset, splits)
        ),
        generated=entries(winner.generators),
        choice=winner.choice,
    )
    write_json(folder / METRICS_FILE, metrics.model_dump(exclude_unset=True))
    splits.save(folder / "splits.json")
    np.save(folder / SEEN_CELLS, np.sort(cell_digests(dataset.images)), allow_pickle=False)
    write_recipe(folder / "recipe.yaml", winner.recipe)
    write_json(folder / "versions.json", versions())
    on_stage("drawing the figures of the card")
    histories = [predictor.history for predictor in predictors]
    names = write_plots(folder / "plots", histories, scores.hold_out, scores.out_of_fold)
    write_confidence(folder, confidence)
    write_importance(folder, found.importance)
    on_stage("drawing curves, saliency and the map of the hold-out")
    evidence = write_evidence(
        folder,
        predictors,
        dataset,
        held,
        probabilities,
        predicted,
        oof,
        not_estimable=not_estimable,
        generators=winner.generators,
        projection=options.projection,
        seed=seed,
    )
    story = Story(
        config=config,
        metrics=metrics,
        calibration=calibration_of(confidence),
        importance=found.importance,
        evidence=evidence,
        notes=dataset.provenance.notes,
        label_free=dataset.provenance.label_free,
        grouped=dataset.groups is not None,
        counts=tuple(dataset.counts.tolist()),
        folds=splits.k,
        development=len(splits.development),
        command=command,
        plots=tuple(names),
        files=tuple(files_of(folder)),
    )
    (folder / README).write_text(write_readme(story), encoding="utf-8")


def _require_scored(
    predicted: NDArray[np.int64],
    scores: Scores,
    dataset: CellDataset,
    held: NDArray[np.int64],
) -> None:
    """The figures must be those of these predictions."""
    counts = confusion(dataset.labels[held], predicted, len(dataset.classes))
    if not np.array_equal(counts, scores.hold_out.winner.confusion):
        raise CardError("the scores are not those of the winner's hold-out probabilities")


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
