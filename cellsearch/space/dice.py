"""A stand-in for an Optuna trial that draws at random."""

# The signatures are Optuna's, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any


class Dice:
    """Draws each parameter independently and uniformly, on a log scale where it says so."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if log:
            # Half a unit on either side gives the bounds the weight of the others.
            drawn = math.exp(self._random.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return min(max(round(drawn), low), high)
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
    ) -> float:
        if step is not None:
            return min(low + step * self._random.randrange(round((high - low) / step) + 1), high)
        if log:
            drawn = math.exp(self._random.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
        return self._random.uniform(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)
