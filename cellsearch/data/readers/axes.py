"""Which axis of a four-dimensional array of crops holds the channels."""

from __future__ import annotations

from collections.abc import Sequence

from cellsearch.data.arrays import MAX_CHANNELS, Axes, readings
from cellsearch.errors import ConfigError
from cellsearch.util.messages import Setting


def axes_of(shape: Sequence[int], asked: str, file: str) -> Axes:
    """The axes of (N, C, H, W) or (N, H, W, C) by its sizes, unless they are asked for.

    Args:
        shape: of four axes.
        asked: ``NCHW``, ``NHWC``, or anything else where nobody says.
        file: for the message.

    Raises:
        ConfigError: either axis may be that of the channels; both readings are told.
    """
    if asked in ("NCHW", "NHWC"):
        return "NCHW" if asked == "NCHW" else "NHWC"
    first, last = shape[1] <= MAX_CHANNELS, shape[3] <= MAX_CHANNELS
    if first == last:
        raise ConfigError(
            f"{file}: crops of shape {tuple(shape)} may be {readings(shape)}: give ",
            Setting("layout_axes", "NCHW", reader=True),
            " for the first or ",
            Setting("layout_axes", "NHWC", reader=True),
            " for the second",
        )
    return "NCHW" if first else "NHWC"
