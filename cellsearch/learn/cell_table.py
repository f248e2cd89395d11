"""CellTable: what the classical families learn from, one row of values a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cellsearch.errors import TrialError
from cellsearch.learn.augment import Augmenter
from cellsearch.learn.backbone_module import BackboneModule
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.cell_source import CellSource
from cellsearch.learn.kept_features import kept_features
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import Recipe
from cellsearch.util.progress import Progress

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]

CELLS_AT_ONCE = 256
MOST_BYTES = 4 * 2**30
"""Of all cells' values; a library may hold them once more."""

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class CellTable:
    """Values, labels and weights of the cells to fit.

    Attributes:
        values: (n, F) float32.
        labels: (n,) int64 in ``0 .. classes - 1``.
        weights: (n,) float64 of the cells, with a mean of 1.
        classes: K.
        columns: the classes that have cells, in order.
        positions: (n,) int64, each label's place among ``columns``.
    """

    values: Floats
    labels: Indices
    weights: NDArray[np.float64]
    classes: int
    columns: list[int]
    positions: Indices

    @classmethod
    def of(cls, values: Floats, labels: Indices, of_class: Floats) -> CellTable:
        """With each cell weighted by its class."""
        cells = of_class[labels].astype(np.float64)
        columns, positions = np.unique(labels, return_inverse=True)
        return cls(values, labels, cells / cells.mean(), len(of_class), columns.tolist(), positions)


def cell_values(
    module: CellModule,
    recipe: Recipe,
    source: CellSource,
    order: Indices,
    *,
    rng: np.random.Generator,
    device: torch.device,
    on_stage: Progress | None = None,
) -> Floats:
    """(n (1 + copies), F) float32 of what the network sees; the normalisation is fitted first."""
    model = recipe.model
    assert isinstance(model, ClassicalModel)
    cells, first = np.unique(order, return_index=True)
    real, first = cells[cells < len(source.dataset)], first[cells < len(source.dataset)]
    images = source.dataset.images
    table = _features(module, source, order, on_stage) if _tabular(module) else None
    if table is None:
        module.normalise.fit(images, real)
    else:
        module.normalise.fit(table[:, :, None, None], first)
        module.normalise.fitted_on = real
    rows, width = len(order) * (1 + model.copies), _width(module, images.shape[1])
    if 4 * rows * width > MOST_BYTES:
        raise TrialError(
            f"model.copies: {rows:,} cells of {width:,} values take {4 * rows * width / 2**30:.1f} "
            f"GB, at most {MOST_BYTES / 2**30:.0f} are allowed; fewer copies, a smaller "
            "input.size or measured features would fit"
        )
    size = (int(source.dataset.images.shape[2]), int(source.dataset.images.shape[3]))
    augment = Augmenter(recipe.augment, size=size, device=device, rng=rng)
    out = np.empty((rows, width), dtype=np.float32)
    at = 0
    for copy in range(1 + model.copies):
        for start in range(0, len(order), CELLS_AT_ONCE):
            chosen = order[start : start + CELLS_AT_ONCE]
            place = slice(at, at + len(chosen))
            at += len(chosen)
            if table is not None and copy == 0:
                out[place] = _standardised(module, table[place])
                continue
            seen, _ = source.load(chosen, device=device)
            if copy:
                seen = augment(seen)
            out[place] = _seen(module, seen.cpu(), rng if copy else None)
    return out


def _tabular(module: CellModule) -> bool:
    """Whether its network takes features, which are computed once, in place of pixels."""
    return module.measures or isinstance(module, BackboneModule)


def _width(module: CellModule, channels: int) -> int:
    if _tabular(module):
        return len(module.normalise.mean)
    return channels * int(np.prod(module.view.seen))


def _features(
    module: CellModule, source: CellSource, chosen: Indices, on_stage: Progress | None
) -> Floats:
    """(n, F) features: of real cells from the cache, of generated ones made now."""
    real = chosen < len(source.dataset)
    found = np.empty((len(chosen), len(module.normalise.mean)), dtype=np.float32)
    found[real] = kept_features(module, source.dataset, chosen[real], on_stage)
    if not real.all():
        made, _ = source.load(chosen[~real], device=CPU)
        found[~real] = _features_now(module, made)
    return found


def _features_now(module: CellModule, images: torch.Tensor) -> Floats:
    if isinstance(module, BackboneModule):
        return module.features_of(images.numpy())
    from cellsearch.data.features import measure

    return measure(images.numpy())


def _standardised(module: CellModule, features: Floats) -> Floats:
    with torch.no_grad():
        seen: Floats = module.normalise(torch.from_numpy(features)[:, :, None, None]).numpy()
    return seen[:, :, 0, 0]


def _seen(module: CellModule, images: torch.Tensor, rng: np.random.Generator | None) -> Floats:
    """(B, F) of raw intensities on the CPU; with ``rng`` the view's place is drawn."""
    if _tabular(module):
        return _standardised(module, _features_now(module, images))
    with torch.no_grad():
        view = module.view(images) if rng is None else module.view.draw(images, rng)
        flat: Floats = module.normalise(view).flatten(1).numpy()
    return flat
