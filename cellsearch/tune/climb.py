"""Climb: the networks between two rungs, kept in the study, and what each was given so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna

from cellsearch.space.recipe import Recipe
from cellsearch.tune.ladder import Climber, Sent
from cellsearch.tune.rungs import RUNG_NAMES, RUNGS, Rung, cost_ratio


@dataclass(frozen=True)
class Sizes:
    """What the cost of a training hangs on, apart from its recipe.

    Attributes:
        folds: k of the study.
        cells: that a fold trains on in full.
        short_cells: that a fold trains on, on the first rung; common classes are capped there.
    """

    folds: int
    cells: int
    short_cells: int


@dataclass(frozen=True)
class Rested:
    """What a finished rung left of a trial in the study.

    Attributes:
        loss: mean log loss, nats.
        seconds: of training.
    """

    loss: float
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """A trial between two rungs; in the study it is RUNNING.

    Attributes:
        trial: in the study.
        recipe: in full.
        climber: as the ladder sees it.
        seconds: of all its trainings so far.
    """

    trial: optuna.Trial
    recipe: Recipe
    climber: Climber
    seconds: float


@dataclass
class Climb:
    """Trials on their way up.

    Attributes:
        sizes: of the study.
        waiting: by number.
    """

    sizes: Sizes
    waiting: dict[int, Waiting] = field(default_factory=dict)
    _climbers: dict[int, Climber] = field(default_factory=dict)
    _half: list[int] = field(default_factory=list)
    _full: list[int] = field(default_factory=list)

    @property
    def climbers(self) -> list[Climber]:
        """Those that wait."""
        return [each.climber for each in self.waiting.values()]

    def sent(self, *, running: int) -> Sent:
        """What has been given out; ``running``: trials at work on the first rung."""
        return Sent(
            short=len(self._climbers) + running,
            half=tuple(self._climbers[number] for number in self._half),
            full=tuple(self._climbers[number] for number in self._full),
        )

    def wait(self, trial: optuna.Trial, recipe: Recipe, losses: Mapping[int, Rested]) -> None:
        """Let a trial wait above the highest of the rungs that it has finished.

        Args:
            trial: in the study.
            recipe: in full.
            losses: of its rungs, by their numbers.
        """
        self._climbers[trial.number] = climber = self._climber(trial.number, recipe, losses)
        if climber.rung > 1 and trial.number not in self._half:
            self._half.append(trial.number)
        spent = sum(each.seconds for each in losses.values())
        self.waiting[trial.number] = Waiting(trial, recipe, climber, spent)

    def over(
        self, number: int, recipe: Recipe, losses: Mapping[int, Rested], *, full: bool
    ) -> None:
        """Count a trial of an earlier start that waits no more.

        Args:
            number: of the trial.
            recipe: in full.
            losses: of its rungs.
            full: whether its full training was begun.
        """
        self._climbers[number] = self._climber(number, recipe, losses)
        if max(losses) > 1:
            self._half.append(number)
        if full:
            self._full.append(number)

    def take(self, number: int, rung: int) -> Waiting:
        """Give a waiting trial its next training, on a rung or in full (0)."""
        given = self._full if rung == 0 else self._half
        if number not in given:
            given.append(number)
        return self.waiting.pop(number)

    def standing(self, number: int) -> str:
        """Why a trial that waits was not trained further, in a few words."""
        climber = self.waiting[number].climber
        rivals = [each for each in self._climbers.values() if each.rung >= climber.rung]
        further = [each for each in rivals if each.number not in self.waiting]
        name = RUNG_NAMES[climber.rung]
        return (
            f"log loss {climber.loss:.3f} after its {name} training; of {len(rivals)} networks "
            f"{len(further)} were trained further"
        )

    def _climber(self, number: int, recipe: Recipe, losses: Mapping[int, Rested]) -> Climber:
        last = max(losses)
        rung = RUNGS[last - 1]

        def seconds(which: Rung | None) -> float:
            sizes = self.sizes
            ratio = cost_ratio(
                recipe,
                rung,
                cells=sizes.cells,
                rung_cells=sizes.short_cells,
                folds=sizes.folds,
                last=which,
            )
            return losses[last].seconds * ratio

        return Climber(
            number,
            recipe.model.family,
            last,
            losses[last].loss,
            half_seconds=seconds(RUNGS[1]),
            full_seconds=seconds(None),
        )


def rested(attrs: Mapping[str, Any]) -> dict[int, Rested]:
    """The finished rungs of a trial, by number, from its user attributes."""
    return {
        rung: Rested(float(attrs[f"{name}_loss"]), float(attrs.get(f"{name}_seconds", 0.0)))
        for rung, name in enumerate(RUNG_NAMES)
        if rung and f"{name}_loss" in attrs
    }


def set_rested(trial: optuna.Trial, rung: Rung, found: Rested) -> None:
    """Write a finished rung into the study."""
    name = RUNG_NAMES[rung.number]
    # The loss comes last: a trial that has one has finished the rung.
    trial.set_user_attr(f"{name}_seconds", found.seconds)
    trial.set_user_attr(f"{name}_loss", found.loss)
