"""The picture of saliency: a row a class, each cell beside what the model sees in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellsearch.card.saliency import Examples, Saliency
from cellsearch.card.tiles import Picture, contrast, page, pictures, views
from cellsearch.data.dataset import CellDataset

TILE_INCHES = 0.95
LETTERS = 28
TOP, BOTTOM, MARGIN = 0.75, 0.42, 0.2


@dataclass(frozen=True)
class _Grid:
    """Places on the page, px: pairs of tiles, with room for a line of text above each.

    Attributes:
        rights: pairs of right cells in a row; the pair after them is the mistake.
    """

    height: int
    width: int
    rights: int

    @property
    def gap(self) -> int:
        return max(1, round(self.width / 20))

    @property
    def room(self) -> int:
        return round(0.26 * self.width)

    def corner(self, row: int, pair: int) -> tuple[float, float]:
        """(x, y) of a pair's upper left corner, below the line of text."""
        x = 2 * pair * (self.width + self.gap) - 0.5
        return x, row * (self.height + self.room + self.gap) + self.room - 0.5


def saliency_plot(found: Saliency, images: NDArray[Any], dataset: CellDataset) -> Figure:
    """Each cell beside its saliency, laid over it from dark blue to yellow.

    Args:
        found: m explained cells.
        images: (m, C, H, W), theirs.
        dataset: whose classes and channels are named.
    """
    name, shown = max(views(dataset.channels), key=lambda view: float(found.shares[view[1]].sum()))
    cells = pictures(images, shown, contrast(images, shown))
    overlays = _overlays(cells, found.maps)
    k = len(dataset.classes)
    rights = max(1, *(len(_of(found.examples, label, right=True)) for label in range(k)))
    grid = _Grid(images.shape[2], images.shape[3], rights)
    rows: list[list[Picture | None]] = [[None] * (2 * (rights + 1)) for _ in range(k)]
    for label in range(k):
        for pair, cell in _pairs(found.examples, label, rights):
            rows[label][2 * pair] = _lifted(cells[cell], grid.room)
            rows[label][2 * pair + 1] = _lifted(overlays[cell], grid.room)
    whole = page(rows, grid.gap)
    shares = ", ".join(
        f"{channel} {100 * share:.0f} %"
        for channel, share in zip(dataset.channels, found.shares, strict=True)
    )
    figure, axes = _sheet(
        whole,
        grid,
        max(len(_named(title)) for title in dataset.classes),
        f"cells drawn: {name}; saliency by channel: {shares}",
    )
    _write_titles(axes, grid, dataset.classes)
    _write_pairs(axes, grid, found.examples, dataset.classes)
    return figure


def _sheet(whole: Picture, grid: _Grid, letters: int, caption: str) -> tuple[Figure, Axes]:
    scale = TILE_INCHES / grid.width
    down, across = whole.shape[0] * scale, whole.shape[1] * scale
    left = 0.25 + 0.08 * letters
    wide, tall = max(6.5, left + across + MARGIN), TOP + down + BOTTOM
    figure = Figure(figsize=(wide, tall))
    axes = figure.add_axes((left / wide, BOTTOM / tall, across / wide, down / tall))
    axes.imshow(whole, interpolation="nearest")
    axes.set_axis_off()
    figure.text(0.5, 1 - 0.12 / tall, "Saliency, hold-out", fontsize=11, ha="center", va="top")
    figure.text(0.5, 0.12 / tall, caption, fontsize=8, ha="center", color="0.3")
    return figure, axes


def _write_titles(axes: Axes, grid: _Grid, classes: tuple[str, ...]) -> None:
    for row, title in enumerate(classes):
        x, y = grid.corner(row, 0)
        axes.text(
            x - 2 * grid.gap,
            y + grid.height / 2,
            _named(title),
            fontsize=9,
            va="center",
            ha="right",
        )
    for pair, text in ((0, "found, surest first"), (grid.rights, "surest mistake")):
        x, y = grid.corner(0, pair)
        axes.text(x, y - 1.15 * grid.room, text, fontsize=8.5, va="bottom", weight="bold")


def _write_pairs(axes: Axes, grid: _Grid, examples: Examples, classes: tuple[str, ...]) -> None:
    for row in range(len(classes)):
        missing = {0: "none found", grid.rights: "no mistake"}
        for pair, _ in _pairs(examples, row, grid.rights):
            missing.pop(pair, None)
        for pair, text in missing.items():
            x, y = grid.corner(row, pair)
            axes.text(x, y + grid.height / 2, text, fontsize=8, va="center", color="0.45")
        for pair, cell in _pairs(examples, row, grid.rights):
            x, y = grid.corner(row, pair)
            text = f"p = {examples.probability[cell]:.2f}"
            if pair == grid.rights:
                called = _named(classes[examples.predicted[cell]])
                text = f"called {called}, {text}"
            axes.text(x, y - 0.1 * grid.room, text, fontsize=7, va="bottom")


def _pairs(examples: Examples, label: int, rights: int) -> list[tuple[int, int]]:
    """Place in the row and position among the examples, of the cells of a class."""
    found = [(pair, int(cell)) for pair, cell in enumerate(_of(examples, label, right=True))]
    return found + [(rights, int(cell)) for cell in _of(examples, label, right=False)]


def _of(examples: Examples, label: int, *, right: bool) -> NDArray[np.int64]:
    is_right = examples.predicted == examples.true
    return np.flatnonzero((examples.true == label) & (is_right == right))


def _overlays(cells: Picture, maps: NDArray[np.float32]) -> Picture:
    """Saliency over the cell in grey, smoothed a little so that single px do not glitter."""
    from scipy.ndimage import gaussian_filter

    sigma = max(0.5, min(cells.shape[1:3]) / 50)
    smooth = np.stack([gaussian_filter(one, sigma) for one in maps])
    # The strongest hundredth is drawn alike, else one px dims all others.
    most = np.percentile(smooth, 99, axis=(1, 2))
    most = np.where(most > 0, most, np.maximum(smooth.max(axis=(1, 2)), 1e-30))
    strength = np.clip(smooth / most[:, None, None], 0.0, 1.0)
    colours = matplotlib.colormaps["plasma"](strength)[..., :3]
    alpha = 0.85 * strength[..., None]
    grey = cells.mean(axis=-1, keepdims=True)
    return np.asarray((1 - alpha) * grey + alpha * colours, dtype=np.float32)


def _lifted(picture: Picture, room: int) -> Picture:
    """The picture with white above it."""
    return np.concatenate([np.ones((room, *picture.shape[1:]), np.float32), picture])


def _named(title: str) -> str:
    return title if len(title) <= LETTERS else f"{title[: LETTERS - 2]}.."
