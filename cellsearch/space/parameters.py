"""The flat parameters of a Recipe: name, kind, bounds, default and meaning of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ParamValue = bool | int | float | str
Kind = Literal["bool", "int", "float", "choice"]

COUNTERS: Mapping[str, str] = {
    "model.kernel": "model.depth",
    "model.head": "model.head_layers",
}
"""A tuple's name, and the parameter that says how many entries it has."""

ACTIVE_WHEN: Mapping[str, tuple[str, tuple[ParamValue, ...]]] = {
    "model.dropout": ("model.head_layers", (1, 2, 3)),
    "loss.gamma": ("loss.kind", ("focal",)),
    "loss.beta": ("loss.weighting", ("effective",)),
    "balance.strength": ("balance.method", ("over", "under", "mixed")),
    "optim.momentum": ("optim.name", ("sgd",)),
}
"""A parameter, and the values of another one for which it counts at all."""


@dataclass(frozen=True)
class Parameter:
    """One field of a recipe as search spaces and documents see it.

    Attributes:
        name: dotted; of a tuple, the name without a number.
        kind: what one value is.
        default: of a tuple, the tuple.
        low, high: bounds, None where there is none; ``low_open`` and ``high_open`` exclude them.
        choices: allowed values of a bool or a choice.
        counter: of a tuple, the parameter that gives its length.
    """

    name: str
    kind: Kind
    default: Any
    meaning: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[ParamValue, ...] = ()
    counter: str | None = None

    @property
    def rule(self) -> str:
        """What a value must be: ``an integer >= 1 and <= 6``."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "choice":
            return "one of " + ", ".join(map(str, self.choices))
        limits = []
        if self.low is not None:
            limits.append(f"{'>' if self.low_open else '>='} {self.low:g}")
        if self.high is not None:
            limits.append(f"{'<' if self.high_open else '<='} {self.high:g}")
        word = "an integer" if self.kind == "int" else "a number"
        return " ".join([word, " and ".join(limits)]).strip()

    def allows(self, value: object) -> bool:
        """Whether one value obeys the rule; text is not a number here, nor is a bool."""
        if self.kind == "bool":
            return isinstance(value, bool)
        if self.kind == "choice":
            return not isinstance(value, bool) and value in self.choices
        wanted = int if self.kind == "int" else int | float
        if isinstance(value, bool) or not isinstance(value, wanted):
            return False
        # Written so that NaN is refused.
        if not float("-inf") < value < float("inf"):
            return False
        low = self.low is None or (value > self.low if self.low_open else value >= self.low)
        high = self.high is None or (value < self.high if self.high_open else value <= self.high)
        return low and high


@cache
def parameters(recipe: type[BaseModel]) -> Mapping[str, Parameter]:
    """Every flat parameter of a recipe class, in the order of its fields."""
    found: dict[str, Parameter] = {}
    for section, holder in recipe.model_fields.items():
        assert isinstance(holder.annotation, type)
        assert issubclass(holder.annotation, BaseModel)
        for name, info in holder.annotation.model_fields.items():
            parameter = _parameter(f"{section}.{name}", info)
            found[parameter.name] = parameter
    return found


def _parameter(name: str, info: FieldInfo) -> Parameter:
    annotation, metadata = info.annotation, list(info.metadata)
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Annotated:
        annotation, *extra = get_args(annotation)
        metadata += [m for e in extra for m in (e.metadata if isinstance(e, FieldInfo) else [e])]
    kind: Kind
    choices: tuple[ParamValue, ...] = ()
    if get_origin(annotation) is Literal:
        kind, choices = "choice", get_args(annotation)
    elif annotation is bool:
        kind, choices = "bool", (False, True)
    else:
        assert annotation in (int, float), f"{name}: no parameter can be {annotation}"
        kind = "int" if annotation is int else "float"
    bounds: dict[str, Any] = {}
    for bound in metadata:
        match bound:
            case Ge():
                bounds |= {"low": bound.ge}
            case Gt():
                bounds |= {"low": bound.gt, "low_open": True}
            case Le():
                bounds |= {"high": bound.le}
            case Lt():
                bounds |= {"high": bound.lt, "high_open": True}
    meaning = info.description or _MEANINGS.get(name, "")
    return Parameter(
        name, kind, info.default, meaning, choices=choices, counter=COUNTERS.get(name), **bounds
    )


_MEANINGS: Mapping[str, str] = {
    "model.family": "family of networks",
    "loss.kind": "what is minimised",
    "loss.label_smoothing": "share of the target spread evenly over all classes",
    "balance.method": "resampling of the training cells: more of the rare, fewer of the common, "
    "or both",
    "optim.name": "optimiser",
    "optim.lr": "learning rate; the peak where the schedule has one",
    "optim.weight_decay": "pull of the weights towards zero",
    "optim.schedule": "how the learning rate moves over the epochs",
    "train.batch_size": "cells in a batch",
}
