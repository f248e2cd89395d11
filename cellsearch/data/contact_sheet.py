"""A contact sheet: some cells of each class, every channel, on one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.thumbnails import Picture, chosen_rows, colour_blocks, scaled
from cellsearch.errors import ConfigError, DataError
from cellsearch.util.atomic import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_DPI = 120


_LARGEST_TILE = 1.2


_SMALLEST_TILE = 0.24


_PAGE_INCHES = 15.0


def contact_sheet(
    dataset: CellDataset, path: str | Path, *, cells_per_class: int = 8, seed: int = 0
) -> Path:
    """Write a PNG with a row of cells for each class and a block of columns for each channel.

    The same cells in the same order stand in every block. Contrast is robust and the same for all
    cells of a channel, so that bright and dim cells compare; red, green and blue make one colour
    block.

    Args:
        dataset: cells; a row ``unlabelled`` shows those without a label.
        path: of the PNG; folders above it are made.
        cells_per_class: 1 or more; a class that has fewer shows all.
        seed: of the choice of cells.

    Returns:
        ``path``.

    Raises:
        ConfigError: ``cells_per_class`` below 1.
        DataError: the file cannot be written.
    """
    if cells_per_class < 1:
        raise ConfigError(f"cells per class: expected 1 or more, got {cells_per_class}")
    from cellsearch.util.fonts import lettered

    target = Path(path)
    rows = chosen_rows(dataset, cells_per_class, seed)
    figure = _draw(dataset, rows, cells_per_class)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file, lettered(figure):
            figure.savefig(file, format="png", dpi=_DPI)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _mosaic(pictures: Picture, counts: list[int], columns: int, gap: int) -> Picture:
    """Rows of pictures on white, ``gap`` px apart."""
    height, width = pictures.shape[1:3]
    shape = (len(counts) * (height + gap) - gap, columns * (width + gap) - gap, 3)
    page = np.ones(shape, np.float32)
    cell = 0
    for row, count in enumerate(counts):
        for column in range(count):
            top, left = row * (height + gap), column * (width + gap)
            page[top : top + height, left : left + width] = pictures[cell]
            cell += 1
    return page


def _draw(dataset: CellDataset, rows: list[tuple[str, NDArray[np.int64]]], columns: int) -> Figure:
    # The object interface keeps clear of pyplot's global state and of any display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = np.concatenate([shown for _, shown in rows])
    counts = [len(shown) for _, shown in rows]
    columns = max(1, min(columns, max(counts)))
    images = np.asarray(dataset.images[cells])
    blocks = colour_blocks(dataset)
    height, width = images.shape[2:]
    gap = max(1, round(max(height, width) / 20))
    aspect = (height + gap) / (width + gap)
    tile = min(_LARGEST_TILE, max(_SMALLEST_TILE, _PAGE_INCHES / (len(blocks) * columns)))
    left = 0.25 + 0.085 * max(len(line) for title, _ in rows for line in title.split("\n"))
    top, margin, between = 0.75, 0.15, 0.18
    block_width, block_height = columns * tile, len(rows) * tile * aspect
    wide = left + len(blocks) * (block_width + between) - between + margin
    tall = top + block_height + margin
    figure = Figure(figsize=(max(wide, 4.5), tall), facecolor="white")
    FigureCanvasAgg(figure)
    wide, tall = figure.get_size_inches()
    generated = ", generated" if dataset.provenance.synthetic else ""
    figure.text(
        0.15 / wide,
        1 - 0.12 / tall,
        f"{dataset.name}{generated}: {len(dataset):,} cells, {width} x {height} px",
        size=10,
        weight="bold",
        va="top",
    )
    for position, (title, channels) in enumerate(blocks):
        start = left + position * (block_width + between)
        axes = figure.add_axes(
            (start / wide, margin / tall, block_width / wide, block_height / tall)
        )
        page = _mosaic(scaled(images[:, channels]), counts, columns, gap)
        axes.imshow(page, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(title, size=9, pad=4)
        if position == 0:
            for row, (text, _) in enumerate(rows):
                middle = row * (height + gap) + height / 2
                axes.text(-gap * 2, middle, text, size=8, ha="right", va="center")
    return figure
