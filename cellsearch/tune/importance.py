"""Which choice mattered: importance of parameters, and what each choice did to each class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.space.recipe import Recipe
from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.metrics import Metric, confusion, score
from cellsearch.stats.permutation import holm
from cellsearch.tune.findings import ChoiceEffect, Importance, ParameterImportance
from cellsearch.tune.trial_predictions import TrialPredictions

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

CHOICES = ("loss.weighting", "balance.method", "gan.kind", "loss.kind")
"""Parameters by name whose values are held against their default."""
SWITCHED = ("augment", "input.test_flips")
"""Sections and parameters that are held as on or off, whatever their amount."""
FEWEST_TRIALS = 20
"""Complete ones, below which parameters get no importance."""
FEWEST_EACH = 3
"""Trials that must have made a choice, and as many that have not."""
ROOM = 2
"""Trials a level, from which all choices are weighed together."""
TOP = 0.25
"""Share of the trials that PED-ANOVA calls good; 0.1 of 20 trials would be two."""
SHUFFLES = 39


def importance(
    metric: Metric,
    trials: TrialPredictions,
    recipes: Mapping[int, Recipe],
    study: optuna.Study | None = None,
    *,
    seed: int = 0,
) -> Importance:
    """What the complete trials of a search tell of its choices.

    Args:
        metric: that the search chose by.
        trials: out-of-fold predictions.
        recipes: by number of the trial.
        study: of the search; None leaves the importance of parameters out.
        seed: of the shuffles.
    """
    complete = [
        at for at, done in enumerate(trials.complete) if done and trials.numbers[at] in recipes
    ]
    notes = [
        "the sampler prefers what worked, so choices are not independent: one may get credit for "
        "others that it was drawn with"
    ]
    parameters: tuple[ParameterImportance, ...] = ()
    if len(complete) < FEWEST_TRIALS:
        notes.append(
            f"parameters: too few complete trials to rank them, {len(complete)} of at least "
            f"{FEWEST_TRIALS}"
        )
    elif study is not None:
        parameters = parameter_importance(study, seed=seed)
    effects = choice_effects(metric, trials, recipes, complete)
    if not effects:
        notes.append(
            f"choices: none has at least {FEWEST_EACH} complete trials with it and as many "
            "without it"
        )
    return Importance(metric, len(complete), parameters, effects, tuple(notes))


def parameter_importance(study: optuna.Study, *, seed: int = 0) -> tuple[ParameterImportance, ...]:
    """PED-ANOVA (Watanabe, Bansal & Hutter 2023) of every parameter with more than one value.

    Each importance is held against those of the same trials with their scores dealt out at
    random, which says how much of it is chance. Most important first.
    """
    import optuna

    done = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if trial.params and trial.value is not None and np.isfinite(trial.value)
    ]
    names = sorted({name for trial in done for name in trial.params})
    names = [
        name
        for name in names
        if len({trial.params[name] for trial in done if name in trial.params}) > 1
    ]
    if not names:
        return ()
    copy = _copied(done)
    values = np.array([float(trial.value or 0.0) for trial in done])
    found = _ped_anova(copy, values, names)
    rng = np.random.default_rng(seed)
    dealt = [_ped_anova(copy, rng.permutation(values), names) for _ in range(SHUFFLES)]
    total = sum(found.values()) or 1.0
    p = _corrected(np.array([found[name] for name in names]), dealt, names)
    rows = [
        ParameterImportance(
            name=name,
            importance=found[name] / total,
            trials=sum(name in trial.params for trial in done),
            p=float(p[at]),
        )
        for at, name in enumerate(names)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.importance, row.name)))


def _corrected(
    found: NDArray[np.float64], dealt: Sequence[Mapping[str, float]], names: Sequence[str]
) -> NDArray[np.float64]:
    """p of each importance against the largest of all parameters by chance.

    Standardised first, since a parameter of many values has more by chance than one of two
    (Westfall & Young 1993, section 2.5); by mean and spread of what was found and what was dealt
    together, so that where nothing matters each of them is as likely to be the largest.
    """
    dealt_rows = [[each[name] for name in names] for each in dealt]
    every = np.array([found.tolist(), *dealt_rows])
    standard = (every - every.mean(axis=0)) / np.maximum(every.std(axis=0, ddof=1), 1e-12)
    beyond = standard[1:].max(axis=1)[:, None] >= standard[0]
    return np.asarray((1.0 + beyond.sum(axis=0)) / len(every))


def _copied(trials: Sequence[FrozenTrial]) -> optuna.Study:
    """The trials numbered from 0 in memory, whatever database they lie in."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="minimize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=trial.params, distributions=trial.distributions, value=trial.value
                )
                for trial in trials
            ]
        )
    return study


def _ped_anova(
    study: optuna.Study, values: NDArray[np.float64], names: Sequence[str]
) -> dict[str, float]:
    """Importance of each parameter for high ``values`` ((J,), by number of the trial)."""
    import optuna

    with warnings.catch_warnings():
        # Says that a target is taken as better when lower, which the sign here sees to.
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
        found = evaluator.evaluate(
            study, params=list(names), target=lambda trial: -float(values[trial.number])
        )
    return {name: max(0.0, float(found.get(name, 0.0))) for name in names}


