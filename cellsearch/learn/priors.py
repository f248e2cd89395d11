"""What a training taught a model of how frequent classes are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellsearch.learn.losses import class_weights
from cellsearch.learn.predictor import Predictor
from cellsearch.learn.training import Cells
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import Recipe
from cellsearch.stats.decision import Priors

MOST_OF_A_CLASS = 200
"""Training cells of a class that are predicted where a loss bends the prior."""


def predictor_priors(
    predictor: Predictor,
    recipe: Recipe,
    cells: Cells,
    natural: NDArray[np.int64],
    *,
    estimate: bool = False,
) -> Priors:
    """Effective and natural prior, from training cells alone.

    Counts and weights tell the effective prior of cross-entropy, mixup and generated cells
    included: what an epoch holds counts. Focal loss and label smoothing bend it, so there it is
    estimated from what the trained model says of its training cells. Classical families are
    fitted by weighted cross-entropy, whatever the recipe's loss.

    Args:
        predictor: trained.
        recipe: of it.
        cells: that it was trained on.
        natural: (K,) training cells of each class, those watched included.
        estimate: whether a network was trained too briefly to have learnt the prior by counts.
    """
    priors = Priors.of(natural, cells.targets, class_weights(cells.targets, recipe.loss))
    focal = recipe.loss.kind == "focal" and recipe.loss.gamma > 0.0
    bent = focal or recipe.loss.label_smoothing > 0 or estimate
    if isinstance(recipe.model, ClassicalModel) or not bent:
        return priors
    dataset = cells.source.dataset
    labels = dataset.labels[cells.indices]
    some = np.concatenate(
        [_spread(cells.indices[labels == k]) for k in range(len(dataset.classes))]
    )
    return priors.estimated(
        np.asarray(dataset.labels[some], np.int64), predictor.predict_proba(dataset, some)
    )


def _spread(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most ``MOST_OF_A_CLASS`` of them, evenly spaced."""
    if len(indices) <= MOST_OF_A_CLASS:
        return indices
    places = np.linspace(0, len(indices) - 1, MOST_OF_A_CLASS).astype(np.int64)
    return np.sort(indices)[places]
