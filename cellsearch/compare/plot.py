"""The picture of ``cellsearch compare``: the figures of several runs side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.predictions import NAMES
from cellsearch.errors import ConfigError, RunError
from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.metrics import METRICS, TITLES
from cellsearch.util.messages import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellsearch.compare.runs import RunsReport


ENDS = (".png", ".svg")


def refuse_picture(path: Path, *, keep: Sequence[Path] = ()) -> None:
    """Refuse a place at which ``draw_runs`` could not draw, or would replace what it did not draw.

    Args:
        path: of the drawing, PNG or SVG; both are written.
        keep: folders of cards, whose pictures stay as they are.

    Raises:
        ConfigError: the name ends otherwise, it lies in a card, below no folder, or one alone of
            both files is there.
    """
    if path.suffix not in ENDS:
        raise ConfigError(
            Setting("plot"), f": expected a name ending in .png or .svg, got {path.name!r}"
        )
    for folder in keep:
        if path.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                Setting("plot", str(path)),
                f": lies in {folder}, which is the input; name another place",
            )
    if any(parent.exists() and not parent.is_dir() for parent in path.parents):
        raise ConfigError(
            Setting("plot", str(path)),
            f": there can be no folder {path.parent}; name another place",
        )
    there = [each for each in (path.with_suffix(end) for end in ENDS) if os.path.lexists(each)]
    if there and not all(path.with_suffix(end).is_file() for end in ENDS):
        # An older drawing is a pair; a PNG alone may be somebody's cell.
        raise ConfigError(
            Setting("plot", str(path)),
            f": {there[0]} is there, and may be no drawing of this command, which "
            "writes a PNG and an SVG; name another file, or remove it yourself",
        )


def draw_runs(report: RunsReport, path: Path) -> list[Path]:
    """Write ``path`` as PNG and beside it as SVG.

    Raises:
        ConfigError: as of ``refuse_picture``.
        RunError: they cannot be written.
    """
    from matplotlib.figure import Figure

    from cellsearch.card.plots import LINES, save

    refuse_picture(path)
    classes = [name for name, known in report.runs[0].recalls.items() if known is not None]
    rows = len(METRICS) + len(classes)
    height = 1.6 + rows * (0.22 + 0.13 * len(report.runs))
    figure = Figure(figsize=(10.5, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for at, run in enumerate(report.runs):
        place = np.arange(rows) + 0.7 * ((at + 0.5) / len(report.runs) - 0.5)
        colour = LINES[at % len(LINES)]
        figures = [run.metrics[name] for name in METRICS] + [run.recalls[name] for name in classes]
        _draw(left, figures, place, colour, Path(run.run).name)
        if at:
            gaps = [run.metric_differences[name] for name in METRICS]
            _draw(
                right,
                [*gaps, *(run.recall_differences[name] for name in classes)],
                place,
                colour,
                Path(run.run).name,
            )
    names = [TITLES[name] for name in METRICS]
    names += [f"recall of {name} (n = {report.support[name]:,})" for name in classes]
    left.set_yticks(range(rows), labels=names)
    left.set_ylim(rows - 0.5, -0.5)
    right.axvline(0.0, color="0.4", linewidth=0.8)
    left.set_title(f"{NAMES[report.part]}, {report.cells:,} cells", fontsize=10, loc="left")
    right.set_title(f"difference from {Path(report.runs[0].run).name}", fontsize=10, loc="left")
    for axes in (left, right):
        axes.axhline(len(METRICS) - 0.5, color="0.8", linewidth=0.8)
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        # Of itself matplotlib leaves out what begins with an underscore, as a folder may.
        left.containers,
        [Path(run.run).name for run in report.runs],
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    left.set_xlabel(f"with {100 * LEVEL:.0f} % intervals", fontsize=8, color="0.3")
    right.set_xlabel("paired by cell", fontsize=8, color="0.3")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return [path.parent / name for name in save(figure, path.parent, path.stem)]
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _draw(
    axes: Axes,
    figures: list[Estimate | None],
    place: NDArray[np.floating[Any]],
    colour: str,
    name: str,
) -> None:
    from cellsearch.card.plots import reach

    known = [(at, each) for at, each in zip(place, figures, strict=True) if each is not None]
    values = np.array([each.value for _, each in known])
    axes.errorbar(
        values,
        [at for at, _ in known],
        xerr=reach([each for _, each in known]),
        fmt="o",
        markersize=3.5,
        elinewidth=1.2,
        capsize=2,
        color=colour,
        label=name,
    )
