"""Checks of how a run ended: final networks, one look at the hold-out, card, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.audit.evidence import Evidence
from cellsearch.audit.parts import holds_recipe
from cellsearch.audit.report import Check, nothing, verdict
from cellsearch.card.abstain import Abstention
from cellsearch.card.config import CardConfig, read_config
from cellsearch.card.conformal import PredictionSets
from cellsearch.card.predictions import predictions_of
from cellsearch.card.rules import find_rules
from cellsearch.data.splits import Splits, SplitsFile
from cellsearch.errors import CellsearchError, SplitError
from cellsearch.learn.provenance import Provenance
from cellsearch.run.history import card_of
from cellsearch.run.looks import looks_of
from cellsearch.run.warm_start import seen_cells
from cellsearch.stats.metrics import metric_named
from cellsearch.tune.ensemble import Choice, Ensemble, join_run
from cellsearch.tune.looks import looked as looked_at
from cellsearch.tune.rule import StudyRule
from cellsearch.tune.trial_predictions import out_of_fold
from cellsearch.util.json_text import from_json

Indices = NDArray[np.int64]

MOST_RUNS = 3
"""Runs that a line names."""

SAME = 1e-4
"""Largest difference of a threshold that is fitted again, relative; other machines round."""


def final_networks(evidence: Evidence) -> Check:
    """No hold-out cell has a part in a network that is scored on the hold-out."""
    name = "final networks were trained without the hold-out"
    splits = evidence.splits
    if splits is None or not evidence.final:
        return nothing(name, "the run does not record which cells they were trained on")
    problems, cells = [], []
    for who, made in evidence.final.items():
        for what, used in _uses(made):
            wrong = np.setdiff1d(used, splits.development)
            if len(wrong):
                problems.append(f"{who}: {what} {len(wrong):,} cells outside the development set")
                cells += evidence.named(wrong)
    return verdict(name, problems, f"networks: {len(evidence.final)}", cells)


def holdout_once(evidence: Evidence) -> Check:
    """The hold-out was read for one trial, and no trial was made after that."""
    name = "this run read its hold-out once"
    looked = evidence.holdout
    if looked is None:
        if evidence.card is None and evidence.record.state != "finished":
            return nothing(name, "it has not been read")
        return verdict(
            name,
            [
                "there is a card, but holdout.json, which records when the hold-out was read, is "
                "missing"
            ],
            "",
        )
    problems = []
    trial = looked.get("trial")
    winner = _search_facts(evidence).get("winner")
    if winner is not None and winner != trial:
        problems.append(f"it was read for trial {trial} and again for trial {winner} of the card")
    if "trials" in looked and evidence.rows is not None:
        later = sorted({row.number for row in evidence.rows} - set(looked["trials"]))
        if later:
            numbers = ", ".join(map(str, later[:5]))
            problems.append(f"trials were trained after it was read: {numbers}")
    cells: list[str] = []
    if evidence.card is not None and evidence.splits is not None:
        wanted = set(evidence.named(evidence.splits.holdout))
        cells = sorted(wanted.symmetric_difference(_predicted(evidence)))
        if cells:
            problems.append(f"the card's predictions and the hold-out differ in {len(cells)} cells")
    passed = f"for trial {trial}, {looked.get('scored', '')}{_which_look(evidence)}"
    return verdict(name, problems, passed, cells)


def _which_look(evidence: Evidence) -> str:
    """Which look at these cells it was, and which runs had one before."""
    looks = looks_of(evidence.folder)
    if looks is None:
        return ""
    runs = (evidence.holdout or {}).get("scored_before_by", [])
    more = f" and {len(runs) - MOST_RUNS} more" if len(runs) > MOST_RUNS else ""
    by = f", scored before by {', '.join(runs[:MOST_RUNS])}{more}" if runs else ""
    return f"; {looked_at(looks)}{by}"


def card_of_this_run(evidence: Evidence) -> Check:
    """The card is of the best trial, on these cells and splits."""
    name = "the card is of this run's best trial"
    card = evidence.card
    if card is None:
        return nothing(name, "there is no card yet")
    record = evidence.record
    problems = []
    if card.dataset.sha256 != record.dataset_sha256:
        problems.append("it belongs to another data set")
    found = {card.splits_sha256}
    try:
        found.add(SplitsFile.read(evidence.folder / "card" / "splits.json").sha256)
    except SplitError as error:
        problems.append(str(error))
    if found != {record.splits_sha256}:
        problems.append(
            f"it has other splits: sha256 {card.splits_sha256[:12]}, the run's are "
            f"{record.splits_sha256[:12]}"
        )
    winner = _search_facts(evidence).get("winner")
    row = None if winner is None else evidence.row(winner)
    if row is not None and not holds_recipe(card.recipe, row.recipe):
        problems.append(f"its recipe is not that of trial {winner}")
    scores = [each.score for each in evidence.rows or () if each.state == "COMPLETE"]
    best = max((score for score in scores if score is not None), default=None)
    alone = not card.ensemble
    if alone and row is not None and best is not None and (row.score or 0.0) < best:
        problems.append(
            f"trial {winner} scored {row.score:.4f} out of fold, another trial {best:.4f}: the "
            "best trial was not chosen"
        )
    return verdict(name, problems, f"trial {winner}, splits {record.splits_sha256[:12]}")


def calibration(evidence: Evidence) -> Check:
    """Temperature and thresholds are those that out-of-fold predictions give, fitted again."""
    name = "calibration was fitted on out-of-fold predictions only"
    card, splits = evidence.card, evidence.splits
    winner = _search_facts(evidence).get("winner")
    if card is None or splits is None or card.temperature is None or winner is None:
        return nothing(name, "there is no card yet" if card is None else "the card has none")
    folds = [each.result for each in evidence.folds if each.trial == winner and not each.rung]
    if len(folds) != splits.k:
        return nothing(name, f"folds of trial {winner} are missing")
    folds.sort(key=lambda fold: fold.fold)
    rule = StudyRule.load(evidence.folder)
    pooled = out_of_fold(folds, evidence.cells, splits, rule)
    problems = []
    if card.ensemble:
        joined = _joined_again(evidence, splits)
        if joined is None:
            return nothing(name, "folds of the trials that were joined are missing")
        pooled = joined.predictions
        if [each.trial for each in joined.members] != [each.trial for each in card.ensemble]:
            problems.append(
                "the card joins other trials than those that out-of-fold predictions choose"
            )
    again = find_rules(
        pooled,
        card.classes,
        abstain=None if card.abstention is None else _asked(card),
        sets=None if card.sets is None else card.sets.level,
        seed=evidence.record.config.seed,
    )
    if not np.isclose(again.temperature.value, card.temperature, rtol=SAME):
        problems.append(
            f"the card's temperature is {card.temperature:.4f}, out-of-fold predictions give "
            f"{again.temperature.value:.4f}: it was fitted on other cells"
        )
    for what, found, stored in (
        ("thresholds of abstention", again.abstention, card.abstention),
        ("thresholds of prediction sets", again.sets, card.sets),
        ("facts for prevalence", again.prevalence, card.prevalence),
    ):
        if stored is None or _of_older_rules(stored):
            continue
        if found is None or not _alike(found, stored):
            problems.append(f"{what} do not match the out-of-fold predictions")
    return verdict(name, problems, f"temperature {card.temperature:.3f} of {len(pooled):,} cells")


def _joined_again(evidence: Evidence, splits: Splits) -> Ensemble | None:
    """The ensemble of a run, found again in its folds."""
    config, choice = evidence.record.config, Choice.load(evidence.folder)
    if choice is None or evidence.rows is None:
        return None
    return join_run(
        evidence.folder,
        evidence.rows,
        evidence.cells,
        splits,
        metric_named(config.metric),
        only=set(choice.pool),
        seed=config.seed,
    )


def first_weights(evidence: Evidence) -> Check:
    """A card to begin with has seen none of these cells."""
    name = "the warm-start card has seen none of these cells"
    origin = evidence.record.config.init_from
    if origin is None:
        return nothing(name, "no warm start: networks started from random or published weights")
    try:
        seen = seen_cells(origin, read_config(origin), evidence.cells)
    except (CellsearchError, OSError, ValueError, KeyError):
        return nothing(name, f"the card {origin} can no longer be read")
    problems = [f"{origin} was trained or scored on {len(seen):,} of them"] if seen else []
    return verdict(name, problems, str(origin), seen)


def _uses(made: Provenance) -> list[tuple[str, Indices]]:
    parts = [
        ("it was trained on", made.trained),
        ("its early stopping used", made.watched),
        ("its normalisation used", made.normalised),
    ]
    return parts + [
        (f"the generator of {each.class_name} used", each.learnt_from) for each in made.generators
    ]


def _search_facts(evidence: Evidence) -> dict[str, Any]:
    path = evidence.folder / "card" / "metrics.json"
    try:
        facts: dict[str, Any] = from_json(path.read_text(encoding="utf-8"))["search"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return facts


def _predicted(evidence: Evidence) -> set[str]:
    try:
        return set(predictions_of(card_of(evidence.folder), "holdout").ids)
    except CellsearchError:
        return set()


def _asked(card: CardConfig) -> str:
    return "" if card.abstention is None else f"{card.abstention.rule}={card.abstention.level}"


def _of_older_rules(stored: Any) -> bool:
    """Whether an older version found these thresholds, by rules that are no more."""
    if isinstance(stored, Abstention):
        return stored.rule == "precision" and stored.error is None
    return isinstance(stored, PredictionSets) and stored.error is None


def _alike(found: Any, stored: Any) -> bool:
    """Equal but for rounding, number by number; of what an older card states."""
    facts = stored.model_dump(exclude_unset=True)
    one, other = _numbers({name: getattr(found, name) for name in facts}), _numbers(facts)
    return len(one) == len(other) and bool(
        np.allclose(np.array(one), np.array(other), rtol=1e-2, atol=1e-3, equal_nan=True)
    )


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for each in value.values() for number in _numbers(each)]
    if isinstance(value, list | tuple):
        return [number for each in value for number in _numbers(each)]
    if value is None:
        return [float("nan")]
    return [float(value)] if isinstance(value, int | float) else []
