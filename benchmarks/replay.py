"""Whole searches replayed in worlds whose truth is known: the gate of a release.

    python benchmarks/replay.py > benchmarks/results/replay.txt
    python benchmarks/replay.py --short

Draws and mutation, the ladder, races, the rule of decision, the ensemble, the corrected differences
and the verdict are the product's own functions. Training alone is replaced. What a trained model
sees of a cell is a vector of K numbers, one a class, greater for the true class by the recipe's
strength, plus

- the cell's difficulty, which is the same for all models;
- luck that comes with the recipe: each of its parameters adds its part, so a child has most of the
  luck of its parent on the same cells, and none of it on others;
- chance of the training, a cell at a time, and a class at a time in each fold;
- where there are donors, what a donor does to all models, and to recipes with the same parameters.

In the null world all recipes are equally strong. In the others the networks with average pooling
are stronger, by so much of the metric as ``gain`` says. The baseline never is.

better: how often the verdict says it. An ensemble of equal trials is truly better than one of them.
false: says it though the winner's own model, trained for the card, is truly no better than the
baseline's. no recipe: says it though the winner's recipe, trained anew, is no better; in a null
world that is every "better" of a single trial. hold-out, out-of-fold: the same of one of the two
looks alone. uncorrected: out-of-fold as if no trial but winner and baseline had been seen. score
and gap: how often the 95 % interval of the hold-out holds the truth of the trained model, or of the
two; anew: that of the recipes, trained anew, which is not claimed. optimism: the winner's
out-of-fold score less what its recipe is truly worth. found: the winner is a stronger recipe.

The gate: ``false`` and ``no recipe`` at most 5 in 100, ``score`` and ``gap`` at least 93, of a row
by more than chance. Rows of the same cells and donors have the same worlds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import binomtest

from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.models import ClassicalModel
from cellsearch.space.mutation import fresh
from cellsearch.space.parameters import ParamValue
from cellsearch.space.recipe import BASELINE, Recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.comparison import compare
from cellsearch.stats.decision import Decision, Priors, aimed_at, decided, usual_tau
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.log_loss import class_shares, log_losses, mean_loss, paired
from cellsearch.stats.metrics import METRICS, Metric, confusion, score
from cellsearch.tune.draw import Draw, Kind, Scored, draw
from cellsearch.tune.ensemble import (
    MOST_CANDIDATES,
    Candidates,
    Ensemble,
    join_trials,
    joined_probabilities,
    natural_decision,
)
from cellsearch.tune.ladder import Climber, Sent, next_step
from cellsearch.tune.race import Rule, look
from cellsearch.tune.rule import StudyRule
from cellsearch.tune.rungs import RUNGS, climbs
from cellsearch.tune.trial_predictions import ENSEMBLE, TrialPredictions
from cellsearch.tune.verdict import corrected_differences, judge

CLASSES = ("a", "b", "c", "d", "e")
MIX = np.array([0.5, 0.25, 0.13, 0.08, 0.04])
K = len(CLASSES)
KNOWN = np.ones(K, bool)
PRIORS = Priors(tuple(MIX), tuple(MIX))
FOLDS = 5
HELD_OUT = 0.2
LEAST_CELLS = 3
"""Of a class, in each part."""

DIFFICULTY, LUCK, CHANCE = 0.5, 0.3, 0.2
"""Parts of the variance of what a model sees of a cell."""

FAMILY_LUCK = 0.3
"""Share of the luck that comes with the family; its parameters have the rest in equal parts."""

TRAINING = 0.12
"""Standard deviation of what a training does to a class, in a fold."""

DONOR, DONOR_LUCK = 0.3, 0.2
"""Standard deviations of what a donor does to all models, and to one recipe."""

SHORT_CHANCE = (0.5, 0.3)
SHORT_STRENGTH = (0.85, 0.93)
"""Of a training on the first and on the second rung: more chance, and less strength."""

STRENGTH = 1.6
"""Of the baseline: balanced accuracy 0.74 or so."""

POPULATION = 6_000
"""Cells of a class by which truths are counted."""

ANEW = 12
"""Trainings over which the worth of a recipe is a mean."""

MOST_FALSE, LEAST_HELD = 0.05, 0.93
"""What a release must keep to."""

SURE = 0.0003
"""A row fails where chance alone would miss the bound less often than this; there are some 170
figures to miss one, so the gate fails by chance once in twenty times."""

DRAWS = 500
RACE = Rule(draws=DRAWS)
REPEATS = 40

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Params = dict[str, ParamValue]


@dataclass(frozen=True)
class Case:
    """One world and one way to search in it.

    Attributes:
        metric: that is searched by.
        cells: of the data set.
        donors: of the hold-out; 0 where cells are independent.
        gain: true one of the better recipes.
        trials: of the search, the baseline among them.
        ladder: whether networks are trained briefly first.
        ensemble: whether trials may be joined.
        adaptive: whether draws follow the trials so far.
    """

    metric: Metric = "balanced_accuracy"
    cells: int = 2000
    donors: int = 0
    gain: float = 0.0
    trials: int = 20
    ladder: bool = True
    ensemble: bool = True
    adaptive: bool = True


@dataclass(frozen=True)
class Outcome:
    """What one replay gave; NaN where there is no such figure.

    Attributes:
        better: whether the verdict says so.
        false: says so of models the first of which is truly no better.
        no_recipe: says so of recipes the first of which is truly no better.
        hold_out: the same of the look at the hold-out alone.
        out_of_fold: of the other.
        uncorrected: of that one, by an interval that knows of no other trial.
        score_held: whether the hold-out's interval holds the true score of the winner's model.
        score_anew: of its recipe, trained anew.
        gap_held: whether that of the difference holds the truth of the two models.
        gap_anew: of the two recipes, trained anew.
        optimism: out-of-fold score of the winner less the worth of its recipe.
        found: whether the winner is one of the better recipes, or has one of them.
        joined: whether it is an ensemble.
        complete: trials with all folds.
    """

    better: float
    false: float
    no_recipe: float
    hold_out: float
    out_of_fold: float
    uncorrected: float
    score_held: float
    score_anew: float
    gap_held: float
    gap_anew: float
    optimism: float
    found: float
    joined: float
    complete: float


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells, and what every model sees in them.

    Attributes:
        labels: (n,).
        donors: (n,) codes; None where cells are independent.
        difficulty: (n, K).
        key: by which the luck of recipes is drawn.
    """

    labels: Labels
    donors: Labels | None
    difficulty: Floats
    key: tuple[int, int]
    levels: dict[int, Floats] = field(default_factory=dict)

    @classmethod
    def drawn(
        cls, labels: Labels, donors: Labels | None, key: tuple[int, int], rng: np.random.Generator
    ) -> Cells:
        difficulty = np.sqrt(DIFFICULTY) * rng.standard_normal((len(labels), K))
        if donors is not None:
            difficulty += DONOR * rng.standard_normal((int(donors.max()) + 1, K))[donors]
        return cls(labels, donors, difficulty, key)

    def luck(self, tried: Tried) -> Floats:
        """(n, K) of a recipe: of its family, and of each of its parameters."""
        parts = tried.levels
        own = np.sqrt((1.0 - FAMILY_LUCK) / max(1, len(parts) - 1))
        found = np.sqrt(FAMILY_LUCK) * self._level(parts[0])
        for each in parts[1:]:
            found = found + own * self._level(each)
        return np.asarray(found)

    def _level(self, level: int) -> Floats:
        """(n, K) that one value of a parameter brings."""
        if level not in self.levels:
            rng = np.random.default_rng([*self.key, level])
            shape = (len(self.labels), K)
            values = np.sqrt(LUCK) * rng.standard_normal(shape, np.float32)
            if self.donors is not None:
                of_donors = rng.standard_normal((int(self.donors.max()) + 1, K), np.float32)
                values += DONOR_LUCK * of_donors[self.donors]
            self.levels[level] = values
        return self.levels[level]


