"""A map of the hold-out: cells that the model takes for alike lie together."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellsearch.card.plots import LINES
from cellsearch.card.predict import Row
from cellsearch.card.whole_files import write_csv
from cellsearch.data.dataset import CellDataset

Projection = Literal["tsne", "umap"]

FILE = "embedding.csv"
MOST_CELLS = 2000
FEWEST_CELLS = 50
COMPONENTS = 50
PERPLEXITY = 30.0
ITERATIONS = 500
MARKERS = ("o", "^", "s", "D")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Hold-out cells in the plane.

    Attributes:
        rows: (n,) int64 rows of the hold-out.
        places: (n, 2) float32.
        method: ``PCA``, ``t-SNE`` or ``UMAP``.
        of: what was laid out, as ``features before the last dense layer``.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.float32]
    method: str
    of: str


def choose(labels: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """At most ``MOST_CELLS`` rows, rising; rare classes stay whole, common ones are thinned.

    Half of the places are dealt out evenly, so that a class with no more than its part keeps all
    its cells; the others are shared by the size of what is left.

    Args:
        labels: (n,) true classes of the hold-out.
        seed: of the choice within a class.
    """
    if len(labels) <= MOST_CELLS:
        return np.arange(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    sure = np.minimum(counts, MOST_CELLS // (2 * len(classes)))
    left = counts - sure
    quota = sure + (MOST_CELLS - sure.sum()) * left // left.sum()
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:most]
        for label, most in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def laid_out(
    values: NDArray[np.float32], *, projection: Projection = "tsne", seed: int = 0
) -> tuple[NDArray[np.float32], str]:
    """Values of each cell in the plane.

    Few cells or less than three values a cell are laid out by PCA. Otherwise by t-SNE (van der
    Maaten & Hinton 2008) of the first 50 principal components, or by UMAP (McInnes et al. 2018)
    where it is asked for and installed.

    Args:
        values: (n, D) float32, finite, n at least 1.
        projection: wanted where there are enough cells.
        seed: of the method.

    Returns:
        (n, 2) float32 and the method's name.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    cells, size = values.shape
    centred = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    if not np.abs(centred).max() > 1e-6:
        return np.zeros((cells, 2), np.float32), "PCA"
    few = size < 3 or cells < FEWEST_CELLS
    components = min(2 if few else COMPONENTS, size, cells)
    main = PCA(components, random_state=seed).fit_transform(centred)
    if few:
        places = np.zeros((cells, 2), np.float32)
        places[:, : main.shape[1]] = main
        return places, "PCA"
    if projection == "umap" and importlib.util.find_spec("umap") is not None:
        return _umap(main, seed), "UMAP"
    perplexity = min(PERPLEXITY, (cells - 1) / 3)
    method = TSNE(2, perplexity=perplexity, init="pca", max_iter=ITERATIONS, random_state=seed)
    return method.fit_transform(main).astype(np.float32), "t-SNE"


def _umap(values: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    import warnings

    from umap import UMAP

    with warnings.catch_warnings():
        # It warns that a seed costs it its threads.
        warnings.simplefilter("ignore")
        return np.asarray(UMAP(random_state=seed).fit_transform(values), dtype=np.float32)


def save_table(
    folder: Path,
    found: Embedding,
    dataset: CellDataset,
    held: NDArray[np.int64],
    predicted: NDArray[np.int64],
) -> None:
    """``embedding.csv``: id, true and predicted class, x, y and method of each cell drawn.

    Args:
        folder: of the card.
        found: n cells in the plane.
        dataset: all cells.
        held: (h,) int64 positions of the hold-out's cells.
        predicted: (h,) int64 classes.
    """
    rows: list[Row] = [
        {
            "id": str(dataset.ids[held[row]]),
            "true": dataset.classes[dataset.labels[held[row]]],
            "predicted": dataset.classes[predicted[row]],
            "x": f"{x:.4f}",
            "y": f"{y:.4f}",
            "method": found.method,
        }
        for row, (x, y) in zip(found.rows, found.places.tolist(), strict=True)
    ]
    write_csv(folder / FILE, rows)


def embedding_plot(
    found: Embedding,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: tuple[str, ...],
) -> Figure:
    """A point a cell, coloured by its true class; cells that the model takes for another, ringed.

    Args:
        found: n cells in the plane.
        labels: (n,) true classes.
        predicted: (n,) predicted classes.
        classes: K names.
    """
    figure = Figure(figsize=(8.6, 5.8), layout="constrained")
    axes = figure.add_subplot()
    counts = np.bincount(labels, minlength=len(classes))
    size = 22.0 if len(labels) < 500 else 13.0
    dots = {}
    # Common classes are drawn first, so that rare ones lie on top.
    for label in np.argsort(-counts, kind="stable").tolist():
        of_class = labels == label
        wrong = of_class & (predicted != label)
        dots[label] = axes.scatter(
            found.places[of_class, 0],
            found.places[of_class, 1],
            s=size,
            color=LINES[label % len(LINES)],
            marker=MARKERS[label // len(LINES) % len(MARKERS)],
            linewidths=0,
            label=f"{classes[label]} (n = {counts[label]:,}, {int(wrong.sum()):,} wrong)",
        )
        axes.scatter(
            found.places[wrong, 0],
            found.places[wrong, 1],
            s=size * 2.4,
            facecolors="none",
            edgecolors="black",
            linewidths=0.9,
        )
    figure.legend(
        handles=[dots[label] for label in range(len(classes))],
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        title="true class; ringed: taken for another",
        title_fontsize=8.5,
        alignment="left",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"{found.method} 1")
    axes.set_ylabel(f"{found.method} 2")
    axes.set_title(
        f"{found.method} of {found.of}, hold-out (n = {len(labels):,} cells)", fontsize=11
    )
    return figure
