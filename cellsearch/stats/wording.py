"""Figures and their intervals in words, the same in every table, page and line."""

from __future__ import annotations

from cellsearch.stats.evaluation import FEW_CELLS, Estimate


def figure(estimate: Estimate | None, *, cells: int | None = None) -> str:
    """``0.683 (0.612 to 0.745)``, or that it cannot be estimated and from how many cells."""
    if estimate is None:
        return "not estimable" if cells is None else f"not estimable ({cells:,} cells)"
    return f"{estimate.value:.3f} ({interval(estimate)})"


def recall_of(estimate: Estimate | None, cells: int) -> str:
    """As ``figure``; ``0 of 3 found: 0-71 %`` for a class of a few cells.

    No one takes that for a measured 0.000.
    """
    if estimate is None or cells >= FEW_CELLS:
        return figure(estimate, cells=cells)
    found, bounds = f"{round(estimate.value * cells):,} of {cells:,} found", estimate.interval
    if bounds is None:
        return found
    return f"{found}: {100 * bounds.low:.0f}-{100 * bounds.high:.0f} %"


def interval(estimate: Estimate, *, sign: str = "") -> str:
    """``0.612 to 0.745``, or in words why not.

    ``no spread`` where both ends are the same, which is no certainty.
    """
    found = estimate.interval
    if found is None:
        return "no interval"
    if found.low == found.high:
        return "no spread"
    return f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"


def difference(estimate: Estimate | None) -> str:
    """``+0.213 (+0.150 to +0.270)``; a dash where there is none."""
    if estimate is None:
        return "-"
    return f"{estimate.value:+.3f} ({interval(estimate, sign='+')})"


def better_by(estimate: Estimate) -> str:
    """``better by 0.033 (0.010 to 0.056)``, or ``worse by ...`` with the signs turned."""
    if estimate.value > 0.0:
        return f"better by {figure(estimate)}"
    return f"worse by {figure(estimate.turned)}"


def p_value(value: float) -> str:
    """``0.012``, or ``< 0.001``."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