@dataclass(frozen=True, eq=False)
class Tried:
    """A recipe of a trial.

    Attributes:
        number: of the trial.
        recipe: of it.
        params: of it.
        strength: how well it tells classes apart.
        stronger: whether it is one of the better ones.
    """

    number: int
    recipe: Recipe
    params: Params
    strength: float
    stronger: bool

    @property
    def levels(self) -> list[int]:
        """Its family, and what its parameters are, roughly."""

        def near(value: ParamValue) -> object:
            if isinstance(value, bool | str) or not value:
                return value
            return round(2.0 * float(np.log(abs(value))))

        family = f"{self.recipe.model.family} {self.params.get('model.features', '')}"
        named = [f"{name} {near(value)}" for name, value in sorted(self.params.items())]
        return [zlib.crc32(each.encode()) for each in (family, *named)]


def seen(
    tried: Tried,
    cells: Cells,
    luck: Floats,
    training: Floats,
    rng: np.random.Generator,
    *,
    rung: int = 0,
) -> Floats:
    """(n, K) what one training of a recipe sees of cells.

    Args:
        tried: with its strength.
        cells: n of them.
        luck: (n, K) of the recipe on these cells.
        training: what the training does to a class, (K,) or (n, K).
        rng: source of chance.
        rung: of a short training.
    """
    more, less = (SHORT_CHANCE[rung - 1], SHORT_STRENGTH[rung - 1]) if rung else (0.0, 1.0)
    chance = np.sqrt(CHANCE + more**2) * rng.standard_normal(luck.shape, np.float32)
    values = cells.difficulty + luck + chance + training
    values[np.arange(len(values)), cells.labels] += less * tried.strength
    return values


