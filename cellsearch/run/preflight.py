"""What of a space cannot work on these cells, said before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from cellsearch.errors import RunError, SpaceError
from cellsearch.space.models import ClassicalModel, NetworkModel, TimmModel
from cellsearch.space.recipe import BASELINE, Recipe
from cellsearch.space.search_space import SearchSpace, sample
from cellsearch.space.seen import seen_size
from cellsearch.util.messages import Setting
from cellsearch.util.yaml_files import near_miss

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.run.config import RunConfig

DRAWS = 300
"""Random recipes of a space that are looked at; each kind of model among them once."""


def impossible(cells: CellDataset) -> Callable[[Recipe], str]:
    """Why the features of a recipe cannot be made of these cells or on this machine, or "".

    Those of a frozen backbone need its weights, measured ones crops that are large enough.
    """
    height, width = cells.images.shape[2:]

    # A search asks for the same few models at each draw, and weights are looked up on the disk.
    @cache
    def of_model(model: ClassicalModel) -> str:
        return _no_features(model, (height, width)) or _no_backbone(model)

    def of_recipe(recipe: Recipe) -> str:
        return of_model(recipe.model) if isinstance(recipe.model, ClassicalModel) else ""

    return of_recipe


def left_out(space: SearchSpace, cells: CellDataset) -> Mapping[Recipe, str]:
    """Recipes that a space names, or that it is small enough to list, and that are impossible here.

    A space names its initial trials for whoever can make them. Each comes with the reason.
    """
    why = impossible(cells)
    listed = dict.fromkeys((*space.starts, *space.whole))
    return {recipe: said for recipe in listed if (said := why(recipe))}


def not_drawn(space: SearchSpace, cells: CellDataset) -> Mapping[str, str]:
    """Features that a space draws and that cannot be made here, each with the reason.

    A search leaves such draws out; ``require_feasible`` refuses a space that has nothing else.
    """
    why = impossible(cells)
    return {
        recipe.model.features: said
        for recipe in sample(space, DRAWS, even=True)
        if isinstance(recipe.model, ClassicalModel) and (said := why(recipe))
    }


def require_feasible(space: SearchSpace, cells: CellDataset, splits: Splits) -> None:
    """Refuse a space of which some recipes cannot be trained on these cells.

    Checked are: that each classical family has features that can be made, that timm knows the
    name, that pretrained weights are on this machine, that crops are large enough for the network,
    that every class that would have a generator leaves it enough cells in each fold, and that a
    class to pretrain on exists.

    Raises:
        SpaceError: all that is wrong, a line each.
    """
    starts = [start for start in space.starts if start not in left_out(space, cells)]
    drawn = sample(space, DRAWS, even=True)
    why = impossible(cells)
    recipes = [BASELINE, *starts, *(recipe for recipe in drawn if not why(recipe))]
    found = dict.fromkeys(
        [
            *_without_features(drawn, why),
            *_models(recipes, cells),
            *_rest(recipes, cells, splits),
        ]
    )
    if found:
        raise SpaceError(
            f"space {space.name!r} cannot be searched on {cells.name!r}: " + "\n".join(found)
        )


def require_weights(space: SearchSpace) -> None:
    """Refuse a space that names networks or weights that are not to be had on this machine.

    Backbone features that are drawn among others are left out instead (``not_drawn``). Asked
    before the cells are read; told within a second where no weights are there at all.

    Raises:
        SpaceError: all that is missing, a line each.
    """
    drawn = sample(space, DRAWS, even=True)
    named = dict.fromkeys(
        r.model for r in [*space.starts, *drawn] if isinstance(r.model, TimmModel)
    )
    found = dict.fromkeys(
        _without_features(
            drawn, lambda r: _no_backbone(r.model) if isinstance(r.model, ClassicalModel) else ""
        )
    )
    if named:
        from cellsearch.learn.models.feasible import missing

        found |= dict.fromkeys(said for model in named if (said := missing(model)))
    if found:
        raise SpaceError(f"space {space.name!r} cannot be searched here: " + "\n".join(found))


def require_told_apart(config: RunConfig, cells: CellDataset) -> None:
    """Refuse to call cells uncertain where a class is called so; the card could not be written.

    Raises:
        RunError: with what to do.
    """
    from cellsearch.card.abstain import UNCERTAIN

    if config.abstain is not None and UNCERTAIN in cells.classes:
        raise RunError(
            Setting("abstain"),
            f": a class is called {UNCERTAIN!r} already; give it another name with ",
            Setting("merge", {"NAME": [UNCERTAIN]}),
        )


def require_device(config: RunConfig) -> None:
    """Refuse a device that is not here; those of a cluster are on other machines.

    Raises:
        ConfigError: no such device.
    """
    if config.device in ("auto", "cpu") or config.address is not None:
        return
    from cellsearch.learn.precision import resolve_device

    resolve_device(config.device)


def _models(recipes: list[Recipe], cells: CellDataset) -> Iterator[str]:
    from cellsearch.learn.models.feasible import problem

    channels, height, width = cells.images.shape[1:]
    distinct = dict.fromkeys(
        (recipe.model, seen_size((height, width), recipe.input)) for recipe in recipes
    )
    for model, size in distinct:
        if said := problem(model, channels=channels, classes=len(cells.classes), size=size):
            yield said
    classical = dict.fromkeys(m for m, _ in distinct if isinstance(m, ClassicalModel))
    for model in classical:
        if said := _no_colour(model, channels):
            yield said


def _without_features(drawn: list[Recipe], why: Callable[[Recipe], str]) -> Iterator[str]:
    """Why a classical family has no features at all, for each of which that is so."""
    said: dict[str, list[str]] = {}
    for recipe in drawn:
        if isinstance(recipe.model, ClassicalModel):
            said.setdefault(recipe.model.family, []).append(why(recipe))
    for reasons in said.values():
        if all(reasons):
            yield from reasons


def _no_features(model: ClassicalModel, size: tuple[int, int]) -> str:
    """Why crops of that size cannot be measured, or ""."""
    if model.features != "measured":
        return ""
    from cellsearch.data.features import SMALLEST

    if min(size) >= SMALLEST:
        return ""
    return (
        f"model.features: measured takes crops of at least {SMALLEST} x {SMALLEST} px; "
        f"these have {size[0]} x {size[1]}: use pixels"
    )


def _no_colour(model: ClassicalModel, channels: int) -> str:
    if model.features != "backbone" or model.colour != "rgb" or channels == 3:
        return ""
    return f"model.colour: rgb takes images of 3 channels; these have {channels}: use grey"


def _no_backbone(model: ClassicalModel) -> str:
    """Why a frozen backbone or its weights are not to be had on this machine, or ""."""
    if model.features != "backbone":
        return ""
    from cellsearch.learn.models.backbone_weights import weights_missing

    return weights_missing(model.backbone)


def _rest(recipes: list[Recipe], cells: CellDataset, splits: Splits) -> Iterator[str]:
    from cellsearch.learn.gans import impossible

    generated = dict.fromkeys(
        (recipe.gan, recipe.train.patience > 0 and isinstance(recipe.model, NetworkModel))
        for recipe in recipes
        if recipe.gan.kind != "none" and recipe.balance.method in ("over", "mixed")
    )
    asked: dict[tuple[float, bool], None] = {}
    for gan, watched in generated:
        key = (gan.below, watched)
        if key not in asked and (said := impossible(cells, splits, gan, watched=watched)):
            yield said
        asked[key] = None
    for name in dict.fromkeys(recipe.train.pretrain for recipe in recipes):
        if name and name not in cells.classes:
            yield (
                f"train.pretrain: must be one of {', '.join(cells.classes)}; got {name!r}"
                f"{near_miss(name, cells.classes)}"
            )
