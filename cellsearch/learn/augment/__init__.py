"""Label-preserving transforms of a batch of cells, drawn per cell, on the device.

Parameters are drawn from one numpy generator whatever the device, so a seed gives the same
transforms everywhere; only the px of noise are drawn on the device, from a seed of that generator.
"""

from cellsearch.learn.augment.augmenter import Augmenter
from cellsearch.learn.augment.focus import add_noise, blur, reach_of, sharpen
from cellsearch.learn.augment.light import grey, recolour, relight
from cellsearch.learn.augment.mixing import cutmix, mix, mixup
from cellsearch.learn.augment.moves import gather, orientations, turn

__all__ = [
    "Augmenter",
    "add_noise",
    "blur",
    "cutmix",
    "gather",
    "grey",
    "mix",
    "mixup",
    "orientations",
    "reach_of",
    "recolour",
    "relight",
    "sharpen",
    "turn",
]
