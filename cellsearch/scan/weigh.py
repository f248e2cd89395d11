"""What pixels tell: sizes, channels, duplicates, and from all that the choices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from cellsearch.data.arrays import MAX_CHANNELS, UNLABELLED, listed
from cellsearch.data.check import check_dataset
from cellsearch.data.crop_sizes import Size, fields_of_view, size_notes, sizes_of
from cellsearch.data.dataset import CellDataset
from cellsearch.data.file_findings import trait_findings
from cellsearch.data.file_traits import traits_of
from cellsearch.data.findings import Finding, Severity
from cellsearch.data.provenance import Provenance
from cellsearch.data.rare import units_of, units_per_class
from cellsearch.data.readers.options import ImageOptions, ReaderOptions
from cellsearch.data.readers.stack import name_channels, relative, stack
from cellsearch.scan.choices import SizeChoice, choose_run, choose_size
from cellsearch.scan.crops import from_camera_colour
from cellsearch.scan.found import FirstLook
from cellsearch.scan.group_choice import choose_groups, groups_per_class
from cellsearch.util.messages import Message, Setting, some
from cellsearch.util.progress import Progress

MOST_CHECKED = 3000
"""Cells that are compared for duplicates; all of a larger set take minutes."""


def weigh(look: FirstLook, given: Mapping[str, Any], on_progress: Progress | None) -> None:
    """Everything that pixels tell, into ``look``."""
    layout, crops = look.layout, look.crops
    base = layout.target if layout.target.is_dir() else layout.target.parent
    if crops.bad:
        alike: dict[str, tuple[Message, list[str]]] = {}
        for file, why in crops.bad.values():
            alike.setdefault(str(why), (Message.of(why), []))[1].append(relative(file, base))
        shown = [Message.of(f"{listed(names, most=3)}: ", why) for why, names in alike.values()]
        text = Message.of(f"{len(crops.bad)} images cannot be read (", some(shown, most=3), ")")
        if layout.kind in ("folders", "nested"):
            layout.notes.append(f"{text}; the table leaves them out")
        else:
            layout.problems.append(Message.of(text, ": repair them or move them out"))
    if not crops.images:
        layout.problems.append("no image can be read")
        return
    sources = [relative(cell[0], base) for cell in layout.cells]
    look.findings = tuple(_of_files(look, sources))
    _require_alike(look)
    if layout.problems and layout.kind != "flat":
        return
    if "size" not in given and "fit" not in given:
        look.size = choose_size(crops.sizes, classes=_sizes_of_classes(look))
    depth = len(crops.images[0])
    look.channels = name_channels(
        _named(given) or layout.codes or None, depth, colour=from_camera_colour(layout.cells)
    )
    if layout.kind == "flat":
        return
    settings = {name: given[name] for name in ("size", "fit", "cut") if name in given}
    if look.size:
        settings = {"size": look.size.size, "fit": look.size.fit}
    pixels, fitting = stack(
        crops.images, ImageOptions.model_validate(settings), [sources[k] for k in crops.cells]
    )
    if fitting is not None and "fit" in given and "size" not in given:
        look.size = SizeChoice(fitting.size, fitting.fit, f"{fitting.note}.")
    labels = [layout.labels[k] for k in crops.cells]
    notes = [] if fitting is None else size_notes(fitting, labels)
    cells = CellDataset.from_arrays(
        pixels,
        labels,
        # Said by a folder or a table, so that a class may be called NA.
        classes=[name for name in layout.classes if name in set(labels)],
        channels=look.channels,
        ids=np.array([sources[k] for k in crops.cells], np.str_),
        sources=np.array([sources[k] for k in crops.cells], np.str_),
        layout="NCHW",
        provenance=Provenance().with_notes(*notes),
    )
    check(look, cells, on_progress)
    choose(look, sources, one_cell_a_file=True)


def _sizes_of_classes(look: FirstLook) -> dict[str, Counter[Size]]:
    """How many crops of each class have which height and width."""
    found: dict[str, Counter[Size]] = defaultdict(Counter)
    for cell, size in zip(look.crops.cells, sizes_of(look.crops.images), strict=True):
        found[look.layout.labels[cell]][size] += 1
    return found


def _of_files(look: FirstLook, sources: Sequence[str]) -> list[Finding]:
    """What the files of the cells that were read tell besides pixels."""
    layout, cells = look.layout, look.crops.cells
    classes = layout.classes
    labels = [layout.labels[k] for k in cells]
    names = [sources[k] for k in cells]
    groups = layout.groups
    return trait_findings(
        traits_of([layout.cells[k] for k in cells]),
        labels=np.array([classes.index(each) if each else UNLABELLED for each in labels], np.int64),
        classes=classes,
        ids=names,
        files=names,
        groups=None if groups is None else np.array([groups[k] for k in cells], np.str_),
    )


def _named(given: Mapping[str, Any]) -> tuple[str, ...] | None:
    return ReaderOptions(channels=given.get("channels")).channels or None


def _require_alike(look: FirstLook) -> None:
    """Refuse what no option brings together: dtypes, channel counts, fields of view."""
    crops, layout = look.crops, look.layout
    if len(crops.dtypes) > 1:
        there = ", ".join(f"{count} of {name}" for name, count in crops.dtypes.most_common())
        layout.problems.append(f"images of several dtypes ({there}): convert them to one")
    if len(crops.depths) > 1:
        there = ", ".join(f"{count} with {depth}" for depth, count in crops.depths.most_common())
        layout.problems.append(
            f"images of several channel counts ({there}): save all in grey, or all in colour"
        )
    if max(crops.depths) > MAX_CHANNELS:
        layout.problems.append(
            f"{max(crops.depths)} channels in an image; 1 to {MAX_CHANNELS} are taken"
        )
    files = [layout.cells[k][0].name for k in crops.cells]
    large = fields_of_view(sizes_of(crops.images), files)
    if large and "size" not in layout.options:
        layout.problems.append(
            Message.of(
                f"{len(large):,} of {len(files):,} images are fields of view or montages, not "
                f"crops of single cells ({listed(large, most=3)}): leave them out, or cut the "
                "cells out first (CellProfiler's SaveCroppedObjects does), or, for a grid of equal "
                "tiles, read it with ",
                Setting("layout", "montage", reader=True),
                " ",
                Setting("tile", "HEIGHTxWIDTH", reader=True),
                " ",
                Setting("codes", "Ch1,Ch2", reader=True),
            )
        )


def check(look: FirstLook, cells: CellDataset, on_progress: Progress | None) -> None:
    """The integrity check, of at most ``MOST_CHECKED`` cells; class sizes are counted elsewhere."""
    if len(cells) > MOST_CHECKED:
        chosen = np.sort(np.random.default_rng(0).permutation(len(cells))[:MOST_CHECKED])
        cells = cells.subset(chosen)
    if on_progress:
        on_progress("looking for near-duplicates and blank images", 0, 1)
    report = check_dataset(cells)
    if on_progress:
        on_progress("looking for near-duplicates and blank images", 1, 1)
    counted = ("tiny-class", "not-estimable", "undeclared-groups")
    look.checked, look.sample, look.duplicates = len(cells), cells, report.duplicates
    found = [each for each in report.findings if each.kind not in counted]
    order = get_args(Severity)
    look.findings = tuple(
        sorted([*look.findings, *found], key=lambda each: order.index(each.severity))
    )


def choose(look: FirstLook, sources: Sequence[str], *, one_cell_a_file: bool) -> None:
    layout, kept = look.layout, [k for k in look.kept if look.layout.labels[k]]
    labels = [layout.labels[k] for k in kept]
    groups = None if layout.groups is None else [layout.groups[k] for k in kept]
    if len(set(labels)) > 1:
        look.groups = choose_groups(
            labels,
            [sources[k] for k in kept],
            groups,
            layout.group_word,
            columns={name: [its[k] for k in kept] for name, its in layout.columns.items()},
            one_cell_a_file=one_cell_a_file,
        )
    counts = {name: labels.count(name) for name in layout.classes if name in set(labels)}
    names = None if look.group is None else look.group.names
    units: Mapping[str, int] = counts
    if names is not None:
        units = groups_per_class(np.array(labels, np.str_), names)
    if look.sample is not None and len(look.sample) == len(labels):
        # Duplicates stay on one side, and join the groups that they lie in.
        cells = replace(look.sample, groups=names)
        found = units_per_class(cells, units_of(cells, look.duplicates)).tolist()
        units = dict(zip(cells.classes, found, strict=True))
    look.run = choose_run(counts, units, look.crop, grouped=look.group is not None)
