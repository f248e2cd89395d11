"""What a space asks for in vain: parameters that no recipe of it ever reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from cellsearch.space.dice import Dice
from cellsearch.space.models import ClassicalModel
from cellsearch.space.parameters import ACTIVE_WHEN, ParamValue
from cellsearch.space.recipe import Recipe, split_name
from cellsearch.space.search_space import SearchSpace

DRAWS = 200
"""Recipes looked at; a parameter is told only where none of them reads it."""

_CLASSICAL = frozenset(kind.model_fields["family"].default for kind in get_args(ClassicalModel))
_OF_NETWORKS = ("optim.", "train.", "loss.kind", "loss.gamma", "loss.label_smoothing")


def without_effect(space: SearchSpace) -> list[str]:
    """A line for each parameter that is drawn or set and that no recipe of the space reads.

    Such a parameter spoils nothing, but it spends the sampler's attention, and whoever wrote it
    expects something of it.
    """
    reasons: dict[str, str] = {}
    used: set[str] = set()
    for seed in range(DRAWS):
        values = space.values(Dice(seed))
        read = {split_name(name)[0] for name in Recipe.from_params(values).to_params()}
        for target in values:
            name = split_name(target)[0]
            reason = _reason(name, values, read)
            if reason:
                reasons.setdefault(name, reason)
            else:
                used.add(name)
    return [f"{name} has no effect: {why}" for name, why in reasons.items() if name not in used]


def _reason(name: str, values: Mapping[str, ParamValue], read: set[str]) -> str:
    if values.get("model.family") in _CLASSICAL and name.startswith(_OF_NETWORKS):
        return "only networks read it, and the space has none"
    if name in read:
        return ""
    other, wanted = ACTIVE_WHEN[name]
    return f"it counts where {other} is {' or '.join(map(str, wanted))}, which never happens here"
