"""One label image: whole numbers, 0 background, each other number one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.readers.images import read_image
from cellsearch.errors import ReadError

Size = tuple[int, int]
LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
INTEGERS = "save the label image as integers of 16 or 32 bits (TIFF or PNG)"
PARTS = 3
"""Parts for each number from which on an image shows kinds of pixels rather than objects."""

NEEDED = "a label image has a number for each object, 0 for the background"


@dataclass(frozen=True)
class Object:
    """One object of a label image.

    Attributes:
        number: its value.
        area: px.
        top, left, bottom, right: its bounding box, px; the last two are just outside.
    """

    number: int
    area: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def extent(self) -> int:
        """The longer side of its bounding box, px."""
        return max(self.bottom - self.top, self.right - self.left)

    def touches(self, size: Size) -> bool:
        """Whether it reaches the border of an image (H, W)."""
        inside = self.top > 0 and self.left > 0
        return not (inside and self.bottom < size[0] and self.right < size[1])


def read_labels(path: Path) -> NDArray[Any]:
    """(H, W) integers.

    Raises:
        ReadError: not an image, colours, floats, negative numbers, or a mask of foreground.
    """
    if path.suffix.lower() in LOSSY:
        raise ReadError(f"{path.suffix} changes numbers; {INTEGERS}")
    planes = read_image(path)
    if len(planes) in (3, 4):
        raise ReadError(f"colours ({len(planes)} channels), and {NEEDED}; {INTEGERS}")
    if len(planes) > 1:
        raise ReadError(f"{len(planes)} planes, and one label image is needed")
    labels: NDArray[Any] = planes[0]
    if labels.dtype.kind == "f":
        raise ReadError(f"floats ({labels.dtype}), and {NEEDED}; {INTEGERS}")
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise ReadError(f"negative numbers (down to {labels.min()}), and {NEEDED}")
    _refuse_foreground(labels)
    return labels


def objects_in(labels: NDArray[Any]) -> list[Object]:
    """The objects of a label image (H, W), by their numbers."""
    from skimage.measure import regionprops

    # It makes room for every number up to the largest.
    numbers, places = np.unique(labels, return_inverse=True)
    if not numbers.size or numbers[0] != 0:
        numbers, places = np.insert(numbers, 0, 0), places + 1
    found = regionprops(places.reshape(labels.shape))
    return [
        Object(int(numbers[each.label]), int(each.area), *map(int, each.bbox)) for each in found
    ]


def _refuse_foreground(labels: NDArray[Any]) -> None:
    """A number for many parts is what thresholds and pixel classifiers give."""
    from skimage.measure import label

    numbers = len(np.unique(labels[labels > 0]))
    parts = int(label(labels, connectivity=2).max()) if numbers else 0
    if parts >= PARTS * numbers > 0 or parts > numbers == 1:
        raise ReadError(
            f"{parts} parts, but {numbers} number{'s' * (numbers > 1)}, as in a mask of foreground "
            f"or of classes, and {NEEDED}; number the objects, as skimage.measure.label does"
        )