def probabilities(evidence: Floats) -> Floats:
    """(n, K) as a network trained on the natural mix gives them."""
    return np.asarray(softmax(STRENGTH * evidence + np.log(MIX), axis=1))


# What is true.


@cache
def population(*, donors: bool) -> tuple[Labels, Floats]:
    """Labels of many cells, and all that a model sees beside its strength and its training."""
    labels = np.repeat(np.arange(K), POPULATION)
    spread = DIFFICULTY + LUCK + CHANCE + donors * (DONOR**2 + DONOR_LUCK**2)
    rng = np.random.default_rng(0)
    return labels, np.sqrt(spread) * rng.standard_normal((len(labels), K))


def by_mix(metric: Metric, labels: Labels, called: Labels) -> float:
    """Score of cells that come as many of each class, as if they came by the mix."""
    counts = confusion(labels, called, K) * MIX[:, None]
    return float(score(metric, counts))


def model_worth(
    metric: Metric, strength: float, of_training: Floats, tau: float, *, donors: bool
) -> float:
    """True score of one trained model, over all cells and donors."""
    labels, rest = population(donors=donors)
    values = rest + of_training
    values[np.arange(len(labels)), labels] += strength
    biased = STRENGTH * values + (1.0 - tau) * np.log(MIX)
    return by_mix(metric, labels, biased.argmax(axis=1))


@cache
def recipe_worth(metric: Metric, strength: float, tau: float, *, donors: bool) -> float:
    """True score of a recipe, a mean over trainings."""
    rng = np.random.default_rng(1)
    return float(
        np.mean(
            [
                model_worth(metric, strength, TRAINING * each, tau, donors=donors)
                for each in rng.standard_normal((ANEW, K))
            ]
        )
    )


@cache
def stronger_by(metric: Metric, gain: float, *, donors: bool) -> float:
    """Strength of a recipe that is better by so much."""
    if not gain:
        return STRENGTH
    tau = usual_tau(metric)

    def missed(strength: float) -> float:
        reached = recipe_worth(metric, strength, tau, donors=donors)
        return reached - recipe_worth(metric, STRENGTH, tau, donors=donors) - gain

    return float(brentq(missed, STRENGTH, 3.0 * STRENGTH, xtol=1e-3))


# The search.


@cache
def space() -> SearchSpace:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return SearchSpace.load("default")


