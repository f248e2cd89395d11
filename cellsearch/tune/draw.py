"""The next recipe: near what works, near what the space names, or anew.

Half of the draws follow the trials so far: they are children of a trial of the best quarter, and
from ``STARTUP_TRIALS`` trials on those of a model of them (TPE). A quarter are children of an
initial recipe, a quarter are new. Each kind of trial is followed by itself: what a short training
says of a network cannot be compared with what a full fit says of trees.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import optuna

from cellsearch.errors import RunError
from cellsearch.space.models import ClassicalModel
from cellsearch.space.mutation import fresh, mutated
from cellsearch.space.parameters import ParamValue
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.limits import REDRAWS
from cellsearch.tune.study import STARTUP_TRIALS, sampler

Params = Mapping[str, ParamValue]
"""By name in the study, as ``study.enqueue_trial`` takes them."""

Refuse = Callable[[Recipe], str]
"""Why a recipe cannot be tried, or ""."""

Kind = Literal["classical", "short", "full"]
"""What a trial is ranked by: its full fit, its first rung, or its full training."""

FOLLOWING = 0.5
NEAR_INITIAL = 0.25
BEST = 0.25
"""Share of the trials of a kind that have children."""

QUICK_DRAWS = 200
"""Draws after which a space is taken to have no family of seconds left."""


@dataclass(frozen=True)
class Scored:
    """A trial that draws may follow.

    Attributes:
        number: of the trial.
        kind: trials of one kind can be compared.
        params: of it.
        score: higher is better.
    """

    number: int
    kind: Kind
    params: Params
    score: float


@dataclass(frozen=True)
class Draw:
    """A recipe to try.

    Attributes:
        params: of it.
        recipe: the same, as a recipe.
        origin: where it comes from, for people: ``child of trial 7``.
    """

    params: Params
    recipe: Recipe
    origin: str


def draw(
    space: SearchSpace,
    scored: Sequence[Scored],
    *,
    seed: int,
    number: int,
    refuse: Refuse | None = None,
    tried: Set[Recipe] = frozenset(),
    quick: bool = False,
) -> Draw | None:
    """A recipe that was not tried before; None where ``quick`` finds none.

    Args:
        space: that it lies in.
        scored: the trials so far.
        seed: of the run.
        number: that the trial will have; the same draw for the same trials and numbers.
        refuse: None takes every draw.
        tried: recipes of other trials; a small space may have no other, which is then tried again.
        quick: a classical family only.

    Raises:
        RunError: a great many draws in a row are refused.
    """
    reason, again = "", None
    draws = _draws(space, scored, random.Random(f"{seed}-{number}"), quick=quick)
    for _, found in zip(range(QUICK_DRAWS if quick else REDRAWS), draws, strict=False):
        if quick and not isinstance(found.recipe.model, ClassicalModel):
            continue
        reason = refuse(found.recipe) if refuse else ""
        if reason:
            continue
        if found.recipe not in tried:
            return found
        again = again or found
    if again is not None or quick:
        return None if quick else again
    raise RunError(unfit(space, REDRAWS, reason))


def unfit(space: SearchSpace, draws: int, reason: str) -> str:
    """What to say where the limits leave nothing to draw."""
    return (
        f"{draws} draws in a row were over budget for the space {space.name!r} (the last one: "
        f"{reason}); widen its limits or narrow its ranges"
    )


def _draws(
    space: SearchSpace, scored: Sequence[Scored], chance: random.Random, *, quick: bool
) -> Iterator[Draw]:
    kinds: dict[Kind, list[Scored]] = {}
    for each in scored:
        if not quick or each.kind == "classical":
            kinds.setdefault(each.kind, []).append(each)
    while True:
        which = chance.random()
        if which < FOLLOWING and kinds:
            yield _following(space, kinds[chance.choice(sorted(kinds))], chance)
        elif FOLLOWING <= which < FOLLOWING + NEAR_INITIAL and (near := _initial(space)):
            params = mutated(space, chance.choice(near), chance.getrandbits(32))
            yield Draw(params, space.recipe(params), "child of an initial recipe")
        else:
            params = fresh(space, chance.getrandbits(32))
            yield Draw(params, space.recipe(params), "drawn anew")


def _initial(space: SearchSpace) -> list[Params]:
    return [params for start in space.starts if (params := space.fixed_params(start))]


def _following(space: SearchSpace, among: Sequence[Scored], chance: random.Random) -> Draw:
    if len(among) >= STARTUP_TRIALS:
        params = _modelled(space, among, chance.getrandbits(32))
        return Draw(params, space.recipe(params), "drawn by the model of all trials")
    best = sorted(among, key=lambda each: (-each.score, each.number))
    parent = chance.choice(best[: math.ceil(BEST * len(best))])
    params = mutated(space, parent.params, chance.getrandbits(32))
    return Draw(params, space.recipe(params), f"child of trial {parent.number}")


def _modelled(space: SearchSpace, among: Sequence[Scored], seed: int) -> Params:
    """Drawn by TPE, in a study in memory that holds these trials alone."""
    study = optuna.create_study(direction="maximize", sampler=sampler(seed))
    distributions = space.distributions
    for each in among:
        known = {name: value for name, value in each.params.items() if name in distributions}
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(known),
                distributions={name: distributions[name] for name in known},
                value=each.score,
            )
        )
    trial = study.ask()
    space.suggest(trial)
    return dict(trial.params)
