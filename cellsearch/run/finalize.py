"""From the best trial to the card: refit, one look at the hold-out, export."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from cellsearch.errors import RunError, StorageError
from cellsearch.run.check import accepted_lines
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import RunRecord, replace_text, storage_url, study_name
from cellsearch.run.looks import take_look
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.decision import decided
from cellsearch.stats.evaluation import BaselineFigures
from cellsearch.stats.metrics import metric_named
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.findings import Found
from cellsearch.tune.importance import importance
from cellsearch.tune.looks import Looks
from cellsearch.tune.rule import StudyRule
from cellsearch.tune.trial_predictions import out_of_fold, trial_predictions
from cellsearch.tune.verdict import corrected_differences, judge
from cellsearch.util.atomic import remove

if TYPE_CHECKING:
    import optuna
    from numpy.typing import NDArray

    from cellsearch.card.card import ModelCard
    from cellsearch.card.generated import GeneratorFigures
    from cellsearch.card.metrics import SearchFacts
    from cellsearch.card.write import Winner
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.learn.predictor import Predictor
    from cellsearch.run.observer import RunObserver
    from cellsearch.tune.study import SearchOutcome, TrialRow


REFITS = 4
"""Times that a training which died is begun with another seed."""


def hand_over(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    observer: RunObserver,
) -> ModelCard:
    """Refit the winner and the baseline, score the hold-out once, write ``card/``.

    Raises:
        RunError: the hold-out was scored before for another trial of this run.
    """
    from cellsearch.card.scoring import score
    from cellsearch.card.write import CardOptions, Winner, write_card

    best = outcome.best
    if best is None:
        raise ValueError("hand_over needs a complete trial")
    _record_scoring(folder, best, outcome)
    looks = take_look(record, folder, best.number, cells, splits.holdout, observer)
    for leftover in folder.glob(".card.*.tmp"):  # of a process that was killed
        remove(leftover)
    config = record.config
    predictors = _final(best, folder, cells, splits, config, observer, "winner")
    _write_provenance(folder, "winner", predictors)
    rule = StudyRule.load(folder)
    winner = Winner(
        predictors=predictors,
        recipe=best.recipe,
        holdout_probabilities=_mean_probabilities(predictors, cells, splits.holdout),
        oof=_out_of_fold(folder, best, cells, splits),
        generators=_generators(predictors[0], cells),
        decision=rule.decision([each.priors for each in predictors]),
    )
    baseline = _baseline(folder, cells, splits, outcome, config, observer, winner)
    observer.message("finding the intervals of the hold-out's figures")
    scores = score(
        cells,
        splits,
        winner.holdout_probabilities,
        winner.oof,
        baseline,
        decision=winner.decision,
        seed=config.seed,
    )
    card = write_card(
        folder / "card",
        winner,
        dataset=cells,
        splits=splits,
        scores=scores,
        search=_facts(record, outcome, best, precision=str(predictors[0].precision)),
        command=record.command,
        found=findings(record, folder, cells, splits, outcome, scores.hold_out, looks, observer),
        options=CardOptions(
            abstain=config.abstain,
            sets=config.sets,
            projection="umap" if find_spec("umap") else "tsne",
        ),
        on_stage=observer.message,
    )
    _record_card(record, folder, observer)
    return card


def _baseline(
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    config: RunConfig,
    observer: RunObserver,
    winner: Winner,
) -> BaselineFigures:
    """Trial 0 refitted like the winner, on the same cells; empty where it did not finish."""
    reference = outcome.baseline
    if reference is None or reference.state != "COMPLETE":
        return BaselineFigures()
    probabilities, decision = winner.holdout_probabilities, winner.decision
    if outcome.best is None or reference.number != outcome.best.number:
        members = _final(reference, folder, cells, splits, config, observer, "baseline")
        _write_provenance(folder, "baseline", members)
        probabilities = _mean_probabilities(members, cells, splits.holdout)
        decision = StudyRule.load(folder).decision([each.priors for each in members])
    return BaselineFigures(
        oof=_out_of_fold(folder, reference, cells, splits),
        holdout_probabilities=probabilities,
        decision=decision,
    )


def _record_card(record: RunRecord, folder: Path, observer: RunObserver) -> None:
    """Let the database that others read know where the card lies."""
    from cellsearch.tune.store import Store

    try:
        store = Store(storage_url(record.config, folder))
        store.record_card(study_name(record, folder), (folder / "card").resolve())
        store.close()
    except (StorageError, SQLAlchemyError) as error:
        # The card is whole without it.
        observer.message(f"the database does not know where the card lies: {error}")


def _record_scoring(folder: Path, best: TrialRow, outcome: SearchOutcome) -> None:
    """Write down that the hold-out is read, before it is; a second winner is refused."""
    path = folder / "holdout.json"
    if path.exists():
        scored = json.loads(path.read_text())
        if scored["trial"] != best.number:
            raise RunError(
                f"the hold-out of {folder} was scored for trial {scored['trial']}; scoring it "
                f"again for trial {best.number} would be selecting by it"
            )
        return
    when = datetime.now(UTC).isoformat(timespec="seconds")
    seen = sorted(row.number for row in outcome.rows)
    facts = {"trial": best.number, "scored": when, "trials": seen}
    replace_text(path, json.dumps(facts) + "\n")


def _final(
    row: TrialRow,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    config: RunConfig,
    observer: RunObserver,
    who: str,
) -> list[Predictor]:
    """One network of all development cells, or one of each fold's training cells."""
    from cellsearch.learn.fit import fit
    from cellsearch.learn.precision import Precision
    from cellsearch.learn.transfer import read_backbone
    from cellsearch.tune.job import finished_folds

    recipe = row.recipe

    def follow(member: int) -> Callable[[int, dict[str, float]], None]:
        def on_epoch(epoch: int, _: dict[str, float]) -> None:
            observer.progress(
                f"training the {who} on all development cells",
                member * epochs + epoch,
                members * epochs,
            )

        return on_epoch

    epochs = recipe.train.epochs
    members = 1 if config.final == "refit" else splits.k
    backbone = None if config.init_from is None else read_backbone(config.init_from)
    # As in the folds by which the recipe was judged, rather than what a stopwatch says today.
    precision = Precision.parse(finished_folds(folder, row.number, range(1))[0].precision)
    trained = []
    for member in range(members):
        cells_of = splits.development if config.final == "refit" else splits.training(member)
        for attempt in range(REFITS):
            predictor = fit(
                recipe,
                cells,
                cells_of,
                seed=config.seed + member + 1000 * attempt,
                device=config.device,
                precision=precision,
                backbone=backbone,
                on_epoch=follow(member),
                on_stage=observer.progress,
            )
            if not _collapsed(predictor, cells, cells_of):
                break
            observer.message(
                f"the {who} predicted one class for all its training cells; training it again"
            )
        trained.append(predictor)
    return trained


