"""suggest: which of many unlabelled cells to label next, and what they will probably be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.config import CardConfig
from cellsearch.card.inputs import prepare
from cellsearch.card.predict import Row, class_columns, predict_cells
from cellsearch.card.whole_files import write_csv
from cellsearch.data.dataset import CellDataset
from cellsearch.data.digests import cell_digests
from cellsearch.data.features import SMALLEST, measure
from cellsearch.errors import DataError
from cellsearch.label.choose import Reason, choose
from cellsearch.label.mix import natural_mix
from cellsearch.run.warm_start import seen_cells
from cellsearch.util.messages import Setting
from cellsearch.util.progress import Progress

Floats = NDArray[np.float64]
COLUMNS = ("id", "source", "object_number", "reason", "target_class")


@dataclass(frozen=True)
class Suggestion:
    """A cell to label.

    Attributes:
        id: of the cell.
        source: file that it is from.
        object_number: its number there.
        reason: ``rare class``, ``uncertain`` or ``random``.
        target: the class that it was chosen for, or its likeliest one.
        probabilities: of each class, under the natural mix of classes.
    """

    id: str
    source: str
    object_number: int
    reason: Reason
    target: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Yield:
    """What a class gains.

    Attributes:
        name: of the class.
        labelled: cells of it that the card's data set has.
        expected: cells of it to be expected among the suggested ones: the sum of probabilities.
        at_random: the same among as many cells drawn by chance.
    """

    name: str
    labelled: int
    expected: float
    at_random: float


@dataclass(frozen=True)
class Suggestions:
    """Cells to label next.

    Attributes:
        classes: names.
        cells: that were suggested.
        yields: of each class.
        pool: cells that could be suggested.
        known: cells left out, because the card was trained or scored on them.
        copies: cells left out, because another one has the same pixels.
    """

    classes: tuple[str, ...]
    cells: tuple[Suggestion, ...]
    yields: tuple[Yield, ...]
    pool: int
    known: int
    copies: int

    def rows(self) -> list[Row]:
        """A row a cell, as in the CSV; a class named like another column is ``p(<class>)``."""
        columns = class_columns(self.classes, also=COLUMNS)
        return [
            {
                "id": each.id,
                "source": each.source,
                "object_number": str(each.object_number),
                "reason": each.reason,
                "target_class": each.target,
            }
            | {
                column: f"{value:.6g}"
                for column, value in zip(columns, each.probabilities, strict=True)
            }
            for each in self.cells
        ]

    def write_csv(self, path: Path | str) -> None:
        """Write the rows, wholly or not at all.

        Raises:
            CardError: the file cannot be written.
        """
        write_csv(path, self.rows())


def suggest(
    card: ModelCard | Path | str,
    cells: CellDataset,
    count: int = 100,
    *,
    fit: str | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Suggestions:
    """Choose the cells whose labels rare classes gain most by; cells that the card knows are none.

    A tenth is drawn by chance: the shares of the classes can be told from those alone. Of the
    others half are cells that the model can least decide, the rest are cells of classes that
    have few labels. Cells that look alike are not taken twice.

    Args:
        card: a card, or its folder.
        cells: with the card's channels; their labels are not looked at.
        count: how many.
        fit: as of ``ModelCard.predict``.
        seed: of the tenth.
        on_progress: told "classifying" and how far it is.

    Raises:
        CardError: no card, or images that do not suit it.
        DataError: no cell is new to the card, or fewer than ``count`` are.

    Example:
        >>> found = cellsearch.suggest("runs/first/card", cells, count=50)
        >>> found.write_csv("next.csv")
    """
    opened = card if isinstance(card, ModelCard) else ModelCard.load(card)
    config = opened.config
    if count < 1:
        raise DataError(Setting("count", count), ": expected 1 or more")
    images = prepare(cells.images, config, fit=fit)
    known = set(seen_cells(opened.folder, config, replace(cells, images=images)))
    fresh = np.array([str(name) not in known for name in cells.ids], bool)
    first = np.zeros(len(cells), bool)
    first[np.unique(cell_digests(images), return_index=True)[1]] = True
    pool = np.flatnonzero(fresh & first)
    _require_enough(count, len(pool), len(cells), len(known))
    found = predict_cells(opened.predictor, images[pool], fit=fit, on_progress=on_progress)
    natural = natural_mix(found, config, tempered=True)
    labelled = labels_so_far(config)

    def features(some: NDArray[np.int64]) -> Floats:
        if min(images.shape[2:]) < SMALLEST:
            return np.log(np.maximum(natural[some], 1e-6))
        return measure(np.asarray(images[pool[some]])).astype(np.float64)

    chosen = choose(
        count,
        natural,
        labelled,
        features,
        seed=seed,
    )
    taken = np.array([each.cell for each in chosen], np.int64)
    return Suggestions(
        config.classes,
        tuple(
            Suggestion(
                str(cells.ids[at]),
                str(cells.sources[at]),
                int(cells.object_numbers[at]),
                each.reason,
                config.classes[each.target],
                tuple(natural[each.cell].tolist()),
            )
            for each, at in zip(chosen, pool[taken].tolist(), strict=True)
        ),
        _yields(config.classes, labelled, natural, taken),
        len(pool),
        int((~fresh).sum()),
        int((fresh & ~first).sum()),
    )


def _yields(
    classes: Sequence[str], labelled: Floats, natural: Floats, taken: NDArray[np.int64]
) -> tuple[Yield, ...]:
    inside, mean = natural[taken].sum(axis=0), natural.mean(axis=0) * len(taken)
    return tuple(
        Yield(name, round(labelled[k]), float(inside[k]), float(mean[k]))
        for k, name in enumerate(classes)
    )


def labels_so_far(config: CardConfig) -> Floats:
    """(K,) labels of each class, of the cells that trained the card; alike in older cards."""
    if config.decision is None:
        return np.full(len(config.classes), config.dataset.cells / len(config.classes))
    return np.array(config.decision.priors.natural, np.float64) * config.dataset.cells


def _require_enough(count: int, pool: int, cells: int, known: int) -> None:
    if not pool:
        raise DataError(
            f"the card was trained or scored on all {known:,} of these cells; give cells that it "
            "does not know"
        )
    if count > pool:
        left = f", {cells - pool:,} of them known to the card or copies" if pool < cells else ""
        raise DataError(
            Setting("count", count),
            f": there are {cells:,} cells{left}; ask for {pool:,} at most",
        )
