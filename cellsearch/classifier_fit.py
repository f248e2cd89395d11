"""The two ways in which a ``CellClassifier`` is fitted: one recipe, or a search for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellsearch.errors import DataError, InputError, RunError
from cellsearch.kept_card import KeptCard, scratch_folder
from cellsearch.run_check import require_sound
from cellsearch.space.recipe import Recipe

if TYPE_CHECKING:
    from cellsearch.classifier import CellClassifier
    from cellsearch.data.dataset import CellDataset
    from cellsearch.learn.portable import PortableNetwork
    from cellsearch.run import SearchResult

NO_VERDICT = (
    "no verdict: one recipe was trained on every cell given; none was held out, so nothing is "
    "known of how good it is (cross_val_score asks)"
)
RARE = ("refuse", "keep")


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit made.

    Attributes:
        model: gives probabilities, and can be pickled.
        recipe: that was trained, or that won.
        verdict: on the search, or that there is none.
        result: of the search; None where one recipe was trained.
    """

    model: PortableNetwork | KeptCard
    recipe: Recipe
    verdict: str
    result: SearchResult | None = None


def train_recipe(estimator: CellClassifier, cells: CellDataset) -> Fitted:
    """The estimator's one recipe, trained on all cells.

    Raises:
        SpaceError: the recipe is none.
        InputError: the check of the cells finds errors that are not accepted.
        TrialError: the training diverged, or memory ran out.
    """
    from cellsearch.learn.fit import fit
    from cellsearch.learn.portable import PortableNetwork, repeatable_precision
    from cellsearch.learn.threads import torch_threads

    recipe = as_recipe(estimator.recipe)
    try:
        require_sound(cells, tuple(estimator.accept))
    except DataError as error:
        raise InputError("fit: ", error) from None
    with torch_threads(estimator.threads):
        predictor = fit(
            recipe,
            cells,
            np.arange(len(cells)),
            seed=estimator.seed,
            device=estimator.device,
            precision=repeatable_precision(estimator.device),
        )
    return Fitted(PortableNetwork.of(predictor, recipe, cells), recipe, NO_VERDICT)


def search_recipe(estimator: CellClassifier, cells: CellDataset) -> Fitted:
    """A whole run on the cells, and its card.

    Raises:
        RunError: it was interrupted, or completed no trial.
    """
    from cellsearch.durations import seconds
    from cellsearch.learn.portable import repeatable_precision
    from cellsearch.progress import Silent, Terminal
    from cellsearch.run import search

    if estimator.rare not in RARE:
        raise InputError(
            f"rare: must be one of {', '.join(RARE)}; got {estimator.rare!r} (leave classes out "
            "of y, or merge them there)"
        )
    precision = repeatable_precision(estimator.device)
    folder = new_folder(estimator.out)
    result = search(
        cells.save(folder / "cells"),
        estimator.space,
        out=folder / "run",
        observer=Terminal() if estimator.verbose else Silent(),
        budget=estimator.budget,
        seconds=seconds(estimator.time) if isinstance(estimator.time, str) else estimator.time,
        metric=estimator.metric,
        folds=estimator.folds,
        holdout=estimator.holdout,
        rare=estimator.rare,
        accept=estimator.accept,
        seed=estimator.seed,
        backend=estimator.backend,
        device=estimator.device,
        precision="auto" if precision is None else str(precision),
        threads=estimator.threads,
    )
    if result.card is None or result.best is None:
        raise RunError(
            f"the search was interrupted; go on with cellsearch.resume({str(result.folder)!r})"
        )
    verdict = result.card.metrics.get("verdict")
    return Fitted(
        model=KeptCard(result.card.folder),
        recipe=result.best.recipe,
        verdict=verdict["sentence"] if verdict else "no verdict: the card holds none",
        result=result,
    )


def as_params(recipe: Recipe | Mapping[str, Any]) -> dict[str, Any]:
    """Flat parameters of a recipe, however it is given."""
    return recipe.to_params() if isinstance(recipe, Recipe) else dict(recipe)


def as_recipe(recipe: Recipe | Mapping[str, Any] | None) -> Recipe:
    """The recipe, however it is given.

    Raises:
        InputError: neither a recipe nor a mapping.
        SpaceError: a name is not known or a value is out of bounds; all are listed.
    """
    if not isinstance(recipe, Recipe | Mapping):
        raise InputError(
            f"recipe: expected a Recipe, a mapping of flat parameters, or None; got {recipe!r}"
        )
    return recipe if isinstance(recipe, Recipe) else Recipe.from_params(recipe)


def new_folder(out: Path | str | None) -> Path:
    """A folder that no other fit has, also where several processes ask at once."""
    if out is None:
        return scratch_folder("cellsearch-fit-")
    parent, number = Path(out), 1
    while True:
        try:
            (parent / f"fit-{number}").mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise RunError(f"cannot write to {parent}: {error.strerror or error}") from None
        else:
            return parent / f"fit-{number}"
