"""Recipe: the typed hyper-parameters of one trial, and their flat dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError

from cellsearch.errors import SpaceError
from cellsearch.space.models import (
    MODELS,
    CnnModel,
    Model,
    NetworkModel,
)
from cellsearch.space.parameters import ACTIVE_WHEN, ParamValue, family_parameters, parameters
from cellsearch.space.section import Section
from cellsearch.space.sections import Augment, Balance, Gan, Input, Loss, Optim, Train
from cellsearch.util import yaml_files
from cellsearch.util.html import block, note, table
from cellsearch.util.tables import Table


def brief(recipe: Recipe) -> str:
    """A recipe in a few words, for one line of a table."""
    model, loss, balance, augment = recipe.model, recipe.loss, recipe.balance, recipe.augment
    network = isinstance(model, NetworkModel)
    generates = balance.method in ("over", "mixed") and recipe.gan.kind != "none"
    words = [
        model.brief(),
        f"{recipe.optim.name} {recipe.optim.lr:.1e}" if network else "",
        f"{recipe.train.epochs} epochs" if network else "",
        "focal" if loss.kind == "focal" else "",
        "" if loss.weighting == "none" else f"weights {loss.weighting}",
        "" if balance.method == "none" else balance.method,
        recipe.gan.kind if generates else "",
        "flips" if augment.flip else "",
        "turns" if augment.rotate90 or augment.rotate else "",
        "sharpened" if augment.sharpen else "",
        "mixup" if augment.mixup else "",
    ]
    return ", ".join(word for word in words if word)


__all__ = [
    "BASELINE",
    "Augment",
    "Balance",
    "CnnModel",
    "Gan",
    "Input",
    "Loss",
    "Optim",
    "ParamValue",
    "Recipe",
    "Train",
    "parameter_names",
    "split_name",
]


class Recipe(Section):
    """Everything that one trial needs to know, apart from cells, folds and seed.

    Flat names are dotted paths (``loss.weighting``); a tuple is numbered from 1
    (``model.kernel.1``).
    """

    model: Annotated[Model, Field(discriminator="family")] = CnnModel()
    loss: Loss = Loss()
    augment: Augment = Augment()
    balance: Balance = Balance()
    gan: Gan = Gan()
    optim: Optim = Optim()
    train: Train = Train()
    input: Input = Input()

    def __repr__(self) -> str:

        return f"Recipe.from_params({unlike_defaults(self)})"

    def _repr_html_(self) -> str:

        return recipe_html(self)

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> Self:
        """Build from flat dotted names; what is absent keeps its default.

        A tuple's name without a number sets all its entries (``model.kernel: 3``). Where
        ``model.depth`` is given without any kernel, all kernels are 3; where
        ``model.head_layers`` is given without any head, all heads have 32 units.

        Raises:
            SpaceError: a name is not known or a value is out of bounds; all are listed.
        """
        if not isinstance(params, Mapping):
            raise SpaceError(
                f"a recipe is a mapping of dotted names to values, got {type(params).__name__}"
            )
        family = params.get("model.family", "cnn")
        if family not in MODELS:
            raise SpaceError(
                f"model.family: must be one of {', '.join(MODELS)}; got {family!r}"
                f"{yaml_files.near_miss(str(family), MODELS)}"
            )
        nested: dict[str, dict[str, Any]] = {}
        tuples: dict[str, dict[int, ParamValue]] = {}
        found: list[str] = []
        known = family_parameters(cls, str(family))
        for name, value in params.items():
            base, number = split_name(name)
            if base not in known or (number is not None and not known[base].counter):
                found.append(f"{name}: {_unknown(cls, name, str(family))}")
            elif known[base].counter:
                tuples.setdefault(base, {})[number or 0] = value
            else:
                section, key = name.split(".")
                nested.setdefault(section, {})[key] = value
        for base, entries in tuples.items():
            if 0 in entries and len(entries) > 1:
                found.append(f"{base}: give one value for all, or {base}.1, .2, ..., not both")
            elif 0 not in entries and sorted(entries) != list(range(1, len(entries) + 1)):
                missing = min(set(range(1, max(entries))) - set(entries))
                found.append(f"{base}.{missing}: missing, but {base}.{max(entries)} is given")
        if found:
            raise SpaceError("\n".join(found))
        for base, parameter in known.items():
            if parameter.counter:
                _fill(nested, base, parameter.counter, tuples.get(base), parameter.default)
        sections: dict[str, Section] = {}
        for section in (name for name in cls.model_fields if name in nested):
            fields = nested[section]
            kind = MODELS[str(family)] if section == "model" else cls._section(section)
            try:
                sections[section] = kind.model_validate(fields)
            except ValidationError as failure:
                found += [_said(section, p) for p in yaml_files.problems(kind, failure, fields)]
        if found:
            raise SpaceError("\n".join(found))
        return cls(**sections)

    @classmethod
    def _section(cls, name: str) -> type[Section]:
        kind = cls.model_fields[name].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        return kind

    def to_params(self) -> dict[str, ParamValue]:
        """Flat dotted names and plain values; ``from_params`` is its inverse.

        A parameter that has no effect (``loss.gamma`` without focal loss) is absent, and so
        comes back as its default.
        """
        flat: dict[str, ParamValue] = {}
        for section, fields in self.model_dump().items():
            for key, value in fields.items():
                name = f"{section}.{key}"
                if isinstance(value, tuple):
                    flat |= {f"{name}.{i}": entry for i, entry in enumerate(value, 1)}
                else:
                    flat[name] = value
        given = dict(flat)
        for name, (other, values) in ACTIVE_WHEN.items():
            # What hangs on an inactive parameter is inactive too.
            if name in flat and other in given and flat.get(other) not in values:
                del flat[name]
        return flat


def split_name(name: str) -> tuple[str, int | None]:
    """``model.kernel.2`` -> (``model.kernel``, 2); (name, None) where there is no number."""
    base, _, last = name.rpartition(".")
    if base.count(".") and last.isascii() and last.isdigit() and not last.startswith("0"):
        return base, int(last)
    return name, None


def parameter_names(recipe: type[BaseModel] = Recipe) -> list[str]:
    """Every name that ``from_params`` takes, tuples with the numbers they can reach."""
    names: list[str] = []
    known = parameters(recipe)
    for name, parameter in known.items():
        names.append(name)
        if parameter.counter:
            reach = int(known[parameter.counter].high or 0)
            names += [f"{name}.{i}" for i in range(1, reach + 1)]
    return names


def _fill(
    nested: dict[str, dict[str, Any]],
    base: str,
    counter: str,
    entries: Mapping[int, ParamValue] | None,
    default: tuple[ParamValue, ...],
) -> None:
    section, key = base.split(".")
    fields = nested.setdefault(section, {})
    count = fields.get(counter.split(".")[1])
    if entries and 0 not in entries:
        fields[key] = tuple(entries[i] for i in sorted(entries))
        return
    if count is None and not entries:
        return
    value = entries[0] if entries else default[0]
    try:
        length = len(default) if count is None else int(count)
    except (TypeError, ValueError, OverflowError):
        length = len(default)
    # A count that is far out of bounds is told by its own field; it must not fill memory.
    fields[key] = (value,) * max(0, min(length, 64))


def _said(section: str, problem: yaml_files.Problem) -> str:
    parts = [section, *(p + 1 if isinstance(p, int) else p for p in problem.path)]
    return f"{'.'.join(map(str, parts))}: {problem.text}"


def _unknown(recipe: type[Recipe], name: str, family: str) -> str:
    parameter = parameters(recipe).get(split_name(name)[0])
    if parameter is not None and family not in parameter.families:
        return f"is of family {' or '.join(parameter.families)}; model.family is {family}"
    return f"no such parameter{yaml_files.near_miss(name, parameter_names(recipe))}"


BASELINE = Recipe()
"""Trial 0 of every search: two plain convolutions, no weights, no augmentation."""


def recipe_html(recipe: Recipe) -> str:
    """What differs from the defaults of its family, and how many parameters do not."""
    params = recipe.to_params()
    changed = unlike_defaults(recipe)
    known = family_parameters(Recipe, recipe.model.family)
    rows = [
        (name, spelt(value), known[split_name(name)[0]].meaning) for name, value in changed.items()
    ]
    rest = len(params) - len(changed)
    same = note(f"{rest} others at their defaults: recipe.to_params() lists them all")
    return block(
        f"recipe: {recipe.model.family}",
        table(Table.of(["parameter", "value", "meaning"], rows, numbers=())),
        *([same] if rest else []),
    )


def unlike_defaults(recipe: Recipe) -> dict[str, ParamValue]:
    """The parameters by which a recipe differs from the defaults of its family, and the family.

    Of a tuple all entries or none, so that ``Recipe.from_params`` gives the recipe again.
    """
    params = recipe.to_params()
    plain = Recipe.from_params({"model.family": recipe.model.family}).to_params()
    changed = {
        split_name(name)[0]
        for name in params.keys() | plain.keys()
        if params.get(name) != plain.get(name)
    }
    return {
        name: value
        for name, value in params.items()
        if name == "model.family" or split_name(name)[0] in changed
    }


def spelt(value: ParamValue) -> str:
    """As YAML has it, numbers short."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
