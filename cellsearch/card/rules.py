"""What a card does with its probabilities, found on out-of-fold predictions alone."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import UNCERTAIN, Abstention, fit_abstention, requirement
from cellsearch.card.checksums import problems_with, read_checksums
from cellsearch.card.config import CardConfig
from cellsearch.card.conformal import PredictionSets, fit_sets
from cellsearch.card.predict import GROUP, class_columns
from cellsearch.card.prior import PriorFacts, fit_prior_facts
from cellsearch.errors import CardError
from cellsearch.stats.calibration import Temperature, fit_temperature, scaled
from cellsearch.stats.decision import Decide
from cellsearch.stats.groups import Codes
from cellsearch.stats.predictions import Predictions
from cellsearch.util.messages import Message, Setting, joined

OUT_OF_FOLD = "out_of_fold.csv"


@dataclass(frozen=True)
class Rules:
    """What is found out of fold, before the hold-out is looked at."""

    temperature: Temperature
    abstention: Abstention | None
    sets: PredictionSets | None
    prevalence: PriorFacts | None


def find_rules(
    oof: Predictions,
    classes: tuple[str, ...],
    *,
    abstain: str | None = None,
    sets: float | None = None,
    seed: int = 0,
) -> Rules:
    """Temperature, thresholds and facts of the priors, from out-of-fold predictions alone.

    Args:
        oof: of the winner.
        classes: K names.
        abstain: ``coverage=0.9`` or ``precision=0.95``.
        sets: level of prediction sets, such as 0.9.
        seed: of the temperature's interval.

    Raises:
        CardError: thresholds are asked for without out-of-fold probabilities, or in other words
            than these, or a class is called ``uncertain``.
    """
    found = oof.probabilities
    if found is None:
        given = (("abstain", abstain), ("sets", sets))
        asked = [Message.of(Setting(name)) for name, value in given if value is not None]
        if asked:
            raise CardError(joined(asked, " and "), ": needs out-of-fold probabilities")
        nothing = fit_temperature(oof.labels[:0], np.zeros((0, len(classes))))
        return Rules(nothing, None, None, None)
    temperature = fit_temperature(oof.labels, found, groups=oof.groups, seed=seed)
    right = scaled(found, temperature.value)
    return Rules(
        temperature,
        None
        if abstain is None
        else abstention_of(abstain, oof.labels, right, oof.predicted, classes, groups=oof.groups),
        None if sets is None else sets_of(sets, oof.labels, right, groups=oof.groups),
        fit_prior_facts(oof.labels, right, oof.predicted, groups=oof.groups),
    )


def abstention_of(
    text: str,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    called: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    groups: Codes | None = None,
) -> Abstention:
    """Thresholds for ``coverage=0.9`` or ``precision=0.95`` from calibrated (n, K) out of fold.

    ``called`` holds the (n,) classes that these cells are given, ``groups`` their donors.

    Raises:
        CardError: the text is something else, or a class is called ``uncertain``.
    """
    if UNCERTAIN in classes:
        raise CardError(Setting("abstain"), f": a class is called {UNCERTAIN!r} already; rename it")
    try:
        return fit_abstention(requirement(text), labels, probabilities, called, groups=groups)
    except ValueError as error:
        raise CardError(Setting("abstain"), f": {error}, got {text!r}") from None


def sets_of(
    level: float,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    *,
    groups: Codes | None = None,
) -> PredictionSets:
    """Thresholds of prediction sets from calibrated (n, K) probabilities, out of fold.

    Raises:
        CardError: the level is no share.
    """
    if not 0.0 < level < 1.0:
        raise CardError(Setting("sets"), f": expected a share above 0 and below 1, got {level:g}")
    return fit_sets(level, labels, probabilities, groups=groups)


def rules_for(
    folder: Path,
    config: CardConfig,
    *,
    abstain: str | None = None,
    sets: float | None = None,
    decide: Decide | None = None,
) -> tuple[Abstention | None, PredictionSets | None]:
    """The card's own rules, or those asked for, found on its out-of-fold predictions.

    Thresholds hold for classes decided in one way, so another one has them found anew.

    Raises:
        CardError: what is asked for cannot be read, or the card has no such predictions.
    """
    abstention, own_sets = config.abstention, config.sets
    if decide is not None and abstention is not None and abstain is None:
        abstain = f"{abstention.rule}={abstention.level:g}"
    if abstain is not None or sets is not None:
        labels, probabilities, called, groups = out_of_fold(folder, config)
        if abstain is not None:
            if decide is not None:
                called = config.decide(probabilities, decide)
            abstention = abstention_of(
                abstain, labels, probabilities, called, config.classes, groups=groups
            )
        if sets is not None:
            own_sets = sets_of(sets, labels, probabilities, groups=groups)
    return abstention, own_sets


def out_of_fold(
    folder: Path, config: CardConfig
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], Codes | None]:
    """A card's out-of-fold cells: (n,) labels, (n, K) calibrated probabilities, (n,) given classes.

    And the (n,) numbers of their groups; None where there are none, and in older cards.

    Raises:
        CardError: the card holds none, or they have changed since it was written or do not fit it.
    """
    path = folder / OUT_OF_FOLD
    if path.is_file():
        problems = problems_with(folder, read_checksums(folder), only=(OUT_OF_FOLD,))
        if problems:
            raise CardError(
                f"{folder} cannot be trusted: {'; '.join(problems)}; leave ",
                Setting("abstain"),
                " and ",
                Setting("sets"),
                " out, or take the card as it was written",
            )
    place = {name: k for k, name in enumerate(config.classes)}
    columns = class_columns(config.classes)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        labels = np.array([place[row["true_class"]] for row in rows], np.int64)
        called = np.array([place[row["predicted_class"]] for row in rows], np.int64)
        groups = np.array([int(row[GROUP]) for row in rows if GROUP in row], np.int64)
        values = np.array([[float(row[name]) for name in columns] for row in rows], np.float32)
    except OSError:
        raise CardError(
            f"{folder} holds no {OUT_OF_FOLD}, from which thresholds are found; leave ",
            Setting("abstain"),
            " and ",
            Setting("sets"),
            " out",
        ) from None
    except (KeyError, ValueError) as error:
        raise CardError(f"{path} does not fit its card: {error}") from None
    if not len(labels):
        raise CardError(f"{path} is empty; thresholds cannot be found")
    right = scaled(values, config.temperature or 1.0)
    return labels, right, called, groups if len(groups) else None
