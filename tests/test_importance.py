"""Which choice mattered: planted effects are found, chance is not, small studies are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from cellsearch.card.importance_plot import importance_figure
from cellsearch.card.plots import save
from cellsearch.card.readme import importance_section
from cellsearch.space.recipe import Recipe
from cellsearch.tune.dashboard import attach_to_study
from cellsearch.tune.findings import Importance
from cellsearch.tune.importance import choice_effects, importance, parameter_importance
from cellsearch.tune.trial_predictions import TrialPredictions

COUNTS = (300, 150, 40)


def recipe(weighting: str, *, flip: bool, shift: int = 0) -> Recipe:
    return Recipe.from_params(
        {"loss.weighting": weighting, "augment.flip": flip, "augment.shift": shift}
    )


def planted(n: int, *, effect: float, seed: int = 0) -> tuple[TrialPredictions, dict[int, Recipe]]:
    """Trials in which weighting finds more of class c and fewer of class a; flips do nothing."""
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), COUNTS)
    difficulty = chance.random(len(labels))
    recipes, predicted = {}, []
    for number in range(n):
        weighting = ("none", "inv")[number % 2]
        recipes[number] = recipe(
            weighting, flip=bool(chance.random() < 0.5), shift=int(chance.integers(0, 3))
        )
        recall = np.array([0.7, 0.7, 0.5]) + chance.normal(0.0, 0.01, 3)
        if weighting == "inv":
            recall += effect * np.array([-0.4, 0.0, 1.0])
        noise = np.where(chance.random(len(labels)) < 0.5, difficulty, chance.random(len(labels)))
        predicted.append(np.where(noise < recall[labels], labels, (labels + 1) % 3))
    trials = TrialPredictions(
        numbers=tuple(range(n)),
        complete=np.ones(n, dtype=bool),
        labels=labels,
        predicted=np.stack(predicted),
        folds=np.full(n, 5),
        classes=("a", "b", "c"),
        estimable=np.ones(3, dtype=bool),
    )
    return trials, recipes


def found(n: int, effect: float, seed: int = 0) -> Importance:
    trials, recipes = planted(n, effect=effect, seed=seed)
    return importance("balanced_accuracy", trials, recipes)


def test_a_planted_effect_is_found_where_it_is() -> None:
    effects = {(e.choice, e.level, e.of): e for e in found(24, 0.3).effects}
    on_rare = effects["loss.weighting", "inv", "c"]
    assert on_rare.verdict == "better"
    assert on_rare.difference.low < 0.3 < on_rare.difference.high
    assert (on_rare.trials, on_rare.others, on_rare.reference) == (12, 12, "none")
    assert effects["loss.weighting", "inv", "a"].verdict == "worse"
    assert effects["loss.weighting", "inv", "b"].verdict == "not distinguishable"
    assert effects["loss.weighting", "inv", ""].difference.value == pytest.approx(0.06, abs=0.03)
    for of in ("", "a", "b", "c"):
        assert effects["augment.flip", "on", of].verdict == "not distinguishable"


def test_chance_alone_is_rarely_called_an_effect() -> None:
    told = [found(20, 0.0, seed) for seed in range(20)]
    wrong = sum(any(e.verdict != "not distinguishable" for e in one.effects) for one in told)
    # Holm over all effects: 1 in 20 studies is expected to hold a false one.
    assert wrong <= 3


def test_a_choice_is_not_credited_with_the_one_it_came_with() -> None:
    trials, recipes = planted(40, effect=0.4)
    # Flips come with the weights in 18 of 20 trials, and do nothing themselves.
    together = {
        number: recipe(one.loss.weighting, flip=(one.loss.weighting == "inv") ^ (number < 4))
        for number, one in recipes.items()
    }
    effects = choice_effects("balanced_accuracy", trials, together, range(40))
    by = {(e.choice, e.of): e for e in effects}
    assert by["augment.flip", "c"].verdict == "not distinguishable"
    assert by["loss.weighting", "c"].difference.value == pytest.approx(0.4, abs=0.08)


def test_choices_always_made_together_get_no_effect() -> None:
    trials, recipes = planted(24, effect=0.3)
    tied = {n: recipe(r.loss.weighting, flip=r.loss.weighting == "inv") for n, r in recipes.items()}
    assert choice_effects("balanced_accuracy", trials, tied, range(24)) == ()


def test_few_trials_get_no_importance_and_are_told_so() -> None:
    one = found(4, 0.3)
    assert one.parameters == ()
    assert one.effects == ()
    assert "too few to rank them, 4 where 20 are the least" in one.notes[1]
    text = importance_section(one, pictured=False)
    assert "none was made by at least 3 complete trials" in text.lower()
    assert importance_figure(one) is None


def study(n: int = 30) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("optim.lr", 1e-4, 1e-1, log=True)
        trial.suggest_int("model.width", 8, 64)
        trial.suggest_categorical("loss.kind", ["focal", "cross_entropy"])
        return -abs(np.log10(rate) + 2.0)

    made.optimize(objective, n_trials=n)
    return made


def test_the_parameter_that_made_the_score_is_first_and_more_than_chance() -> None:
    first, *others = parameter_importance(study())
    assert first.name == "optim.lr"
    assert first.importance > 0.5
    assert first.p < 0.05
    assert all(other.p > 0.05 for other in others)
    assert sum(each.importance for each in (first, *others)) == pytest.approx(1.0)


def test_table_picture_and_the_dashboards_note(tmp_path: Path) -> None:
    trials, recipes = planted(24, effect=0.3)
    made = study(24)
    one = importance("balanced_accuracy", trials, recipes, made)
    text = importance_section(one, pictured=True)
    assert "| `optim.lr` |" in text
    assert "| `loss.weighting` | inv, not none | 12 / 12 |" in text
    assert "not distinguishable" in text
    picture = importance_figure(one)
    assert picture is not None
    names = save(picture, tmp_path, "importance")
    assert [(tmp_path / name).stat().st_size > 5000 for name in names] == [True, True]
    attach_to_study(made, tmp_path, text, tmp_path / "importance.png")
    attach_to_study(made, tmp_path, text, None)
    attributes = made._storage.get_study_system_attrs(made._study_id)
    assert attributes["dashboard:note_ver"] == 2
    body = "".join(attributes[f"dashboard:note_str:{n}"] for n in range(1 + len(text) // 2045))
    assert body.startswith(text[:2000])
    assert any("importance.png" in str(value) for value in attributes.values())
    facts = one.to_dict()
    assert facts["effects"][0]["verdict"] in ("better", "worse", "not distinguishable")
