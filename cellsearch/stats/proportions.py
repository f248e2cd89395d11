"""A share of cells with its interval: exact for cells, wider where they come in groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.groups import Codes
from cellsearch.stats.intervals import clopper_pearson, korn_graubard


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
