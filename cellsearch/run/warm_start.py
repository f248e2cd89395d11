"""``--init-from CARD``: a search whose networks begin with the weights of one of our cards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.card.config import SEEN_CELLS, CardConfig, read_config
from cellsearch.card.predictions import ids_of
from cellsearch.data.dataset import CellDataset
from cellsearch.data.digests import cell_digests
from cellsearch.errors import CardError, RunError, SpaceError
from cellsearch.space.entry import Entry
from cellsearch.space.expand import Written, expand, listing
from cellsearch.space.models import ClassicalModel, unpretrained
from cellsearch.space.parameters import ParamValue
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Setting
from cellsearch.util.yaml_files import Document

CARD = Setting("init_from")
SEEN = ("input.crop", "input.size", "input.most")
"""What of a crop a network sees, for which its weights were made."""


def begin_from(card: Path, space: SearchSpace, cells: CellDataset) -> SearchSpace:
    """The space with its network fixed to that of a card, whose weights its trials begin with.

    Fixed with it is what a network sees of a crop. Of the other parameters, those that wait for
    another network are left out, and so are initial trials of no network. The baseline keeps its
    own network and begins with random weights.

    Args:
        card: folder of a card.
        space: whose other parameters are searched.
        cells: to learn from.

    Raises:
        CardError: it is no card.
        RunError: its network is none that can go on learning, takes other images, or was trained
            on these very cells, as may be the card that it began with itself.
    """
    config = read_config(card)
    recipe = network_recipe(config)
    _require_network(card, config, recipe)
    _require_shape(card, config, cells)
    _refuse_seen(card, config, cells)
    recipe = recipe.model_copy(update={"model": unpretrained(recipe.model)})
    fixed = {
        name: value
        for name, value in recipe.to_params().items()
        if name.startswith("model.") or name in SEEN
    }
    networks = [start for start in space.starts if not isinstance(start.model, ClassicalModel)]
    starts = (_with_network(start, recipe) for start in networks)
    return replace(space, entries=_fixed(space, fixed), starts=tuple(dict.fromkeys(starts)))


def network_recipe(config: CardConfig) -> Recipe:
    """The recipe of a card's network; of an ensemble, of the heaviest member that is one."""
    several = [Recipe.from_params(each.recipe) for each in config.ensemble]
    networks = [each for each in several if not isinstance(each.model, ClassicalModel)]
    return networks[0] if networks else Recipe.from_params(config.recipe)


def _fixed(space: SearchSpace, values: dict[str, ParamValue]) -> tuple[Entry, ...]:
    """The entries with these values, as a space has them that extends this one."""
    before, own = Document(None, {}), Document(None, {})
    rest: dict[str, Any] = {}
    for entry in space.entries:
        if entry.target.startswith("model.") or entry.target in values:
            continue
        if entry.label:
            rest.setdefault(entry.target, []).append(entry.plain())
        else:
            rest[entry.target] = entry.plain()
    written = {name: Written(before, raw) for name, raw in rest.items()}
    entries, wrong = expand(written | {n: Written(own, v) for n, v in values.items()}, own)
    if wrong:
        raise SpaceError(CARD, f": {space.name} with the card's network: {listing(wrong)}")
    return entries


def _with_network(start: Recipe, recipe: Recipe) -> Recipe:
    seen = {name.split(".")[1]: getattr(recipe.input, name.split(".")[1]) for name in SEEN}
    return start.model_copy(
        update={"model": recipe.model, "input": start.input.model_copy(update=seen)}
    )


def _require_network(card: Path, config: CardConfig, recipe: Recipe) -> None:
    if isinstance(recipe.model, ClassicalModel):
        raise RunError(
            CARD, f": expected the card of a network, {card} holds {recipe.model.family}"
        )
    if config.members > 1 and not config.ensemble:
        raise RunError(
            CARD,
            f": expected a card of one network, {card} holds {config.members}; make it with ",
            Setting("final", "single"),
        )


def _require_shape(card: Path, config: CardConfig, cells: CellDataset) -> None:
    shape = tuple(cells.images.shape[1:])
    if shape != config.shape:
        raise RunError(
            CARD,
            f": {card} takes {_shown(config.shape)}, these cells have {_shown(shape)}; read them "
            "as the card's were, with ",
            Setting("channels"),
            ", ",
            Setting("size", f"{config.height}x{config.width}", reader=True),
            " and ",
            Setting("fit", "shrink" if config.fit == "refuse" else config.fit, reader=True),
        )


def _shown(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{channels} channels of {height} x {width} px"


def _refuse_seen(card: Path, config: CardConfig, cells: CellDataset) -> None:
    """Weights that have seen a validation or hold-out cell would make its score a lie."""
    seen = seen_cells(card, config, cells)
    if seen:
        raise RunError(
            CARD,
            f": {card} was trained or scored on {len(seen)} of these cells (such as "
            f"{seen[0]!r}), so its weights have already seen the cells they would be validated "
            "on; to train another task on the same cells first, inside each fold, set "
            "train.pretrain",
        )
    before = _began_with(card)
    if before is None:
        return
    try:
        _refuse_seen(before, read_config(before), cells)
    except CardError as error:
        raise RunError(
            CARD,
            f": {card} started from the weights of {before}, which may have seen these cells, and "
            "that card cannot be read (",
            error,
            "); put it back, or use a card that started from random weights",
        ) from None


def seen_cells(card: Path, config: CardConfig, cells: CellDataset) -> list[str]:
    """Ids of the cells that a card knows: by their pixels, and by their names in the same data set.

    The name tells where pixels do not, as with another channel of the same cell.
    """
    known = np.zeros(len(cells), dtype=bool)
    path = card / SEEN_CELLS
    if path.is_file():
        known |= np.isin(
            cell_digests(cells.images), np.load(path, mmap_mode="r", allow_pickle=False)
        )
    if config.dataset.name == cells.name and (cells.name != "custom" or not path.is_file()):
        known |= np.isin(cells.ids, np.array(sorted(ids_of(card)), dtype=np.str_))
    return [str(name) for name in cells.ids[known]]


def _began_with(card: Path) -> Path | None:
    """The card whose weights this one's began with."""
    try:
        facts = from_json((card / "metrics.json").read_text(encoding="utf-8"))
        found = facts["search"].get("init_from")
    except (OSError, ValueError, KeyError) as error:
        raise CardError(f"{card / 'metrics.json'} cannot be read: {error}") from None
    return None if found is None else Path(found)
