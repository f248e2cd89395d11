"""Checks of the folds: what each was made of, and which cells it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cellsearch.audit.evidence import Evidence, TrialFold
from cellsearch.audit.parts import holds_recipe
from cellsearch.audit.report import Check, nothing, verdict
from cellsearch.data.splits import Splits
from cellsearch.learn.provenance import Provenance, indices_sha256

Indices = NDArray[np.int64]
Doubt = Callable[[Provenance, Indices, Indices], Iterator[tuple[str, Indices]]]
"""(provenance, training cells, validation cells) -> what is wrong, and with which cells."""

CELLS = "<cells>"
"""Stands in a sentence for whose cells they are."""


def same_request(evidence: Evidence) -> Check:
    """Each trial was trained on this run's cells and splits, by the recipe of the study."""
    name = "every trial used these cells and splits"
    if not evidence.requests:
        return nothing(name, "no trial has started")
    record = evidence.record
    wanted = {
        "dataset_sha256": record.dataset_sha256,
        "splits_sha256": record.splits_sha256,
        "seed": record.config.seed,
    }
    problems = []
    for number, facts in evidence.requests.items():
        others = [key for key, value in wanted.items() if facts.get(key) != value]
        row = evidence.row(number)
        if row is not None and not holds_recipe(facts.get("recipe"), row.recipe):
            others.append("recipe")
        if others:
            problems.append(f"trial {number} has another {' and '.join(others)}")
    problems += [f"{file} cannot be read" for file in evidence.damaged]
    return verdict(name, problems, f"trials: {len(evidence.requests)}")


def validation_cells(evidence: Evidence) -> Check:
    """A fold's predictions are of its validation cells, all of them and no others."""
    name = "out-of-fold predictions cover the cells of their fold"
    splits = evidence.splits
    if splits is None or not evidence.folds:
        return nothing(name, _why(splits))
    problems, cells = [], []
    for each in evidence.folds:
        if each.fold >= splits.k or each.result.fold != each.fold:
            problems.append(f"{each.name}: there is no such fold")
            continue
        found = each.result.cells
        wanted = splits.validation(each.fold)
        wrong = np.setxor1d(found, wanted)
        if len(wrong) or len(found) != len(wanted):
            extra = len(np.setdiff1d(found, wanted))
            missing = len(np.setdiff1d(wanted, found))
            problems.append(f"{each.name}: {extra} cells of other parts, {missing} missing")
            cells += evidence.named(wrong)
        elif each.result.probabilities.shape != (len(found), len(evidence.cells.classes)):
            problems.append(f"{each.name}: not one row of probabilities a cell")
    return verdict(name, problems, _counted(evidence.folds), cells)


def trained_on(evidence: Evidence) -> Check:
    """The weights of a fold learnt from its training cells alone."""

    def doubt(
        made: Provenance, training: Indices, validation: Indices
    ) -> Iterator[tuple[str, Indices]]:
        yield from _foreign(made.trained, training, validation, f"{CELLS} trained it")

    return _each(evidence, "networks were trained on training cells only", doubt)


def watched(evidence: Evidence) -> Check:
    """Early stopping watched training cells that the weights did not learn from."""

    def doubt(
        made: Provenance, training: Indices, validation: Indices
    ) -> Iterator[tuple[str, Indices]]:
        yield from _foreign(made.watched, training, validation, f"early stopping used {CELLS}")
        both = np.intersect1d(made.watched, made.trained)
        yield "early stopping used cells the network was trained on", both

    return _each(
        evidence,
        "early stopping used training cells only",
        doubt,
        applies=lambda made: len(made.watched) > 0,
        otherwise="no trial used early stopping",
    )


def normalised_on(evidence: Evidence) -> Check:
    """Mean and deviation are of training cells."""

    def doubt(
        made: Provenance, training: Indices, validation: Indices
    ) -> Iterator[tuple[str, Indices]]:
        yield from _foreign(
            made.normalised, training, validation, f"the normalisation was fitted on {CELLS}"
        )

    return _each(evidence, "normalisation was fitted on training cells only", doubt)


def generators(evidence: Evidence) -> Check:
    """Generators learnt from a fold's training cells, without those that are watched."""

    def doubt(
        made: Provenance, training: Indices, validation: Indices
    ) -> Iterator[tuple[str, Indices]]:
        for each in made.generators:
            who = f"the generator of {each.class_name} was trained on"
            yield from _foreign(each.learnt_from, training, validation, f"{who} {CELLS}")
            yield f"{who} early-stopping cells", np.intersect1d(each.learnt_from, made.watched)
            if indices_sha256(each.learnt_from) != each.indices_sha256:
                yield f"{who} cells that its cache entry does not list", each.learnt_from

    return _each(
        evidence,
        "generated cells come from training cells only",
        doubt,
        applies=lambda made: len(made.generators) > 0,
        otherwise="no trial used generated cells",
    )


def _foreign(
    used: Indices, training: Indices, validation: Indices, said: str
) -> Iterator[tuple[str, Indices]]:
    """Cells that had no place there: of the fold itself, and of neither part."""
    judged = np.intersect1d(used, validation)
    yield said.replace(CELLS, "its own validation cells"), judged
    beyond = np.setdiff1d(np.setdiff1d(used, training), judged)
    yield said.replace(CELLS, "cells outside its training cells"), beyond


def _each(
    evidence: Evidence,
    name: str,
    doubt: Doubt,
    *,
    applies: Callable[[Provenance], bool] | None = None,
    otherwise: str = "",
) -> Check:
    splits = evidence.splits
    if splits is None or not evidence.folds:
        return nothing(name, _why(splits))
    told = [each for each in evidence.folds if each.result.provenance is not None]
    if not told:
        return nothing(name, "the folds do not record which cells they were trained on")
    problems, cells, looked = [], [], []
    for each in told:
        made = each.result.provenance
        if made is None or each.fold >= splits.k or (applies is not None and not applies(made)):
            continue
        looked.append(each)
        for problem, wrong in _doubts(made, each, splits, doubt, len(evidence.cells)):
            problems.append(f"{each.name}: {problem} ({len(wrong):,})")
            cells += evidence.named(wrong)
    if not looked:
        return nothing(name, otherwise)
    silent = len(evidence.folds) - len(told)
    more = f"; {silent} do not record which cells they were trained on" if silent else ""
    return verdict(name, problems, f"{_counted(looked)}{more}", cells)


def _counted(folds: Sequence[TrialFold]) -> str:
    """``15 folds of 3 trials``."""
    trials = len({each.trial for each in folds})
    return " of ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((len(folds), "fold"), (trials, "trial"))
    )


def _doubts(
    made: Provenance, each: TrialFold, splits: Splits, doubt: Doubt, cells: int
) -> Iterator[tuple[str, Indices]]:
    if made.cells != cells:
        yield f"it was trained on a data set of {made.cells:,} cells", np.empty(0, np.int64)
        return
    # What it predicts counts, wherever the splits would have it.
    validation = np.union1d(splits.validation(each.fold), each.result.cells)
    for problem, wrong in doubt(made, splits.training(each.fold), validation):
        if len(wrong):
            yield problem, wrong


def _why(splits: Splits | None) -> str:
    return "splits.json cannot be read" if splits is None else "no fold is finished"
