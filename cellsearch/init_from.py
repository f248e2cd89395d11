"""``--init-from CARD``: a search whose networks begin with the weights of one of our cards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from cellsearch.card.config import CardConfig, read_config
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import RunError
from cellsearch.space.entry import Entry
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace


def begin_from(card: Path, space: SearchSpace, cells: CellDataset) -> SearchSpace:
    """The space with its network fixed to that of a card, whose weights its trials begin with.

    The baseline keeps its own network and begins with random weights.

    Args:
        card: folder of a card.
        space: whose other parameters are searched.
        cells: to learn from.

    Raises:
        CardError: it is no card.
        RunError: its network is none that can go on learning, takes other images, or was trained
            on these very cells.
    """
    config = read_config(card)
    recipe = Recipe.from_params(config.recipe)
    _require_network(card, config, recipe)
    _require_shape(card, config, cells)
    _refuse_seen(card, config, cells)
    fixed = {name: value for name, value in recipe.to_params().items() if name[:6] == "model."}
    model = tuple(Entry(name, "constant", value) for name, value in fixed.items())
    rest = tuple(entry for entry in space.entries if entry.target[:6] != "model.")
    starts = tuple(start.model_copy(update={"model": recipe.model}) for start in space.starts)
    return replace(space, entries=model + rest, starts=tuple(dict.fromkeys(starts)))


def _require_network(card: Path, config: CardConfig, recipe: Recipe) -> None:
    if recipe.model.family in ("logreg", "xgboost", "hist-gbdt"):
        raise RunError(
            f"--init-from: expected the card of a network, {card} holds {recipe.model.family}"
        )
    if config.members > 1:
        raise RunError(
            f"--init-from: expected a card of one network, {card} holds {config.members}; make it "
            "with --final refit"
        )


def _require_shape(card: Path, config: CardConfig, cells: CellDataset) -> None:
    shape = tuple(cells.images.shape[1:])
    if shape != config.shape:
        raise RunError(
            f"--init-from: {card} takes {_shown(config.shape)}, these cells have {_shown(shape)}; "
            "read them with --channels and --option size=..., fit=... as the card's were"
        )


def _shown(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{channels} channels of {height} x {width} px"


def _refuse_seen(card: Path, config: CardConfig, cells: CellDataset) -> None:
    shared = seen_cells(card, config, cells)
    if shared:
        raise RunError(
            f"--init-from: {card} was trained or scored on {len(shared)} of these cells (such as "
            f"{shared[0]!r}), so its weights have seen what they would be validated on; to learn "
            "another task of the same cells first, inside each fold, set train.pretrain"
        )


def seen_cells(card: Path, config: CardConfig, cells: CellDataset) -> list[str]:
    """Sorted ids of the cells that a card was trained or scored on; none of another data set.

    Weights that have seen a validation or hold-out cell would make its score a lie.
    """
    splits = json.loads((card / "splits.json").read_text(encoding="utf-8"))
    parts = [splits["holdout"], *splits["folds"], splits["train_only"], splits["left_out"]]
    known = {name for part in parts for name in part.get("ids", ())}
    shared = known.intersection(cells.ids.tolist())
    # Bare numbers are given to the cells of any data set.
    telling = any(not name.isdigit() for name in shared)
    return sorted(shared) if config.dataset.name == cells.name or telling else []
