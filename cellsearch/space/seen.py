"""The size of what a network sees of a crop."""

from __future__ import annotations

import math

from cellsearch.space.sections import Input


def seen_size(size: tuple[int, int], settings: Input) -> tuple[int, int]:
    """(H, W) of what a network sees of crops of ``size``, px."""
    if settings.size:
        return settings.size, settings.size
    height, width = cropped_size(size, settings.crop)
    longer = max(height, width)
    if not 0 < settings.most < longer:
        return height, width
    return _scaled(height, settings.most, longer), _scaled(width, settings.most, longer)


def _scaled(side: int, most: int, longer: int) -> int:
    """In whole numbers, so that it is the same everywhere; halves go up."""
    return max(1, (2 * side * most + longer) // (2 * longer))


def cropped_size(size: tuple[int, int], share: float) -> tuple[int, int]:
    """(H, W) left of a crop, at least 1 px."""
    height, width = (max(1, math.floor(side * share + 0.5)) for side in size)
    return height, width
