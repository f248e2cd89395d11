"""The pictures of a card: matplotlib's object API alone, colours safe for the colour-blind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellsearch.stats.evaluation import Estimate, Evaluation
from cellsearch.stats.intervals import Interval
from cellsearch.util.figures import lay_out
from cellsearch.util.fonts import lettered

# Okabe & Ito (2008), told apart with any common colour-vision deficiency.
WINNER, BASELINE = "#0072B2", "#E69F00"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
CLASS_PANELS = (
    ("recall", "recall\n(sensitivity)"),
    ("precision", "precision\n(PPV)"),
    ("specificity", "specificity"),
    ("f1", "F1"),
)
DPI = 150
MOST_CLASSES_WITH_TEXT = 25


def save(figure: Figure, folder: Path, name: str) -> list[str]:
    """Write ``<name>.png`` and ``<name>.svg`` and return both file names.

    Neither holds a date or a random id, so that the same figures give the same bytes.
    """
    FigureCanvasAgg(figure)
    with (
        lettered(figure),
        matplotlib.rc_context({"svg.hashsalt": "cellsearch", "svg.fonttype": "none"}),
    ):
        lay_out(figure)
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
        figure.savefig(folder / f"{name}.svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    return [f"{name}.png", f"{name}.svg"]


def confusion_matrix(evaluation: Evaluation, *, title: str) -> Figure:
    """Counts and, as colour and second line, percent of each true class."""
    counts = evaluation.confusion
    k = len(counts)
    support = counts.sum(axis=1, keepdims=True)
    percent = 100.0 * np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    side = max(4.2, 0.72 * k + 2.2)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["Blues"]
    picture = axes.imshow(percent, cmap=colours, vmin=0.0, vmax=100.0)
    names = [f"{name}\n(n = {n:,})" for name, n in zip(evaluation.classes, support[:, 0])]  # noqa: B905
    turned = k > 4 or max(map(len, evaluation.classes)) > 10
    axes.set_xticks(
        range(k),
        labels=list(evaluation.classes),
        rotation=45 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    axes.set_yticks(range(k), labels=names)
    axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="0.85", linewidth=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{title} (n = {evaluation.cells:,} cells)", fontsize=11)
    if k <= MOST_CLASSES_WITH_TEXT:
        _write_cells(axes, counts, percent, colours)
    bar = figure.colorbar(picture, ax=axes, shrink=0.85)
    bar.set_label("% of true class")
    return figure


def _write_cells(
    axes: Axes, counts: NDArray[np.int64], percent: NDArray[np.float64], colours: Colormap
) -> None:
    for (row, column), count in np.ndenumerate(counts):
        red, green, blue, _ = colours(float(percent[row, column]) / 100.0)
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        share = percent[row, column]
        shown = f"{share:.0f} %" if share == 0 or share >= 1 else "<1 %"
        axes.text(
            column,
            row,
            f"{count:,}\n{shown}" if count else "0",
            ha="center",
            va="center",
            fontsize=8,
            color="black" if bright else "white",
        )


def per_class_bars(
    winner: Evaluation, baseline: Evaluation | None, *, title: str, caption: str
) -> Figure:
    """Recall, precision, specificity and F1 of each class, winner beside baseline.

    All with 95 % intervals.
    """
    k = len(winner.classes)
    figure = Figure(figsize=(max(7.0, 0.9 * k + 2.0), 10.0), layout="constrained")
    panels = figure.subplots(len(CLASS_PANELS), 1, sharex=True)
    shown = [("winner", winner, WINNER)]
    if baseline is not None:
        shown.append(("baseline", baseline, BASELINE))
    width = 0.8 / len(shown)
    for axes, (figure_name, label) in zip(panels, CLASS_PANELS, strict=True):
        for position, (name, evaluation, colour) in enumerate(shown):
            offset = (position - (len(shown) - 1) / 2) * width
            _draw_bars(axes, evaluation, figure_name, offset, width, colour, name)
        axes.set_ylim(0.0, 1.05)
        axes.set_xlim(-0.6, k - 0.4)
        axes.set_ylabel(label)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    names = [f"{name}\nn = {n:,}" for name, n in zip(winner.classes, winner.support, strict=True)]
    turned = k > 10
    panels[-1].set_xticks(
        range(k), labels=names, rotation=45 if turned else 0, ha="right" if turned else "center"
    )
    panels[0].set_title(f"{title} (n = {winner.cells:,} cells)", fontsize=11, loc="left")
    panels[0].legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9
    )
    figure.supxlabel(caption, fontsize=8, color="0.3")
    return figure


def _draw_bars(
    axes: Axes,
    evaluation: Evaluation,
    figure_name: str,
    offset: float,
    width: float,
    colour: str,
    label: str,
) -> None:
    estimates = [
        evaluation.estimate(index, figure_name) for index in range(len(evaluation.classes))
    ]
    known = [(index, estimate) for index, estimate in enumerate(estimates) if estimate is not None]
    at = np.array([index for index, _ in known], float) + offset
    values = np.array([estimate.value for _, estimate in known])
    spread = reach([estimate for _, estimate in known])
    axes.bar(at, values, width, color=colour, label=label)
    if len(known):
        drawn = spread.sum(axis=0) > 0
        axes.errorbar(
            at[drawn],
            values[drawn],
            yerr=spread[:, drawn],
            fmt="none",
            ecolor="0.15",
            elinewidth=1,
            capsize=2,
        )
    for index, estimate in enumerate(estimates):
        if estimate is None or (estimate.high or estimate.value) < 0.05:
            shown = "n/e" if estimate is None else f"{estimate.value:.2g}"
            axes.text(
                index + offset, 0.02, shown, ha="center", va="bottom", fontsize=8, color="0.25"
            )


def reach(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """(2, n) lengths of error bars, down and up; 0 where a figure has no interval."""
    bounds = [(each.value, each.interval or Interval(each.value, each.value)) for each in estimates]
    found = [(value - within.low, within.high - value) for value, within in bounds]
    # A percentile interval need not hold the figure itself; error bars may not be negative.
    return np.asarray(np.maximum(np.array(found, float).reshape(-1, 2).T, 0.0))


def history(runs: Sequence[Sequence[dict[str, float]]], *, title: str) -> Figure | None:
    """The course of training, a panel for each figure and a line for each network.

    A learning rate that never changes gets no panel. Returns None where no epoch was recorded.
    """
    wanted = (
        ("loss", "training loss"),
        ("watched", "balanced accuracy,\ninner split"),
        ("lr", "learning rate"),
    )
    panels = [
        (key, label)
        for key, label in wanted
        if len({record[key] for run in runs for record in run if key in record}) > (key == "lr")
    ]
    if not panels:
        return None
    figure = Figure(figsize=(7.0, 1.2 + 2.0 * len(panels)), layout="constrained")
    all_axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (key, label) in zip(all_axes, panels, strict=True):
        for number, run in enumerate(runs):
            records = [record for record in run if key in record]
            axes.plot(
                [record.get("epoch", place) for place, record in enumerate(records, 1)],
                [record[key] for record in records],
                color=LINES[number % len(LINES)],
                linewidth=1.5,
                marker="o" if len(records) < 40 else None,
                markersize=3,
                label=f"fold {number}",
            )
        axes.set_ylabel(label)
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1].set_xlabel("epoch")
    all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
    all_axes[0].set_title(title, fontsize=11)
    if len(runs) > 1:
        all_axes[0].legend(frameon=False, fontsize=8, ncols=min(5, len(runs)))
    return figure
