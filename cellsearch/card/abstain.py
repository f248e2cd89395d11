"""Abstention: the confidence below which a card rather gives no class than a doubtful one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cellsearch.stats.evaluation import Estimate, as_plain, evaluate
from cellsearch.stats.groups import Codes, group_codes
from cellsearch.stats.intervals import clopper_pearson
from cellsearch.stats.proportions import share, surely_at_least

UNCERTAIN = "uncertain"
ERROR = 0.05
"""How often the threshold of a class may miss its precision."""

WRONG_AT_FIRST = (0, 2)
"""Wrong cells that the first threshold of each sequence may keep: with none it keeps the fewest
cells, but often fails by an unlucky one."""

STEP = 1.25
"""Each threshold that is tried keeps so many times the cells of the one before."""

Rule = Literal["coverage", "precision"]
Probabilities = NDArray[np.floating]


class Requirement(NamedTuple):
    """What is asked for: ``coverage`` or ``precision``, and how much of it."""

    rule: Rule
    level: float


class Abstention(BaseModel):
    """Thresholds of a card, on the calibrated probability of the predicted class.

    Attributes:
        rule: what they were chosen for.
        level: how much of it.
        thresholds: a predicted class; at least so much keeps it. None where the precision cannot
            be reached surely: then every cell called so is uncertain.
        error: how often a threshold may miss its precision; None for coverage, and in older cards,
            whose thresholds were not tested.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: Rule
    level: float = Field(gt=0.0, lt=1.0)
    thresholds: tuple[float | None, ...]
    error: float | None = None


@dataclass(frozen=True)
class ClassSelection:
    """One class under abstention.

    Attributes:
        name: of the class.
        cells: of it.
        coverage: share of them that is given a class, exact interval; None without cells.
        called: cells predicted as it.
        kept: of those, not uncertain.
        precision: of the kept, exact interval; None where none is.
    """

    name: str
    cells: int
    coverage: Estimate | None
    called: int
    kept: int
    precision: Estimate | None


@dataclass(frozen=True)
class Selection:
    """What abstention is worth on cells whose classes are known.

    Attributes:
        coverage: share of cells that is given a class, exact interval.
        accuracy: of those (selective accuracy), exact interval; None where none is.
        balanced_accuracy: of those, over the classes that have such cells; bootstrap interval.
        gone: estimable classes of which no cell is given a class.
        classes: each.
    """

    coverage: Estimate
    accuracy: Estimate | None
    balanced_accuracy: Estimate | None
    gone: tuple[str, ...]
    classes: tuple[ClassSelection, ...]


def requirement(text: str) -> Requirement:
    """Read ``coverage=0.9`` or ``precision=0.95``.

    Raises:
        ValueError: it is something else.
    """
    rule, _, level = text.partition("=")
    try:
        value = float(level)
    except ValueError:
        value = 0.0
    if rule not in ("coverage", "precision") or not 0.0 < value < 1.0:
        raise ValueError("expected coverage=0.9 or precision=0.95, a share above 0 and below 1")
    return Requirement(cast(Rule, rule), value)


def lowered(threshold: float) -> float:
    """A threshold of 6 decimals that also keeps what was rounded, in a table or in float32."""
    return max(0.0, float(np.floor((float(threshold) - 5e-7) * 1e6) / 1e6))


