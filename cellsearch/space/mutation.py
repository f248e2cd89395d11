"""New trials made from a space alone: a child of a trial that went well, or a fresh draw.

Both are given as Optuna's ``study.enqueue_trial`` takes them: by name in the study, without
constants.
"""

# The signatures are Optuna's, used or not.

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from cellsearch.space.entry import FAMILY, Entry
from cellsearch.space.parameters import ParamValue
from cellsearch.space.search_space import SearchSpace

SPREAD = 0.2
"""Standard deviation of a step, as a share of the range; of its logarithm where it is log."""

TRIES = 100
"""Children that come out like their parent before a fresh draw takes their place."""


def fresh(space: SearchSpace, seed: int) -> dict[str, ParamValue]:
    """An independent draw by the odds and centres of the space, the same for the same seed."""
    return _params(space, _Child(space, {}, seed, rate=0.0, families=True))


def mutated(
    space: SearchSpace, parent: Mapping[str, ParamValue], seed: int, *, rate: float = 0.2
) -> dict[str, ParamValue]:
    """A child that differs from its parent in one value at least.

    Each value of the parent is kept, or else moved: a number to one near it, a choice to another
    one by its odds. What the parent lacks, or holds out of range, is drawn afresh. A child that
    comes out like its parent is made again, of the same family, so that the family changes no more
    often than the rate says.

    Args:
        space: the child lies within it; its limits are not looked at.
        parent: what ``fixed_params`` gives, or the ``params`` of a stored trial; may be
            incomplete.
        seed: the same seed gives the same child.
        rate: how likely each value is to change.

    Returns:
        The complete parameters of the child; a fresh draw where nothing of the parent can change.
    """
    seeds = random.Random(seed)
    for attempt in range(TRIES):
        child = _Child(space, parent, seeds.getrandbits(64), rate=rate, families=attempt == 0)
        params = _params(space, child)
        shared = params.keys() & parent.keys()
        if not shared or any(params[name] != parent[name] for name in shared):
            return params
    return fresh(space, seeds.getrandbits(64))


def _params(space: SearchSpace, child: _Child) -> dict[str, ParamValue]:
    space.values(child)
    return child.params


class _Child:
    """Answers like an Optuna trial, from a parent's values.

    Attributes:
        params: what was asked, by name in the study.
    """

    def __init__(
        self,
        space: SearchSpace,
        parent: Mapping[str, ParamValue],
        seed: int,
        *,
        rate: float,
        families: bool,
    ) -> None:
        self.params: dict[str, ParamValue] = {}
        self._entries = {entry.name: entry for entry in space.entries}
        self._parent = parent
        self._random = random.Random(seed)
        self._dice = space.dice(self._random.getrandbits(64))
        self._rate = rate
        self._families = families

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        held = self._held(name)
        if held is None:
            value = self._dice.suggest_int(name, low, high, step=step, log=log)
        elif self._changes(name):
            value = round(self._moved(float(held), low, high, step=step, log=log))
        else:
            value = int(held)
        self.params[name] = value
        return value

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
    ) -> float:
        held = self._held(name)
        if held is None:
            value = self._dice.suggest_float(name, low, high, step=step, log=log)
        elif self._changes(name):
            value = self._moved(float(held), low, high, step=step, log=log)
        else:
            value = float(held)
        self.params[name] = value
        return value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        held = self._held(name)
        if held is None:
            value = self._dice.suggest_categorical(name, choices)
        elif self._changes(name):
            value = self._other(self._entries[name], choices.index(held))
        else:
            # The space's own object: a stored 1.0 stands for a choice of 1.
            value = choices[choices.index(held)]
        self.params[name] = value
        return value

    def _held(self, name: str) -> ParamValue | None:
        """The parent's value, where it has one that the space still takes."""
        value = self._parent.get(name)
        if value is None or not self._entries[name].can_take(value):
            return None
        return value

    def _changes(self, name: str) -> bool:
        # Drawn in any case, so that the other values do not hang on it.
        change = self._random.random() < self._rate
        return change and (self._families or self._entries[name].target != FAMILY)

    def _other(self, entry: Entry, index: int) -> ParamValue:
        """Another choice: a neighbour among numbers, else any."""
        others = [i for i in range(len(entry.choices)) if i != index]
        if not any(isinstance(value, bool | str) for value in entry.choices):
            others = [i for i in others if abs(i - index) == 1]
        if not others:
            return entry.choices[index]
        odds = [entry.odds[i] for i in others] if entry.odds else None
        return entry.choices[self._random.choices(others, odds)[0]]

    def _moved(
        self, value: float, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """A value near another one: by a step at least where there are steps."""
        move = self._random.gauss(0.0, SPREAD)
        # At a bound there is one way only.
        for signed in (move, -move):
            aim = value * math.pow(high / low, signed) if log else value + signed * (high - low)
            aim = min(max(aim, low), high)
            if step is not None:
                before, last = round((value - low) / step), round((high - low) / step)
                after = round((aim - low) / step)
                after = before + round(math.copysign(1, signed)) if after == before else after
                if not 0 <= after <= last:
                    continue
                aim = min(low + step * after, high)
            if aim != value:
                return aim
        return value
