"""From the best trial to the card: refit, one look at the hold-out, export."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from cellsearch.card.metrics import EnsembleEntry
from cellsearch.errors import RunError, StorageError
from cellsearch.run.check import accepted_lines
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import RunRecord, replace_text, storage_url, study_name
from cellsearch.run.looks import take_look
from cellsearch.space.recipe import BASELINE
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.decision import decided
from cellsearch.stats.evaluation import BaselineFigures
from cellsearch.stats.metrics import metric_named
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.clock import CARD_SECONDS
from cellsearch.tune.ensemble import (
    MOST_MEMBERS,
    Choice,
    Ensemble,
    join_run,
    joined_probabilities,
    natural_decision,
)
from cellsearch.tune.findings import Found
from cellsearch.tune.importance import importance
from cellsearch.tune.looks import Looks
from cellsearch.tune.rule import StudyRule
from cellsearch.tune.trial_predictions import ENSEMBLE, out_of_fold, trial_predictions
from cellsearch.tune.verdict import corrected_differences, judge
from cellsearch.util.atomic import leftovers, remove

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


SCORING = "holdout.json"
"""Of a run's folder; there once the hold-out is scored."""

REFITS = 4
"""Times that a training which died is begun with another seed."""


def hand_over(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    observer: RunObserver,
    *,
    seconds: float | None = None,
) -> ModelCard:
    """Refit the winner and the baseline, score the hold-out once, write ``card/``.

    Args:
        record: of the run.
        folder: of the run.
        cells: the data set.
        splits: of the run.
        outcome: of the search.
        observer: who watches.
        seconds: that are left for all of it; None is no bound.

    Raises:
        RunError: the hold-out was scored before for another trial of this run.
    """
    from cellsearch.card.scoring import score
    from cellsearch.card.write import CardOptions, write_card

    best = outcome.best
    if best is None:
        raise ValueError("hand_over needs a complete trial")
    config = record.config
    ensemble = _ensemble(config, folder, cells, splits, outcome, observer, seconds)
    joined = ensemble if ensemble is not None and ensemble.accepted else None
    members = [best]
    if joined is not None:
        rows = {row.number: row for row in outcome.rows}
        members = [rows[each.trial] for each in joined.members]
    lead = members[0]
    _record_scoring(folder, lead, outcome)
    looks = take_look(record, folder, lead.number, cells, splits.holdout, observer)
    for leftover in leftovers(folder):  # of a process that was killed
        remove(leftover)
    predictors: list[Predictor] = []
    for row in members:
        who = "winner" if row is best else f"model of trial {row.number}"
        predictors += _final(row, folder, cells, splits, config, observer, who)
    _write_provenance(folder, "winner", predictors)
    if joined is not None:
        winner = _joined_winner(predictors, members, joined, folder, cells, splits)
    else:
        winner = _single_winner(predictors, best, ensemble, folder, cells, splits)
    baseline = _baseline(folder, cells, splits, outcome, config, observer, winner, predictors)
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
        search=_facts(record, outcome, lead, precision=str(predictors[0].precision)),
        command=record.command,
        found=findings(
            record, folder, cells, splits, outcome, scores.hold_out, looks, observer, ensemble
        ),
        options=CardOptions(
            abstain=config.abstain,
            sets=config.sets,
            projection="umap" if find_spec("umap") else "tsne",
        ),
        on_stage=observer.message,
    )
    _record_card(record, folder, observer)
    return card


def _ensemble(
    config: RunConfig,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    observer: RunObserver,
    seconds: float | None,
) -> Ensemble | None:
    """What joining trials is worth; the same once the hold-out was scored."""
    if config.final != "best" or outcome.best is None:
        return None
    rows, only = outcome.rows, None
    if (folder / SCORING).exists():
        known = Choice.load(folder)
        if known is None:
            return None
        only = set(known.pool)
    elif seconds is not None:
        only = _in_time(rows, outcome, splits, seconds)
    metric = metric_named(config.metric)
    found = join_run(folder, rows, cells, splits, metric, only=only, seed=config.seed)
    if found is None:
        return None
    choice = Choice.of(found)
    choice.save(folder)
    observer.message(EnsembleEntry.model_validate(asdict(choice)).sentence)
    return found


def _in_time(
    rows: Sequence[TrialRow], outcome: SearchOutcome, splits: Splits, seconds: float
) -> set[int]:
    """Trials of which any ``MOST_MEMBERS`` can be trained again in the time that is left."""
    again = len(splits.development) / len(splits.training(0))

    def cost(row: TrialRow) -> float:
        return again * row.seconds / max(1, row.folds)

    best, baseline = outcome.best, outcome.baseline
    spent = CARD_SECONDS + sum(cost(row) for row in (best, baseline) if row is not None)
    share = max(0.0, seconds - spent) / (MOST_MEMBERS - 1)
    return {row.number for row in rows if row is best or cost(row) <= share}


def _single_winner(
    predictors: Sequence[Predictor],
    best: TrialRow,
    ensemble: Ensemble | None,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
) -> Winner:
    """The best trial, trained again."""
    from cellsearch.card.write import Winner

    return Winner(
        predictors=predictors,
        recipe=best.recipe,
        holdout_probabilities=_mean_probabilities(predictors, cells, splits.holdout),
        oof=_out_of_fold(folder, best, cells, splits),
        generators=_generators(predictors[0], cells),
        decision=StudyRule.load(folder).decision([each.priors for each in predictors]),
        choice=None if ensemble is None else Choice.of(ensemble),
    )


