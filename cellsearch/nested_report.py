"""What is printed when repeated searches are done."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from cellsearch.report import say, table

if TYPE_CHECKING:
    from cellsearch.nested import NestedResult


def nested_result(result: NestedResult) -> None:
    """Print each search, the classes of the pooled cells, and the estimate."""
    summary = result.summary
    if summary is None:
        say(f"interrupted; go on with: cellsearch resume {shlex.quote(str(result.folder))}")
        return
    named = summary.metric.replace("_", " ")
    table(
        ("search", "winner", "hold-out cells", named, "of the baseline"),
        [
            (
                each.name,
                f"trial {each.trial}",
                f"{each.cells:,}",
                f"{each.winner[summary.metric]:.3f}",
                f"{each.baseline[summary.metric]:.3f}" if each.baseline else "-",
            )
            for each in summary.searches
        ],
        title="Each search on the cells that it never saw",
    )
    if summary.pooled is not None:
        pooled = summary.pooled
        rows = []
        for index, name in enumerate(pooled.classes):
            recall = pooled.estimate(index, "recall")
            shown = "not estimable"
            if recall is not None:
                shown = f"{recall.value:.3f} ({recall.low:.3f} to {recall.high:.3f})"
            rows.append((name, f"{pooled.support[index]:,}", shown))
        table(("class", "cells", "recall"), rows, title="Pooled (95 % intervals)")
    say(summary.headline())
    say(f"figures: {result.folder / 'summary.json'}")