@dataclass(frozen=True, eq=False)
class World:
    """Cells of a data set, split, and a case."""

    case: Case
    space: SearchSpace
    cells: Cells
    fold: Labels
    held: Cells
    rng: np.random.Generator
    seed: int

    @classmethod
    def drawn(cls, case: Case, space: SearchSpace, seed: int) -> World:
        rng = np.random.default_rng([seed, case.cells, case.donors])
        counts = [
            [max(LEAST_CELLS, round(share * part * case.cells)) for share in MIX]
            for part in (1.0 - HELD_OUT, HELD_OUT)
        ]
        labels, held = (np.repeat(np.arange(K), each) for each in counts)
        donors = of_held = None
        fold = np.concatenate([rng.permutation(np.arange(n) % FOLDS) for n in counts[0]])
        if case.donors:
            of_held = rng.permutation(np.arange(len(held)) % case.donors)
            several = max(FOLDS, round(case.donors * (1.0 - HELD_OUT) / HELD_OUT))
            donors = rng.permutation(np.arange(len(labels)) % several)
            fold = donors % FOLDS
        return cls(
            case,
            space,
            Cells.drawn(labels, donors, (seed, 0), rng),
            fold,
            Cells.drawn(held, of_held, (seed, 1), rng),
            rng,
            seed,
        )

    def tried(self, number: int, recipe: Recipe, params: Params) -> Tried:
        case = self.case
        stronger = bool(case.gain) and number > 0 and params.get("model.pooling") == "avg"
        strength = (
            stronger_by(case.metric, case.gain, donors=case.donors > 0) if stronger else STRENGTH
        )
        return Tried(number, recipe, params, strength, stronger)


