"""The reliability diagram of a card: confidence beside the share that is right."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellsearch.card.plots import BASELINE, WINNER, reach
from cellsearch.stats.calibration import Reliability
from cellsearch.stats.evaluation import Estimate


def reliability_plot(
    before: Reliability, after: Reliability, *, temperature: float, title: str
) -> Figure:
    """Bins of equal mass before and after a temperature, with exact 95 % intervals."""
    figure = Figure(figsize=(5.6, 6.4), layout="constrained")
    panels: Any = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top, bottom = panels
    top.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=(0, (4, 4)))
    shown = [("no temperature", after, WINNER)]
    if temperature != 1.0:
        shown = [
            ("before", before, BASELINE),
            (f"after (temperature {temperature:.2f})", after, WINNER),
        ]
    for place, (name, found, colour) in enumerate(shown):
        _line(top, found, colour, f"{name}: error {found.error.value:.3f}")
        at = [one.confidence for one in found.bins]
        bottom.vlines(at, 0.52 * place, 0.52 * place + 0.45, color=colour, linewidth=1.2)
    least = min(one.confidence for _, found, _ in shown for one in found.bins)
    bars = [
        one.right if one.low is None else one.low for _, found, _ in shown for one in found.bins
    ]
    bound = max(0.0, min(least, *bars) - 0.03)
    top.set_xlim(max(0.0, least - 0.03), 1.01)
    top.set_ylim(bound, 1.01)
    top.set_ylabel("share that is right")
    top.set_title(f"{title} (n = {after.cells:,} cells)", fontsize=11)
    top.legend(loc="upper left", frameon=False, fontsize=9)
    top.grid(color="0.93")
    top.set_axisbelow(True)
    bottom.set_ylim(-0.05, 1.05)
    bottom.set_yticks([])
    bottom.set_ylabel("bins of\nequal mass", fontsize=9)
    bottom.set_xlabel("confidence: probability of the predicted class")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("bars: 95 % intervals of the share; dashed: perfect calibration", fontsize=8)
    return figure


def _line(axes: Axes, found: Reliability, colour: str, label: str) -> None:
    at = [one.confidence for one in found.bins]
    share = [one.right for one in found.bins]
    spread = reach([Estimate(one.right, one.low, one.high) for one in found.bins])
    axes.errorbar(
        at,
        share,
        yerr=spread,
        color=colour,
        marker="o",
        markersize=4,
        linewidth=1.5,
        elinewidth=0.8,
        capsize=2,
        label=label,
    )
