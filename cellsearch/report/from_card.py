"""Pictures that the card's own modules draw, from the numbers that the card holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from cellsearch.card.importance_plot import importance_figure
from cellsearch.card.plots import history
from cellsearch.card.reliability_plot import reliability_plot
from cellsearch.errors import RunError
from cellsearch.report.facts import RunFacts, Trial
from cellsearch.stats.calibration import Bin, Reliability
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.metrics import metric_named
from cellsearch.tune.findings import ChoiceEffect, Importance, ParameterImportance
from cellsearch.tune.job import finished_folds


def read_importance(facts: Mapping[str, Any]) -> Importance:
    """The inverse of ``Importance.to_dict``."""
    effects = []
    for stored in facts["effects"]:
        known = {name: value for name, value in stored.items() if name != "verdict"}
        effects.append(ChoiceEffect(**known | {"difference": Estimate(**known["difference"])}))
    return Importance(
        metric=metric_named(facts["metric"]),
        trials=int(facts["trials"]),
        parameters=tuple(ParameterImportance(**each) for each in facts["parameters"]),
        effects=tuple(effects),
        notes=tuple(facts["notes"]),
    )


def importance(found: Importance) -> Figure | None:
    """Parameters and choices; None where there is neither."""
    return importance_figure(found)


def reliability(calibration: Mapping[str, Any]) -> Figure | None:
    """Hold-out confidences before and after the temperature; None without them."""
    found = calibration.get("hold_out") or {}
    before, after = (_reliability(found.get(when)) for when in ("before", "after"))
    if before is None or after is None or not before.bins or not after.bins:
        return None
    return reliability_plot(
        before, after, temperature=float(calibration["temperature"]["value"]), title="Hold-out"
    )


def _reliability(facts: Mapping[str, Any] | None) -> Reliability | None:
    if facts is None:
        return None
    return Reliability(
        cells=int(facts["cells"]),
        bins=tuple(Bin(**each) for each in facts["bins"]),
        error=Estimate(**facts["error"]),
        chance=float(facts["chance"]),
        log_loss=float(facts["log_loss"]),
        brier=float(facts["brier"]),
        classes=(),
    )


def learning_curves(facts: RunFacts, trial: Trial) -> Figure | None:
    """Each fold of a trial, epoch by epoch; None where no epoch was recorded."""
    try:
        found = finished_folds(facts.folder, trial.number, range(len(trial.steps)))
    except RunError:
        return None
    figure = history([each.history for each in found], title="")
    if figure is not None:
        legend = figure.axes[0].get_legend()
        if legend is not None:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            legend.remove()
            figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)
        figure.set_size_inches(4.7, 0.9 + 1.5 * len(figure.axes))
    return figure