@dataclass
class Search:
    """A search so far; what a driver keeps of one."""

    world: World
    rule: StudyRule
    given: list[Tried] = field(default_factory=list)
    evidence: dict[int, Floats] = field(default_factory=dict)
    called: dict[int, Labels] = field(default_factory=dict)
    folds: dict[int, int] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    waiting: dict[int, Climber] = field(default_factory=dict)
    losses: dict[tuple[int, int], Floats] = field(default_factory=dict)
    short: int = 0
    half: list[Climber] = field(default_factory=list)
    full: list[Climber] = field(default_factory=list)

    def run(self) -> None:
        """Until all trials are used up."""
        case, space = self.world.case, self.world.space
        named = [(recipe, dict(space.fixed_params(recipe))) for recipe in (BASELINE, *space.starts)]
        for number, (recipe, params) in enumerate(named[: case.trials]):
            self.enter(self.world.tried(number, recipe, params))
        while True:
            step = next_step(
                list(self.waiting.values()),
                Sent(self.short, tuple(self.half), tuple(self.full)),
                places=case.trials - len(self.given),
                time=None,
                close=self.close,
            )
            if step.kind == "wait":
                return
            if step.kind == "draw":
                found = self.next_draw()
                self.enter(self.world.tried(len(self.given), found.recipe, dict(found.params)))
                continue
            climber = self.waiting.pop(step.number)
            (self.full if step.rung == 0 else self.half).append(climber)
            if step.rung:
                self.climb(self.given[step.number], step.rung)
            else:
                self.train(self.given[step.number])

    def next_draw(self) -> Draw:
        """As the driver makes it, or anew."""
        space, number = self.world.space, len(self.given)
        if not self.world.case.adaptive:
            params = fresh(space, 1000 * self.world.seed + number)
            return Draw(params, space.recipe(params), "drawn anew")
        tried = {each.recipe for each in self.given}
        found = draw(space, self.scored, seed=self.world.seed, number=number, tried=tried)
        assert found is not None
        return found

    def enter(self, tried: Tried) -> None:
        self.given.append(tried)
        cells = round(len(self.world.fold) * (1.0 - 1.0 / FOLDS))
        if tried.number and self.world.case.ladder and climbs(tried.recipe, cells):
            self.short += 1
            self.climb(tried, 1)
        else:
            self.train(tried)

    def climb(self, tried: Tried, rung: int) -> None:
        """Train on a rung."""
        cells, some = self.world.cells, self.world.fold < (RUNGS[rung - 1].folds or FOLDS)
        values = self.seen(tried, rung=rung)[some]
        decision = self.rule.decision([PRIORS])
        losses = log_losses(cells.labels[some], probabilities(values), decision)
        self.losses[tried.number, rung] = losses
        loss = mean_loss(cells.labels[some], losses, self.shares(some))
        self.waiting[tried.number] = Climber(tried.number, tried.recipe.model.family, rung, loss)
        if rung == 1:
            self.follow(tried, "short", -loss)

    def seen(self, tried: Tried, *, rung: int = 0) -> Floats:
        """What the models of the folds see of their own cells."""
        world = self.world
        training = (TRAINING * world.rng.standard_normal((FOLDS, K)))[world.fold]
        luck = world.cells.luck(tried)
        return seen(tried, world.cells, luck, training, world.rng, rung=rung)

    def close(self, first: Climber, second: Climber) -> bool:
        """As ``Pool.close``."""
        some = self.world.fold < (RUNGS[first.rung - 1].folds or FOLDS)
        one, other = (self.losses[each.number, first.rung] for each in (first, second))
        found = paired(self.world.cells.labels[some], one, other, self.shares(some))
        return found.difference <= found.error

    def shares(self, some: NDArray[np.bool_]) -> Floats:
        tau = usual_tau(self.world.case.metric)
        return class_shares(self.world.cells.labels[some], KNOWN, tau=tau)

    def follow(self, tried: Tried, kind: Kind, reached: float) -> None:
        if tried.params:
            self.scored.append(Scored(tried.number, kind, tried.params, reached))

    def train(self, tried: Tried) -> None:
        """Train in full, fold by fold, in a race with the best so far."""
        world, number = self.world, tried.number
        labels, fold = world.cells.labels, world.fold
        values = self.evidence[number] = self.seen(tried)
        chances = probabilities(values)
        if not self.rule.settled:
            self.rule = self.rule.chosen(
                world.case.metric, _results(chances, fold), labels, classes=KNOWN, trial=number
            )
        called = self.called[number] = np.empty(len(labels), np.int64)
        for each in _results(chances, fold):
            called[each.cells] = self.rule.decided(each)
        leader = max(self.scores, key=lambda at: self.scores[at], default=None)
        for done in range(1, FOLDS) if leader is not None else ():
            some = fold < done
            groups = None if world.cells.donors is None else codes(world.cells.donors[some])
            found = look(
                labels[some],
                self.called[leader][some],
                called[some],
                K,
                metric=world.case.metric,
                folds=done,
                looks=FOLDS - 1,
                classes=KNOWN,
                groups=groups,
                rule=RACE,
                seed=number,
            )
            if found.stop:
                called[~some] = -1
                self.folds[number] = done
                return
        self.folds[number] = FOLDS
        reached = self.scores[number] = float(
            score(world.case.metric, confusion(labels, called, K))
        )
        if isinstance(tried.recipe.model, ClassicalModel):
            self.follow(tried, "classical", reached)
        elif number and number not in {each.number for each in self.full}:
            self.follow(tried, "full", reached)

    @property
    def best(self) -> int:
        return max(self.scores, key=lambda at: (self.scores[at], -at))


def codes(donors: Labels) -> Labels:
    return np.asarray(np.unique(donors, return_inverse=True)[1], np.int64)


def _results(chances: Floats, fold: Labels) -> list[FoldResult]:
    where = [np.flatnonzero(fold == each) for each in range(FOLDS)]
    return [
        FoldResult(at, cells, chances[cells].astype(np.float32), 1.0, 1.0, 1, (), priors=PRIORS)
        for at, cells in enumerate(where)
    ]


