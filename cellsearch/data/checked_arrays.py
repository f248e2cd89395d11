"""The fields of a data set from arrays, each checked, of its type and read-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from cellsearch.data import arrays as rules
from cellsearch.data.provenance import Provenance
from cellsearch.errors import DataError


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
