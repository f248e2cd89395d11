"""Markdown of a card: tables, and figures with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from cellsearch.stats.evaluation import CLASS_FIGURES, FEW_CELLS, Estimate, Evaluation
from cellsearch.util.markdown import plain as plain


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are text, the others numbers."""
    rule = ["---" if column < left else "---:" for column in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def figure(estimate: Estimate | None, *, cells: int | None = None) -> str:
    """``0.683 (0.612 to 0.745)``, or that it cannot be estimated and from how many cells."""
    if estimate is None:
        return "not estimable" if cells is None else f"not estimable ({cells:,} cells)"
    return f"{estimate.value:.3f} ({interval(estimate)})"


def recall_of(estimate: Estimate, cells: int) -> str:
    """As ``figure``; ``0 of 3 found: 0-71 %`` for a class of a few cells."""
    if cells >= FEW_CELLS:
        return figure(estimate)
    return found_of(round(estimate.value * cells), cells, estimate.low, estimate.high)


def found_of(hits: int, cells: int, low: float, high: float) -> str:
    """``0 of 3 found: 0-71 %``, which no one takes for a measured 0.000."""
    return f"{hits:,} of {cells:,} found: {100 * low:.0f}-{100 * high:.0f} %"


def interval(estimate: Estimate, *, sign: str = "") -> str:
    """``0.612 to 0.745``; ``no spread`` where both ends are the same, which is no certainty."""
    if estimate.low == estimate.high:
        return "no spread"
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def difference(estimate: Estimate) -> str:
    """``+0.213 (+0.150 to +0.270)``."""
    return f"{estimate.value:+.3f} ({interval(estimate, sign='+')})"


def per_class_table(evaluation: Evaluation) -> str:
    """Precision, recall, specificity and F1 of each class with intervals, and its cells."""
    rows = []
    for index, name in enumerate(evaluation.classes):
        cells = int(evaluation.support[index])
        known = bool(evaluation.estimable[index])
        cols = [evaluation.estimate(index, which) for which in CLASS_FIGURES]
        shown = [figure(value, cells=cells) for value in cols]
        recall = cols[CLASS_FIGURES.index("recall")]
        if recall is not None:
            shown[CLASS_FIGURES.index("recall")] = recall_of(recall, cells)
        if known and cols[0] is None:
            shown[0] = "none predicted"
        rows.append([plain(name), f"{cells:,}", *shown])
    header = ("class", "cells", "precision (PPV)", "recall (sensitivity)", "specificity", "F1")
    return table(header, rows)


def confusion_table(evaluation: Evaluation) -> str:
    """Counts, rows true."""
    rows = [
        [f"**{plain(name)}**", *(f"{count:,}" for count in row)]
        for name, row in zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
    ]
    return table(("true \\ predicted", *map(plain, evaluation.classes)), rows)


def listed(names: Sequence[str]) -> str:
    """``a, b, c``, safe in a table."""
    return ", ".join(map(plain, names))