def joined(search: Search) -> Ensemble | None:
    """The ensemble of the complete trials, best first, as a run looks for it."""
    world, rule = search.world, search.rule
    best = sorted(search.scores, key=lambda at: -search.scores[at])[:MOST_CANDIDATES]
    if len(best) < 2:
        return None
    of_folds = [Decision(tau, PRIORS) for tau in rule.taus]
    aimed = np.empty((len(best), len(world.fold), K), np.float32)
    for place, number in enumerate(best):
        chances = probabilities(search.evidence[number])
        for at, decision in enumerate(of_folds):
            own = world.fold == at
            aimed[place, own] = aimed_at(chances[own], decision)
    return join_trials(
        Candidates(
            tuple(best),
            world.cells.labels,
            np.arange(len(world.fold)),
            world.fold,
            aimed,
            tuple(natural_decision(each) for each in of_folds),
            class_shares(world.cells.labels, KNOWN, tau=rule.tau),
        ),
        world.case.metric,
        CLASSES,
        estimable=KNOWN,
        groups=world.cells.donors,
        seed=world.seed,
    )


@dataclass(frozen=True, eq=False)
class Final:
    """A model trained for the card: one trial, or several joined.

    Attributes:
        called: (n,) what it says of the hold-out.
        worth: its true score.
        anew: that of its recipe, or recipes, trained anew.
    """

    called: Labels
    worth: float
    anew: float


