"""Resampling of training indices against class imbalance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cellsearch.space.recipe import Balance

Indices = NDArray[np.int64]


def target_counts(counts: Indices, balance: Balance) -> Indices:
    """Cells of each class in an epoch, (K,) int64.

    Between its own count n_c and the method's aim a class goes the share ``strength`` of the way
    on a logarithmic scale: n_c^(1 - strength) aim^strength.

    over: the aim is the largest class; nothing is left out.
    under: the aim is the geometric mean of the counts, for classes above it; the others keep
    their cells. Going down to the smallest class would leave an epoch of some dozen cells.
    mixed: the aim is the geometric mean for all, so large classes shrink and small ones grow.

    Args:
        counts: (K,) int64 training cells; a class with none stays so.
        balance: the recipe's section.
    """
    if balance.method == "none":
        return counts.copy()
    present = counts > 0
    cells = counts[present].astype(np.float64)
    middle = np.exp(np.log(cells).mean())
    aim = np.full_like(cells, cells.max() if balance.method == "over" else middle)
    if balance.method == "under":
        aim = np.minimum(aim, cells)
    targets = counts.copy()
    targets[present] = np.maximum(
        1, np.rint(cells ** (1.0 - balance.strength) * aim**balance.strength)
    ).astype(np.int64)
    return targets


def epochs(
    indices: Indices, labels: Indices, targets: Indices, *, rng: np.random.Generator
) -> Iterator[Indices]:
    """Endless epochs: the indices of each, shuffled.

    Both the extra copies of a small class and the chosen cells of a large one are newly drawn for
    each epoch, so no cell is thrown away for good. Every cell of a class that grows is in every
    epoch at least once.

    Args:
        indices: (n,) int64 training cells.
        labels: (n,) int64, their classes.
        targets: (K,) int64 from ``target_counts``.
        rng: source of chance.

    Yields:
        (sum of targets,) int64, taken from ``indices``.
    """
    counts = np.bincount(labels, minlength=len(targets))
    more = {c: int(t) for c, t in enumerate(targets) if t > counts[c] > 0}
    fewer = {c: int(t) for c, t in enumerate(targets) if t < counts[c]}
    while True:
        chosen = indices
        if more or fewer:
            chosen = indices[_resample(labels, more, fewer, rng)]
        yield rng.permutation(chosen)


def _resample(
    labels: Indices, more: dict[int, int], fewer: dict[int, int], rng: np.random.Generator
) -> Indices:
    """Positions in ``labels`` after under- and over-sampling."""
    # A second of import that recipes without resampling need not pay.
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    positions = np.arange(len(labels))
    for sampler, aims in ((RandomUnderSampler, fewer), (RandomOverSampler, more)):
        if aims:
            draw = sampler(sampling_strategy=aims, random_state=int(rng.integers(2**31)))
            taken, _ = draw.fit_resample(positions[:, None], labels[positions])
            positions = taken[:, 0].astype(np.int64)
    return positions
