"""The language of search spaces, and recipes drawn from them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from cellsearch.errors import CatalogError, SpaceError
from cellsearch.space.recipe import BASELINE, CnnModel, Recipe
from cellsearch.space.search_space import SearchSpace, sample

import space_page

CONDITIONAL: dict[str, Any] = {
    "model.depth": {"int": [1, 3]},
    "model.kernel": {"int": [2, 10], "per": "model.depth"},
    "loss.kind": {"choice": ["cross_entropy", "focal"]},
    "loss.gamma": {"float": [0.5, 4], "when": {"loss.kind": "focal"}},
    "optim.name": {"choice": ["adam", "adamw", "sgd"]},
    "optim.lr": [
        {"float": [1e-4, 1e-2], "log": True, "when": {"optim.name": ["adam", "adamw"]}},
        {"float": [1e-2, 1e-1], "log": True, "when": {"optim.name": "sgd"}},
    ],
    "train.epochs": {"int": [4, 10], "step": 2},
}


def space(**parameters: Any) -> SearchSpace:
    named = {name.replace("__", "."): value for name, value in parameters.items()}
    return SearchSpace.from_dict({"parameters": named})


def conditional(**more: Any) -> SearchSpace:
    return SearchSpace.from_dict({"parameters": CONDITIONAL | more})


def write(folder: Path, text: str, name: str = "my.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(parameters: dict[str, Any], **top: Any) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_dict({"parameters": parameters, **top})
    return str(caught.value).splitlines()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


# --- drawing


def test_suggest_replays_a_fixed_trial() -> None:
    trial = optuna.trial.FixedTrial(
        {
            "model.depth": 2,
            "model.kernel.1": 7,
            "model.kernel.2": 3,
            "loss.kind": "focal",
            "loss.gamma": 1.0,
            "optim.name": "sgd",
            "optim.lr@sgd": 0.05,
            "train.epochs": 6,
        }
    )
    recipe = conditional().suggest(trial)
    assert recipe.model.kernel == (7, 3)
    assert (recipe.loss.gamma, recipe.optim.lr, recipe.train.epochs) == (1.0, 0.05, 6)


def test_inactive_parameters_and_constants_are_never_asked_for() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    searched = conditional(**{"train.batch_size": 32})
    seen = set()
    for _ in range(40):
        trial = study.ask()
        recipe = searched.suggest(trial)
        assert recipe.train.batch_size == 32
        assert "train.batch_size" not in trial.params
        assert ("loss.gamma" in trial.params) == (recipe.loss.kind == "focal")
        assert ("optim.lr@sgd" in trial.params) == (recipe.optim.name == "sgd")
        assert ("model.kernel.3" in trial.params) == (recipe.model.depth == 3)
        assert searched.recipe(trial.params) == recipe
        seen |= set(trial.params)
    assert seen == set(searched.distributions)


def test_a_trial_asked_twice_gives_the_same_recipe() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    trial = study.ask()
    assert conditional().suggest(trial) == conditional().suggest(trial)


def test_distributions_are_those_that_optuna_records() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    searched = SearchSpace.load("default")
    for _ in range(10):
        trial = study.ask()
        searched.suggest(trial)
        for name, distribution in trial.distributions.items():
            assert searched.distributions[name] == distribution


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_tpe_learns_from_the_space() -> None:
    # Deep and focal is best: after the random start most draws should agree.
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=8)
    )
    searched = conditional()
    picked = []
    for _ in range(40):
        trial = study.ask()
        recipe = searched.suggest(trial)
        study.tell(trial, recipe.model.depth + (recipe.loss.kind == "focal"))
        picked.append(recipe)
    assert sum(r.model.depth == 3 for r in picked[20:]) > 10


def test_sample_is_seeded_and_covers_the_choices() -> None:
    searched = conditional()
    drawn = sample(searched, 60, seed=3)
    assert drawn == sample(searched, 60, seed=3)
    assert drawn != sample(searched, 60, seed=4)
    assert {r.model.depth for r in drawn} == {1, 2, 3}
    assert {r.optim.name for r in drawn} == {"adam", "adamw", "sgd"}
    assert {r.train.epochs for r in drawn} == {4, 6, 8, 10}
    assert all((r.optim.lr >= 1e-2) == (r.optim.name == "sgd") for r in drawn)


def test_choices_are_drawn_by_their_odds() -> None:
    searched = space(
        augment__flip={"choice": {True: 9, False: 1}},
        train__batch_size={"choice": {32: 1, 64: 2.5, 128: 0.5}},
    )
    drawn = sample(searched, 600)
    assert 0.86 < sum(r.augment.flip for r in drawn) / 600 < 0.94
    counts = Counter(r.train.batch_size for r in drawn)
    assert 0.55 < counts[64] / 600 < 0.7
    assert 0.08 < counts[128] / 600 < 0.18
    rare = sum(not r.augment.flip for r in sample(searched, 600, even=True))
    assert 240 < rare < 360


@pytest.mark.parametrize(
    ("name", "form", "near", "share"),
    [
        # Of a triangle, and of even draws of the same range, below the first number.
        ("optim.lr", {"float": [1e-4, 1e-1], "log": True, "centre": 1e-3}, (3e-4, 3e-3), 0.33),
        ("augment.blur", {"float": [0.0, 5.0], "step": 0.5, "centre": 1.0}, (0.5, 2.0), 0.37),
        ("train.epochs", {"int": [10, 90], "centre": 30}, (20, 40), 0.26),
        ("model.width", {"int": [8, 128], "log": True, "centre": 32}, (21, 48), 0.3),
        ("train.epochs", {"int": [10, 90], "step": 20, "centre": 30}, (30, 30), 0.2),
    ],
)
def test_draws_lie_about_the_centre_and_within_the_range(
    name: str, form: dict[str, Any], near: tuple[float, float], share: float
) -> None:
    searched = space(**{name.replace(".", "__"): form})
    values = [float(r.to_params()[name]) for r in sample(searched, 800)]
    low, high = form.get("int") or form["float"]
    assert low <= min(values) < max(values) <= high
    found = sum(near[0] <= v <= near[1] for v in values) / 800
    assert found > 1.2 * share
    if "step" in form:
        assert {round((v - low) / form["step"], 9) % 1 for v in values} == {0}
    assert 0.8 < sum(near[0] <= float(r.to_params()[name]) <= near[1] for r in sample(
        searched, 800, even=True)) / 800 / share < 1.25  # fmt: skip


def test_without_odds_a_seed_draws_what_it_always_drew() -> None:
    drawn = sample(conditional(), 50, seed=3)
    text = json.dumps([recipe_of_old(r) for r in drawn], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6c6bc4dc4eaecaec"


def recipe_of_old(recipe: Recipe) -> dict[str, Any]:
    """Without the parameters that came later, and in digits that every machine agrees on."""
    later = ("model.stem", "input.most")
    params = {k: v for k, v in recipe.to_params().items() if k not in later}
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in params.items()}


def test_log_draws_are_even_over_decades() -> None:
    drawn = sample(space(optim__lr={"float": [1e-4, 1.0], "log": True}), 400)
    below = sum(r.optim.lr < 1e-2 for r in drawn)
    assert 160 < below < 240


# --- a recipe that is given


def test_baseline_is_enqueued_and_recorded() -> None:
    searched = SearchSpace.load("everything")
    fixed = searched.fixed_params(BASELINE)
    assert fixed["optim.lr@adam+adamw+nadam"] == BASELINE.optim.lr
    assert fixed["model.kernel.2"] == 3
    # No weight decay lies below the range of the space, so it cannot be told to Optuna.
    assert not [name for name in fixed if name.startswith("optim.weight_decay")]
    study = optuna.create_study()
    study.enqueue_trial(fixed)
    trial = study.ask()
    searched.record(trial, BASELINE)
    assert trial.params == fixed


def test_record_refuses_a_trial_that_says_otherwise() -> None:
    searched = space(model__depth={"int": [1, 6]}, model__batch_norm={"choice": [True, False]})
    trial = optuna.trial.FixedTrial({"model.depth": 5, "model.batch_norm": True})
    with pytest.raises(SpaceError, match=r"model\.depth: the trial holds 5, the recipe 2"):
        searched.record(trial, BASELINE)


def test_fixed_params_give_back_the_recipe() -> None:
    searched = SearchSpace.load("default")
    for recipe in sample(searched, 50):
        assert searched.recipe(searched.fixed_params(recipe)) == recipe


def test_one_kernel_for_all_stages() -> None:
    searched = space(model__depth={"int": [1, 3]}, model__kernel={"int": [2, 5]})
    assert searched.fixed_params(BASELINE) == {"model.depth": 2, "model.kernel": 3}
    uneven = Recipe.from_params({"model.kernel.1": 3, "model.kernel.2": 5})
    assert searched.fixed_params(uneven) == {"model.depth": 2}
    assert searched.recipe({"model.depth": 3, "model.kernel": 4}).model.kernel == (4, 4, 4)


def test_stored_parameters_must_be_complete() -> None:
    with pytest.raises(SpaceError, match=r"model\.width: not among the stored parameters"):
        space(model__width={"int": [8, 16]}).recipe({})


# --- per, numbers, conditions


def test_per_expands_while_the_counter_reaches() -> None:
    names = [e.name for e in conditional().entries if e.target.startswith("model.kernel")]
    assert names == ["model.kernel.1", "model.kernel.2", "model.kernel.3"]
    fixed = space(model__depth=2, model__kernel={"choice": [3, 5], "per": "model.depth"})
    assert [(e.name, e.when) for e in fixed.entries[1:]] == [
        ("model.kernel.1", ()),
        ("model.kernel.2", ()),
    ]


def test_a_number_of_its_own_wins_over_per() -> None:
    searched = conditional(**{"model.kernel.2": 9})
    for recipe in sample(searched, 30):
        assert recipe.model.depth < 2 or recipe.model.kernel[1] == 9


def test_order_of_the_file_does_not_matter() -> None:
    backwards = SearchSpace.from_dict({"parameters": dict(reversed(CONDITIONAL.items()))})
    assert backwards.sha256 == conditional().sha256
    assert backwards.entries == conditional().entries
    assert sample(backwards, 5) == sample(conditional(), 5)


def test_condition_on_a_range_and_on_an_inactive_parameter() -> None:
    searched = space(
        loss__weighting={"choice": ["none", "inv"]},
        balance__method={"choice": ["none", "over"], "when": {"loss.weighting": "none"}},
        balance__strength={"float": [0.1, 0.2], "when": {"balance.method": "over"}},
        model__depth={"int": [1, 4]},
        model__residual={"value": True, "when": {"model.depth": {"min": 3}}},
    )
    drawn = sample(searched, 100)
    assert all((r.balance.strength < 1) == (r.balance.method == "over") for r in drawn)
    assert all(r.balance.method == "none" for r in drawn if r.loss.weighting == "inv")
    assert all(r.model.residual == (r.model.depth >= 3) for r in drawn)


def test_alternatives_are_told_apart_by_conditions_of_the_same_words() -> None:
    searched = space(
        augment__flip={"choice": [True, False]},
        augment__rotate90={"choice": [True, False]},
        augment__shift=[
            {"int": [0, 1], "when": {"augment.flip": True, "augment.rotate90": False}},
            {"int": [2, 3], "when": {"augment.flip": False, "augment.rotate90": True}},
            {"int": [4, 5], "when": {"augment.flip": True, "augment.rotate90": True}},
        ],
    )
    names = [e.name for e in searched.entries if e.target == "augment.shift"]
    assert len(set(names)) == 3
    for recipe in sample(searched, 50):
        assert (recipe.augment.shift in (4, 5)) == (recipe.augment.flip and recipe.augment.rotate90)


# --- files


def test_yaml_of_the_expanded_space_loads_to_the_same(tmp_path: Path) -> None:
    for name in ("default", "everything", "quick"):
        loaded = SearchSpace.load(name)
        again = SearchSpace.load(write(tmp_path, loaded.to_yaml()))
        assert (again.sha256, again.name, again.limits) == (loaded.sha256, name, loaded.limits)
        assert again.entries == loaded.entries
    path = write(tmp_path, conditional().to_yaml())
    assert SearchSpace.load(path).entries == conditional().entries


def test_sha_ignores_comments_and_title_but_not_ranges_or_limits(tmp_path: Path) -> None:
    one = SearchSpace.load(write(tmp_path, "parameters:\n  model.depth: {int: [1, 3]}\n"))
    two = SearchSpace.load(
        write(tmp_path, "# x\ntitle: y\nname: z\nparameters: {model.depth: {int: [1, 3]}}\n")
    )
    three = SearchSpace.load(write(tmp_path, "parameters: {model.depth: {int: [1, 4]}}\n"))
    four = SearchSpace.from_dict(
        {"limits": {"parameters": 9}, "parameters": {"model.depth": {"int": [1, 3]}}}
    )
    assert one.sha256 == two.sha256
    assert len({one.sha256, three.sha256, four.sha256}) == 3
    assert (one.name, two.name) == ("my", "z")


def test_odds_and_centres_are_written_back_as_they_were(tmp_path: Path) -> None:
    text = (
        "parameters:\n"
        "  augment.rotate90: {choice: {true: 9, false: 1}}\n"
        "  train.weight_average: {choice: {0.99: 0.5, 0.0: 1}}\n"
        "  loss.weighting: {choice: {none: 2, sqrt: 1}}\n"
        "  train.batch_size: {choice: {64: 2, 32: 1}}\n"
        "  optim.lr: {float: [0.0005, 0.01], log: true, centre: 0.002}\n"
        "  train.epochs: {int: [10, 50], step: 10, centre: 20}\n"
    )
    loaded = SearchSpace.load(write(tmp_path, text))
    written = loaded.to_yaml()
    for line in text.splitlines()[1:]:
        assert line in written
    again = SearchSpace.load(write(tmp_path, written))
    assert (again.entries, again.sha256) == (loaded.entries, loaded.sha256)
    ranges = {row.name: row.range for row in loaded.describe()}
    assert ranges["augment.rotate90"] == "true (odds 9), false (1)"
    assert ranges["optim.lr"] == "0.0005 to 0.01, log, most often 0.002"


def test_even_odds_are_a_plain_choice_and_others_another_space() -> None:
    plain = space(optim__name={"choice": ["adam", "sgd"]})
    assert space(optim__name={"choice": {"adam": 2, "sgd": 2}}).sha256 == plain.sha256
    spaces = [
        plain,
        space(optim__name={"choice": {"adam": 2, "sgd": 1}}),
        space(optim__name={"choice": {"sgd": 1, "adam": 2}}),
        space(optim__name={"choice": {"adam": 1, "sgd": 2}}),
    ]
    # Optuna refuses choices in another order, so a study must not go on with them.
    assert len({each.sha256 for each in spaces}) == 4


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("everything", "3be59356376569bf47e9b0ec0786492e151b1fb59833fdb6006d6efeb141ebec"),
        ("espinosa-2022-wide", "88869b1a4d0ed8311a50a7d533dfc6ca78649f4b1307646a9bddd2438dbe5969"),
    ],
)
def test_a_space_without_odds_keeps_its_digest(name: str, digest: str) -> None:
    """Both have initial trials; the first was `default` until it was narrowed."""
    assert SearchSpace.load(name).sha256 == digest


def test_a_younger_parameter_at_its_default_leaves_the_digest() -> None:
    old = space(model__depth=2)
    assert space(model__depth=2, model__stem=1, input__most=0).sha256 == old.sha256
    assert space(model__depth=2, model__stem=2).sha256 != old.sha256


def test_extends_overrides_removes_and_drops_what_cannot_hold(tmp_path: Path) -> None:
    write(
        tmp_path,
        "limits: {parameters: 100, minutes_per_fold: 2}\n"
        "parameters:\n"
        "  optim.name: {choice: [adam, sgd]}\n"
        "  optim.momentum: {float: [0.5, 0.9], when: {optim.name: sgd}}\n"
        "  model.depth: {int: [1, 3]}\n"
        "  model.kernel: {int: [2, 4], per: model.depth}\n"
        "  augment.mixup: {choice: [0, 0.2]}\n",
        "base.yaml",
    )
    child = SearchSpace.load(
        write(
            tmp_path,
            "extends: base.yaml\n"
            "limits: {parameters: 50, minutes_per_fold: ~}\n"
            "parameters: {optim.name: adam, model.depth: {int: [1, 2]}, augment.mixup: ~}\n",
        )
    )
    assert [e.name for e in child.entries] == [
        "model.depth",
        "model.kernel.1",
        "model.kernel.2",
        "optim.name",
    ]
    assert (child.limits.parameters, child.limits.minutes_per_fold) == (50, None)


def test_extends_a_built_in_name() -> None:
    child = SearchSpace.from_dict({"extends": "quick", "parameters": {"train.epochs": 4}})
    assert child.limits == SearchSpace.load("quick").limits
    assert {r.train.epochs for r in sample(child, 10)} == {4}


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(SpaceError, match=r"circle: a -> b -> a \(b.yaml:1\)"):
        SearchSpace.load(tmp_path / "a.yaml")


def test_problems_of_a_parent_name_the_parent(tmp_path: Path) -> None:
    write(tmp_path, "parameters:\n  model.dept: 3\n", "base.yaml")
    with pytest.raises(SpaceError, match=r"did you mean 'model.depth'\? \(base.yaml:2\)"):
        SearchSpace.load(write(tmp_path, "extends: base.yaml\n"))


def test_unknown_space_and_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="did you mean 'quick'"):
        SearchSpace.load("quik")
    with pytest.raises(SpaceError, match=r"duplicate key.*\(my.yaml:3\)"):
        SearchSpace.load(write(tmp_path, "parameters:\n  model.depth: 1\n  model.depth: 2\n"))


# --- refusals


def test_all_problems_of_a_file_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        "titel: x\n"
        "limits: {parameters: -1}\n"
        "parameters:\n"
        "  loss.weigthing: sqrt\n"
        "  model.depth: {int: [1, 9]}\n"
        "  loss.gamma: {float: [1, 2], when: {loss.kind: focal}}\n"
    )
    with pytest.raises(SpaceError) as caught:
        SearchSpace.load(write(tmp_path, text))
    assert str(caught.value).splitlines() == [
        "$.titel: unknown key; did you mean 'title'? (my.yaml:1)",
        "$.limits.parameters: expected an integer > 0, got -1 (my.yaml:2)",
        "loss.weigthing: no such parameter; did you mean 'loss.weighting'? (my.yaml:4)",
        "model.depth.int.1: expected an integer >= 1 and <= 6, got 9 (my.yaml:5)",
        "loss.gamma.when.loss.kind: not a parameter of this space; it stays at cross_entropy "
        "(my.yaml:6)",
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("optim.lr", {"float": [0, 0.1], "log": True}, "optim.lr.float.0: expected a number > 0"),
        ("optim.lr", {"float": [0.1, 0.01]}, "the lower bound 0.1 is above the upper bound 0.01"),
        ("augment.blur", {"float": [0, 1], "log": True}, "a log range needs a lower bound > 0"),
        ("augment.blur", {"float": [0.1, 1], "log": True, "step": 0.1}, "log and step exclude"),
        ("augment.blur", {"float": [0, 1], "step": 0.3}, "steps of 0.3 from 0 miss 1"),
        ("augment.blur", {"float": [0, 1], "stp": 0.5}, "unknown key; did you mean 'step'?"),
        ("train.epochs", {"float": [1, 2]}, "write {int: [low, high]}"),
        ("optim.lr", {"int": [1, 1]}, "write {float: [low, high]}"),
        ("augment.flip", {"int": [0, 1]}, "write {choice: [...]}"),
        ("train.epochs", {"int": [1]}, "train.epochs.int: expected a list of 2 items, got [1]"),
        ("train.epochs", {"int": [1, 2.5]}, "train.epochs.int.1: expected an integer, got 2.5"),
        ("train.epochs", {"int": [1, 2], "log": "yes"}, "expected true or false, got 'yes'"),
        ("train.epochs", {"chioce": [1, 2]}, "did you mean 'choice'?"),
        ("train.epochs", {"int": [1, 2], "choice": [1]}, "expected exactly one of value, int"),
        ("train.epochs", {"choice": []}, "at least 1 items"),
        ("train.epochs", {"choice": [4, 4]}, "a choice is given twice"),
        ("train.epochs", [4, 8], "for a choice write {choice: [...]}"),
        ("train.epochs", True, "expected an integer >= 1 and <= 500, got true"),
        ("train.epochs", None, "has no value"),
        ("augment.flip", {"choice": ["yes"]}, "expected true or false, got 'yes'"),
        ("optim.name", {"choice": ["adam", "amadw"]}, "did you mean 'adamw'?"),
        ("optim.momentum", 1.0, "expected a number >= 0 and < 1, got 1.0"),
        ("optim.lr", float("nan"), "expected a number > 0 and <= 1, got nan"),
        ("train.epochs", {"int": [1, 2], "per": "model.depth"}, "`per` is for model.kernel"),
        ("model.kernel", {"int": [2, 3], "per": "train.epochs"}, "counted by model.depth"),
        ("model.kernel", {"int": [2, 3], "per": "model.depth"}, "not a parameter of this space"),
        ("model.kernel.7", 3, "model.kernel.7: no such parameter"),
        ("model.kernel.3", 3, "never holds; model.depth takes 2"),
        ("optim.lr", [{"value": 0.1}, {"value": 0.2}], "an alternative needs a `when`"),
        ("optim.lr", {"value": 0.1, "when": {"optim.nam": "sgd"}}, "did you mean 'optim.name'?"),
        ("optim.lr", {"value": 0.1, "when": {"optim.name": {}}}, "expected min, max or both"),
        ("optim.lr", {"value": 0.1, "when": {"optim.name": []}}, "expected a value, a list"),
        (
            "augment.flip",
            {"choice": {True: 9, False: 0}},
            "flip.choice.false: expected odds, a num",
        ),
        ("optim.name", {"choice": {"adam": -1}}, "a number > 0 and <= 1e+06, got -1; leave out"),
        ("optim.name", {"choice": {"adam": "often"}}, "choice.adam: expected odds"),
        ("optim.name", {"choice": {"adam": True}}, "got true"),
        ("optim.name", {"choice": {"adam": float("inf")}}, "got inf"),
        ("optim.name", {"choice": {"amadw": 1}}, "did you mean 'adamw'?"),
        ("optim.name", {"choice": {}}, "at least 1 items"),
        (
            "train.epochs",
            {"choice": {1.5: 1, 4: 2}},
            "expected an integer >= 1 and <= 500, got 1.5",
        ),
        (
            "train.epochs",
            {"int": [4, 8], "centre": 9},
            "train.epochs.centre: the centre 9 lies out",
        ),
        ("train.epochs", {"int": [4, 8], "centre": 5.5}, "expected an integer, got 5.5"),
        ("optim.lr", {"float": [0.1, 0.2], "centre": 0.3}, "outside the range 0.1 to 0.2; give a"),
        ("optim.lr", {"choice": [0.1, 0.2], "centre": 0.1}, "optim.lr.centre: unknown key"),
        ("optim.lr", {"value": 0.1, "when": 3}, "optim.lr.when: expected a mapping, got 3"),
    ],
)
def test_one_problem(name: str, value: object, told: str) -> None:
    lines = refusal({name: value})
    assert any(told in line for line in lines), lines
    assert all(line.startswith(name) for line in lines)


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({"loss.kind": "focl"}, "never takes focl; it takes cross_entropy, focal; did you mean"),
        ({"train.epochs": 5}, "never takes 5; it takes 4 to 10, step 2"),
        ({"train.epochs": {"min": 11}}, "never holds; train.epochs takes 4 to 10, step 2"),
        ({"train.epochs": {"min": 8, "max": 6}}, "min 8 is above max 6"),
        ({"loss.gamma": {"max": 0.1}}, "never holds; loss.gamma takes 0.5 to 4"),
    ],
)
def test_conditions_must_be_able_to_hold(when: dict[str, Any], told: str) -> None:
    lines = refusal(CONDITIONAL | {"augment.shift": {"int": [0, 2], "when": when}})
    assert len(lines) == 1
    assert told in lines[0]


def test_odds_are_no_part_of_what_a_parameter_takes() -> None:
    lines = refusal(
        {
            "loss.kind": {"choice": {"cross_entropy": 3, "focal": 1}},
            "loss.gamma": {"value": 1.0, "when": {"loss.kind": "focl"}},
        }
    )
    assert "never takes focl; it takes cross_entropy, focal; did you mean 'focal'?" in lines[0]


def test_odds_are_told_with_their_line(tmp_path: Path) -> None:
    text = (
        "parameters:\n"
        "  augment.flip:\n"
        "    choice:\n"
        "      true: 9\n"
        "      false: none\n"
        "  augment.mixup: {choice: {0.0: 2, 0.1: 0}}\n"
    )
    with pytest.raises(SpaceError) as caught:
        SearchSpace.load(write(tmp_path, text))
    assert str(caught.value).splitlines() == [
        "augment.flip.choice.false: expected odds, a number > 0 and <= 1e+06, got 'none'; leave "
        "out what is never to be drawn (my.yaml:5)",
        "augment.mixup.choice.0.1: expected odds, a number > 0 and <= 1e+06, got 0; leave out what "
        "is never to be drawn (my.yaml:6)",
    ]


def test_odds_from_numpy_are_those_of_plain_numbers() -> None:
    plain = space(augment__mixup={"choice": {0.0: 2, 0.1: 1}})
    given = {np.float64(0.0): np.int64(2), np.float64(0.1): np.float64(1.0)}
    assert space(augment__mixup={"choice": given}).sha256 == plain.sha256


def test_circles_are_refused_with_their_names() -> None:
    lines = refusal(
        {
            "loss.kind": {"choice": ["focal"], "when": {"optim.name": "sgd"}},
            "optim.name": {"choice": ["sgd"], "when": {"loss.kind": "focal"}},
        }
    )
    assert "depends on itself" in lines[0]
    assert "loss.kind -> optim.name -> loss.kind" in lines[0] or (
        "optim.name -> loss.kind -> optim.name" in lines[0]
    )


def test_alternatives_must_exclude_each_other() -> None:
    lines = refusal(
        CONDITIONAL
        | {
            "optim.lr": [
                {"value": 0.1, "when": {"optim.name": ["sgd", "adam"]}},
                {"value": 0.2, "when": {"optim.name": "adam"}},
            ]
        }
    )
    assert lines == [
        "optim.lr.1: two alternatives can be active at the same time; their `when` must differ"
    ]


def test_bare_and_numbered_values_exclude_each_other() -> None:
    lines = refusal({"model.depth": 2, "model.kernel": 3, "model.kernel.1": 5})
    assert lines == ["model.kernel.1: model.kernel is given too; use model.kernel, or "
                     "model.kernel.1, .2, ..."]  # fmt: skip


def test_kernels_that_do_not_match_the_depth_are_refused() -> None:
    lines = refusal(
        {
            "model.depth": {"int": [1, 3]},
            "model.kernel.1": 3,
            "model.kernel.2": {"value": 3, "when": {"model.depth": 3}},
        }
    )
    assert "some draws are not valid recipes: model: depth is" in lines[0]


# --- what is shipped


def test_everything_covers_what_it_promises() -> None:
    rows = {row.name: row for row in SearchSpace.load("everything").describe()}
    assert rows["model.depth"].range == "1 to 6"
    assert rows["model.width@2-"].range == "8 to 256, log"
    assert rows["model.width@3+"].condition == "model.depth >= 3"
    assert rows["model.kernel.6"].condition == "model.depth >= 6"
    assert rows["loss.weighting"].range == "none, sqrt, inv, effective"
    assert rows["balance.method"].range == "none, over, under, mixed"
    assert rows["optim.name"].range == "adam, adamw, nadam, sgd"
    assert all(row.meaning for row in rows.values())


def test_default_draws_what_works_most_often() -> None:
    drawn = sample(SearchSpace.load("default"), 400)
    families = Counter(r.model.family for r in drawn)
    assert set(families) == {"cnn", "logreg", "dense", "xgboost"}
    assert 0.5 < families["cnn"] / 400 < 0.7
    networks = [r for r in drawn if isinstance(r.model, CnnModel)]
    assert {r.model.depth for r in networks} == {3, 4, 5}
    assert all(len(set(r.model.kernel)) == 1 and r.model.batch_norm for r in networks)
    assert all(r.optim.name == "adamw" and 64 <= r.input.most <= 128 for r in networks)
    assert 0.8 < sum(r.augment.rotate90 for r in networks) / len(networks) < 0.98
    assert all((r.train.epochs >= 30) or r.balance.method == "none" for r in networks)
    # What only networks read is not drawn for the others.
    others = {r.optim for r in drawn if not isinstance(r.model, CnnModel)}
    assert others == {BASELINE.optim}


def test_default_begins_with_cheap_models_and_three_networks() -> None:
    starts = SearchSpace.load("default").starts
    epochs = [r.train.epochs for r in starts if isinstance(r.model, CnnModel)]
    assert epochs == [20, 40, 80]
    assert len(starts) == 8
    networks = [recipe for recipe in starts if isinstance(recipe.model, CnnModel)]
    for recipe in networks:
        assert (recipe.input.most, recipe.optim.schedule) == (96, "onecycle")
    quick = [recipe for recipe in starts if recipe not in networks]
    assert list(SearchSpace.load("quick").starts) == quick


def test_default_holds_the_best_known_recipe() -> None:
    known = Recipe.from_params(
        {
            "model.depth": 4,
            "model.width": 32,
            "model.max_width": 128,
            "model.batch_norm": True,
            "model.reduce": "average",
            "model.head": 64,
            "augment.flip": True,
            "augment.rotate90": True,
            "loss.weighting": "sqrt",
            "input.most": 96,
            "optim.name": "adamw",
            "optim.lr": 2e-3,
            "optim.weight_decay": 1e-2,
            "optim.schedule": "onecycle",
            "train.epochs": 20,
            "input.test_flips": True,
        }
    )
    searched = SearchSpace.load("default")
    assert searched.recipe(searched.fixed_params(known)) == known


def test_neither_torch_nor_ray_nor_optuna_is_loaded() -> None:
    code = (
        "import sys; from cellsearch.space.search_space import SearchSpace, sample;"
        "sample(SearchSpace.load('quick'), 2);"
        "print([m for m in ('torch', 'ray', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_is_not_stale() -> None:
    page = Path(__file__).parents[1] / "docs" / "search-space.md"
    assert page.read_text(encoding="utf-8") == space_page.page(), (
        "run: python docs/generate/pages.py"
    )


def test_examples_in_the_page_are_valid(tmp_path: Path) -> None:
    blocks = [b.split("```")[0] for b in space_page.page().split("```yaml\n")[1:]]
    whole, alternatives = blocks
    assert SearchSpace.load(write(tmp_path, whole)).name == "mine"
    text = "extends: everything\nparameters:\n" + alternatives
    names = [entry.name for entry in SearchSpace.load(write(tmp_path, text)).entries]
    assert {"optim.lr@sgd", "model.dropout@0", "model.dropout@1+"} <= set(names)
