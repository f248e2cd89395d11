"""How often is a parameter called important, or a choice better or worse, when scores are noise?

    python benchmarks/importance_false_alarms.py > benchmarks/results/importance_false_alarms.txt

Recipes are drawn at random from the space `quick`; every trial is right for the same share of
cells, whatever its recipe, with cells in common and noise of its own. An alarm is any parameter
with p < 0.05, and any choice with a corrected p < 0.05, in the whole table: at most 5 % of tables
should hold one.
"""

from __future__ import annotations

import argparse

import numpy as np
import optuna

from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.metrics import confusion, score
from cellsearch.tune.importance import importance
from cellsearch.tune.trial_predictions import TrialPredictions

COUNTS = (400, 120, 60, 15)
RECALLS = np.array((0.9, 0.7, 0.7, 0.5))
RHO = 0.5


def table(trials: int, seed: int) -> tuple[bool, bool]:
    """Whether a search that found nothing raises an alarm: of parameters, of choices."""
    rng = np.random.default_rng(seed)
    k = len(COUNTS)
    labels = np.repeat(np.arange(k), COUNTS)
    difficulty = rng.random(len(labels))
    space = SearchSpace.load("quick")
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed)
    )
    recipes, predicted = {}, []
    for number in range(trials):
        trial = study.ask()
        recipes[number] = space.suggest(trial)
        noise = np.where(rng.random(len(labels)) < RHO, difficulty, rng.random(len(labels)))
        # Two trainings of one recipe differ too.
        recall = RECALLS + rng.normal(0.0, 0.02, k)
        said = np.where(noise < recall[labels], labels, (labels + 1) % k)
        predicted.append(said)
        study.tell(trial, float(score("balanced_accuracy", confusion(labels, said, k))))
    found = importance(
        "balanced_accuracy",
        TrialPredictions(
            tuple(range(trials)),
            np.ones(trials, dtype=bool),
            labels,
            np.stack(predicted),
            np.full(trials, 5),
            tuple("abcd"),
            np.ones(k, dtype=bool),
        ),
        recipes,
        study,
        seed=seed,
    )
    return (
        any(one.p < 0.05 for one in found.parameters),
        any(one.p_holm < 0.05 for one in found.effects),
    )


def main() -> None:
    """Print the share of tables that hold an alarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--trials", type=int, nargs="+", default=[12, 30])
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"{asked.repeats} searches of equal trials\n")
    print(f"{'trials':>8}{'a parameter':>16}{'a choice':>16}")
    for trials in asked.trials:
        found = np.array([table(trials, seed) for seed in range(asked.repeats)])
        parameter, choice = 100 * found.mean(axis=0)
        print(f"{trials:>8}{parameter:>14.1f} %{choice:>14.1f} %", flush=True)


if __name__ == "__main__":
    main()