def choice_effects(
    metric: Metric,
    trials: TrialPredictions,
    recipes: Mapping[int, Recipe],
    complete: Sequence[int],
) -> tuple[ChoiceEffect, ...]:
    """Effect of each level of each choice on the metric and on the recall of each class.

    Least squares over the trials, on an intercept and the levels of all choices (of the one choice
    alone where there are fewer than ``ROOM`` trials a level), so that a choice is not credited
    with those it was drawn with. An effect is then a weighted sum over trials of the same cells.
    Its variance has two parts: what trials of the same choices differ by, and, over a class's
    cells, what the weighted trials say of a cell. Degrees of freedom by Satterthwaite (1946),
    equation 17; p corrected over all effects (Holm 1979).
    """
    if not complete:
        return ()
    right = (trials.predicted[list(complete)] == trials.labels).astype(np.float64)
    outcomes = {"": _scores(metric, trials, complete)}
    cells: dict[str, list[tuple[NDArray[np.bool_], float]]] = {"": []}
    share = 1.0 / max(1, int(trials.estimable.sum()))
    for index, name in enumerate(trials.classes):
        of_class = trials.labels == index
        if trials.estimable[index] and of_class.sum() > 1:
            outcomes[name] = right[:, of_class].mean(axis=1)
            cells[name] = [(of_class, 1.0)]
            # The metric is no mean over cells; the mean recall's cells stand in for its own.
            cells[""].append((of_class, share))
    rows: list[tuple[str, str, str, str, int, int, Estimate, float]] = []
    for (choice, level, reference), contrast, design in _contrasts(
        [dict(_choices(recipes[trials.numbers[at]])) for at in complete]
    ):
        weights = contrast[0]
        for of, outcome in outcomes.items():
            noise = [
                (part**2 * float(each.var(ddof=1)) / len(each), len(each) - 1.0)
                for of_class, part in cells[of]
                for each in (weights @ right[:, of_class],)
            ]
            effect = _effect(outcome, weights, design, noise)
            rows.append((choice, level, reference, of, contrast[1], contrast[2], *effect))
    corrected = holm([row[-1] for row in rows])
    return tuple(ChoiceEffect(*row, p_holm=p) for row, p in zip(rows, corrected, strict=True))


def _scores(
    metric: Metric, trials: TrialPredictions, complete: Sequence[int]
) -> NDArray[np.float64]:
    k = len(trials.classes)
    counts = [confusion(trials.labels, trials.predicted[at], k) for at in complete]
    return score(metric, np.stack(counts), classes=trials.estimable)


_Contrast = tuple[NDArray[np.float64], int, int]


def _contrasts(
    chosen: Sequence[Mapping[str, str]],
) -> Iterator[tuple[tuple[str, str, str], _Contrast, NDArray[np.float64]]]:
    """Each (choice, level, reference): weights of the trials and how many chose, and the design.

    Levels that fewer than ``FEWEST_EACH`` trials chose, or left for the reference, get no effect
    of their own, but are still adjusted for.
    """
    defaults = dict(_choices(Recipe()))
    levels: list[tuple[str, str, str, NDArray[np.bool_], int]] = []
    for choice in sorted({name for each in chosen for name in each}):
        reference = defaults.get(choice, "off")
        named = np.array([each.get(choice, reference) for each in chosen])
        others = int((named == reference).sum())
        levels += [
            (choice, level, reference, named == level, others)
            for level in sorted(set(named.tolist()) - {reference})
        ]
    together = len(chosen) >= ROOM * (1 + len(levels))
    for choice, level, reference, took, others in levels:
        if min(int(took.sum()), others) < FEWEST_EACH:
            continue
        columns = [each for each in levels if together or each[0] == choice]
        design = np.column_stack([np.ones(len(chosen)), *[each[3] for each in columns]])
        at = 1 + next(n for n, each in enumerate(columns) if each[:2] == (choice, level))
        weights = np.linalg.pinv(design)[at]
        unit = np.zeros(design.shape[1])
        unit[at] = 1.0
        # Two choices that were always made together cannot be told apart.
        if np.allclose(weights @ design, unit, atol=1e-6):
            yield (choice, level, reference), (weights, int(took.sum()), others), design


def _choices(recipe: Recipe) -> list[tuple[str, str]]:
    """The choices of a recipe as (name, level)."""
    rows = []
    for name, value in recipe.to_params().items():
        if name in CHOICES:
            rows.append((name, str(value)))
        elif name.startswith(SWITCHED):
            rows.append((name, "on" if float(value) > 0 else "off"))
    return rows


def _effect(
    outcome: NDArray[np.float64],
    weights: NDArray[np.float64],
    design: NDArray[np.float64],
    noise: Sequence[tuple[float, float]],
) -> tuple[Estimate, float]:
    """A weighted sum over trials with its interval, and p; ``noise``: variances of cells, df."""
    from scipy.special import stdtr, stdtrit

    value = float(weights @ outcome)
    left = outcome - design @ (np.linalg.pinv(design) @ outcome)
    df = len(outcome) - int(np.linalg.matrix_rank(design))
    if df < 1:
        return Estimate(value, -1.0, 1.0), 1.0
    parts = [(float(left @ left) / df * float(weights @ weights), float(df)), *noise]
    variance = sum(part for part, _ in parts)
    if variance <= 1e-18:
        # All trials alike: nothing tells this difference from any other, not even 0.
        return Estimate(value, min(value, 0.0), max(value, 0.0)), 1.0
    degrees = variance**2 / sum(part**2 / each for part, each in parts)
    reach = float(stdtrit(degrees, 1.0 - (1.0 - LEVEL) / 2.0)) * variance**0.5
    p = 2.0 * float(stdtr(degrees, -abs(value) / variance**0.5))
    return Estimate(value, value - reach, value + reach), p
