"""A card at work: raw images in, probabilities out; onnxruntime and numpy alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import UNCERTAIN, Abstention, kept
from cellsearch.card.checksums import problems_with, read_checksums
from cellsearch.card.config import CONFIG, MODEL, CardConfig, read_config
from cellsearch.card.conformal import PredictionSets, members
from cellsearch.card.inputs import Images, graph_inputs, prepare, require_known_features
from cellsearch.card.session import open_session, run_session
from cellsearch.errors import CardError
from cellsearch.stats.decision import decided
from cellsearch.util.json_text import from_json
from cellsearch.util.progress import Progress

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset


COLUMNS = ("id", "source", "object_number", "predicted_class", "confidence")


GROUP = "group_number"
"""Column of out-of-fold tables: cells of one donor or plate have the same."""


MORE_COLUMNS = ("true_class", "decision", "set", GROUP)


SET_SEPARATOR = "|"


Row = dict[str, str]


@dataclass(frozen=True, eq=False)
class CardPredictor:
    """A loaded card, ready to predict.

    Attributes:
        folder: of the card.
        config: its ``config.json``.
        session: ``onnxruntime.InferenceSession`` of its ``model.onnx``.
    """

    folder: Path
    config: CardConfig
    session: Any

    @classmethod
    def load(cls, folder: Path | str, *, threads: int | None = None) -> Self:
        """Open a card for prediction.

        Args:
            folder: of the card.
            threads: for one call; by default the usable cores, at most 8.

        Raises:
            CardError: no card, a newer format, features that this cellsearch does not measure,
                or ``model.onnx`` or ``config.json`` is missing or has changed since the card was
                written.
        """
        folder = Path(folder)
        config = read_config(folder)
        problems = problems_with(folder, read_checksums(folder), only=(CONFIG, MODEL))
        if problems:
            raise CardError(f"{folder} cannot be trusted: {'; '.join(problems)}")
        if config.features is not None:
            require_known_features(folder, config)
        return cls(folder, config, open_session(folder / MODEL, threads=threads))

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names, in the order of the probabilities."""
        return self.config.classes

    @property
    def channels(self) -> tuple[str, ...]:
        """C channel names, in the order the images must have."""
        return self.config.channels

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of a crop, px."""
        return self.config.height, self.config.width

    def predict(
        self, images: Images, *, fit: str | None = None, batch: int | None = None
    ) -> NDArray[np.float32]:
        """Probabilities of each class.

        Args:
            images: (N, C, H, W) raw intensities in the card's dtype, or a sequence of (C, h, w).
            fit: ``refuse``, ``pad``, ``shrink`` or ``resize`` crops of another size; by default
                the card's own rule.
            batch: images in one call of onnxruntime; by default what fits a few hundred MB.

        Returns:
            (N, K) float32; rows add up to 1, columns are ``config.classes``.

        Raises:
            CardError: another number of channels, dtype, size or range of values, or NaN.
        """
        cells = prepare(images, self.config, fit=fit)
        probabilities = run_session(
            self.session,
            graph_inputs(cells, self.config),
            output_name=self.config.onnx.output,
            batch=batch,
        )
        if probabilities.shape[1:] != (len(self.config.classes),):
            raise CardError(
                f"{self.folder} contradicts itself: {len(self.config.classes)} classes, but its "
                f"model gives {probabilities.shape[1:]}"
            )
        return probabilities


def to_rows(
    dataset: CellDataset,
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    *,
    cells: NDArray[np.int64] | None = None,
    called: NDArray[np.int64] | None = None,
    truth: bool = False,
    abstention: Abstention | None = None,
    sets: PredictionSets | None = None,
) -> list[Row]:
    """One row a cell, ready for a CSV file.

    Args:
        dataset: whose ids, sources and object numbers are named.
        probabilities: (n, K) float32.
        classes: K names, one column each.
        cells: (n,) int64 positions in the data set; by default all, in order.
        called: (n,) classes that the cells are given, ``predicted_class``; None takes the greatest
            probability, as a card without a rule of decision does. ``confidence`` is the
            probability of the class given.
        truth: add ``true_class``; empty where it is not known.
        abstention: add ``decision``: the predicted class, or ``uncertain``.
        sets: add ``set``: the classes a cell may be of, as ``set_text`` writes them.

    Returns:
        n rows: id, source, object_number, [true_class,] predicted_class, confidence, [decision,]
        [set,] and a column a class. A class named like one of these gets the column
        ``p(<class>)``.

    Raises:
        CardError: as many rows of probabilities as cells, and as many columns as classes, are
            needed.
    """
    where = np.arange(len(dataset)) if cells is None else cells
    if probabilities.shape != (len(where), len(classes)):
        raise CardError(
            f"{probabilities.shape} probabilities for {len(where)} cells and {len(classes)} classes"
        )
    columns = class_columns(classes)
    best = decided(probabilities, None) if called is None else called
    sure = None if abstention is None else kept(probabilities, abstention, best)
    held = None if sets is None else members(probabilities, sets)
    rows = []
    for row, cell in enumerate(where):
        values: Row = {
            "id": str(dataset.ids[cell]),
            "source": str(dataset.sources[cell]),
            "object_number": str(int(dataset.object_numbers[cell])),
        }
        if truth:
            label = int(dataset.labels[cell])
            values["true_class"] = dataset.classes[label] if label >= 0 else ""
        values["predicted_class"] = classes[int(best[row])]
        values["confidence"] = f"{probabilities[row, best[row]]:.6f}"
        if sure is not None:
            values["decision"] = classes[int(best[row])] if sure[row] else UNCERTAIN
        if held is not None:
            inside = [name for name, there in zip(classes, held[row], strict=True) if there]
            values["set"] = set_text(inside, classes)
        values |= {
            # Not .6f: a temperature tells 1e-7 from 1e-9, and thresholds are found in this table.
            name: f"{value:.6g}"
            for name, value in zip(columns, probabilities[row], strict=True)
        }
        rows.append(values)
    return rows


def class_columns(classes: Sequence[str], *, also: Sequence[str] = ()) -> list[str]:
    """Column names of the classes; ``p(<class>)`` where the plain name is taken.

    Args:
        classes: K names.
        also: further columns of the table.
    """
    taken = {*COLUMNS, *MORE_COLUMNS, *also}
    # Two classes may be called id and p(id).
    plain = taken | set(classes)
    columns = []
    for name in classes:
        column = name
        while column in (plain if column != name else taken):
            column = f"p({column})"
        plain.add(column)
        columns.append(column)
    return columns


def set_text(names: Sequence[str], classes: Sequence[str]) -> str:
    """The classes of a prediction set as a cell of a table.

    They are parted by ``|``; where the name of one of the ``classes`` holds it, as a JSON list.
    """
    if any(SET_SEPARATOR in name for name in classes):
        return json.dumps(list(names), ensure_ascii=False)
    return SET_SEPARATOR.join(names)


def set_names(text: str, classes: Sequence[str]) -> list[str]:
    """The classes that ``set_text`` wrote."""
    if any(SET_SEPARATOR in name for name in classes):
        return [str(name) for name in from_json(text)]
    return text.split(SET_SEPARATOR) if text else []


CELLS_AT_ONCE = 1024


def predict_cells(
    predictor: CardPredictor,
    images: Images,
    *,
    fit: str | None = None,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """As ``CardPredictor.predict``, in pieces.

    Args:
        predictor: of the card.
        images: (N, C, H, W) raw intensities in the card's dtype, or a sequence of (C, h, w).
        fit: ``refuse``, ``pad``, ``shrink`` or ``resize`` crops of another size; by default the
            card's rule.
        on_progress: told "classifying", the cells done and all cells after each 1,024.

    Returns:
        (N, K) float32; rows add up to 1.

    Raises:
        CardError: images that do not suit the card; all are looked at before the first is
            classified.
    """
    config = predictor.config
    cells = prepare(images, config, fit=fit)
    parts = []
    for start in range(0, len(cells), CELLS_AT_ONCE):
        piece = cells[start : start + CELLS_AT_ONCE]
        parts.append(
            run_session(
                predictor.session,
                graph_inputs(piece, config),
                output_name=config.onnx.output,
            )
        )
        if on_progress is not None:
            on_progress("classifying", min(start + CELLS_AT_ONCE, len(cells)), len(cells))
    return np.concatenate(parts)
