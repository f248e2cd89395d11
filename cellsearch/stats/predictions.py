"""What a model gave for cells: one container for folds, hold-out, a card and an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.decision import Decision, decided
from cellsearch.stats.groups import Codes


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model gave for n cells, out-of-fold or of a hold-out.

    ``Predictions.of`` finds the classes from the probabilities.

    Attributes:
        classes: K names.
        labels: (n,) int64 true classes.
        predicted: (n,) int64 classes that were given.
        probabilities: (n, K) float32; None where the classes alone are known.
        estimable: (K,) bool; classes for which figures are stated. None for all.
        cells: (n,) int64 positions in the data set; None where it is not at hand.
        ids: n names of the cells; empty where they are not known.
        groups: (n,) int64 codes; None where cells are independent.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32] | None = None
    estimable: NDArray[np.bool_] | None = None
    cells: NDArray[np.int64] | None = None
    ids: tuple[str, ...] = ()
    groups: Codes | None = None

    def __post_init__(self) -> None:
        n, k = len(self.labels), len(self.classes)
        p = self.probabilities
        wrong = [
            f"{name} of shape {values.shape}, expected {expected}"
            for name, values, expected in (
                ("predicted", self.predicted, (n,)),
                ("probabilities", p, (n, k)),
                ("estimable", self.estimable, (k,)),
                ("cells", self.cells, (n,)),
                ("groups", self.groups, (n,)),
            )
            if values is not None and values.shape != expected
        ]
        if self.ids and len(self.ids) != n:
            wrong.append(f"{len(self.ids)} ids, expected {n}")
        if wrong:
            raise ValueError(f"predictions of {n} cells and {k} classes: {'; '.join(wrong)}")

    @classmethod
    def of(
        cls,
        classes: tuple[str, ...],
        labels: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        *,
        decision: Decision | None = None,
        **others: Any,
    ) -> Self:
        """Predictions whose classes are ``decided`` from the probabilities.

        Args:
            classes: K names.
            labels: (n,) int64 true classes.
            probabilities: (n, K) float32.
            decision: how they become classes; None takes the greatest.
            others: any other attribute.

        Raises:
            ValueError: arrays that do not fit each other.
        """
        return cls(classes, labels, decided(probabilities, decision), probabilities, **others)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def not_estimable(self) -> tuple[str, ...]:
        """Names of classes without figures."""
        if self.estimable is None:
            return ()
        return tuple(n for n, known in zip(self.classes, self.estimable, strict=True) if not known)
