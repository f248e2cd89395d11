"""The pictures of one-against-rest curves."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellsearch.card.curves import Curves
from cellsearch.card.plots import LINES

STYLES = ("-", "--", ":")
MOST_CLASSES_IN_A_COLUMN = 12


def style(place: int) -> tuple[str, str]:
    """Colour and line style of the class at that place; no two alike among the first 21."""
    return LINES[place % len(LINES)], STYLES[place // len(LINES) % len(STYLES)]


def roc(curves: Curves, *, title: str) -> Figure:
    """Recall over false positive rate, a line a class; the dashed diagonal is chance."""
    figure, axes = _panel(curves, title)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=(0, (4, 4)))
    for place, one in enumerate(curves.classes):
        colour, line = style(place)
        axes.plot(
            one.false_positive_rate,
            one.true_positive_rate,
            color=colour,
            linestyle=line,
            linewidth=1.7,
            label=f"{one.name} (n = {one.positives:,}): {one.roc_auc.value:.3f}",
        )
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("true positive rate (recall, sensitivity)")
    return _finished(figure, curves, "area under the curve\ndashed diagonal: chance")


def precision_recall(curves: Curves, *, title: str) -> Figure:
    """Precision over recall, a line a class; each class's share is a thin dotted line."""
    figure, axes = _panel(curves, title)
    for place, one in enumerate(curves.classes):
        colour, line = style(place)
        axes.axhline(one.prevalence, color=colour, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.plot(
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
    return _finished(figure, curves, "average precision\nthin dotted: share of the class")


def _panel(curves: Curves, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.8, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{title} (n = {curves.cells:,} cells)", fontsize=11)
    return figure, axes


def _finished(figure: Figure, curves: Curves, heading: str) -> Figure:
    figure.legend(
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        title=heading,
        title_fontsize=8.5,
        alignment="left",
        ncols=1 + (len(curves.classes) - 1) // MOST_CLASSES_IN_A_COLUMN,
    )
    if curves.left_out:
        told = "\n".join(f"{name}: {why}" for name, why in curves.left_out.items())
        figure.text(0.99, 0.02, f"left out\n{told}", ha="right", va="bottom", fontsize=8)
    return figure
