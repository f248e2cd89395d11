"""One line of an expanded search space: what may be drawn for a parameter, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cellsearch.space.models import NETWORKS
from cellsearch.space.parameters import ParamValue

FAMILY = "model.family"

NETWORK = "network"
"""Stands in a condition on the family for every family of networks."""


class Asks(Protocol):
    """The part of an Optuna trial that a search space uses."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Condition:
    """Another parameter, and the values, or else the range, for which an entry is active."""

    name: str
    values: tuple[ParamValue, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def spelt_out(self) -> tuple[ParamValue, ...]:
        """The values, with each family of networks in place of the word for all of them."""
        if self.name != FAMILY or NETWORK not in self.values:
            return self.values
        return (*NETWORKS, *(v for v in self.values if v != NETWORK and v not in NETWORKS))

    def holds(self, value: ParamValue | None) -> bool:
        """Whether a value of the other parameter meets it; None (inactive) never does."""
        if value is None:
            return False
        if self.values:
            return value in self.spelt_out
        if isinstance(value, str):
            return False
        below = self.high is None or value <= self.high
        return below and (self.low is None or value >= self.low)

    def excludes(self, other: Condition) -> bool:
        """Whether no value of the same parameter meets both."""
        if self.name != other.name:
            return False
        if self.values:
            return not any(other.holds(v) for v in self.spelt_out)
        if other.values:
            return other.excludes(self)
        return _beyond(self.low, other.high) or _beyond(other.low, self.high)

    def plain(self) -> Any:
        """As it is written in YAML."""
        if self.values:
            return self.values[0] if len(self.values) == 1 else list(self.values)
        bounds = {"min": self.low, "max": self.high}
        return {key: bound for key, bound in bounds.items() if bound is not None}

    @property
    def label(self) -> str:
        """Short form for the name of an alternative."""
        if self.values:
            return "+".join(map(_word, self.values))
        if self.high is None:
            return f"{self.low:g}+"
        return f"{self.high:g}-" if self.low is None else f"{self.low:g}-{self.high:g}"

    @property
    def text(self) -> str:
        """For people: ``loss.kind is focal``."""
        if self.values:
            return f"{self.name} is {' or '.join(map(_word, self.values))}"
        parts = [f">= {self.low:g}"] if self.low is not None else []
        parts += [f"<= {self.high:g}"] if self.high is not None else []
        return f"{self.name} {' and '.join(parts)}"


def _beyond(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high


def _word(value: ParamValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Entry:
    """What may be drawn for one parameter of the recipe.

    Attributes:
        target: name in the recipe.
        kind: ``constant`` is never asked of a trial.
        value: of a constant.
        low, high: bounds, both included, of int and float.
        step: None draws any value between them.
        choices: of a choice.
        when: all must hold, else the parameter is absent from the trial.
        label: tells alternatives of one target apart; empty where there is one entry only.
        odds: how often each of the choices is drawn, relative to the others; empty: all the same.
        centre: the value of a range that is drawn most often; None: none is.
    """

    target: str
    kind: Literal["constant", "int", "float", "choice"]
    value: ParamValue | None = None
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: tuple[ParamValue, ...] = ()
    when: tuple[Condition, ...] = ()
    label: str = ""
    odds: tuple[float, ...] = ()
    centre: float | None = None

    @property
    def name(self) -> str:
        """Name in the study: the target, and ``@label`` where it has alternatives."""
        return f"{self.target}@{self.label}" if self.label else self.target

    def active(self, values: Mapping[str, ParamValue]) -> bool:
        """Whether all conditions hold for the values, by target, drawn so far."""
        return all(c.holds(values.get(c.name)) for c in self.when)

    def ask(self, trial: Asks) -> ParamValue:
        """Draw a value from a trial."""
        if self.kind == "int":
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.name, low, high, step=step, log=self.log)
        if self.kind == "float":
            return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
        if self.kind == "choice":
            drawn: ParamValue = trial.suggest_categorical(self.name, self.choices)
            return drawn
        assert self.value is not None
        return self.value

    def can_take(self, value: ParamValue) -> bool:
        """Whether a value lies within the entry."""
        if self.kind == "constant":
            return value == self.value
        if self.kind == "choice":
            return value in self.choices
        if isinstance(value, bool | str) or not self.low <= value <= self.high:
            return False
        if self.kind == "int" and value != int(value):
            return False
        return self.step is None or divides(self.step, self.low, value)

    @property
    def reachable(self) -> tuple[ParamValue, ...]:
        """All values, where they can be counted; empty for a range of floats."""
        if self.kind == "constant":
            assert self.value is not None
            return (self.value,)
        if self.kind == "int":
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        return self.choices

    def meets(self, condition: Condition) -> Literal["never", "sometimes", "always"]:
        """How many of the entry's values meet a condition."""
        if self.kind != "float":
            held = [condition.holds(v) for v in self.reachable]
            return "always" if all(held) else "sometimes" if any(held) else "never"
        if condition.values:
            return "sometimes" if any(map(self.can_take, condition.values)) else "never"
        if condition.holds(self.low) and condition.holds(self.high):
            return "always"
        apart = _beyond(condition.low, self.high) or _beyond(self.low, condition.high)
        return "never" if apart else "sometimes"

    def plain(self) -> Any:
        """As it is written in YAML."""
        form: dict[str, Any]
        if self.kind == "constant":
            if not self.when:
                return self.value
            form = {"value": self.value}
        elif self.kind == "choice":
            form = {"choice": self._weighed if self.odds else list(self.choices)}
        else:
            form = {self.kind: [self.low, self.high]}
        if self.step is not None:
            form["step"] = self.step
        if self.log:
            form["log"] = True
        if self.centre is not None:
            form["centre"] = self.centre
        if self.when:
            form["when"] = {c.name: c.plain() for c in self.when}
        return form

    @property
    def _weighed(self) -> dict[ParamValue, float]:
        """The choices, each with its odds; whole numbers as such."""
        pairs = zip(self.choices, self.odds, strict=True)
        return {value: int(odds) if odds.is_integer() else odds for value, odds in pairs}

    @property
    def range(self) -> str:
        """For people: ``1e-4 to 1e-2, log``, or ``true (odds 9), false (1)``."""
        if self.kind == "constant":
            assert self.value is not None
            return _word(self.value)
        if self.odds:
            shown = [f"{_word(v)} ({odds:g})" for v, odds in self._weighed.items()]
            return ", ".join(shown).replace("(", "(odds ", 1)
        if self.kind == "choice":
            return ", ".join(map(_word, self.choices))
        most = "" if self.centre is None else f", most often {self.centre:g}"
        steps = f", step {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{steps}{', log' if self.log else ''}{most}"


def divides(step: float, low: float, value: float) -> bool:
    """Whether ``value`` lies a whole number of steps above ``low``, up to rounding."""
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-9 * max(1.0, abs(steps))
