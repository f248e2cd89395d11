"""Features of the cells of a data set, as a module takes them: measured, or of a backbone."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.feature_cache import computed_once
from cellsearch.learn.backbone_module import BackboneModule
from cellsearch.learn.cell_module import CellModule
from cellsearch.util.progress import Progress

VERSION = 1
"""Raised whenever the way from pixels to features changes."""


def kept_features(
    module: CellModule,
    dataset: CellDataset,
    indices: NDArray[np.int64],
    on_stage: Progress | None = None,
) -> NDArray[np.float32]:
    """(n, F) float32 features of some cells, in the order of ``indices``, not standardised.

    All cells of a data set that lies in a folder are computed once and kept, under a name made of
    the cells' digest, the network's weights and what it sees. Each cell is computed by itself, so
    nothing passes from one to another.

    Args:
        module: that takes measured features, or has a backbone.
        dataset: the cells.
        indices: (n,) int64.
        on_stage: told how many cells a backbone has seen; what it raises ends the computation.

    Raises:
        DataError: the cache cannot be written, or crops are too small to be measured.
    """
    if not isinstance(module, BackboneModule):
        from cellsearch.data.features import features_of

        return features_of(dataset, indices)
    if dataset.folder is not None:
        shape = (len(dataset), module.features)
        kept = computed_once(
            _name(module, dataset), shape, lambda: module.features_of(dataset.images, on_stage)
        )
        return np.asarray(kept[indices])
    chosen, places = np.unique(indices, return_inverse=True)
    return module.features_of(dataset.images[chosen], on_stage)[places]


def _name(module: BackboneModule, dataset: CellDataset) -> str:
    view, limits = module.view, module.scale.limits.tolist()
    seen = [module.name, module.colour, limits, view.cropped, view.seen]
    facts = json.dumps([VERSION, dataset.sha256, *seen])
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(module.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to(device="cpu").contiguous().numpy().tobytes())
    return f"backbone-{digest.hexdigest()}"
