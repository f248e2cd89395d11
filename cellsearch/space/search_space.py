"""SearchSpace: from a YAML to the recipe of a trial."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from cellsearch.errors import SpaceError
from cellsearch.space.dice import Dice
from cellsearch.space.entry import Asks, Entry
from cellsearch.space.language import Limits, plain_values
from cellsearch.space.layers import read_document, read_layer
from cellsearch.space.parameters import ParamValue, parameters
from cellsearch.space.recipe import Recipe, split_name
from cellsearch.util import yaml_files
from cellsearch.util.html import Markup, block, line, note, table
from cellsearch.util.tables import Table
from cellsearch.util.yaml_files import Document, near_miss

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


_PROOF_DRAWS = 200


_WHOLE = 64


@dataclass(frozen=True)
class ParameterRow:
    """One line of `cellsearch spaces show`."""

    name: str
    kind: str
    range: str
    condition: str
    meaning: str


@dataclass(frozen=True)
class SearchSpace:
    """What a search may choose from.

    Attributes:
        name: as in ``--space NAME``.
        title: one line.
        entries: in the order they are drawn; constants are among them.
        limits: what a trial may cost.
        starts: recipes tried first, after the baseline.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    limits: Limits = field(default_factory=Limits)
    starts: tuple[Recipe, ...] = ()

    def __repr__(self) -> str:
        drawn = sum(entry.kind != "constant" for entry in self.entries)
        return f"SearchSpace({self.name!r}, {drawn} parameters drawn, sha256 {self.sha256[:12]})"

    def _repr_html_(self) -> str:

        return space_html(self)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Read a built-in space, or a file.

        Raises:
            CatalogError: there is no such space.
            SpaceError: all that is wrong with it, located.
        """
        path = yaml_files.find("search_spaces", str(name_or_path))
        return cls._from_document(read_document(path), path.stem)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A space built in Python, in the same language as the YAML.

        Raises:
            SpaceError: all that is wrong with it.
        """
        if not isinstance(values, Mapping):
            raise SpaceError(
                f"a space is a mapping with the key parameters, got {type(values).__name__}; "
                "SearchSpace.load takes a name or path"
            )
        return cls._from_document(Document(None, plain_values(values)), "custom")

    @classmethod
    def _from_document(cls, document: Document, default_name: str) -> Self:
        layer = read_layer(document)
        file = layer.file
        limits = Limits.model_validate(layer.limits)
        name = file.name if "name" in file.model_fields_set else default_name
        space = cls(name, file.title, layer.entries, limits, layer.starts)
        _prove(space)
        return space

    def suggest(self, trial: Asks) -> Recipe:
        """Draw a recipe from an Optuna trial, or from anything that answers like one.

        Constants are not asked for; a parameter whose condition does not hold is absent.
        """
        return Recipe.from_params(self.values(trial))

    def values(self, trial: Asks) -> dict[str, ParamValue]:
        """The flat parameters of a draw, constants included, before they become a recipe."""
        values: dict[str, ParamValue] = {}
        for entry in self.entries:
            if entry.active(values):
                values[entry.target] = entry.ask(trial)
        return values

    @property
    def whole(self) -> tuple[Recipe, ...]:
        """Every recipe of a space that has 64 at most, each once; empty for a larger one."""
        found: list[dict[str, ParamValue]] = [{}]
        for entry in self.entries:
            grown: list[dict[str, ParamValue]] = []
            for values in found:
                if not entry.active(values):
                    grown.append(values)
                    continue
                if entry.kind == "float":
                    return ()
                grown += [{**values, entry.target: value} for value in entry.reachable]
                if len(grown) > _WHOLE:
                    return ()
            found = grown
        return tuple(dict.fromkeys(Recipe.from_params(values) for values in found))

    def recipe(self, params: Mapping[str, Any]) -> Recipe:
        """The recipe of a stored trial's ``params``.

        Raises:
            SpaceError: a parameter that the space asks for is not among them.
        """
        values: dict[str, ParamValue] = {}
        for entry in self.entries:
            if not entry.active(values):
                continue
            if entry.kind != "constant" and entry.name not in params:
                hint = near_miss(entry.name, params)
                raise SpaceError(f"{entry.name}: not among the stored parameters{hint}")
            values[entry.target] = params.get(entry.name, entry.value)
        return Recipe.from_params(values)

    def dice(self, seed: int) -> Dice:
        """Draws by the odds and centres of the space, the same for the same seed."""
        odds = {e.name: e.odds for e in self.entries if e.odds}
        centres = {e.name: e.centre for e in self.entries if e.centre is not None}
        return Dice(seed, odds=odds, centres=centres)

    def fixed_params(self, recipe: Recipe) -> dict[str, ParamValue]:
        """What to enqueue so that a trial stands for a given recipe.

        Holds, under their names in the study, the active parameters whose value lies within
        the space; the others cannot be told to Optuna.
        """
        return {entry.name: value for entry, value in self._within(recipe)}

    def record(self, trial: Asks, recipe: Recipe) -> None:
        """Write a fixed recipe into a trial that was enqueued with ``fixed_params``.

        Raises:
            SpaceError: the trial answers with other values.
        """
        for entry, value in self._within(recipe):
            drawn = entry.ask(trial)
            if drawn != value:
                raise SpaceError(
                    f"{entry.name}: the trial holds {drawn}, the recipe {value}; "
                    f"enqueue fixed_params(recipe) first"
                )

    def _within(self, recipe: Recipe) -> list[tuple[Entry, ParamValue]]:
        values = recipe.to_params()
        for name in parameters(Recipe):
            # One value for the whole tuple can stand for it only where all its entries agree.
            entries = {v for k, v in values.items() if split_name(k)[0] == name}
            if len(entries) == 1:
                values[name] = entries.pop()
        return [
            (entry, values[entry.target])
            for entry in self.entries
            if entry.kind != "constant"
            and entry.target in values
            and entry.active(values)
            and entry.can_take(values[entry.target])
        ]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions, by name in the study; imports optuna."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, BaseDistribution] = {}
        for e in self.entries:
            if e.kind == "choice":
                found[e.name] = CategoricalDistribution(e.choices)
            elif e.kind == "float":
                found[e.name] = FloatDistribution(e.low, e.high, log=e.log, step=e.step)
            elif e.kind == "int":
                low, high, step = int(e.low), int(e.high), int(e.step or 1)
                found[e.name] = IntDistribution(low, high, log=e.log, step=step)
        return found

    @property
    def sha256(self) -> str:
        """Hex digest of entries, limits and initial trials, not of comments, order and names."""
        plain = self._plain()
        if self.starts:
            plain["starts"] = [_before_added(start) for start in plain["starts"]]
        plain["parameters"] = _before_added(plain["parameters"])
        text = json.dumps(_ordered(plain), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for entry in self.entries:
            if entry.label:
                written.setdefault(entry.target, []).append(entry.plain())
            else:
                written[entry.target] = entry.plain()
        plain: dict[str, Any] = {"limits": self.limits.model_dump(exclude_none=True)}
        if self.starts:
            # The key of older versions, so that a space keeps its digest.
            plain["starts"] = [start.to_params() for start in self.starts]
        return {**plain, "parameters": written}

    def to_yaml(self) -> str:
        """The expanded space; it loads to the same sha256."""
        plain = self._plain()
        document = CommentedMap({"name": self.name})
        if self.title:
            document["title"] = self.title
        if plain["limits"]:
            document["limits"] = _flow(plain["limits"])
        if self.starts:
            document["initial"] = plain["starts"]
        document["parameters"] = CommentedMap(
            {
                name: [_flow(v) for v in value] if isinstance(value, list) else _flow(value)
                for name, value in plain["parameters"].items()
            }
        )
        stream = StringIO()
        writer = YAML()
        writer.width = 4096
        writer.dump(document, stream)
        return stream.getvalue()

    @property
    def drawn(self) -> int:
        """How many parameters a trial may draw; the others are constants."""
        return sum(entry.kind != "constant" for entry in self.entries)

    def describe(self) -> list[ParameterRow]:
        """A row for each entry, in the order they are drawn."""
        known = parameters(Recipe)
        return [
            ParameterRow(
                entry.name,
                entry.kind,
                entry.range,
                " and ".join(c.text for c in entry.when),
                known[split_name(entry.target)[0]].meaning,
            )
            for entry in self.entries
        ]


def sample(space: SearchSpace, n: int, seed: int = 0, *, even: bool = False) -> list[Recipe]:
    """``n`` independent random recipes, the same for the same seed; limits are not looked at.

    Args:
        space: draws them.
        n: how many.
        seed: of the draws.
        even: leave odds and centres aside, so that what is rarely drawn is seen as well.
    """
    generator = random.Random(seed)
    roll = Dice if even else space.dice
    return [space.suggest(roll(generator.getrandbits(64))) for _ in range(n)]


_ADDED: Mapping[str, ParamValue] = {"model.stem": 1, "input.most": 0}
"""Parameters that are younger than the digest, and what older recipes mean by their absence."""


def _before_added(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without what is younger than the digest, so that an older space keeps its own."""
    return {k: v for k, v in plain.items() if k not in _ADDED or v != _ADDED[k]}


def _ordered(plain: Any) -> Any:
    """Choices with odds as pairs: their order counts, and the keys of a digest are sorted."""
    if isinstance(plain, list):
        return [_ordered(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    choice = plain.get("choice")
    pairs = {"choice": [list(p) for p in choice.items()]} if isinstance(choice, dict) else {}
    return {key: _ordered(value) for key, value in (plain | pairs).items()}


def _prove(space: SearchSpace) -> None:
    # Numbered kernels can be given conditions that do not match the depth: only drawing shows
    # that, and it must show before a search starts. Odds are left aside, so that what is rarely
    # drawn is tried too.
    for seed in range(_PROOF_DRAWS):
        try:
            space.suggest(Dice(seed))
        except SpaceError as error:
            raise SpaceError(f"{space.name}: some draws are not valid recipes: ", error) from None


def _flow(value: Any) -> Any:
    if isinstance(value, dict):
        mapping = CommentedMap({key: _flow(item) for key, item in value.items()})
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        items = CommentedSeq([_flow(item) for item in value])
        items.fa.set_flow_style()
        return items
    return value


__all__ = ["Limits", "ParameterRow", "SearchSpace", "sample"]


def space_html(space: SearchSpace) -> str:
    """What may be drawn, from where and when; constants below."""
    rows = space.describe()
    drawn = [row for row in rows if row.kind != "constant"]
    fixed = [row for row in rows if row.kind == "constant"]
    parts: list[Markup] = []
    if space.title:
        parts.append(line(space.title))
    parts.append(
        table(
            Table.of(
                ["parameter", "kind", "drawn from", "when", "meaning"],
                [(r.name, r.kind, r.range, r.condition, r.meaning) for r in drawn],
                numbers=(),
            )
        )
    )
    if fixed:
        parts.append(note("always: " + ", ".join(f"{r.name} = {r.range}" for r in fixed)))
    limits = space.limits.model_dump(exclude_none=True)
    if limits:
        named = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in limits.items())
        parts.append(note(f"a trial may cost at most: {named}"))
    if space.starts:
        parts.append(note(f"{len(space.starts)} initial trials of its own come first"))
    return block(f"search space {space.name}: {len(drawn)} parameters are drawn", *parts)