def _joined_winner(
    predictors: Sequence[Predictor],
    members: Sequence[TrialRow],
    ensemble: Ensemble,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
) -> Winner:
    """The trials of an ensemble, each trained again on all development cells."""
    from cellsearch.card.export import Share
    from cellsearch.card.write import JoinedTrial, Winner

    rule = StudyRule.load(folder)
    decisions = []
    for row, predictor in zip(members, predictors, strict=True):
        decision = rule.decision([predictor.priors])
        if decision is None:
            raise ValueError(f"trial {row.number} was trained without keeping its priors")
        decisions.append(decision)
    whole = natural_decision(decisions[0])
    weights = [each.weight for each in ensemble.members]
    held = [each.predict_proba(cells, splits.holdout) for each in predictors]
    return Winner(
        predictors=predictors,
        recipe=members[0].recipe,
        holdout_probabilities=joined_probabilities(held, weights, decisions, whole),
        oof=ensemble.predictions,
        generators=[each for predictor in predictors for each in _generators(predictor, cells)],
        decision=whole,
        joined=[
            JoinedTrial(row.number, row.recipe, Share(weight, decision))
            for row, weight, decision in zip(members, weights, decisions, strict=True)
        ],
        choice=Choice.of(ensemble),
    )


def _baseline(
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    config: RunConfig,
    observer: RunObserver,
    winner: Winner,
    predictors: Sequence[Predictor],
) -> BaselineFigures:
    """Trial 0 refitted like the winner, on the same cells; empty where it did not finish."""
    reference = outcome.baseline
    if reference is None or reference.state != "COMPLETE":
        return BaselineFigures()
    probabilities, decision = winner.holdout_probabilities, winner.decision
    again = {each.trial: at for at, each in enumerate(winner.joined)}
    if again or outcome.best is None or reference.number != outcome.best.number:
        if reference.number in again:
            members = [predictors[again[reference.number]]]
        else:
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
    path = folder / SCORING
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
    members = splits.k if config.final == "folds" else 1
    backbone = None if config.init_from is None else read_backbone(config.init_from)
    # As in the folds by which the recipe was judged, rather than what a stopwatch says today.
    precision = Precision.parse(finished_folds(folder, row.number, range(1))[0].precision)
    trained = []
    for member in range(members):
        cells_of = splits.development if config.final != "folds" else splits.training(member)
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
    predictors: Sequence[Predictor], cells: CellDataset, indices: NDArray[np.int64]
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
    ensemble: Ensemble | None = None,
) -> Found:
    """The verdict on the search, and which choice mattered.

    Args:
        record: of the run.
        folder: of the run.
        cells: the data set.
        splits: of the run.
        outcome: of the search.
        holdout: winner and baseline.
        observer: who watches.
        ensemble: that was looked at; the winner, where it was accepted.

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
    corrected, looked_at = None, trials
    joined = ensemble is not None and ensemble.accepted
    if ensemble is not None and joined:
        looked_at = trials.with_ensemble(_in_order(ensemble, splits, cells), splits.k)
    winner = ENSEMBLE if joined else best.number
    rule = StudyRule.load(folder)
    briefly = sum(row.looked_at_briefly for row in outcome.rows)
    if baseline is not None:
        corrected = corrected_differences(
            looked_at,
            metric,
            baseline=baseline,
            # Each short training was a look at the validation cells, too, and so was an ensemble
            # that was not taken.
            more_looks=rule.looks + briefly + (ensemble is not None and not joined),
            seed=seed,
        )
    if corrected is not None and winner not in (*corrected.numbers, baseline):
        corrected = None
    verdict = judge(
        metric,
        holdout.differences.get(metric),
        corrected,
        winner=winner,
        baseline=baseline,
        briefly=briefly,
        also=["their ensemble"] * (ensemble is not None)
        + ["the choice of the decision rule"] * rule.looks,
    )
    observer.message("ranking which choices mattered")
    study = _study(record, folder, observer)
    recipes = {row.number: row.recipe for row in outcome.rows}
    verdict = verdict.cautioned(looks)
    if short := _shortened(reference):
        verdict = replace(verdict, sentence=f"{verdict.sentence}; {short}")
    found = Found(verdict, importance(metric, trials, recipes, study, seed=seed), looks)
    if study is not None:
        _tell_dashboard(study, folder, found, observer)
    return found


def _shortened(reference: TrialRow | None) -> str:
    """What to say of a baseline that got fewer epochs for the time; "" where it did not."""
    if reference is None or reference.recipe.train.epochs >= BASELINE.train.epochs:
        return ""
    epochs = f"{reference.recipe.train.epochs} of its {BASELINE.train.epochs} epochs"
    return f"the time allowed the baseline {epochs}"


def _in_order(ensemble: Ensemble, splits: Splits, cells: CellDataset) -> NDArray[np.int64]:
    """(n,) classes of an ensemble, cells as ``trial_predictions`` has them."""
    called = np.full(len(cells), -1, np.int64)
    called[ensemble.predictions.cells] = ensemble.predictions.predicted
    return called[np.concatenate(splits.folds)]


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
