"""The pictures of a report: vector, safe for the colour-blind, small enough for a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cellsearch.card.metrics import ClassEntry, Figures
from cellsearch.card.plots import BASELINE, WINNER
from cellsearch.report.facts import RunFacts, Trial
from cellsearch.report.search_story import best_so_far
from cellsearch.report.svg import CELL_DARK, CELL_LIGHT
from cellsearch.stats.evaluation import FEW_CELLS, Estimate

WIDE = 4.7
"""Inches; on a phone the type is then about as large as that of the page."""
STOPPED, FAILED = "#CC79A7", "#D55E00"
MOST_LANES = 60
MOST_CLASSES_WITH_TEXT = 25


def history(facts: RunFacts, metric: str) -> Figure | None:
    """Score of each trial in the order of their numbers, and the best so far."""
    scored = [each for each in facts.trials if each.row.score is not None]
    if not scored:
        return None
    figure = Figure(figsize=(WIDE, 3.1), layout="constrained")
    axes = figure.add_subplot()
    axes.step(*best_so_far(facts.trials), where="post", color="0.6", linewidth=1.2, zorder=1)
    winner = facts.winner
    for label, chosen, style in (
        ("complete", [t for t in scored if _plain(t, winner)], {"color": WINNER, "marker": "o"}),
        (
            "stopped early (score of its folds so far)",
            [t for t in scored if t.stopped],
            {"edgecolors": STOPPED, "facecolors": "none", "marker": "v"},
        ),
        (
            "unfinished (score of its folds so far)",
            [t for t in scored if t.row.state in ("RUNNING", "FAIL")],
            {"edgecolors": FAILED, "facecolors": "none", "marker": "D"},
        ),
        ("baseline", [t for t in scored if t.row.baseline], {"color": BASELINE, "marker": "s"}),
        (
            "winner" if facts.card is not None else "best so far",
            [t for t in scored if t is winner and not t.row.baseline],
            {"color": WINNER, "marker": "*", "s": 110, "zorder": 3},
        ),
    ):
        if chosen:
            places = [t.number for t in chosen], [t.row.score for t in chosen]
            axes.scatter(*places, label=label, **{"s": 26, "zorder": 2} | style)  # type: ignore[arg-type]
    axes.set_xlabel("trial")
    axes.set_ylabel(f"{metric}, out-of-fold")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _calm(axes, "y")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return figure


def _plain(trial: Trial, winner: Trial | None) -> bool:
    return trial.row.state == "COMPLETE" and not trial.row.baseline and trial is not winner


def lanes(facts: RunFacts, metric: str) -> Figure | None:
    """A lane a trial and a square a fold: the score so far, or empty where none was trained."""
    shown = [each for each in facts.trials if each.steps]
    if not shown or facts.folds < 2:
        return None
    if len(shown) > MOST_LANES:
        shown = [t for t in shown if t.stopped or t.row.baseline or t is facts.winner][:MOST_LANES]
    k, rows = facts.folds, len(shown)
    wide = min(WIDE, 2.2 + 0.36 * k)
    tall = max(2.0, 0.9 + 0.19 * rows)
    figure = Figure(figsize=(wide, tall), layout="constrained")
    axes = figure.add_subplot()
    grid = np.full((rows, k), np.nan)
    for row, each in enumerate(shown):
        grid[row, : len(each.steps)] = each.steps[:k]
    colours = axes.pcolormesh(
        np.arange(k + 1) + 0.5, np.arange(rows + 1) - 0.5, grid, cmap="cividis", linewidth=0
    )
    for row, each in enumerate(shown):
        for fold in range(len(each.steps), k):
            axes.add_patch(
                matplotlib.patches.Rectangle(
                    (fold + 0.58, row - 0.42), 0.84, 0.84, fill=False, edgecolor="0.8", linewidth=1
                )
            )
    marks = {id(facts.baseline): " (baseline)", id(facts.winner): " (best)"}
    names = [f"{t.number}{marks.get(id(t), '')}" for t in shown]
    axes.set_yticks(range(rows), labels=names, fontsize=7.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlim(0.5, k + 0.5)
    axes.set_xticks(range(1, k + 1))
    axes.set_xlabel("after fold")
    axes.set_ylabel("trial")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(colours, ax=axes, shrink=min(1.0, 1.9 / tall), aspect=12)
    bar.set_label(f"{metric}\nof the folds so far")
    bar.outline.set_visible(False)
    return figure


def per_class(winner: Figures, baseline: Figures | None, figure_names: Sequence[str]) -> Figure:
    """Recall, precision and the like of each class with 95 % intervals, winner above baseline."""
    names = list(winner.per_class)
    figure = Figure(figsize=(WIDE, 0.95 + 0.42 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(figure_names), sharey=True, squeeze=False)[0]
    sides = [("winner", winner, WINNER, "o", -0.14)]
    if baseline is not None:
        sides.append(("baseline", baseline, BASELINE, "s", 0.14))
    for axes, which in zip(panels, figure_names, strict=True):
        for label, side, colour, marker, shift in sides:
            _intervals(axes, side.per_class, which, colour, marker, shift, label)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
        axes.set_xlabel(which if which != "f1" else "F1")
        _calm(axes, "x")
    support = [winner.per_class[name].support for name in names]
    labels = [f"{_short(name)}\nn = {n:,}" for name, n in zip(names, support, strict=True)]
    panels[0].set_yticks(range(len(names)), labels=labels)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    handles, legends = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, legends, loc="outside upper right", ncols=2, frameon=False)
    return figure


def _intervals(
    axes: Axes,
    classes: Mapping[str, ClassEntry],
    which: str,
    colour: str,
    marker: str,
    shift: float,
    label: str,
) -> None:
    for place, own in enumerate(classes.values()):
        found: Estimate | None = getattr(own, which) if own.estimable else None
        if found is None:
            said = "none predicted" if own.estimable else "not estimable"
            axes.text(0.0, place + shift, said, fontsize=6.5, color="0.4", va="center")
            continue
        if (bounds := found.interval) is not None:
            axes.hlines(place + shift, bounds.low, bounds.high, color=colour, linewidth=1.6)
        few = own.support < FEW_CELLS
        axes.plot(
            [found.value],
            [place + shift],
            marker,
            color=colour,
            markersize=4.5,
            markerfacecolor="none" if few else colour,
            label=label,
        )
        label = "_"


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Counts, and as colour and second line the share of each true class."""
    matrix = np.asarray(counts, np.int64)
    k = len(matrix)
    support = matrix.sum(axis=1, keepdims=True)
    percent = 100.0 * np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
    side = max(3.2, 1.5 + 0.37 * k)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["cividis"]
    mesh = axes.pcolormesh(percent, cmap=colours, vmin=0.0, vmax=100.0, linewidth=0)
    axes.set_ylim(k, 0)
    axes.set_aspect("equal")
    size = 7.0 if k <= 10 else 6.0
    if k <= MOST_CLASSES_WITH_TEXT:
        for (row, column), count in np.ndenumerate(matrix):
            bright = percent[row, column] > 55.0
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{count:,}\n{_percent(percent[row, column])}" if count else "0",
                ha="center",
                va="center",
                fontsize=size,
                color=CELL_DARK if bright else CELL_LIGHT,
            )
    axes.set_xticks(
        np.arange(k) + 0.5,
        labels=[_short(name) for name in classes],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    rows = [f"{_short(name)} ({n:,})" for name, n in zip(classes, support[:, 0], strict=True)]
    axes.set_yticks(np.arange(k) + 0.5, labels=rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (n cells)")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.75)
    bar.set_label("% of the true class")
    bar.outline.set_visible(False)
    return figure


def _percent(share: float) -> str:
    return f"{share:.0f} %" if share >= 1 else "<1 %"


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:20]}..."


def _calm(axes: Axes, grid: Any) -> None:
    axes.grid(axis=grid, color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
