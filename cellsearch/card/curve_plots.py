"""The pictures of one-against-rest curves."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cellsearch.card.plots import LINES
from cellsearch.stats.curves import Curves

STYLES = ("-", "--", ":")
LEFT, LOW, SIDE = 0.75, 0.6, 4.4
"""Inches: margins and side of the panel."""


def style(place: int) -> tuple[str, str]:
    """Colour and line style of the class at that place; no two alike among the first 21."""
    return LINES[place % len(LINES)], STYLES[place // len(LINES) % len(STYLES)]


def roc(curves: Curves, *, title: str) -> Figure:
    """Recall over false positive rate, a line a class; the dashed diagonal is chance."""
    figure, axes = _panel(curves, title)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=(0, (4, 4)))
    drawn: list[Line2D] = []
    for one in curves.classes:
        colour, line = style(one.place)
        drawn += axes.plot(
            one.false_positive_rate,
            one.true_positive_rate,
            color=colour,
            linestyle=line,
            linewidth=1.7,
            label=f"{one.name} (n = {one.positives:,}): {one.roc_auc.value:.3f}",
        )
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("true positive rate (recall, sensitivity)")
    return _finished(figure, curves, drawn, "area under the curve\ndashed diagonal: chance")


def precision_recall(curves: Curves, *, title: str) -> Figure:
    """Precision over recall, a line a class; each class's share is a thin dotted line."""
    figure, axes = _panel(curves, title)
    drawn: list[Line2D] = []
    for one in curves.classes:
        colour, line = style(one.place)
        axes.axhline(one.prevalence, color=colour, linewidth=0.9, linestyle=(0, (1, 2)))
        drawn += axes.plot(
            one.recall,
            one.precision,
            # Between two thresholds precision is not a straight line, so none is drawn.
            drawstyle="steps-post",
            color=colour,
            linestyle=line,
            linewidth=1.7,
            label=f"{one.name} (n = {one.positives:,}): {one.average_precision.value:.3f}",
        )
    axes.set_xlabel("recall (sensitivity)")
    axes.set_ylabel("precision (PPV)")
    return _finished(figure, curves, drawn, "average precision\nthin dotted: share of the class")


def _panel(curves: Curves, title: str) -> tuple[Figure, Axes]:
    """A square panel whose size does not hang on the legend's beside it."""
    longest = max(len(one.name) for one in curves.classes) if curves.classes else 0
    longest = max(longest + 18, *(len(line) for line in _left_out(curves)), 30)
    lines = len(curves.classes) + 3 + len(_left_out(curves))
    wide = LEFT + SIDE + 0.75 + 0.068 * longest
    tall = max(LOW + SIDE + 0.4, 0.5 + 0.18 * lines)
    figure = Figure(figsize=(wide, tall))
    axes = figure.add_axes((LEFT / wide, 1 - (SIDE + 0.4) / tall, SIDE / wide, SIDE / tall))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{title} (n = {curves.cells:,} cells)", fontsize=11)
    return figure, axes


def _finished(figure: Figure, curves: Curves, drawn: list[Line2D], heading: str) -> Figure:
    wide, tall = figure.get_size_inches()
    beside = (LEFT + SIDE + 0.2) / wide
    figure.legend(
        # Of itself matplotlib leaves out what begins with an underscore, as a class may.
        handles=drawn,
        loc="upper left",
        bbox_to_anchor=(beside, 1 - 0.3 / tall),
        frameon=False,
        fontsize=8.5,
        title=heading,
        title_fontsize=8.5,
        alignment="left",
    )
    told = "\n".join(_left_out(curves))
    figure.text(beside + 0.1 / wide, 0.1 / tall, told, va="bottom", fontsize=8.5, color="0.3")
    return figure


def _left_out(curves: Curves) -> list[str]:
    told = [f"{name}: {why}" for name, why in curves.left_out.items()]
    return ["left out", *told] if told else []
