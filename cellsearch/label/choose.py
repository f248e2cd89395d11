"""Which of many unlabelled cells to label next: rare classes, doubtful cells, and a random tenth.

A label is worth more to a class that has few. With q the probabilities of a cell and c the labels
that each class has or may expect from the cells chosen so far, a cell is worth
sum over k of q_k / (c_k + 1), the gain of sum log(c_k + 1). Cells are taken one by one, the worth
of a cell less the more it looks like one that was taken. A part goes to the cells between whose
two likeliest classes the model can least decide. A tenth is drawn by chance alone: only from those
can the shares of the classes be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reason = Literal["rare class", "uncertain", "random"]

RANDOM_SHARE = 0.1
UNCERTAIN_SHARE = 0.5
"""Of the cells that are not drawn by chance.

On 8 draws of the first labels of Jurkat, others than those of ``benchmarks/suggest.py``, a third
found 40 rare cells and a balanced accuracy of 0.565, a half 39 and 0.579, two thirds 34 and 0.578.
"""

ALIKE = 0.3
"""Mean squared distance of features, in variances, at which two cells begin to look unlike."""

SHORTLIST, SHORTEST, LONG = 10, 2, 5000
"""Times the cells asked for, among which those unlike one another are chosen.

Beyond ``LONG`` cells the times fall to ``SHORTEST``: each cell taken is compared with all of them.
"""


@dataclass(frozen=True)
class Chosen:
    """A cell to label.

    Attributes:
        cell: position.
        reason: why.
        target: class that it was chosen for; of an uncertain or random cell the likeliest one.
    """

    cell: int
    reason: Reason
    target: int


def choose(
    n: int,
    natural: Floats,
    labelled: Floats,
    features: Callable[[NDArray[np.int64]], Floats],
    *,
    seed: int = 0,
) -> tuple[Chosen, ...]:
    """Choose cells; those for rare classes first, by worth, then uncertain and random ones.

    Args:
        n: how many, at most as many as there are.
        natural: (N, K) probabilities under the natural mix of classes.
        labelled: (K,) labels that each class has.
        features: (m, F) of some cells, by which they are alike.
        seed: of the random ones.
    """
    cells = len(natural)
    if not 1 <= n <= cells:
        raise ValueError(f"n: expected 1 to {cells}, got {n}")
    drawn = np.random.default_rng(seed).permutation(cells)[: round(RANDOM_SHARE * n)]
    free = np.ones(cells, bool)
    free[drawn] = False
    uncertain = round(UNCERTAIN_SHARE * (n - len(drawn)))
    valued = n - len(drawn) - uncertain

    worth = natural @ (1.0 / (labelled + 1.0))
    gap = _gap(natural)
    short = np.union1d(
        _first(-worth, free, _shortlist(valued)),
        _first(gap, free, _shortlist(uncertain)),
    )
    near = _Likeness(features(short))
    found = []
    for place, target in _by_worth(valued, natural[short], labelled, near):
        found.append(Chosen(int(short[place]), "rare class", target))
    for place in _by_doubt(uncertain, gap[short], near):
        found.append(Chosen(int(short[place]), "uncertain", int(natural[short[place]].argmax())))
    found += [Chosen(int(cell), "random", int(natural[cell].argmax())) for cell in drawn]
    return tuple(found)


class _Likeness:
    """How unlike each cell is to those that were taken: 0 for the same, towards 1 for others."""

    def __init__(self, features: Floats) -> None:
        spread = features.std(axis=0)
        varied = spread > 0.0
        self._values = (features[:, varied] - features[:, varied].mean(axis=0)) / spread[varied]
        self._nearest = np.full(len(features), np.inf)
        self.free = np.ones(len(features), bool)

    def take(self, place: int) -> None:
        self.free[place] = False
        width = max(1, self._values.shape[1])
        apart = ((self._values - self._values[place]) ** 2).sum(axis=1) / width
        self._nearest = np.minimum(self._nearest, apart)

    @property
    def unlike(self) -> Floats:
        return np.asarray(1.0 - np.exp(-self._nearest / ALIKE))


def _by_worth(
    count: int, natural: Floats, labelled: Floats, near: _Likeness
) -> list[tuple[int, int]]:
    """Place of each cell taken, and the class that makes most of its worth."""
    expected = labelled.astype(np.float64)
    taken = []
    for _ in range(count):
        parts = natural / (expected + 1.0)
        worth = np.where(near.free, parts.sum(axis=1) * near.unlike, -1.0)
        place = int(worth.argmax())
        taken.append((place, int(parts[place].argmax())))
        expected = expected + natural[place]
        near.take(place)
    return taken


def _by_doubt(count: int, gap: Floats, near: _Likeness) -> list[int]:
    taken = []
    for _ in range(count):
        doubt = np.where(near.free, (1.0 - gap) * near.unlike, -1.0)
        taken.append(int(doubt.argmax()))
        near.take(taken[-1])
    return taken


def _shortlist(count: int) -> int:
    """Among how many cells ``count`` are chosen."""
    most = max(count, 1)
    return min(SHORTLIST * most, max(SHORTEST * most, LONG))


def _first(values: Floats, free: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Positions of the ``count`` smallest values of free cells."""
    order = np.argsort(np.where(free, values, np.inf), kind="stable")
    return order[: min(count, int(free.sum()))].astype(np.int64)


def _gap(natural: Floats) -> Floats:
    """(N,) by how much the likeliest class leads."""
    best = np.sort(natural, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])