def final_of(search: Search, members: Sequence[tuple[int, float]], seed: int) -> Final:
    """Train trials again and predict the hold-out."""
    world, rule = search.world, search.rule
    metric, donors = world.case.metric, world.case.donors > 0
    decision = rule.decision([PRIORS])
    assert decision is not None
    trained = [search.given[number] for number, _ in members]
    biases = [TRAINING * world.rng.standard_normal(K) for _ in members]

    def predicted(cells: Cells, lucks: Sequence[Floats], biases: Sequence[Floats]) -> Labels:
        chances = [
            probabilities(seen(each, cells, luck, bias, world.rng)).astype(np.float32)
            for each, luck, bias in zip(trained, lucks, biases, strict=True)
        ]
        if len(chances) == 1:
            return decided(chances[0], decision)
        weights = [weight for _, weight in members]
        whole = natural_decision(decision)
        together = joined_probabilities(chances, weights, [decision] * len(chances), whole)
        return decided(together, whole)

    held = predicted(world.held, [world.held.luck(each) for each in trained], biases)
    if len(trained) == 1:
        strength = trained[0].strength
        worth = model_worth(metric, strength, biases[0], rule.tau, donors=donors)
        return Final(held, worth, recipe_worth(metric, strength, rule.tau, donors=donors))
    labels = np.repeat(np.arange(K), POPULATION // 2)
    own = np.arange(len(labels)) if donors else None
    others = Cells.drawn(labels, own, (seed, 2), world.rng)
    lucks = [others.luck(each) for each in trained]
    worth = by_mix(metric, labels, predicted(others, lucks, biases))
    anew = [
        by_mix(
            metric,
            labels,
            predicted(others, lucks, [TRAINING * world.rng.standard_normal(K) for _ in members]),
        )
        for _ in range(4)
    ]
    return Final(held, worth, float(np.mean(anew)))


def within(value: float, estimate: Estimate) -> float:
    """1 or 0; NaN where there is no interval."""
    found = estimate.interval
    return float("nan") if found is None else float(found.low <= value <= found.high)


def replayed(seed: int, case: Case) -> Outcome:
    """One search from its draws to its verdict."""
    world = World.drawn(case, space(), seed)
    metric = case.metric
    search = Search(world, StudyRule.of(metric, FOLDS, KNOWN))
    search.run()
    ensemble = joined(search) if case.ensemble else None
    taken = ensemble is not None and ensemble.accepted
    members = [(search.best, 1.0)]
    if ensemble is not None and taken:
        members = [(each.trial, each.weight) for each in ensemble.members]
    winner = ENSEMBLE if taken else search.best
    labels, numbers = world.cells.labels, sorted(search.called)
    trials = TrialPredictions(
        tuple(numbers),
        np.array([search.folds[each] == FOLDS for each in numbers]),
        labels,
        np.stack([search.called[each] for each in numbers]),
        np.array([search.folds[each] for each in numbers]),
        CLASSES,
        KNOWN,
        world.cells.donors,
    )
    if ensemble is not None and taken:
        trials = trials.with_ensemble(ensemble.predictions.predicted, FOLDS)
    briefly = case.trials - len(numbers)
    more = search.rule.looks + briefly + (ensemble is not None and not taken)
    corrected = corrected_differences(
        trials, metric, baseline=0, repeats=DRAWS, more_looks=more, seed=seed
    )
    final, base = final_of(search, members, seed), final_of(search, [(0, 1.0)], seed)
    if winner == 0:
        final = base
    held = compare(
        world.held.labels, final.called, base.called, CLASSES, groups=world.held.donors, seed=seed
    )
    gap = held.differences[metric]
    verdict = judge(metric, gap, corrected, winner=winner, baseline=0, briefly=briefly)
    better = verdict.outcome == "better"
    truly, anew = final.worth - base.worth, final.anew - base.anew
    rows = [trials.numbers.index(each) for each in (0, winner)]
    said = trials.predicted[rows[1]]
    reached = float(score(metric, confusion(labels, said, K)))
    oof = verdict.out_of_fold
    alone = None
    if winner != 0:
        pair = replace(
            trials,
            numbers=(0, winner),
            complete=trials.complete[rows],
            predicted=trials.predicted[rows],
            folds=trials.folds[rows],
        )
        found = corrected_differences(pair, metric, baseline=0, repeats=DRAWS, noise=0.0, seed=seed)
        alone = None if found is None else found.of(winner)[0]
    wrong = winner != 0 and anew <= 0.0
    apart = winner != 0
    return Outcome(
        better=float(better),
        false=float(better and truly <= 0.0),
        no_recipe=float(better and wrong),
        hold_out=float(wrong and gap.side > 0),
        out_of_fold=float(wrong and oof is not None and oof.side > 0),
        uncorrected=float(wrong and alone is not None and alone.side > 0),
        score_held=within(final.worth, held.winner.metrics[metric]),
        score_anew=within(final.anew, held.winner.metrics[metric]),
        gap_held=within(truly, gap) if apart else float("nan"),
        gap_anew=within(anew, gap) if apart else float("nan"),
        optimism=reached - final.anew,
        found=float(any(search.given[number].stronger for number, _ in members)),
        joined=float(taken),
        complete=float(len(search.scores)),
    )


# The table.

PLAIN = Case()
SHORT = (
    replace(PLAIN, ensemble=False),
    # Where the best of many complete trials is flattered most, and training noise hides it least.
    replace(
        PLAIN,
        metric="accuracy",
        cells=400,
        trials=40,
        ladder=False,
        ensemble=False,
        adaptive=False,
    ),
)
METRIC_CASES = tuple(
    replace(PLAIN, metric=metric, cells=cells, ensemble=False)
    for metric in METRICS
    for cells in (400, 2000)
)
DONOR_CASES = tuple(
    replace(PLAIN, donors=donors, cells=cells, ensemble=False)
    for donors in (1, 2, 6, 20)
    for cells in (400, 2000)
)
WAY_CASES = tuple(
    replace(PLAIN, **way)
    for way in (
        {"ensemble": True},
        {"ladder": False, "ensemble": False},
        {"adaptive": False, "ensemble": False},
        {"ladder": False, "adaptive": False, "ensemble": False},
        {"trials": 60, "ensemble": False},
        {"cells": 400},
        {"donors": 6},
        {"metric": "macro_f1"},
    )
)
LARGE_CASES = tuple(
    replace(PLAIN, cells=cells, ensemble=False, metric=metric, donors=donors)
    for cells in (8000,)
    for metric, donors in (
        ("balanced_accuracy", 0),
        ("balanced_accuracy", 6),
        ("macro_f1", 0),
    )
)
GAIN_CASES = tuple(
    replace(PLAIN, cells=cells, gain=gain, ensemble=joined)
    for joined in (False, True)
    for cells in ((400, 2000, 8000), (2000,))[joined]
    for gain in (0.02, 0.05, 0.10)
)
PARTS = (
    ("metrics", METRIC_CASES),
    ("donors of the hold-out", DONOR_CASES),
    ("ways to search", WAY_CASES),
    ("more cells", LARGE_CASES),
    ("a true gain", GAIN_CASES),
)
HEAD = (
    f"{'metric':<18} {'cells':>6} {'donors':>6} {'gain':>5} {'search':<11} {'n':>4}  {'better':>6} "
    f"{'false':>6} {'no recipe':>9} {'hold-out':>8} {'out-of-fold':>11} {'uncorrected':>11}  "
    f"{'score':>6} {'anew':>6} {'gap':>6} {'anew':>6}  {'optimism':>8} {'found':>6} {'joined':>6} "
    f"{'complete':>8}"
)


def line(case: Case, found: Sequence[Outcome]) -> str:
    """Of the table."""

    def share(name: str) -> str:
        values = np.array([getattr(each, name) for each in found])
        known = values[np.isfinite(values)]
        return "-" if not len(known) else f"{known.mean():.1%}"

    ways = {"ladder": case.ladder, "ensemble": case.ensemble, "adaptive": case.adaptive}
    way = "".join(name[0] for name, used in ways.items() if used) or "-"
    way += f", {case.trials}" if case.trials != PLAIN.trials else ""
    mean = np.mean([each.optimism for each in found])
    complete = np.mean([each.complete for each in found])
    return (
        f"{case.metric:<18} {case.cells:>6,} {case.donors or '-':>6} {case.gain or '-':>5} "
        f"{way:<11} {len(found):>4}  {share('better'):>6} {share('false'):>6} "
        f"{share('no_recipe'):>9} {share('hold_out'):>8} {share('out_of_fold'):>11} "
        f"{share('uncorrected'):>11}  {share('score_held'):>6} {share('score_anew'):>6} "
        f"{share('gap_held'):>6} {share('gap_anew'):>6}  {mean:>+8.3f} {share('found'):>6} "
        f"{share('joined'):>6} {complete:>8.1f}"
    )


def failures(
    found: Sequence[Outcome], *, most_false: float = MOST_FALSE, least_held: float = LEAST_HELD
) -> list[str]:
    """Where replays miss a bound by more than chance, in words."""

    def missed(name: str, bound: float, alternative: str) -> str:
        values = np.array([getattr(each, name) for each in found])
        known = values[np.isfinite(values)]
        if not len(known):
            return ""
        p = binomtest(int(known.sum()), len(known), bound, alternative=alternative).pvalue
        return f"{name} {known.mean():.1%} of {len(known)} (bound {bound:.0%})" if p < SURE else ""

    bounds = (
        ("false", most_false, "greater"),
        ("no_recipe", most_false, "greater"),
        ("score_held", least_held, "less"),
        ("gap_held", least_held, "less"),
    )
    return [each for bound in bounds if (each := missed(*bound))]


def main() -> None:
    """Print the tables; the exit status says whether the gate holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--short", action="store_true", help="two cases, in half a minute")
    given = parser.parse_args()
    began = time.time()
    parts = (("in short", SHORT),) if given.short else PARTS
    print(__doc__.split("\n\n", 2)[2])
    print(
        f"{FOLDS} folds, {HELD_OUT:.0%} held out, mix {tuple(MIX.tolist())}, variance of "
        f"difficulty {DIFFICULTY}, luck {LUCK}, chance {CHANCE}, s.d. of a training {TRAINING}, "
        f"of a donor {DONOR} and {DONOR_LUCK}; {PLAIN.trials} trials; search: l ladder, "
        "e ensemble, a adaptive draws"
    )
    null: list[Outcome] = []
    missed: list[str] = []
    with ProcessPoolExecutor(given.processes) as pool:
        for name, cases in parts:
            print(f"\n{name}\n{HEAD}")
            for case in cases:
                found = list(pool.map(partial(replayed, case=case), range(given.repeats)))
                null += [] if case.gain else found
                print(line(case, found), flush=True)
                missed += [f"{case}: {each}" for each in failures(found)]
    print(f"\nall null worlds\n{HEAD}\n{line(PLAIN, null)}")
    missed += [f"all null worlds: {each}" for each in failures(null)]
    print("\nthe gate holds" if not missed else "\nthe gate fails\n" + "\n".join(missed))
    print(f"\n{time.time() - began:.0f} s with {given.processes} processes")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
