"""How cells and splits look in a notebook: thumbnails of each class, counts of each part."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.contact_sheet import chosen_rows, colour_blocks, scaled
from cellsearch.markup import Markup, block, line, note, picture, side_by_side, table

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits

CELLS = 6
CLASSES = 20
BLOCKS = 4
SIDE = 48
"""Height of a thumbnail on the page, px."""

LARGEST = 2 * SIDE
"""Most pixels of a thumbnail's side; larger crops are made smaller, so that a page stays light."""


def dataset_html(dataset: CellDataset) -> str:
    """Counts and a few cells of each class, a column for each channel."""
    _, channels, height, width = dataset.images.shape
    facts = dataset.provenance
    made = ", generated, not real cells" if facts.synthetic else ""
    title = f"{dataset.name}: {len(dataset):,} cells{made}"
    about = (
        f"{channels} x {height} x {width} px (channels x height x width), {dataset.images.dtype}"
    )
    if facts.pixel_size_um:
        about += f", {facts.pixel_size_um:g} um a pixel"
    if dataset.groups is not None:
        about += f", {len(np.unique(dataset.groups)):,} groups"
    rows = chosen_rows(dataset, CELLS, seed=0)
    shown, hidden = rows[:CLASSES], rows[CLASSES:]
    blocks = colour_blocks(dataset)
    columns = [_thumbnails(dataset, shown, planes, name) for name, planes in blocks[:BLOCKS]]
    headers = ["class", "cells", "share", *(name for name, _ in blocks[:BLOCKS])]
    body = []
    for place, (title_of_row, _) in enumerate(shown):
        name, _, count = title_of_row.rpartition("\n")
        share = 100 * int(count.replace(",", "")) / max(1, len(dataset))
        body.append([name, count, f"{share:.1f} %", *(column[place] for column in columns)])
    parts = [line(about), table(headers, body, numbers=(1, 2))]
    if hidden:
        parts.append(note(f"and {len(hidden):,} more classes"))
    if len(blocks) > BLOCKS:
        names = ", ".join(name for name, _ in blocks[BLOCKS:])
        parts.append(note(f"channels not shown: {names}"))
    cited = " · ".join(text for text in (facts.licence, facts.citation) if text)
    if cited:
        parts.append(note(cited))
    return block(title, *parts)


def splits_html(splits: Splits) -> str:
    """How many cells of each class are in each part."""
    parts = [(_named(name, splits.k), part) for name, part in splits.parts() if len(part)]
    title = f"Splits: {splits.describe()}"
    about = note(f"seed {splits.seed}, sha256 {splits.sha256[:12]}")
    rows: list[list[str]] = []
    if splits.drawn_from is not None:
        origin = splits.drawn_from
        for k, name in enumerate(origin.classes):
            found = [int((origin.labels[part] == k).sum()) for _, part in parts]
            shown = name + (" (not estimable)" if name in splits.not_estimable else "")
            rows.append([shown, *(f"{count:,}" for count in found)])
    heads = ["class", *(name for name, _ in parts)]
    rows.append(["all", *(f"{len(part):,}" for _, part in parts)])
    return block(title, table(heads, rows, numbers=range(1, len(heads))), about)


def _named(part: str, folds: int) -> str:
    if part.startswith("folds"):
        return (
            f"fold {part.removeprefix('folds[').removesuffix(']')}" if folds > 1 else "validation"
        )
    return {"holdout": "hold-out", "train_only": "train only", "left_out": "left out"}[part]


def _thumbnails(
    dataset: CellDataset, rows: list[tuple[str, NDArray[np.int64]]], planes: list[int], channel: str
) -> list[Markup]:
    """The cells of each row side by side; contrast is the same for all rows."""
    from PIL import Image

    cells = np.concatenate([cells for _, cells in rows])
    step = max(1, -(-max(dataset.images.shape[2:]) // LARGEST))
    # A memory map gives only the cells, planes and lines that are shown.
    images = np.asarray(dataset.images[cells[:, None], planes][..., ::step, ::step])
    pictures = (scaled(images) * 255).round().astype(np.uint8)
    found, at = [], 0
    for title, members in rows:
        tiles = []
        for pixels in pictures[at : at + len(members)]:
            png = BytesIO()
            Image.fromarray(pixels).save(png, "PNG", optimize=True)
            says = f"{_name(title)}, {channel}"
            tiles.append(picture(png.getvalue(), says=says, height=SIDE))
        at += len(members)
        found.append(side_by_side(tiles))
    return found


def _name(title: str) -> str:
    """The class in the title of a row, which ends with its number of cells."""
    return title.rpartition("\n")[0]
