"""A share of cells with its interval: exact for cells, wider where they come in groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.groups import Codes
from cellsearch.stats.intervals import clopper_pearson, effective_cells, korn_graubard

FEWEST_GROUPS = 3
"""Groups (donors, plates) that a promise about others must rest on."""


def share(of: NDArray[np.bool_], groups: Codes | None = None) -> Estimate | None:
    """The share of True with its 95 % interval; None without cells.

    Args:
        of: (n,) bool.
        groups: (n,) int64, the same for cells of one donor or plate; by default cells are
            independent and the interval is Clopper and Pearson's, else Korn and Graubard's; one
            group has none.
    """
    if not len(of):
        return None
    if groups is None:
        return Estimate.of(float(of.mean()), clopper_pearson(int(of.sum()), len(of), level=LEVEL))
    own = np.unique(groups, return_inverse=True)[1]
    hits, cells = np.bincount(own, of).astype(np.int64), np.bincount(own)
    found = korn_graubard(hits, cells, level=LEVEL) if len(cells) > 1 else None
    return Estimate.of(float(of.mean()), found)


def surely_at_least(
    hits: NDArray[np.bool_], groups: Codes | None = None, *, error: float
) -> tuple[float, float]:
    """Lower bound of the share of True that is above the truth at most ``error`` often.

    One side of ``share``'s interval: exact for independent cells; of cells in groups for as many
    independent cells as would tell as much.

    Args:
        hits: (n,) bool, at least one.
        groups: (n,) int64; None where cells are independent.
        error: such as 0.05.

    Returns:
        The bound, and the number of independent cells that it rests on; 0 of fewer than
        ``FEWEST_GROUPS`` groups, which tell too little of others.
    """
    n = len(hits)
    if groups is None:
        return clopper_pearson(int(hits.sum()), n, level=1.0 - 2.0 * error).low, float(n)
    own = np.unique(groups, return_inverse=True)[1]
    found, cells = np.bincount(own, hits).astype(np.int64), np.bincount(own)
    if len(cells) < FEWEST_GROUPS:
        return 0.0, 0.0
    level = 1.0 - 2.0 * error
    return (
        korn_graubard(found, cells, level=level).low,
        effective_cells(found, cells, level=level),
    )
