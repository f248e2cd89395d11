"""Children of a trial, and fresh draws, as a search enqueues them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import optuna
import pytest

from cellsearch.space.mutation import fresh, mutated
from cellsearch.space.parameters import ParamValue
from cellsearch.space.recipe import BASELINE
from cellsearch.space.search_space import SearchSpace

DRAWS = 400


def space(**parameters: Any) -> SearchSpace:
    named = {name.replace("__", "."): value for name, value in parameters.items()}
    return SearchSpace.from_dict({"parameters": named})


FAMILIES = space(
    model__family={"choice": {"cnn": 3, "logreg": 1}},
    model__depth={"int": [1, 4]},
    model__width={"int": [8, 64], "log": True},
    model__features={"choice": {"measured": 1, "pixels": 2}},
    model__l2={"float": [0.1, 1000.0], "log": True, "centre": 10.0},
    loss__kind={"choice": ["cross_entropy", "focal"]},
    loss__gamma={"float": [0.5, 4.0], "when": {"loss.kind": "focal"}},
    optim__lr={"float": [1e-4, 1e-2], "log": True, "when": {"model.family": "network"}},
    augment__brightness={"float": [0.0, 0.3], "step": 0.1},
    train__batch_size={"choice": [32, 64, 128]},
    train__epochs=12,
)


def children(searched: SearchSpace, parent: dict[str, ParamValue], **more: float) -> list[Any]:
    return [mutated(searched, parent, seed, **more) for seed in range(DRAWS)]


def same_as_optuna(searched: SearchSpace, params: dict[str, ParamValue]) -> None:
    """What is enqueued is what a trial of the space then holds, to the last name."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params)
    trial = study.ask()
    recipe = searched.suggest(trial)
    assert trial.params == params
    assert searched.recipe(params) == recipe


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["default", "everything", "quick", "espinosa-2022-wide"])
def test_children_and_fresh_draws_are_what_optuna_takes(name: str) -> None:
    searched = SearchSpace.load(name)
    params = fresh(searched, 7)
    same_as_optuna(searched, params)
    for seed in range(10):
        params = mutated(searched, params, seed, rate=0.5)
        same_as_optuna(searched, params)
    same_as_optuna(searched, mutated(searched, searched.fixed_params(BASELINE), 3))


def test_the_same_seed_gives_the_same_child_and_another_seed_another() -> None:
    parent = fresh(FAMILIES, 1)
    assert fresh(FAMILIES, 1) == parent
    assert mutated(FAMILIES, parent, 5) == mutated(FAMILIES, parent, 5)
    distinct = {tuple(sorted(child.items())) for child in children(FAMILIES, parent)}
    assert len(distinct) > DRAWS // 2


def test_constants_are_not_among_the_parameters() -> None:
    assert "train.epochs" not in fresh(FAMILIES, 0)
    assert "train.epochs" not in mutated(FAMILIES, fresh(FAMILIES, 0), 0)


def test_a_child_differs_from_its_parent_but_not_in_everything() -> None:
    for family in ("cnn", "logreg"):
        parent = next(p for p in map(fresh_of, range(99)) if p["model.family"] == family)
        kept = [
            sum(child.get(name) == value for name, value in parent.items())
            for child in children(FAMILIES, parent)
        ]
        assert max(kept) < len(parent)
        assert sum(kept) > 0.6 * len(parent) * DRAWS


def fresh_of(seed: int) -> dict[str, ParamValue]:
    return fresh(FAMILIES, seed)


def test_a_low_rate_still_changes_something() -> None:
    parent = fresh(FAMILIES, 2)
    for child in children(FAMILIES, parent, rate=0.01):
        assert any(child.get(name) != value for name, value in parent.items())


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_family_changes_as_often_as_the_rate_says(rate: float) -> None:
    # A regression has few values: being made again until it differs must not change its family.
    few = space(
        model__family={"choice": ["logreg", "xgboost", "dense"]},
        model__features={"choice": ["measured", "pixels"]},
    )
    parent: dict[str, ParamValue] = {"model.family": "logreg", "model.features": "pixels"}
    changed = sum(child["model.family"] != "logreg" for child in children(few, parent, rate=rate))
    spread = 4 * (rate * (1 - rate) * DRAWS) ** 0.5
    assert abs(changed - rate * DRAWS) < spread


