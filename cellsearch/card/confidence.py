"""What a card's rules on its probabilities are worth on the hold-out: read, never chosen there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from cellsearch.card.abstain import Selection, selection, selection_as_json
from cellsearch.card.conformal import SetFigures, set_figures, sets_as_json
from cellsearch.card.metrics import BeforeAfter, Calibration, ConfidenceMetrics
from cellsearch.card.parts import write_json
from cellsearch.card.plots import save
from cellsearch.card.reliability_plot import reliability_plot
from cellsearch.card.rules import Rules
from cellsearch.data.dataset import CellDataset
from cellsearch.stats.calibration import Reliability, reliability, scaled
from cellsearch.stats.evaluation import as_plain
from cellsearch.stats.predictions import Predictions

CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Confidence:
    """Rules, and what they are worth on the hold-out.

    Attributes:
        rules: in the card.
        before: reliability on the hold-out without the temperature.
        after: with it.
        oof_before: out of fold; None without out-of-fold probabilities.
        oof_after: the same with the temperature that was fitted there.
        selection: under abstention; None where none was asked for.
        oof_selection: the same out of fold.
        sets: prediction sets; None where none were asked for.
    """

    rules: Rules
    before: Reliability
    after: Reliability
    oof_before: Reliability | None
    oof_after: Reliability | None
    selection: Selection | None
    oof_selection: Selection | None
    sets: SetFigures | None


def measure_confidence(
    rules: Rules,
    dataset: CellDataset,
    held: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
    oof: Predictions,
    *,
    not_estimable: tuple[str, ...] = (),
    seed: int = 0,
) -> Confidence:
    """What the rules are worth.

    Args:
        rules: of ``find_rules``.
        dataset: all cells.
        held: (n,) positions of the hold-out.
        probabilities: (n, K) of the hold-out, without the temperature.
        predicted: (n,) classes that its cells are given.
        oof: out-of-fold predictions of the winner.
        not_estimable: classes without figures.
        seed: of every draw.
    """
    labels = np.asarray(dataset.labels[held], np.int64)
    right = scaled(probabilities, rules.temperature.value)
    groups = None if dataset.groups is None else np.asarray(dataset.groups)
    own = None if groups is None else groups[held]
    oof_own = None if groups is None or oof.cells is None else groups[oof.cells]
    names = dataset.classes
    before = reliability(labels, probabilities, names, groups=own, seed=seed)
    after = reliability(labels, right, names, groups=own, seed=seed)
    oof_before = oof_after = oof_selection = selected = found_sets = None
    if oof.probabilities is not None:
        oof_right = scaled(oof.probabilities, rules.temperature.value)
        oof_before = reliability(oof.labels, oof.probabilities, names, groups=oof_own, seed=seed)
        oof_after = reliability(oof.labels, oof_right, names, groups=oof_own, seed=seed)
        if rules.abstention is not None:
            oof_selection = selection(
                oof.labels,
                oof_right,
                oof.predicted,
                rules.abstention,
                names,
                not_estimable=not_estimable,
                groups=oof_own,
                seed=seed,
            )
    if rules.abstention is not None:
        selected = selection(
            labels,
            right,
            predicted,
            rules.abstention,
            names,
            not_estimable=not_estimable,
            groups=own,
            seed=seed,
        )
    if rules.sets is not None:
        found_sets = set_figures(labels, right, rules.sets, groups=own)
    return Confidence(
        rules, before, after, oof_before, oof_after, selected, oof_selection, found_sets
    )


def write_confidence(folder: Path, confidence: Confidence) -> None:
    """Write ``calibration.json`` and the reliability diagram; ``plots`` is there already."""
    write_json(folder / CALIBRATION, calibration_of(confidence).model_dump(mode="json"))
    picture = reliability_plot(
        confidence.before,
        confidence.after,
        temperature=confidence.rules.temperature.value,
        title="Reliability, hold-out",
    )
    save(picture, folder / "plots", "reliability_hold_out")


def calibration_of(confidence: Confidence) -> Calibration:
    """What ``calibration.json`` holds of it."""
    return Calibration(
        temperature=confidence.rules.temperature,
        hold_out=BeforeAfter(confidence.before, confidence.after),
        out_of_fold=BeforeAfter(confidence.oof_before, confidence.oof_after),
    )


def read_calibration(folder: Path) -> Calibration | None:
    """Of the card in a folder; None where there is none that can be read."""
    try:
        return Calibration.model_validate_json((folder / CALIBRATION).read_bytes())
    except (OSError, ValidationError):
        return None


def confidence_metrics(confidence: Confidence, classes: tuple[str, ...]) -> ConfidenceMetrics:
    """What ``metrics.json`` holds of it; bins lie in ``calibration.json``."""
    rules = confidence.rules
    found: dict[str, Any] = {
        "temperature": rules.temperature.value,
        "calibration_error_before": as_plain(confidence.before.error),
        "calibration_error_after": as_plain(confidence.after.error),
        "calibration_error_by_chance": round(confidence.after.chance, 6),
    }
    if rules.abstention is not None:
        found["abstention"] = {
            where: None if part is None else selection_as_json(part, rules.abstention)
            for where, part in (
                ("hold_out", confidence.selection),
                ("out_of_fold", confidence.oof_selection),
            )
        }
    if rules.sets is not None and confidence.sets is not None:
        found["sets"] = {"hold_out": sets_as_json(confidence.sets, rules.sets, classes)}
    return ConfidenceMetrics.model_validate(found)
