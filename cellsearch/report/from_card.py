"""Pictures that the card's own modules draw, from the numbers that the card holds."""

from __future__ import annotations

from matplotlib.figure import Figure

from cellsearch.card.metrics import Calibration
from cellsearch.card.plots import history
from cellsearch.card.reliability_plot import reliability_plot
from cellsearch.errors import RunError
from cellsearch.report.facts import RunFacts, Trial
from cellsearch.tune.job import finished_folds


def reliability(found: Calibration) -> Figure | None:
    """Hold-out confidences before and after the temperature; None without them."""
    before, after = found.hold_out.before, found.hold_out.after
    if before is None or after is None or not before.bins or not after.bins:
        return None
    return reliability_plot(before, after, temperature=found.temperature.value, title="Hold-out")


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