def test_a_new_family_gets_the_parameters_that_the_parent_lacks() -> None:
    parent = next(p for p in map(fresh_of, range(99)) if p["model.family"] == "cnn")
    others = [c for c in children(FAMILIES, parent) if c["model.family"] == "logreg"]
    assert others
    assert all("model.l2" in child and "optim.lr" not in child for child in others)


def test_numbers_go_to_a_neighbour_and_words_anywhere() -> None:
    searched = space(
        train__batch_size={"choice": [16, 32, 64, 128, 256]},
        optim__schedule={"choice": ["constant", "cosine", "onecycle", "poly"]},
    )
    parent: dict[str, ParamValue] = {"train.batch_size": 64, "optim.schedule": "constant"}
    drawn = children(searched, parent, rate=1.0)
    assert {child["train.batch_size"] for child in drawn} == {32, 128}
    assert {child["optim.schedule"] for child in drawn} == {"cosine", "onecycle", "poly"}


def test_words_change_by_their_odds() -> None:
    searched = space(optim__schedule={"choice": {"constant": 5, "cosine": 9, "onecycle": 1}})
    drawn = children(searched, {"optim.schedule": "constant"}, rate=1.0)
    counts = Counter(child["optim.schedule"] for child in drawn)
    assert set(counts) == {"cosine", "onecycle"}
    assert 0.82 < counts["cosine"] / DRAWS < 0.97


def test_a_number_moves_by_a_fifth_of_its_range() -> None:
    searched = space(
        train__epochs={"int": [10, 110]},
        optim__lr={"float": [1e-4, 1.0], "log": True},
        augment__blur={"float": [0.0, 5.0], "step": 0.5},
    )
    parent: dict[str, ParamValue] = {"train.epochs": 60, "optim.lr": 1e-2, "augment.blur": 2.5}
    drawn = children(searched, parent, rate=1.0)
    moves = [abs(child["train.epochs"] - 60) for child in drawn]
    assert min(moves) >= 1
    assert 12 < sum(moves) / DRAWS < 20
    assert 0.25 < sum(1e-2 / 6.3 < child["optim.lr"] < 1e-2 * 6.3 for child in drawn) / DRAWS < 0.8
    assert all((2 * child["augment.blur"]).is_integer() for child in drawn)
    assert all(child["augment.blur"] != 2.5 for child in drawn)


def test_a_value_at_a_bound_moves_inward() -> None:
    searched = space(model__depth={"int": [1, 3]}, optim__lr={"float": [1e-4, 1e-2], "log": True})
    drawn = children(searched, {"model.depth": 3, "optim.lr": 1e-4}, rate=1.0)
    assert {child["model.depth"] for child in drawn} <= {1, 2}
    assert all(1e-4 < child["optim.lr"] <= 1e-2 for child in drawn)


def test_what_is_missing_or_out_of_range_is_drawn_by_its_odds() -> None:
    searched = space(
        augment__flip={"choice": {True: 9, False: 1}},
        train__epochs={"int": [10, 20]},
        model__depth={"int": [1, 3]},
    )
    parent: dict[str, ParamValue] = {"train.epochs": 99, "model.depth": 2}
    drawn = children(searched, parent, rate=0.0)
    assert all(child["model.depth"] == 2 for child in drawn)
    assert {child["train.epochs"] for child in drawn} == set(range(10, 21))
    assert 0.84 < sum(child["augment.flip"] for child in drawn) / DRAWS < 0.96


def test_where_nothing_can_change_a_fresh_draw_comes() -> None:
    parent: dict[str, ParamValue] = {"model.depth": 2}
    assert mutated(space(model__depth={"int": [2, 2]}), parent, 0) == parent
    found = [mutated(space(model__depth={"int": [1, 6]}), parent, s, rate=0.0) for s in range(30)]
    assert len({child["model.depth"] for child in found}) > 3


def test_fresh_draws_follow_odds_and_centres() -> None:
    drawn = [fresh(FAMILIES, seed) for seed in range(DRAWS)]
    assert 0.66 < sum(p["model.family"] == "cnn" for p in drawn) / DRAWS < 0.84
    near = [1.0 < float(p["model.l2"]) < 100.0 for p in drawn if "model.l2" in p]
    # Even draws of four decades would be there half of the time.
    assert sum(near) / len(near) > 0.62
