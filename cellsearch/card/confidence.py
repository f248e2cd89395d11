"""What a card's rules on its probabilities are worth on the hold-out: read, never chosen there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import Selection, selection, selection_as_json
from cellsearch.card.conformal import SetFigures, set_figures, sets_as_json
from cellsearch.card.parts import write_json
from cellsearch.card.plots import save
from cellsearch.card.reliability_plot import reliability_plot
from cellsearch.card.rules import Rules
from cellsearch.data.dataset import CellDataset
from cellsearch.stats.calibration import Reliability, reliability, scaled
from cellsearch.stats.evaluation import OofFigures, as_plain

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
    oof: OofFigures,
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
    write_json(folder / CALIBRATION, calibration_as_json(confidence))
    picture = reliability_plot(
        confidence.before,
        confidence.after,
        temperature=confidence.rules.temperature.value,
        title="Reliability, hold-out",
    )
    save(picture, folder / "plots", "reliability_hold_out")


def calibration_as_json(confidence: Confidence) -> dict[str, Any]:
    """Plain values for ``calibration.json``; null where something is not known."""
    return {
        "temperature": asdict(confidence.rules.temperature),
        "hold_out": {
            "before": _reliability(confidence.before),
            "after": _reliability(confidence.after),
        },
        "out_of_fold": {
            "before": _reliability(confidence.oof_before),
            "after": _reliability(confidence.oof_after),
        },
    }


def confidence_as_json(confidence: Confidence, classes: tuple[str, ...]) -> dict[str, Any]:
    """Plain values for ``metrics.json``; tables lie in ``calibration.json``."""
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
    return found


def _reliability(found: Reliability | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)
