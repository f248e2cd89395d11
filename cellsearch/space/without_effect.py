"""What a space asks for in vain: parameters that no recipe of it ever reads."""

from __future__ import annotations

from typing import get_args

from cellsearch.space.dice import Dice
from cellsearch.space.models import ClassicalModel
from cellsearch.space.parameters import ACTIVE_WHEN, COUNTERS
from cellsearch.space.recipe import Recipe, split_name
from cellsearch.space.search_space import SearchSpace

DRAWS = 200
"""Recipes looked at; a parameter is told only where none of them reads it."""

_CLASSICAL = frozenset(kind.model_fields["family"].default for kind in get_args(ClassicalModel))
_OF_NETWORKS = (
    "optim.",
    "train.",
    "loss.kind",
    "loss.gamma",
    "loss.label_smoothing",
    "augment.mixup",
    "augment.cutmix",
)
_OF_COPIES = "augment."


def without_effect(space: SearchSpace) -> list[str]:
    """A line for each parameter that is drawn or set and that no recipe of the space reads.

    Such a parameter spoils nothing, but it spends the sampler's attention, and whoever wrote it
    expects something of it.
    """
    why: dict[str, set[str]] = {}
    used: set[str] = set()
    networks = False
    for seed in range(DRAWS):
        values = space.values(Dice(seed))
        recipe = Recipe.from_params(values)
        classical = recipe.model.family in _CLASSICAL
        networks = networks or not classical
        read = {split_name(name)[0] for name in recipe.to_params()}
        for target in values:
            name = split_name(target)[0]
            if classical and name.startswith(_OF_NETWORKS):
                why.setdefault(name, set())
            elif classical and name.startswith(_OF_COPIES) and not _copies(recipe):
                why.setdefault(name, set()).add(_never("model.copies"))
            elif name not in read:
                why.setdefault(name, set()).add(_condition(name))
            else:
                used.add(name)
    only = "it applies only to networks, " + (
        "and it is set where there is none" if networks else "and the space has none"
    )
    return [
        f"{name} has no effect: {min(conditions, default=only)}"
        for name, conditions in why.items()
        if name not in used
    ]


def _condition(name: str) -> str:
    """Why a recipe that was given a parameter does not read it."""
    if name in COUNTERS:
        return _never(COUNTERS[name])
    other, wanted = ACTIVE_WHEN[name]
    values = " or ".join(map(str, wanted))
    return f"it applies where {other} is {values}, which never occurs in this space"


def _never(counter: str) -> str:
    return f"it applies where {counter} is 1 or more, which never occurs in this space"


def _copies(recipe: Recipe) -> int:
    return int(getattr(recipe.model, "copies", 0))
