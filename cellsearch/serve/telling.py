"""Cells, shares and refusals in the words of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import UNCERTAIN, Abstention, kept
from cellsearch.card.config import CardConfig
from cellsearch.card.conformal import PredictionSets, members
from cellsearch.card.prevalence import ClassFraction, Fractions
from cellsearch.serve import answers
from cellsearch.serve.intake import Outcome
from cellsearch.serve.store import Named

RARE_CELLS = 50
"""Out-of-fold cells below which a class is called rare."""


def cells(
    named: Sequence[Named],
    probabilities: NDArray[np.float32],
    called: NDArray[np.int64],
    where: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    abstention: Abstention | None,
    sets: PredictionSets | None,
) -> list[answers.Cell]:
    """Some cells of a sample.

    Args:
        named: at least N names.
        probabilities: (N, K).
        called: (N,) classes that the cells are given.
        where: (m,) positions of the cells told.
        classes: K names.
        abstention: when a cell is uncertain.
        sets: thresholds of prediction sets.
    """
    some, given = probabilities[where], called[where]
    sure = None if abstention is None else kept(some, abstention, given)
    held = None if sets is None else members(some, sets)
    told = []
    for row, cell in enumerate(where.tolist()):
        best = int(given[row])
        decision = None
        if sure is not None:
            decision = classes[best] if sure[row] else UNCERTAIN
        may_be = None
        if held is not None:
            may_be = [name for name, there in zip(classes, held[row], strict=True) if there]
        told.append(
            answers.Cell(
                index=cell,
                id=named[cell].id,
                source=named[cell].source,
                object_number=named[cell].number,
                predicted_class=classes[best],
                confidence=float(some[row, best]),
                decision=decision,
                set=may_be,
                probabilities=dict(zip(classes, some[row].tolist(), strict=True)),
            )
        )
    return told


def refused(outcome: Outcome) -> list[answers.RefusedFile]:
    """Refused files, as they are answered."""
    return [answers.RefusedFile(file=one.file, reason=one.reason) for one in outcome.refused]


def brought(outcome: Outcome, config: CardConfig, fit: str) -> list[str]:
    """What was done to cells of another size, in a line; nothing where all had the card's.

    Args:
        outcome: of the files.
        config: of the card.
        fit: the rule for sizes.
    """
    if not outcome.brought:
        return []
    done = "resized" if fit == "resize" else "padded"
    text = f"{outcome.brought:,} cells of another size: {done} to {config.height}x{config.width} px"
    if outcome.larger and fit != "resize":
        ones = "one" if outcome.larger == 1 else "ones"
        text += f", {outcome.larger:,} larger {ones} {'cut' if fit == 'pad' else 'shrunk'}"
    return [text]


def rare(config: CardConfig) -> list[str]:
    """Classes with too few out-of-fold cells for their figures to be worth much."""
    few = set(config.not_estimable)
    if config.prevalence is not None:
        few |= {
            name
            for name, row in zip(config.classes, config.prevalence.confusion, strict=True)
            if sum(row) < RARE_CELLS
        }
    return [name for name in config.classes if name in few]


def shares(found: Fractions | None) -> list[answers.ClassShare] | None:
    """Each class's share by the correction to be believed, or else as it was counted."""
    return None if found is None else [_share(one) for one in found.classes]


def _share(one: ClassFraction) -> answers.ClassShare:
    best, method = one.adjusted, "adjusted count"
    if best is None:
        best, method = one.em, "EM"
    facts: dict[str, Any] = {"class": one.name, "count": one.count, "raw": one.raw}
    if best is None:
        facts |= {"share": one.raw, "low": None, "high": None, "method": "counted"}
    else:
        facts |= {"share": best.value, "low": best.low, "high": best.high, "method": method}
    return answers.ClassShare.model_validate(facts)
