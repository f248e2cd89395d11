"""What single images betray: no picture, saturation, a grey level far from all others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import Finding, Severity, named, some
from cellsearch.data.storage import rows_per_chunk
from cellsearch.util.messages import Message

SATURATED_SHARE = 0.02
"""Share of a channel's pixels at the ceiling from which a cell counts as saturated."""

OUTLIER_DEVIATIONS = 12.0
"""Robust standard deviations of the mean grey level from which a cell counts as an outlier."""

_CEILING_SHARE = 1e-4
_FEW_CELLS = 30


def constant(dataset: CellDataset, flat: NDArray[np.bool_]) -> list[Finding]:
    """Cells without a picture in all, or in some, of their channels; ``flat`` is (N, C)."""
    findings = []
    blank = np.flatnonzero(flat.all(axis=1))
    if len(blank):
        names = named(dataset, blank)
        message = (
            f"{len(blank)} cells are blank (one value, or stripes, in every channel): "
            f"{some(names)}; they are padding or failed crops; remove them"
        )
        findings.append(Finding("constant", "error", names, Message.of(message)))
    partly = flat & ~flat.all(axis=1, keepdims=True)
    for channel, name in enumerate(dataset.channels):
        if len(cells := np.flatnonzero(partly[:, channel])):
            names = named(dataset, cells)
            message = (
                f"{len(cells)} cells are blank in {name} only: {some(names)}; "
                "check that the channel was recorded and read"
            )
            findings.append(Finding("constant-channel", "warning", names, Message.of(message)))
    return findings


def levels(images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(N, C) largest pixel and mean pixel of each channel of each cell."""
    largest = np.empty(images.shape[:2], images.dtype)
    mean = np.empty(images.shape[:2], np.float64)
    for start in range(0, len(images), step := rows_per_chunk(images)):
        block = images[start : start + step]
        largest[start : start + step] = block.max((2, 3))
        mean[start : start + step] = block.mean((2, 3))
    return largest, mean


def saturated(dataset: CellDataset, largest: NDArray[Any]) -> list[Finding]:
    """Cells with many pixels at the ceiling: of the dtype, or where the data set's pixels pile up.

    A camera of 12 bits writes uint16 that end at 4095, so the largest pixel found counts as a
    ceiling too; that many pixels share it is what tells it from the brightest of a slope.
    """
    images = dataset.images
    findings = []
    pixels = images.shape[2] * images.shape[3]
    for channel, name in enumerate(dataset.channels):
        ceiling = largest[:, channel].max()
        reached = np.flatnonzero(largest[:, channel] == ceiling)
        share = np.zeros(len(dataset))
        for cell in reached:
            share[cell] = (images[cell, channel] == ceiling).sum() / pixels
        at_dtype_end = images.dtype.kind == "u" and ceiling == np.iinfo(images.dtype).max
        piled = share.sum() / len(dataset) > _CEILING_SHARE and len(reached) > 1
        cells = np.flatnonzero(share >= SATURATED_SHARE)
        if len(cells) and (at_dtype_end or piled):
            names = named(dataset, cells)
            common = len(cells) > len(dataset) / 2
            remedy = (
                "this may be the background, as in bright-field colour; look at the images"
                if common
                else f"{some(names)}; shorten the exposure, or leave these cells out"
            )
            message = (
                f"{len(cells)} of {len(dataset)} cells have {SATURATED_SHARE:.0%} or more of their "
                f"{name} pixels at the ceiling of {ceiling:g}, the worst {share.max():.0%}: "
                f"{remedy}"
            )
            severity: Severity = "note" if common else "warning"
            findings.append(Finding("saturated", severity, names, Message.of(message)))
    return findings


def outliers(
    dataset: CellDataset, flat: NDArray[np.bool_], mean: NDArray[np.float64]
) -> list[Finding]:
    """Cells whose mean level lies far from that of their class, as when exposures are mixed."""
    findings = []
    for channel, name in enumerate(dataset.channels):
        far: list[int] = []
        for label in np.unique(dataset.labels):
            cells = np.flatnonzero((dataset.labels == label) & ~flat[:, channel])
            if len(cells) < _FEW_CELLS:
                continue
            level = mean[cells, channel]
            deviation = np.abs(level - np.median(level))
            spread = 1.4826 * np.median(deviation)
            far += cells[deviation > max(OUTLIER_DEVIATIONS * spread, 1e-6)].tolist()
        if far:
            names = named(dataset, np.array(sorted(far)))
            message = (
                f"{len(far)} cells have a mean {name} level more than {OUTLIER_DEVIATIONS:g} "
                f"robust standard deviations from that of their class: {some(names)}; "
                "check whether exposures, bit depths or instruments are mixed"
            )
            findings.append(Finding("outlier-intensity", "note", names, Message.of(message)))
    return findings
