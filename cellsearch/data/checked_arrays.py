"""The fields of a data set from arrays, each checked, of its type and read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellsearch.data import arrays as rules
from cellsearch.data.crop_sizes import fields_of_view, ragged, size_notes, sizes_of
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers.options import ImageOptions
from cellsearch.data.readers.stack import stack
from cellsearch.errors import DataError
from cellsearch.util.messages import Setting

LAST = (1, 3, 4)
"""Numbers of channels of pictures that hold them last."""


def checked(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[str] | None,
    channels: Sequence[str] | None,
    groups: ArrayLike | None,
    ids: ArrayLike | None,
    name: str,
    provenance: Provenance,
    sources: ArrayLike | None,
    object_numbers: ArrayLike | None,
    layout: rules.Layout,
) -> dict[str, Any]:
    """Fields of ``CellDataset`` but its digest; arguments as of ``from_arrays``.

    Raises:
        DataError: see ``CellDataset.from_arrays``.
    """
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"name must be a text that is not empty, got {name!r}")
    if not isinstance(provenance, Provenance):
        raise DataError(f"provenance must be a Provenance, got {type(provenance).__name__}")
    crops = ragged(images)
    if crops is not None:
        images, provenance = _of_one_size(crops, layout, provenance)
        layout = "NCHW"
    pixels, note = rules.to_images(images, layout)
    count, depth = pixels.shape[:2]
    names = rules.check_names(
        channels if channels is not None else [f"channel-{k + 1}" for k in range(depth)],
        "channel",
    )
    if len(names) != depth:
        raise DataError(
            f"{depth} channels in the images, but {len(names)} names: {', '.join(names)}"
        )
    if ids is None:
        ids = [f"{cell:06d}" for cell in range(count)]
    texts = rules.to_texts(ids, "ids", count)
    rules.check_unique(texts)
    rules.check_finite(pixels, texts)
    positions, class_names = rules.to_labels(labels, classes, count)
    if note:
        provenance = provenance.with_notes(note)
    found = rules.to_texts([""] * count if sources is None else sources, "sources", count)
    return {
        "images": rules.read_only(pixels),
        "labels": rules.read_only(positions),
        "classes": class_names,
        "channels": names,
        "ids": rules.read_only(texts),
        "sources": rules.read_only(found),
        "object_numbers": rules.read_only(rules.to_numbers(object_numbers, count)),
        "groups": None if groups is None else rules.read_only(rules.to_groups(groups, count)),
        "name": name,
        "provenance": provenance,
    }


def _of_one_size(
    crops: Sequence[NDArray[Any]], layout: rules.Layout, provenance: Provenance
) -> tuple[NDArray[Any], Provenance]:
    """Crops of several sizes as the readers bring them to one, and a note that says so.

    Raises:
        DataError: dtypes or channel counts differ, channels come last, or images are fields of
            view.
    """
    deep = [
        crop[None] if crop.ndim == 2 else np.moveaxis(crop, 2, 0) if layout == "NHWC" else crop
        for crop in crops
    ]
    last = {crop.shape[-1] for crop in deep}
    if len({len(crop) for crop in deep}) > 1 and len(last) == 1 and last <= set(LAST):
        raise DataError(
            "the images have as many channels as rows, if channels come first; where they come "
            "last, give ",
            Setting("layout", "NHWC"),
        )
    names = [f"image {number}" for number in range(len(deep))]
    if large := fields_of_view(sizes_of(deep), names):
        raise DataError(
            f"{len(large)} of {len(deep)} images are fields of view rather than crops of single "
            f"cells ({rules.listed(large)}): leave them out, or cut the cells out of them first"
        )
    pixels, fitting = stack(deep, ImageOptions(), names)
    if fitting is None:
        return pixels, provenance
    told = replace(provenance, fit=fitting.fit)
    # No option of a reader chooses for arrays.
    return pixels, told.with_notes(*size_notes(replace(fitting, chosen=False)))
