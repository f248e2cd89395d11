"""The ladder: which trial is trained longer next, and when new recipes are drawn.

A pure rule over values, without a study, files or a clock: the driver asks it at every free place.
There is no barrier between rungs. A place that falls free takes the best trial there is, as in
ASHA (Li et al. 2020, "A system for massively parallel hyperparameter tuning"), so none idles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cellsearch.tune.rungs import FULL_OF, HALF_OF

DRAW_UNTIL = 0.45
"""Share of the time after which no more networks are drawn."""

HALF_UNTIL = 0.65
"""Share of the time after which only full trainings of networks start."""

FULL_SHARE = 0.25
"""Share of the time that the full training of a network may take: what is left after
``HALF_UNTIL``, less a margin for an estimate that was too low."""


@dataclass(frozen=True)
class Climber:
    """A trial that waits between two rungs.

    Attributes:
        number: of the trial.
        family: of its model.
        rung: the highest one that it has finished.
        loss: class-mean log loss there, nats; lower is better.
        half_seconds: that its half training would take.
        full_seconds: that its full training would take.
    """

    number: int
    family: str
    rung: int
    loss: float
    half_seconds: float = 0.0
    full_seconds: float = 0.0


@dataclass(frozen=True)
class Sent:
    """What the trials of networks have been given so far, those at work included.

    Attributes:
        short: trials that were given the first rung.
        half: trials that were given the second one, as they were then.
        full: trials that were given the full training, as they were then.
    """

    short: int = 0
    half: tuple[Climber, ...] = ()
    full: tuple[Climber, ...] = ()


@dataclass(frozen=True)
class Time:
    """Where a search with a time limit stands.

    Attributes:
        used: share of its time, 0 .. 1.
        left: seconds.
    """

    used: float
    left: float


@dataclass(frozen=True)
class Step:
    """What a free place shall do.

    Attributes:
        kind: ``draw`` a recipe, ``draw_quick`` one of a family that takes seconds, ``train`` a
            waiting trial further, or ``wait``.
        number: of the trial to train.
        rung: to train it on; 0 is the full training.
    """

    kind: Literal["draw", "draw_quick", "train", "wait"]
    number: int = -1
    rung: int = 0


@dataclass(frozen=True)
class Plan:
    """How many recipes are trained how long, where trials are counted."""

    short: int
    half: int
    full: int

    @classmethod
    def of(cls, short: int) -> Plan:
        """For so many recipes on the first rung."""
        return cls(short, math.ceil(short / HALF_OF), math.ceil(short / FULL_OF))

    def __str__(self) -> str:
        recipes = f"{self.short} network{'s' * (self.short != 1)}"
        return f"{recipes} short, {self.half} half, {self.full} full"


Close = Callable[[Climber, Climber], bool]
"""Whether the first is not clearly worse than the second, on the same cells of their rung."""


def next_step(
    waiting: Sequence[Climber],
    sent: Sent,
    *,
    places: int | None,
    time: Time | None,
    close: Close,
) -> Step:
    """What a free place shall do.

    Args:
        waiting: trials between two rungs.
        sent: what was given out so far.
        places: recipes that may still be drawn; None is no bound.
        time: None without a limit.
        close: see ``Close``.
    """
    may_draw = places is None or places > 0
    if time is None:
        return Step("draw") if may_draw else _counted(waiting, sent, close)
    if time.used < DRAW_UNTIL and may_draw:
        return Step("draw")
    step = _timed(waiting, sent, time)
    # What is left of the time goes to families that take seconds.
    return Step("draw_quick") if step.kind == "wait" and may_draw else step


def ranked(waiting: Sequence[Climber], rung: int) -> list[Climber]:
    """Those that wait above a rung, best first."""
    here = [each for each in waiting if each.rung == rung]
    return sorted(here, key=lambda each: (each.loss, each.number))


def _counted(waiting: Sequence[Climber], sent: Sent, close: Close) -> Step:
    plan = Plan.of(sent.short)
    if (chosen := _chosen(ranked(waiting, 1), sent.half, plan.half, close)) is not None:
        return Step("train", chosen.number, rung=2)
    if (chosen := _chosen(ranked(waiting, 2), sent.full, plan.full, close)) is not None:
        return Step("train", chosen.number)
    return Step("wait")


def _chosen(
    ready: Sequence[Climber], sent: Sequence[Climber], places: int, close: Close
) -> Climber | None:
    """Who goes on: as many as planned, the best of each family, and whoever is as good."""
    if not ready:
        return None
    if len(sent) < places:
        return ready[0]
    families = {each.family for each in sent}
    for each in ready:
        if each.family not in families:
            return each
    last = max(sent, key=lambda each: each.loss)
    if len(sent) < places + places // 2 and close(ready[0], last):
        return ready[0]
    return None


def _timed(waiting: Sequence[Climber], sent: Sent, time: Time) -> Step:
    half = [
        each for each in ranked(waiting, 1) if each.half_seconds + each.full_seconds <= time.left
    ]
    full = [each for each in ranked(waiting, 2) if each.full_seconds <= time.left]
    # What is ready is trained in full, rather than one more trial half.
    if full and time.used >= HALF_UNTIL:
        return Step("train", full[0].number)
    if half and len(sent.half) < math.ceil(sent.short / 2):
        return Step("train", half[0].number, rung=2)
    if full:
        return Step("train", full[0].number)
    # With one network in full there is something to join with the models of seconds. Where there
    # is no time for the half training as well, the best one goes without.
    straight = [each for each in ranked(waiting, 1) if each.full_seconds <= time.left]
    if straight and not sent.full and not sent.half:
        return Step("train", straight[0].number)
    return Step("wait")
