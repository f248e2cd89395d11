"""Which part of a cell a class rests on, found by covering it, without torch.

Occlusion (Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section
4.2): a square slides over the cell, and where covering lowers the log-probability of the class,
the card looked at what was there. Covered pixels, in all channels, become the median of the
channel's border, as in the readers' ``fit=pad``: background. Any graph can be asked so, also one of
measured features; what it finds is coarser than a gradient, and a square larger than what matters
blurs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.inputs import graph_inputs
from cellsearch.card.predict import CardPredictor
from cellsearch.card.session import run_session

PART = 6
"""The square's side is a sixth of the crop's."""

STEPS = 3
"""It moves by a third of its side."""

BYTES_AT_ONCE = 64_000_000
SMALLEST_PROBABILITY = 1e-12
FAINTEST = 0.01
"""Nats that are drawn in full colour at least: a loss of 1 % of the probability is no finding."""


def occlusion(predictor: CardPredictor, cell: NDArray[Any], target: int) -> NDArray[np.float32]:
    """How much covering each pixel lowers the log-probability of a class, in the mean.

    Args:
        predictor: of the card.
        cell: (C, H, W) raw, in the card's size and dtype.
        target: position of the class.

    Returns:
        (H, W) float32 in nats; above 0 where the pixel speaks for the class.

    Raises:
        CardError: the card's model cannot be run on covered cells.
    """
    height, width = cell.shape[1:]
    tall, wide = max(2, round(height / PART)), max(2, round(width / PART))
    places = [(top, left) for top in _starts(height, tall) for left in _starts(width, wide)]
    edge = np.concatenate([cell[:, 0], cell[:, -1], cell[:, :, 0], cell[:, :, -1]], axis=1)
    blank = np.median(edge, axis=1).astype(cell.dtype)[:, None, None]
    at_once = max(1, BYTES_AT_ONCE // max(1, cell.size * 4))
    whole = _log_probability(predictor, cell[None], target)[0]
    lost = np.zeros((height, width))
    times = np.zeros((height, width))
    for first in range(0, len(places), at_once):
        part = places[first : first + at_once]
        covered = np.repeat(cell[None], len(part), axis=0)
        for row, (top, left) in enumerate(part):
            covered[row, :, top : top + tall, left : left + wide] = blank
        found = whole - _log_probability(predictor, covered, target)
        for value, (top, left) in zip(found, part, strict=True):
            lost[top : top + tall, left : left + wide] += value
            times[top : top + tall, left : left + wide] += 1
    return (lost / times).astype(np.float32)


def overlay(cell: NDArray[np.uint8], found: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3): what speaks for the class, from dark blue to yellow, over the cell in grey.

    The colours are those of the card's own picture of saliency (plasma, which the colour-blind
    tell apart); what speaks against the class is left grey.

    Args:
        cell: (C, H, W), as it is drawn.
        found: (H, W), of ``occlusion``.
    """
    import matplotlib

    most = max(float(found.max()), FAINTEST)
    strength = np.clip(found / most, 0.0, 1.0)
    colours = matplotlib.colormaps["plasma"](strength)[..., :3]
    alpha = 0.75 * strength[..., None]
    grey = cell.mean(axis=0)[..., None] / 255
    mixed = (1 - alpha) * grey + alpha * colours
    return np.asarray((255 * mixed).round(), np.uint8)


def _starts(length: int, part: int) -> list[int]:
    """Where the square begins: at both edges, and evenly between."""
    count = 1 + max(1, -(-(length - part) * STEPS // part))
    return sorted({round(at) for at in np.linspace(0, length - part, count)})


def _log_probability(
    predictor: CardPredictor, cells: NDArray[Any], target: int
) -> NDArray[np.float64]:
    # Not by predictor.predict: covered cells need not look like those of training.
    probabilities = run_session(
        predictor.session,
        graph_inputs(cells, predictor.config),
        output_name=predictor.config.onnx.output,
    )
    one = probabilities[:, target].astype(np.float64)
    return np.asarray(np.log(np.maximum(one, SMALLEST_PROBABILITY)))
