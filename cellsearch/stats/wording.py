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
    found, low, high = round(estimate.value * cells), 100 * estimate.low, 100 * estimate.high
    return f"{found:,} of {cells:,} found: {low:.0f}-{high:.0f} %"


def interval(estimate: Estimate, *, sign: str = "") -> str:
    """``0.612 to 0.745``; ``no spread`` where both ends are the same, which is no certainty."""
    if estimate.low == estimate.high:
        return "no spread"
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def difference(estimate: Estimate | None) -> str:
    """``+0.213 (+0.150 to +0.270)``; a dash where there is none."""
    if estimate is None:
        return "-"
    return f"{estimate.value:+.3f} ({interval(estimate, sign='+')})"


def p_value(value: float) -> str:
    """``0.012``, or ``< 0.001``."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
