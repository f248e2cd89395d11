"""Checks of cells and splits: the same as when the run began, and nothing torn apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cellsearch.audit.evidence import Evidence, read_any
from cellsearch.audit.report import Check, nothing, verdict
from cellsearch.data.near_duplicates import find_duplicates
from cellsearch.data.placing import HOLDOUT
from cellsearch.data.splits import Splits
from cellsearch.data.suggested_groups import suggest_groups
from cellsearch.errors import SpaceError
from cellsearch.space.recipe import Recipe

Indices = NDArray[np.int64]

NOWHERE, TRAINS = -4, -3
"""Places beside the folds (from 0) and ``HOLDOUT``."""


def same_cells(evidence: Evidence) -> Check:
    """Pixels, labels and ids are those that the run was begun with."""
    name = "the cells are those the run started with"
    wanted = evidence.record.dataset_sha256
    # The digest in the folder's description is what is to be doubted.
    found = evidence.cells._derive().sha256
    problems = []
    if found != wanted:
        problems.append(f"sha256 was {wanted[:12]}, is {found[:12]}")
    seen = (
        f"{len(evidence.cells):,} cells as read at the start, sha256 {wanted[:12]}; their files "
        "are not read again"
    )
    return verdict(name, problems, seen)


def same_splits(evidence: Evidence) -> Check:
    """splits.json is what was drawn."""
    name = "the splits are those drawn at the start"
    splits, wanted = evidence.splits, evidence.record.splits_sha256
    problems = [evidence.splits_problem] if evidence.splits_problem else []
    if splits is not None and splits.sha256 != wanted and not problems:
        problems.append(f"sha256 was {wanted[:12]} when the run began, is {splits.sha256[:12]}")
    return verdict(
        name, problems, splits.describe() if splits is not None else "", _moved(evidence)
    )


def duplicates_together(evidence: Evidence) -> Check:
    """No picture is on both sides of a split."""
    name = "near-duplicates are on one side of every split"
    if evidence.splits is None:
        return nothing(name, "splits.json cannot be read")
    duplicates = find_duplicates(evidence.cells.images)
    place, tied = places(evidence.splits, len(evidence.cells))
    torn = [
        (pair.a, pair.b) for pair in duplicates if is_torn(place, tied, np.array([pair.a, pair.b]))
    ]
    problems = []
    for pair in torn:
        first, second = evidence.named(np.array(pair))
        where = " and ".join(_spoken(int(place[cell])) for cell in pair)
        problems.append(f"{first} and {second} show the same image, in {where}")
    cells = [cell for pair in torn for cell in evidence.named(np.array(pair))]
    return verdict(name, problems, f"pairs of near-duplicates found: {len(duplicates)}", cells)


def groups_together(evidence: Evidence) -> Check:
    """No donor, plate or slide is on both sides of a split."""
    name = "groups are on one side of every split"
    groups = evidence.cells.groups
    passed_over = [note.text for note in evidence.cells.group_notes]
    if groups is None:
        suggested = suggest_groups(evidence.cells)
        seen = f", but names suggest {suggested[0].describe()}" if suggested else ""
        return nothing(name, "; ".join([f"none were declared{seen}", *passed_over]))
    if evidence.splits is None:
        return nothing(name, "splits.json cannot be read")
    place, tied = places(evidence.splits, len(evidence.cells))
    problems, cells = [], []
    distinct = np.unique(groups)
    for group in distinct:
        members = np.flatnonzero(groups == group)
        if is_torn(place, tied, members):
            where = [_spoken(int(each)) for each in np.unique(place[members])]
            problems.append(f"group {group} is in {' and '.join(where)}")
            cells += evidence.named(members)
    return verdict(name, problems, "; ".join([f"{len(distinct)} groups", *passed_over]), cells)


def holds_recipe(stored: object, recipe: Recipe) -> bool:
    """Whether stored parameters are a recipe's; one that is younger than they are may be absent."""
    try:
        return isinstance(stored, Mapping) and (
            Recipe.from_params(stored).to_params() == recipe.to_params()
        )
    except SpaceError:
        return False


def places(splits: Splits, cells: int) -> tuple[Indices, Indices]:
    """(N,) where each cell is, and (N,) the fold whose training leaves it out, or -1."""
    place = np.full(cells, NOWHERE, np.int64)
    tied = np.full(cells, -1, np.int64)
    place[splits.holdout] = HOLDOUT
    place[splits.train_only] = TRAINS
    if len(splits.tied):
        tied[splits.train_only] = splits.tied
    for fold, part in enumerate(splits.folds):
        place[part] = fold
    return place, tied


def is_torn(place: Indices, tied: Indices, members: Indices) -> bool:
    """Whether one of the cells trains what another is judged by."""
    own = place[members]
    folds = np.unique(own[own >= 0])
    trains = own == TRAINS
    if (own == HOLDOUT).any() and (len(folds) or trains.any()):
        return True
    if len(folds) > 1:
        return True
    return bool(len(folds) and (tied[members[trains]] != folds[0]).any())


def _spoken(place: int) -> str:
    named = {HOLDOUT: "the hold-out", TRAINS: "cells that only train", NOWHERE: "no part"}
    return named.get(place, f"fold {place}")


def _moved(evidence: Evidence) -> list[str]:
    """Cells that the card's copy of the splits has elsewhere."""
    copy = evidence.folder / "card" / "splits.json"
    if evidence.splits is None or not copy.is_file():
        return []
    other, _ = read_any(copy, evidence.cells)
    if other is None:
        return []
    here, _ = places(evidence.splits, len(evidence.cells))
    there, _ = places(other, len(evidence.cells))
    return evidence.named(np.flatnonzero(here != there))