def confidence_of(
    probabilities: Probabilities, called: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    """(n,) probability of the class that each cell is given, which need not be the greatest."""
    return np.asarray(np.take_along_axis(probabilities, called[:, None], axis=1)[:, 0])


def fit_abstention(
    wanted: Requirement,
    labels: NDArray[np.int64],
    probabilities: Probabilities,
    called: NDArray[np.int64],
    *,
    groups: Codes | None = None,
) -> Abstention:
    """Thresholds that meet the requirement on out-of-fold cells, for each predicted class.

    ``coverage``: that share of the cells called as a class is kept, the surest. ``precision``: the
    most cells called as a class are kept of which surely that share is right. Thresholds that keep
    more and more cells are tested in that order, each by the lower bound of its precision
    (``surely_at_least``), until one fails; so the one chosen is wrong at most ``ERROR`` often,
    however many were tried (Angelopoulos et al. 2021, "Learn then Test", fixed-sequence testing,
    from two starts). Where cells come in groups (donors, plates) the bound is that of
    groups, since the promise is to be kept for others.

    Args:
        wanted: coverage or precision.
        labels: (n,) true classes, out of fold.
        probabilities: (n, K), calibrated, out of fold.
        called: (n,) classes that the cells are given.
        groups: (n,) int64; None where cells are independent.

    Returns:
        Thresholds; 0 for a class that no cell is called as under ``coverage``.
    """
    confidence = confidence_of(probabilities, called)
    thresholds: list[float | None] = []
    for k in range(probabilities.shape[1]):
        own = called == k
        order = np.argsort(-confidence[own], kind="stable")
        surest = confidence[own][order].astype(np.float64)
        if wanted.rule == "coverage":
            last = int(np.ceil(wanted.level * len(surest))) - 1
            thresholds.append(lowered(surest[last]) if len(surest) else 0.0)
            continue
        sure = _surely_right(
            (labels[own] == k)[order],
            surest,
            None if groups is None else groups[own][order],
            level=wanted.level,
            error=ERROR,
        )
        thresholds.append(None if sure is None else lowered(surest[sure]))
    return Abstention(
        rule=wanted.rule,
        level=wanted.level,
        thresholds=tuple(thresholds),
        error=ERROR if wanted.rule == "precision" else None,
    )


def _surely_right(
    right: NDArray[np.bool_],
    surest: NDArray[np.float64],
    groups: Codes | None,
    *,
    level: float,
    error: float,
) -> int | None:
    """Place of the last cell, by falling confidence, up to which the share is surely right."""
    # Of cells with the same confidence all are kept or none.
    ends = np.flatnonzero(np.append(surest[1:] < surest[:-1], True)[: len(surest)])
    each = error / len(WRONG_AT_FIRST)
    found: list[int] = []
    for wrong in WRONG_AT_FIRST:
        for wanted in _sequence(len(surest), _fewest(wrong, level, each)):
            end = int(ends[np.searchsorted(ends, wanted - 1)])
            part = None if groups is None else groups[: end + 1]
            if surely_at_least(right[: end + 1], part, error=each)[0] < level:
                break
            found.append(end)
    return max(found, default=None)


def _sequence(cells: int, first: int) -> Iterator[int]:
    """How many cells each threshold is to keep: fixed before the labels are looked at."""
    kept: float = first
    while 0 < kept < cells:
        yield round(kept)
        kept *= STEP
    if cells:
        yield cells


@cache
def _fewest(wrong: int, level: float, error: float) -> int:
    """Cells of which so many may be wrong and the share is surely right."""
    cells = wrong + 1
    while clopper_pearson(cells - wrong, cells, level=1.0 - 2.0 * error).low < level:
        cells += 1
    return cells


def kept(
    probabilities: Probabilities, rule: Abstention, called: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,) bool: cells that are given the class they are called; the others are ``uncertain``."""
    needed = np.array([np.inf if t is None else t for t in rule.thresholds])
    return np.asarray(confidence_of(probabilities, called) >= needed[called])


def selection(
    labels: NDArray[np.int64],
    probabilities: Probabilities,
    called: NDArray[np.int64],
    rule: Abstention,
    classes: tuple[str, ...],
    *,
    not_estimable: tuple[str, ...] = (),
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> Selection:
    """Coverage and selective figures of labelled cells under a card's thresholds.

    Args:
        labels: (n,) true classes, at least one.
        probabilities: (n, K), calibrated.
        called: (n,) classes that the cells are given.
        rule: of the card.
        classes: K names.
        not_estimable: classes without figures.
        groups: (n,) donors or plates, which widen the intervals; by default cells are independent.
        seed: of the bootstrap.
    """
    codes = group_codes(groups)

    def of(what: NDArray[np.bool_], among: NDArray[np.bool_]) -> Estimate | None:
        return share(what[among], None if codes is None else codes[among])

    every = np.ones(len(labels), bool)
    sure = kept(probabilities, rule, called)
    right = called == labels
    accuracy = balanced = None
    known = [c for k, c in enumerate(classes) if c not in not_estimable and (labels == k).any()]
    gone = tuple(c for c in known if not (sure & (labels == classes.index(c))).any())
    if sure.any():
        accuracy = of(right, sure)
        if len(gone) < len(known):
            figures = evaluate(
                labels[sure],
                called[sure],
                classes,
                not_estimable=not_estimable,
                groups=None if codes is None else group_codes(codes[sure]),
                seed=seed,
            )
            balanced = figures.metrics["balanced_accuracy"]
    parts = tuple(
        ClassSelection(
            name=name,
            cells=int((labels == k).sum()),
            coverage=of(sure, labels == k),
            called=int((called == k).sum()),
            kept=int((sure & (called == k)).sum()),
            precision=of(right, sure & (called == k)),
        )
        for k, name in enumerate(classes)
    )
    whole = of(sure, every)
    if whole is None:
        raise ValueError("selection needs at least one cell")
    return Selection(whole, accuracy, balanced, gone, parts)


def selection_as_json(found: Selection, rule: Abstention) -> dict[str, Any]:
    """Plain values for ``metrics.json``."""
    return {
        "rule": rule.rule,
        "level": rule.level,
        "error": rule.error,
        "coverage": as_plain(found.coverage),
        "selective_accuracy": as_plain(found.accuracy),
        "selective_balanced_accuracy": as_plain(found.balanced_accuracy),
        "classes_never_given": list(found.gone),
        "per_class": {
            one.name: {
                "threshold": threshold,
                "cells": one.cells,
                "coverage": as_plain(one.coverage),
                "called": one.called,
                "kept": one.kept,
                "precision": as_plain(one.precision),
            }
            for one, threshold in zip(found.classes, rule.thresholds, strict=True)
        },
    }