def _write_provenance(folder: Path, who: str, predictors: list[Predictor]) -> None:
    """``final/winner-0.npz``: from which cells a refitted network was made."""
    for member, predictor in enumerate(predictors):
        if predictor.provenance is not None:
            predictor.provenance.save(folder / "final" / f"{who}-{member}.npz")


def _collapsed(predictor: Predictor, cells: CellDataset, indices: NDArray[np.int64]) -> bool:
    """Whether all training cells get the same class, as when a training died at its start.

    Asked of training cells alone, so the hold-out has no part in it.
    """
    some = indices[:: max(1, len(indices) // 1000)]
    return len(np.unique(decided(predictor.predict_proba(cells, some), None))) < 2


def _mean_probabilities(
    predictors: list[Predictor], cells: CellDataset, indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    members = np.stack([p.predict_proba(cells, indices) for p in predictors])
    mean: NDArray[np.float32] = members.mean(axis=0, dtype=np.float32)
    return mean


def _out_of_fold(folder: Path, row: TrialRow, cells: CellDataset, splits: Splits) -> Predictions:
    from cellsearch.tune.job import finished_folds

    folds = finished_folds(folder, row.number, range(splits.k))
    return out_of_fold(folds, cells, splits, StudyRule.load(folder))


def _generators(predictor: Predictor, cells: CellDataset) -> list[GeneratorFigures]:
    """What generators made for the final network, or for the first of several."""
    from cellsearch.card.generated import GeneratorFigures

    return [
        GeneratorFigures(
            class_name=each.class_name,
            kind=each.kind,
            real=cells.images[each.learnt_from],
            generated=each.images,
            critic=each.critic,
            nearest_ratio=each.nearest_ratio,
            notes=each.notes,
        )
        for each in predictor.generated
    ]


def _facts(
    record: RunRecord, outcome: SearchOutcome, best: TrialRow, *, precision: str
) -> SearchFacts:
    from cellsearch.card.metrics import SearchFacts

    config = record.config
    states = Counter(row.state.lower() for row in outcome.rows)
    facts = {
        "space": config.space,
        "space_sha256": record.space_sha256,
        "metric": config.metric,
        "seed": config.seed,
        "budget": config.budget,
        "trials": {state: states[state] for state in ("complete", "pruned", "fail")},
        "seconds": sum(row.seconds for row in outcome.rows),
        "winner": best.number,
        "baseline_trial": outcome.baseline.number if outcome.baseline else None,
        "variant": config.variant,
        "init_from": None if config.init_from is None else str(config.init_from.resolve()),
        "final": config.final,
        "started": record.created,
        "accepted": accepted_lines(record.accepted),
        "precision": precision,
    }
    return SearchFacts.model_validate(facts)


def findings(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    holdout: Comparison,
    looks: Looks,
    observer: RunObserver,
) -> Found:
    """The verdict on the search, and which choice mattered.

    Raises:
        ValueError: no trial is complete.
    """
    best, reference = outcome.best, outcome.baseline
    if best is None:
        raise ValueError("findings need a complete trial")
    baseline = None if reference is None or reference.state != "COMPLETE" else reference.number
    metric = metric_named(record.config.metric)
    seed = record.config.seed
    observer.message("comparing the trials with the baseline")
    trials = trial_predictions(folder, outcome.rows, cells, splits)
    corrected = None
    briefly = sum(row.looked_at_briefly for row in outcome.rows)
    if baseline is not None:
        corrected = corrected_differences(
            trials,
            metric,
            baseline=baseline,
            # Each short training was a look at the validation cells, too.
            more_looks=StudyRule.load(folder).looks + briefly,
            seed=seed,
        )
    if corrected is not None and best.number not in (*corrected.numbers, baseline):
        corrected = None
    verdict = judge(
        metric,
        holdout.differences.get(metric),
        corrected,
        winner=best.number,
        baseline=baseline,
        briefly=briefly,
    )
    observer.message("ranking which choices mattered")
    study = _study(record, folder, observer)
    recipes = {row.number: row.recipe for row in outcome.rows}
    verdict = verdict.cautioned(looks)
    found = Found(verdict, importance(metric, trials, recipes, study, seed=seed), looks)
    if study is not None:
        _tell_dashboard(study, folder, found, observer)
    return found


def _study(record: RunRecord, folder: Path, observer: RunObserver) -> optuna.Study | None:
    from cellsearch.tune.study import read_study

    try:
        return read_study(storage_url(record.config, folder), study_name(record, folder))
    except StorageError as error:
        observer.message(f"the study cannot be read, so parameters are not ranked: {error}")
        return None


def _tell_dashboard(study: optuna.Study, folder: Path, found: Found, observer: RunObserver) -> None:
    """Verdict and importance as the study's note, the picture as its artifact."""
    from cellsearch.card.importance_plot import importance_figure
    from cellsearch.card.plots import save
    from cellsearch.card.readme import importance_section
    from cellsearch.tune.dashboard import attach_to_study

    verdict, mattered = found.verdict, found.importance
    if verdict is None or mattered is None:
        return
    picture = importance_figure(mattered)
    path = None
    try:
        if picture is not None:
            path = folder / save(picture, folder, "importance")[0]
        body = f"{verdict.sentence}\n\n{importance_section(mattered, pictured=False)}"
        attach_to_study(study, folder, body, path)
    except Exception as error:
        # The card does not hang on what a dashboard shows.
        observer.message(f"no note on the study for the dashboard ({error})")
