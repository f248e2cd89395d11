"""The flat parameters of a Recipe: name, kind, bounds, default and meaning of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ParamValue = bool | int | float | str
Kind = Literal["bool", "int", "float", "choice", "text"]

_GANS = ("wgan-gp", "wgan-div")

COUNTERS: Mapping[str, str] = {
    "model.kernel": "model.depth",
    "model.head": "model.head_layers",
}
"""A tuple's name, and the parameter that says how many entries it has."""

ACTIVE_WHEN: Mapping[str, tuple[str, tuple[ParamValue, ...]]] = {
    "model.dropout": ("model.head_layers", (1, 2, 3, 4)),
    "model.backbone": ("model.features", ("backbone",)),
    "model.side": ("model.features", ("backbone",)),
    "model.scaling": ("model.features", ("backbone",)),
    "model.colour": ("model.features", ("backbone",)),
    "loss.gamma": ("loss.kind", ("focal",)),
    "loss.beta": ("loss.weighting", ("effective",)),
    "balance.strength": ("balance.method", ("over", "under", "mixed")),
    "gan.kind": ("balance.method", ("over", "mixed")),
    "gan.below": ("gan.kind", _GANS),
    "gan.share": ("gan.kind", _GANS),
    "gan.mixup": ("gan.kind", _GANS),
    "gan.steps": ("gan.kind", _GANS),
    "gan.critic_steps": ("gan.kind", _GANS),
    "gan.batch": ("gan.kind", _GANS),
    "gan.width": ("gan.kind", _GANS),
    "gan.lr": ("gan.kind", _GANS),
    "gan.beta1": ("gan.kind", _GANS),
    "optim.momentum": ("optim.name", ("sgd", "momentum")),
    "optim.decay": ("optim.schedule", ("step", "plateau")),
    "optim.decay_epochs": ("optim.schedule", ("step", "plateau")),
    "input.most": ("input.size", (0,)),
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
        families: of ``model``, the families that have it; empty for other sections.
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
    families: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """What a value must be: ``an integer >= 1 and <= 6``."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "text":
            return "text"
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
        if self.kind == "text":
            return isinstance(value, str)
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
    """Every flat parameter of a recipe class, in the order of its fields.

    Where families share a name, bounds and choices are the widest, the default is the first's.
    """
    found: dict[str, Parameter] = {}
    for section in recipe.model_fields:
        for holder in _holders(recipe, section):
            for parameter in _parameters(section, holder):
                known = found.get(parameter.name)
                found[parameter.name] = parameter if known is None else _widest(known, parameter)
    return found


@cache
def family_parameters(recipe: type[BaseModel], family: str) -> Mapping[str, Parameter]:
    """The same for one family: its own bounds and defaults, and no other's parameters."""
    return {
        parameter.name: parameter
        for section in recipe.model_fields
        for holder in _holders(recipe, section)
        for parameter in _parameters(section, holder)
        if parameter.families in ((), (family,))
    }


def _holders(recipe: type[BaseModel], section: str) -> tuple[type[BaseModel], ...]:
    """The class of a section, or one for each family."""
    annotation = recipe.model_fields[section].annotation
    if isinstance(annotation, type):
        assert issubclass(annotation, BaseModel)
        return (annotation,)
    return get_args(annotation)


def _parameters(section: str, holder: type[BaseModel]) -> Iterator[Parameter]:
    family = holder.model_fields.get("family")
    for name, info in holder.model_fields.items():
        parameter = _parameter(f"{section}.{name}", info)
        families = () if family is None else (family.default,)
        yield replace(parameter, families=families)


def _widest(one: Parameter, other: Parameter) -> Parameter:
    assert (one.kind, one.counter) == (other.kind, other.counter), f"{one.name}: two kinds"
    lows = [p for p in (one, other) if p.low is not None]
    highs = [p for p in (one, other) if p.high is not None]
    low = min(lows, key=lambda p: (p.low or 0.0, p.low_open), default=one)
    high = max(highs, key=lambda p: (p.high or 0.0, not p.high_open), default=one)
    return replace(
        one,
        low=low.low,
        low_open=low.low_open,
        high=high.high,
        high_open=high.high_open,
        choices=tuple(dict.fromkeys(one.choices + other.choices)),
        families=one.families + other.families,
    )


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
    elif annotation is str:
        kind = "text"
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
    "gan.kind": "what is trained, on a fold's training cells of one class: WGAN with gradient "
    "penalty, or WGAN-div",
    "optim.name": "optimiser, as timm names it",
    "optim.lr": "learning rate; the peak where the schedule has one",
    "optim.weight_decay": "how strongly weights are pulled towards zero",
    "optim.schedule": "how the learning rate moves over the epochs",
    "train.batch_size": "cells in a batch",
}
