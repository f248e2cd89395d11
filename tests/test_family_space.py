"""Search spaces over several families, and small spaces that are tried whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cellsearch.errors import SpaceError
from cellsearch.space.models import MODELS
from cellsearch.space.parameters import family_parameters, parameters
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace, sample
from cellsearch.space.without_effect import without_effect
from cellsearch.util import yaml_files

from command_cases import cellsearch

PAPERS = {
    "duque-2023": 3,
    "epfl-2023": 27,
    "espinosa-2022": 9,
    "live-cell-2025": 10,
    "live-cell-2025-scratch": 6,
    "microtubules-2017": 4,
}


def space(**written: Any) -> SearchSpace:
    return SearchSpace.from_dict(
        {"parameters": {k.replace("__", "."): v for k, v in written.items()}}
    )


@pytest.mark.parametrize("family", MODELS)
def test_a_recipe_of_each_family_survives_its_flat_names(family: str) -> None:
    recipe = Recipe.from_params({"model.family": family})
    assert recipe.model == MODELS[family]()
    assert Recipe.from_params(recipe.to_params()) == recipe


def test_bounds_are_those_of_the_family() -> None:
    assert Recipe.from_params({"model.family": "vit", "model.blocks": 12})
    with pytest.raises(SpaceError, match=r"model\.patch: is of family vit; model\.family is cnn"):
        Recipe.from_params({"model.patch": 4})
    with pytest.raises(SpaceError, match=r"model\.family: must be one of .* did you mean 'vit'"):
        Recipe.from_params({"model.family": "vitt"})
    with pytest.raises(SpaceError, match=r"model\.kernel: is of family cnn; model\.family is mlp"):
        Recipe.from_params({"model.family": "mlp", "model.kernel": 3})


def test_shared_names_have_the_widest_rule_and_one_kind() -> None:
    everything = parameters(Recipe)
    for family in MODELS:
        for name, own in family_parameters(Recipe, family).items():
            shared = everything[name]
            assert (shared.kind, shared.counter) == (own.kind, own.counter)
            assert shared.low is None or own.low is None or shared.low <= own.low
            assert shared.high is None or own.high is None or shared.high >= own.high
    assert everything["model.blocks"].families == ("resnet", "vit")


def test_parameters_wait_for_their_family() -> None:
    mixed = space(
        model__family={"choice": ["cnn", "vit", "logreg"]},
        model__depth={"int": [1, 3]},
        model__kernel={"choice": [3, 5], "per": "model.depth"},
        model__patch={"choice": [4, 8]},
        model__features={"choice": ["pixels", "measured"]},
        optim__lr={"float": [1e-4, 1e-2], "log": True},
    )
    found: dict[str, set[str]] = {}
    for recipe in sample(mixed, 60):
        family = recipe.model.family
        own = {name.split(".")[1] for name in recipe.to_params() if name.startswith("model.")}
        found.setdefault(family, set()).update(own)
    assert set(found) == {"cnn", "vit", "logreg"}
    assert "patch" in found["vit"] - found["cnn"] - found["logreg"]
    assert "features" in found["logreg"] - found["cnn"] - found["vit"]
    # Nothing that the family does not have is asked of the sampler either.
    names = {entry.name: [c.text for c in entry.when] for entry in mixed.entries}
    assert names["model.patch"] == ["model.family is vit"]
    assert "model.family is cnn" in names["model.kernel.1"]
    assert names["optim.lr"] == []


def test_a_parameter_of_no_family_of_the_space_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"model\.patch: is of family vit; this space has cnn"):
        space(model__patch=4)
    with pytest.raises(SpaceError, match=r"this space has mlp or vit"):
        space(model__family={"choice": ["mlp", "vit"]}, model__kernel=3)


def test_an_inherited_parameter_of_another_family_goes() -> None:
    own = {"extends": "everything", "parameters": {"model.family": "resnet"}}
    child = SearchSpace.from_dict(own)
    names = {entry.target for entry in child.entries}
    assert "model.residual" in names
    # The width of `everything` hangs on the depth, which a ResNet does not have.
    assert not {"model.depth", "model.kernel.1", "model.growth", "model.width"} & names
    assert {recipe.model.family for recipe in sample(child, 20)} == {"resnet"}


NETWORKS_AND_TREES: dict[str, Any] = {
    "model.family": {"choice": ["cnn", "vit", "xgboost"]},
    "model.features": {"choice": ["pixels", "measured"]},
    "optim.lr": {"float": [1e-4, 1e-2], "log": True, "when": {"model.family": "network"}},
    "augment.flip": {"value": True, "when": {"model.family": ["network"]}},
}


def test_a_condition_on_any_network_holds_for_each_and_for_no_other_family() -> None:
    mixed = SearchSpace.from_dict({"parameters": NETWORKS_AND_TREES})
    for recipe in sample(mixed, 60):
        network = recipe.model.family != "xgboost"
        assert recipe.augment.flip == network
        assert (recipe.optim.lr != 1e-3) == network
    text = mixed.to_yaml()
    assert "when: {model.family: network}" in text
    again = SearchSpace.from_dict(YAML(typ="safe").load(text))
    assert again.sha256 == mixed.sha256


def test_a_condition_on_any_network_holds_for_a_family_that_a_child_names() -> None:
    child = SearchSpace.from_dict({"extends": "default", "parameters": {"model.family": "resnet"}})
    names = {entry.name for entry in child.entries}
    assert {"optim.lr", "train.epochs@none", "train.epochs@mixed", "input.most"} <= names
    assert not {"model.features", "model.l2", "model.depth"} & names
    trees = SearchSpace.from_dict({"extends": "default", "parameters": {"model.family": "xgboost"}})
    assert not {"optim.lr", "input.most"} & {entry.target for entry in trees.entries}


def test_any_network_is_refused_where_there_is_none() -> None:
    with pytest.raises(SpaceError, match=r"never holds; model\.family takes xgboost"):
        SearchSpace.from_dict(
            {"parameters": {**NETWORKS_AND_TREES, "model.family": "xgboost"}},
        )
    overlap = [
        {"value": 0.1, "when": {"model.family": "network"}},
        {"value": 0.2, "when": {"model.family": "vit"}},
    ]
    with pytest.raises(SpaceError, match="two alternatives can be active at the same time"):
        SearchSpace.from_dict({"parameters": {**NETWORKS_AND_TREES, "optim.lr": overlap}})


def test_an_expanded_space_of_families_loads_to_the_same() -> None:
    for name in (*PAPERS, *(f"{paper}-wide" for paper in PAPERS if "scratch" not in paper)):
        loaded = SearchSpace.load(name)
        again = SearchSpace.from_dict(YAML(typ="safe").load(loaded.to_yaml()))
        assert again.sha256 == loaded.sha256, name


@pytest.mark.parametrize(("name", "recipes"), PAPERS.items())
def test_a_paper_is_a_space_that_is_tried_whole(name: str, recipes: int) -> None:
    whole = SearchSpace.load(name).whole
    assert len(whole) == len(set(whole)) == recipes
    assert f"{name.removesuffix('-scratch')}-wide" in yaml_files.names("search_spaces")


def test_a_space_with_ranges_or_many_recipes_is_not_whole() -> None:
    assert space(optim__lr={"float": [1e-4, 1e-2]}).whole == ()
    assert SearchSpace.load("default").whole == ()
    small = space(
        balance__method={"choice": ["none", "over"]},
        balance__strength={"choice": [0.5, 1.0], "when": {"balance.method": "over"}},
    )
    assert len(small.whole) == 3


def test_what_no_recipe_of_a_space_reads_is_told() -> None:
    asked = space(
        model__family="logreg",
        optim__lr={"float": [1e-4, 1e-2], "log": True},
        gan__kind="wgan-gp",
        loss__weighting={"choice": ["none", "inv"]},
    )
    assert without_effect(asked) == [
        "gan.kind has no effect: it applies where balance.method is over or mixed, which never "
        "occurs in this space",
        "optim.lr has no effect: it applies only to networks, and the space has none",
    ]


@pytest.mark.parametrize("families", [["cnn", "logreg"], ["logreg", "cnn"]])
def test_the_reason_told_is_that_of_the_recipes_that_could_read_it(families: list[str]) -> None:
    asked = space(model__family={"choice": families}, optim__name="adam", optim__momentum=0.9)
    assert without_effect(asked) == [
        "optim.momentum has no effect: it applies where optim.name is sgd or momentum, which never "
        "occurs in this space"
    ]


def test_transforms_of_cells_that_are_never_copied_are_told() -> None:
    trees = {"model__family": "xgboost", "augment__flip": True, "augment__mixup": 0.2}
    mixup = "augment.mixup has no effect: it applies only to networks, and the space has none"
    flip = (
        "augment.flip has no effect: it applies where model.copies is 1 or more, "
        "which never occurs in this space"
    )
    assert without_effect(space(**trees)) == [flip, mixup]
    assert without_effect(space(**trees, model__copies={"int": [0, 2]})) == [mixup]
    both = trees | {"model__family": {"choice": ["xgboost", "cnn"]}}
    assert without_effect(space(**both)) == []


def test_units_of_a_head_that_is_never_there_are_told() -> None:
    assert without_effect(space(model__head_layers=0, model__head=64)) == [
        "model.head has no effect: it applies where model.head_layers is 1 or more, which never "
        "occurs in this space"
    ]
    assert without_effect(space(model__head_layers={"int": [0, 2]}, model__head=64)) == []


def test_what_some_recipes_read_is_not_told() -> None:
    asked = space(
        model__family={"choice": ["logreg", "cnn"]},
        optim__lr={"float": [1e-4, 1e-2], "log": True},
        balance__method={"choice": ["none", "over"]},
        gan__kind="wgan-gp",
    )
    assert without_effect(asked) == []


@pytest.mark.parametrize("name", yaml_files.names("search_spaces"))
def test_every_parameter_of_a_shipped_space_has_an_effect(name: str) -> None:
    assert without_effect(SearchSpace.load(name)) == []


def test_a_space_is_printed_as_one_begins_ones_own(capsys: Any, monkeypatch: Any) -> None:
    code, out, _ = cellsearch(capsys, monkeypatch, "spaces", "show", "quick", "--yaml")
    assert code == 0
    path = Path(os.environ["CELLSEARCH_CACHE"]) / "mine.yaml"
    path.write_text(out)
    assert SearchSpace.load(path).sha256 == SearchSpace.load("quick").sha256
