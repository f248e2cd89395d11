"""A stand-in for an Optuna trial that draws at random."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

_NONE: Mapping[str, Any] = MappingProxyType({})


class Dice:
    """Draws each parameter independently, on a log scale where it says so.

    Args:
        seed: the same seed gives the same draws.
        odds: of the choices of a parameter, by its name in the study; without, all are the same.
        centres: the value of a range that is drawn most often; draws become rarer on a straight
            line to either end. Without, all are the same.
    """

    def __init__(
        self,
        seed: int,
        *,
        odds: Mapping[str, Sequence[float]] = _NONE,
        centres: Mapping[str, float] = _NONE,
    ) -> None:
        self._random = random.Random(seed)
        self._odds = odds
        self._centres = centres

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        centre = self._centres.get(name)
        if centre is not None:
            # Half a step on either side gives the bounds the weight of the others.
            half = 0.5 if log else step / 2
            drawn = self._about(centre, low - half, high + half, log=log)
            return low + step * min(max(round((drawn - low) / step), 0), (high - low) // step)
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
        centre = self._centres.get(name)
        if centre is not None and step is not None:
            drawn = self._about(centre, low - step / 2, high + step / 2, log=False)
            steps = min(max(round((drawn - low) / step), 0), round((high - low) / step))
            return min(low + step * steps, high)
        if centre is not None:
            return min(max(self._about(centre, low, high, log=log), low), high)
        if step is not None:
            return min(low + step * self._random.randrange(round((high - low) / step) + 1), high)
        if log:
            drawn = math.exp(self._random.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
        return self._random.uniform(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        odds = self._odds.get(name)
        if odds is None:
            return self._random.choice(choices)
        return self._random.choices(choices, odds)[0]

    def _about(self, centre: float, low: float, high: float, *, log: bool) -> float:
        """From a triangular distribution with its mode at the centre."""
        if not log:
            return self._random.triangular(low, high, centre)
        drawn = self._random.triangular(math.log(low), math.log(high), math.log(centre))
        return math.exp(drawn)
