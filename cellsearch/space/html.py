"""How a search space and a recipe look in a notebook: their parameters as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellsearch.markup import Markup, block, line, note, table
from cellsearch.space.parameters import ParamValue, family_parameters
from cellsearch.space.recipe import Recipe, split_name

if TYPE_CHECKING:
    from cellsearch.space.search_space import SearchSpace


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
            ["parameter", "kind", "drawn from", "when", "meaning"],
            [(r.name, r.kind, r.range, r.condition, r.meaning) for r in drawn],
        )
    )
    if fixed:
        parts.append(note("always: " + ", ".join(f"{r.name} = {r.range}" for r in fixed)))
    limits = space.limits.model_dump(exclude_none=True)
    if limits:
        named = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in limits.items())
        parts.append(note(f"a trial may cost at most: {named}"))
    if space.starts:
        parts.append(note(f"{len(space.starts)} recipes of its own are tried first"))
    return block(f"search space {space.name}: {len(drawn)} parameters are drawn", *parts)


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
        table(["parameter", "value", "meaning"], rows),
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
