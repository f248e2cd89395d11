"""The picture of ``cellsearch compare-samples``: every replicate, means and intervals, by class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellsearch.compare.plot import refuse_picture
from cellsearch.compare.samples import SamplesReport
from cellsearch.errors import RunError
from cellsearch.stats.evaluation import LEVEL
from cellsearch.stats.sample_comparison import mean_share
from cellsearch.stats.wording import p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 4
SPREAD = 0.24
"""How far apart the outermost points of a condition lie, as a share of a step."""


def draw_samples(report: SamplesReport, path: Path) -> list[Path]:
    """Write ``path`` as PNG and beside it as SVG.

    Raises:
        ConfigError: as of ``refuse_picture``.
        RunError: they cannot be written.
    """
    from matplotlib.figure import Figure

    from cellsearch.card.plots import save

    refuse_picture(path)
    classes = list(report.conditions[0].classes)
    conditions = [report.control, *(each.condition for each in report.conditions)]
    across = min(ACROSS, len(classes))
    down = math.ceil(len(classes) / across)
    wide = max(2.4, 0.9 * len(conditions) + 0.8)
    figure = Figure(figsize=(wide * across, 3.1 * down + 0.3), layout="constrained")
    panels: Any = figure.subplots(down, across, squeeze=False)
    for k, name in enumerate(classes):
        _panel(panels[k // across][k % across], report, conditions, name, k)
    for left in range(len(classes), down * across):
        panels[left // across][left % across].set_visible(False)
    joined = f"; lines: one {report.paired_by}" if report.paired_by else ""
    figure.supxlabel(
        f"points: replicates; bars: mean and {100 * LEVEL:.0f} % interval of it; "
        f"p over arrangements, Holm{joined}",
        fontsize=8,
        color="0.3",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return [path.parent / name for name in save(figure, path.parent, path.stem)]
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _panel(axes: Axes, report: SamplesReport, conditions: list[str], name: str, place: int) -> None:
    from cellsearch.card.plots import LINES, reach

    at: dict[str, dict[str, tuple[float, float]]] = {}
    for x, condition in enumerate(conditions):
        own = [each for each in report.replicates if each.condition == condition]
        shares = np.array([100 * each.shares[place] for each in own])
        offsets = np.linspace(-SPREAD, SPREAD, len(own)) if len(own) > 1 else np.zeros(1)
        colour = LINES[x % len(LINES)]
        axes.scatter(x + offsets, shares, s=16, color=colour, alpha=0.75, linewidths=0, zorder=3)
        mean = mean_share(shares)
        axes.errorbar(
            [x],
            [mean.value],
            yerr=reach([mean]),
            fmt="_",
            markersize=18,
            capsize=4,
            color="black",
            zorder=4,
        )
        for each, offset, share in zip(own, offsets, shares, strict=True):
            at.setdefault(each.block, {}).setdefault(condition, (x + offset, share))
    if report.paired_by:
        for points in at.values():
            ends = [points[condition] for condition in conditions if condition in points]
            if len(ends) > 1:
                axes.plot(*zip(*ends, strict=True), color="0.75", linewidth=0.8, zorder=1)
    axes.set_xticks(range(len(conditions)), labels=conditions, fontsize=8)
    axes.set_xlim(-0.6, len(conditions) - 0.4)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if axes.get_ylim()[0] < 0 else 0.0)
    axes.set_ylabel("share of cells, %" if place % ACROSS == 0 else "", fontsize=8)
    told = ", ".join(f"p {_equals(each.classes[name].p_holm)}" for each in report.conditions)
    axes.set_title(f"{name}\n{told}", fontsize=9)
    axes.grid(axis="y", color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _equals(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
