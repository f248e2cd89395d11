"""The picture of which choice mattered: parameters on the left, choices by class on the right."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellsearch.card.plots import BASELINE, WINNER, reach
from cellsearch.stats.evaluation import LEVEL
from cellsearch.stats.metrics import TITLES
from cellsearch.tune.findings import ChoiceEffect, Importance

MOST_PARAMETERS = 15
GREY = "0.6"


def importance_figure(found: Importance) -> Figure | None:
    """Bars of parameters and effects with intervals; None where there is neither."""
    rows = list(dict.fromkeys((e.choice, e.level, e.reference) for e in found.effects))
    columns = list(dict.fromkeys(e.of for e in found.effects))
    if not found.parameters and not rows:
        return None
    shown = found.parameters[:MOST_PARAMETERS]
    height = max(2.6, 1.5 + 0.3 * max(len(shown), len(rows)))
    widths = ([3.4] if shown else []) + [1.6] * len(columns)
    figure = Figure(figsize=(sum(widths) + 2.2, height), layout="constrained")
    panels = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    if shown:
        _parameters(panels[0], found)
        panels = panels[1:]
    names = [f"{choice} {level}" for choice, level, _ in rows]
    for place, (axes, of) in enumerate(zip(panels, columns, strict=True)):
        _effects(axes, found, rows, of)
        axes.set_title(f"recall of {of}" if of else TITLES[found.metric], fontsize=8)
        axes.set_yticks(range(len(rows)), labels=names if place == 0 else [], fontsize=8)
    if columns:
        figure.supxlabel(
            f"{'Right: effect' if shown else 'Effect'} of a choice, mean of the trials that made "
            f"it less that of those that did not, with {100 * LEVEL:.0f} % intervals; grey: not "
            "distinguishable from none",
            fontsize=8,
            color="0.3",
        )
    return figure


def _parameters(axes: Axes, found: Importance) -> None:
    shown = found.parameters[:MOST_PARAMETERS]
    colours = [WINNER if each.p < 1.0 - LEVEL else GREY for each in shown]
    axes.barh(range(len(shown)), [each.importance for each in shown], color=colours)
    axes.set_yticks(range(len(shown)), labels=[each.name for each in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_title(
        f"importance (PED-ANOVA, {found.trials} trials)\ngrey: no more than by chance", fontsize=8
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)


def _effects(axes: Axes, found: Importance, rows: list[tuple[str, str, str]], of: str) -> None:
    by = {(e.choice, e.level, e.reference): e for e in found.effects if e.of == of}
    for place, row in enumerate(rows):
        effect = by.get(row)
        if effect is None:
            continue
        estimate = effect.difference
        axes.errorbar(
            [estimate.value],
            [place],
            xerr=reach([estimate]),
            fmt="o",
            markersize=4,
            elinewidth=1.2,
            capsize=2,
            color=_colour(effect),
        )
    axes.axvline(0.0, color="0.4", linewidth=0.8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)
    axes.locator_params(axis="x", nbins=3)


def _colour(effect: ChoiceEffect) -> str:
    verdict = effect.verdict
    return WINNER if verdict == "better" else BASELINE if verdict == "worse" else GREY
