"""What ``cellsearch compare`` prints of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cellsearch.card.figures import FEW_CELLS, Estimate
from cellsearch.card.markdown import difference, figure, recall_of
from cellsearch.learn.metrics import METRICS, TITLES
from cellsearch.predictions import NAMES
from cellsearch.report import counted, say, table

if TYPE_CHECKING:
    from cellsearch.compare_runs import RunsReport


def runs_report(report: RunsReport, drawn: Sequence[Path] = ()) -> None:
    """Print every figure of every run, the differences from the first, and the verdicts."""
    names = [Path(run.run).name for run in report.runs]
    if len(set(names)) < len(names):
        names = [run.run for run in report.runs]
    headers = ["figure", "cells", *names, *(f"{name} minus {names[0]}" for name in names[1:])]
    rows = [
        [
            TITLES[name],
            f"{report.cells:,}",
            *(figure(run.metrics[name]) for run in report.runs),
            *(difference(run.metric_differences[name]) for run in report.runs[1:]),
        ]
        for name in METRICS
    ]
    for name, cells in report.support.items():
        if report.runs[0].recalls[name] is None:
            continue
        rows.append(
            [
                f"recall of {name}",
                f"{cells:,}",
                *(_recall(run.recalls[name], cells) for run in report.runs),
                *(_gap(run.recall_differences[name]) for run in report.runs[1:]),
            ]
        )
    grouped = f" in {counted(report.groups, 'group')}" if report.groups is not None else ""
    where = f"{NAMES[report.part].capitalize()}, {report.cells:,} cells{grouped}"
    table(headers, rows, title=f"{where} (95 % intervals)")
    for name, run in zip(names[1:], report.runs[1:], strict=True):
        p = run.p_holm if run.p_holm is not None else 1.0
        shown = f"{p:.3f}" if p >= 0.001 else "< 0.001"
        say(f"{name} against {names[0]}: {run.verdict} (p, Holm: {shown})")
    few = [name for name, cells in report.support.items() if 0 < cells < FEW_CELLS]
    if few:
        say(f"fewer than {FEW_CELLS} cells, so read the intervals: {', '.join(few)}")
    if report.part == "holdout":
        say("a run chosen by these figures has been chosen by the hold-out, which flatters it")
    for path in drawn:
        say(f"drawn: {path}")


def _recall(estimate: Estimate | None, cells: int) -> str:
    return "-" if estimate is None else recall_of(estimate, cells)


def _gap(estimate: Estimate | None) -> str:
    return "-" if estimate is None else difference(estimate)
