"""Recipe and its flat names."""

from __future__ import annotations

import pickle  # noqa: TID251 - recipes cross processes

import pytest

from cellsearch.errors import SpaceError
from cellsearch.space.parameters import ACTIVE_WHEN, COUNTERS, parameters
from cellsearch.space.recipe import BASELINE, Recipe, parameter_names, split_name


def test_flat_names_round_trip() -> None:
    params = {
        "model.depth": 3,
        "model.kernel.1": 5,
        "model.kernel.2": 3,
        "model.kernel.3": 2,
        "model.head_layers": 2,
        "model.head.1": 64,
        "model.head.2": 16,
        "loss.kind": "focal",
        "loss.gamma": 1.5,
        "augment.flip": True,
        "optim.name": "sgd",
        "optim.momentum": 0.5,
    }
    recipe = Recipe.from_params(params)
    assert recipe.model.kernel == (5, 3, 2)
    assert recipe.model.head == (64, 16)
    flat = recipe.to_params()
    assert params.items() <= flat.items()
    assert Recipe.from_params(flat) == recipe
    assert all(type(v) in (bool, int, float, str) for v in flat.values())


def test_inactive_parameters_are_absent_and_come_back_as_defaults() -> None:
    recipe = Recipe.from_params({"loss.gamma": 5.0, "optim.momentum": 0.1, "optim.lr": 0.02})
    flat = recipe.to_params()
    assert not {"loss.gamma", "loss.beta", "balance.strength", "optim.momentum"} & set(flat)
    again = Recipe.from_params(flat)
    assert again.loss.gamma == BASELINE.loss.gamma
    assert again.optim.lr == 0.02


@pytest.mark.parametrize(("name", "rule"), ACTIVE_WHEN.items())
def test_active_parameters_are_present(name: str, rule: tuple[str, tuple[int | str, ...]]) -> None:
    other, values = rule
    params: dict[str, int | str] = {}
    if other == "model.features":
        params["model.family"] = "logreg"
    before = ACTIVE_WHEN.get(other)
    if before is not None:
        params[before[0]] = before[1][0]  # type: ignore[assignment]
    for value in values:
        assert name in Recipe.from_params({**params, other: value}).to_params()


def test_a_recipe_of_before_the_stem_and_the_largest_side_means_none() -> None:
    stored = {
        k: v for k, v in BASELINE.to_params().items() if k not in ("model.stem", "input.most")
    }
    assert Recipe.from_params(stored) == BASELINE
    assert (BASELINE.model.stem, BASELINE.input.most) == (1, 0)
    with pytest.raises(SpaceError, match=r"model\.stem: expected one of 1, 2, 4, got 3"):
        Recipe.from_params({"model.stem": 3})


def test_baseline_has_the_defaults() -> None:
    assert Recipe.from_params({}) == BASELINE == Recipe()


def test_depth_alone_fills_kernels_and_heads() -> None:
    recipe = Recipe.from_params({"model.depth": 4, "model.head_layers": 0})
    assert recipe.model.kernel == (3, 3, 3, 3)
    assert recipe.model.head == ()
    assert Recipe.from_params({"model.head_layers": 2}).model.head == (32, 32)


def test_a_tuple_without_a_number_sets_all_entries() -> None:
    recipe = Recipe.from_params({"model.depth": 3, "model.kernel": 5, "model.head": 16})
    assert recipe.model.kernel == (5, 5, 5)
    assert recipe.model.head == (16,)


def test_values_are_coerced() -> None:
    recipe = Recipe.from_params({"optim.lr": "1e-4", "train.epochs": "7", "augment.flip": "true"})
    assert (recipe.optim.lr, recipe.train.epochs, recipe.augment.flip) == (1e-4, 7, True)


def test_hashable_picklable_and_frozen() -> None:
    one, two = Recipe.from_params({"model.depth": 3}), Recipe.from_params({"model.depth": 3})
    assert {one: 1}[two] == 1
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(ValueError, match="frozen"):
        one.model.depth = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"loss.weigthing": "sqrt"}, ["loss.weigthing: no such parameter; did you mean"]),
        ({"model.kernel.7": 3}, ["model.kernel.1: missing, but model.kernel.7 is given"]),
        ({"model.width.1": 16}, ["model.width.1: no such parameter"]),
        ({"model": 3}, ["model: no such parameter"]),
        (
            {"model.depth": 9, "optim.lr": 0, "loss.kind": "focl"},
            [
                "model.depth: expected an integer >= 1 and <= 6, got 9",
                "loss.kind: expected one of 'cross_entropy', 'focal', got 'focl'",
                "optim.lr: expected a number > 0 and <= 1, got 0",
            ],
        ),
        (
            {"model.depth": 3, "model.kernel.1": 3, "model.kernel.2": 3},
            ["model: depth is 3 but 2 kernels are given"],
        ),
        ({"model.depth": 1, "model.kernel.1": 11}, ["model.kernel.1: expected an integer >= 2"]),
        ({"model.kernel": 3, "model.kernel.1": 3}, ["model.kernel: give one value for all"]),
        ({"optim.lr": float("nan")}, ["optim.lr: expected a number > 0 and <= 1, got nan"]),
        ({"model.depth": 10**9}, ["model.depth: expected an integer >= 1 and <= 6"]),
        ({"model.depth": "deep"}, ["model.depth: expected an integer >= 1 and <= 6, got 'deep'"]),
    ],
)
def test_refusals_name_rule_and_value(params: dict[str, object], told: list[str]) -> None:
    with pytest.raises(SpaceError) as caught:
        Recipe.from_params(params)  # type: ignore[arg-type]
    lines = str(caught.value).splitlines()
    assert len(lines) == len(told)
    for line, wanted in zip(lines, told, strict=True):
        assert line.startswith(wanted)


def test_every_parameter_says_what_it_means_and_obeys_its_own_rule() -> None:
    for parameter in parameters(Recipe).values():
        assert parameter.meaning, parameter.name
        defaults = parameter.default if parameter.counter else [parameter.default]
        assert all(parameter.allows(v) for v in defaults), parameter.name
    assert set(COUNTERS) == {p.name for p in parameters(Recipe).values() if p.counter}
    assert set(ACTIVE_WHEN) <= set(parameters(Recipe))


def test_rules_refuse_text_bools_and_nan_for_numbers() -> None:
    known = parameters(Recipe)
    assert not known["model.depth"].allows(2.0)
    assert not known["model.depth"].allows(True)
    assert not known["optim.lr"].allows(float("nan"))
    assert not known["optim.lr"].allows(0.0)
    assert not known["optim.momentum"].allows(1.0)
    assert not known["augment.flip"].allows(1)
    assert not known["optim.name"].allows("Adam")


def test_names() -> None:
    assert split_name("model.kernel.2") == ("model.kernel", 2)
    assert split_name("model.kernel") == ("model.kernel", None)
    assert split_name("model.kernel.02") == ("model.kernel.02", None)
    names = parameter_names(Recipe)
    assert {"model.kernel", "model.kernel.6", "model.head.4"} <= set(names)
    assert not {"model.kernel.7", "model.head.5"} & set(names)
    assert not any("/" in name for name in names)
