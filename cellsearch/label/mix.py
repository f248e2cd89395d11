"""A card's probabilities under the mix of classes that cells come in, not that of its training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import CardConfig
from cellsearch.stats.calibration import scaled
from cellsearch.stats.decision import aimed_at


def natural_mix(
    probabilities: NDArray[np.floating[Any]], config: CardConfig, *, tempered: bool
) -> NDArray[np.float64]:
    """(n, K) calibrated probabilities, without what class weights and resampling taught the model.

    Args:
        probabilities: (n, K) of the card's model; of a card without the prior of its training
            they stay as they are.
        config: of the card.
        tempered: they are at the card's temperature, as its graph gives them.
    """
    temperature = config.temperature or 1.0
    raw = scaled(probabilities, 1.0 / temperature) if tempered else probabilities
    if config.decision is not None:
        raw = aimed_at(raw, replace(config.decision, tau=0.0))
    return np.asarray(scaled(raw, temperature), np.float64)
