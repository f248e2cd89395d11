"""The most confident mistakes of each pair of classes, as images."""

from __future__ import annotations

import base64
import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.predictions import FILES, NAMES, Part
from cellsearch.card.tiles import contrast, pictures, views
from cellsearch.data.dataset import CellDataset

PAIRS = 12
EACH = 3
"""Cells that are shown of a pair and a part."""
MOST_VIEWS = 4
SIDE = 72
"""Pixels of a picture's longer side, beyond which cells are made smaller."""
GAP = 2
CONTRAST_CELLS = 300


@dataclass(frozen=True)
class Mistake:
    """A cell that is taken for another class.

    Attributes:
        id: of the cell.
        confidence: probability of the class that it is taken for.
        picture: PNG of its views side by side, as a data URI; empty where the cells are gone.
    """

    id: str
    confidence: float
    picture: str


@dataclass(frozen=True)
class Pair:
    """Cells of one class taken for another.

    Attributes:
        true: class.
        predicted: class.
        counts: by part (hold-out, out-of-fold): how many, and of how many cells of the class.
        surest: by part, most confident first.
    """

    true: str
    predicted: str
    counts: dict[str, tuple[int, int]]
    surest: dict[str, tuple[Mistake, ...]]


@dataclass(frozen=True)
class Mistakes:
    """Pairs by the share of the true class that is lost, and what they are shown in.

    Attributes:
        pairs: at most ``PAIRS``.
        all_pairs: how many pairs there are.
        shown: titles of the views of a picture, from left to right.
        channels: how many channels the cells have.
    """

    pairs: tuple[Pair, ...]
    all_pairs: int
    shown: tuple[str, ...]
    channels: int


@dataclass(frozen=True)
class _Row:
    id: str
    true: str
    predicted: str
    confidence: float


def mistakes(card: Path, cells: CellDataset | None) -> Mistakes:
    """Read ``predictions.csv`` and ``out_of_fold.csv`` of a card; missing ones are left out.

    Args:
        card: folder.
        cells: that the run was made of; None shows no pictures.
    """
    parts: dict[Part, list[_Row]] = {part: _rows(card / file) for part, file in FILES.items()}
    wrong: dict[tuple[str, str], dict[Part, list[_Row]]] = defaultdict(lambda: defaultdict(list))
    totals: dict[Part, dict[str, int]] = {part: defaultdict(int) for part in parts}
    for part, rows in parts.items():
        for row in rows:
            totals[part][row.true] += 1
            if row.true != row.predicted:
                wrong[row.true, row.predicted][part].append(row)

    def lost(pair: tuple[str, str]) -> tuple[float, int]:
        found = sum(map(len, wrong[pair].values()))
        return -found / max(1, sum(total[pair[0]] for total in totals.values())), -found

    chosen = sorted(wrong, key=lost)[:PAIRS]
    surest = {
        (pair, part): sorted(rows, key=lambda row: -row.confidence)[:EACH]
        for pair in chosen
        for part, rows in wrong[pair].items()
    }
    images, shown = drawn(cells, (row.id for rows in surest.values() for row in rows))
    pairs = tuple(
        Pair(
            true=pair[0],
            predicted=pair[1],
            counts={
                NAMES[part]: (len(wrong[pair].get(part, ())), totals[part][pair[0]])
                for part in parts
                if totals[part][pair[0]]
            },
            surest={
                NAMES[part]: tuple(
                    Mistake(row.id, row.confidence, images.get(row.id, ""))
                    for row in surest.get((pair, part), ())
                )
                for part in parts
            },
        )
        for pair in chosen
    )
    return Mistakes(pairs, len(wrong), shown, 0 if cells is None else len(cells.channels))


def _rows(path: Path) -> list[_Row]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            _Row(row["id"], row["true_class"], row["predicted_class"], float(row["confidence"]))
            for row in csv.DictReader(file)
        ]


def drawn(cells: CellDataset | None, ids: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """PNG of some cells as data URIs by id, and the titles of their views; none without cells."""
    if cells is None:
        return {}, ()
    wanted = set(ids)
    place = {str(name): n for n, name in enumerate(cells.ids.tolist()) if str(name) in wanted}
    if not place:
        return {}, ()
    sheets = views(cells.channels)[:MOST_VIEWS]
    some = np.unique(np.linspace(0, len(cells) - 1, min(len(cells), CONTRAST_CELLS)).astype(int))
    sample = np.asarray(cells.images[some])
    images = np.asarray(cells.images[list(place.values())])
    sets = [pictures(images, shown, contrast(sample, shown)) for _, shown in sheets]
    found = {
        name: data_uri(_beside([_shrunk(each[n]) for each in sets])) for n, name in enumerate(place)
    }
    return found, tuple(name for name, _ in sheets)


def _beside(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(H, W, 3) pictures in a row as (H, W, 4), with a gap that shows the page."""
    height = parts[0].shape[0]
    row: list[NDArray[np.uint8]] = []
    for part in parts:
        row += [np.dstack([part, np.full(part.shape[:2], 255, np.uint8)])]
        row += [np.zeros((height, GAP, 4), np.uint8)]
    return np.concatenate(row[:-1], axis=1)


def _shrunk(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    from PIL import Image

    pixels = (picture * 255.0 + 0.5).astype(np.uint8)
    height = pixels.shape[0]
    if height <= SIDE:
        return pixels
    size = (max(1, round(pixels.shape[1] * SIDE / height)), SIDE)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def data_uri(pixels: NDArray[np.uint8] | Path, *, widest: int = 1400) -> str:
    """An image for ``<img src>``: PNG, grey where it is grey, no wider than ``widest`` px."""
    from PIL import Image

    if isinstance(pixels, Path):
        with Image.open(pixels) as opened:
            image = opened.convert("RGB")
        if image.width > widest:
            image = image.resize((widest, round(image.height * widest / image.width)))
    else:
        grey = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
        image = Image.fromarray(pixels).convert("LA" if grey else "RGBA")
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
