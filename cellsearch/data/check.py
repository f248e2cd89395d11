"""The integrity check: what in a data set would spoil a figure before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import UNLABELLED
from cellsearch.data.check_pixels import constant, levels, outliers, saturated
from cellsearch.data.dataset import CellDataset
from cellsearch.data.file_findings import file_findings
from cellsearch.data.findings import Finding, Kind, Severity, named, some
from cellsearch.data.look_alikes import look_alikes
from cellsearch.data.near_duplicates import DuplicatePair, find_duplicates, flat_channels
from cellsearch.data.plan import folds_of
from cellsearch.data.rare import choices, too_small, unit_word, units_of, units_per_class
from cellsearch.data.splits import Splits
from cellsearch.data.suggested_groups import undeclared
from cellsearch.util.messages import Message, Setting
from cellsearch.util.progress import Progress

__all__ = ["CheckReport", "DuplicatePair", "Finding", "check_dataset", "find_duplicates"]

_TINY_CLASS = 30
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class CheckReport:
    """All findings, errors first.

    Attributes:
        dataset: name of the data set.
        cells: how many were looked at.
        folds: for how many folds.
        findings: in order of severity.
        duplicates: the pairs behind the duplicate findings, for ``draw_splits``.
    """

    dataset: str
    cells: int
    folds: int
    findings: tuple[Finding, ...]
    duplicates: tuple[DuplicatePair, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that are errors or warnings."""
        return tuple(each for each in self.findings if each.severity != "note")


def check_dataset(
    dataset: CellDataset,
    *,
    folds: int | None = None,
    splits: Splits | None = None,
    duplicates: Sequence[DuplicatePair] | None = None,
    splits_follow: bool = False,
    on_progress: Progress | None = None,
) -> CheckReport:
    """Look for duplicates, odd images, files saved otherwise, names alike, groups, tiny classes.

    Args:
        dataset: cells, labelled or not; read in chunks, so it may be memory-mapped.
        folds: number of folds a search would use; by default what ``draw_splits`` takes.
        splits: where they exist already, duplicates are held against them instead of against the
            folds that a naive stratified split would draw.
        duplicates: as from ``find_duplicates``, which is asked where they are not given.
        splits_follow: splits that keep duplicates together are drawn next, so nothing is said of
            those that would not.
        on_progress: told how far the check has come.

    Returns:
        The report; never raises for what it finds.
    """
    stages = 5

    def told(done: int) -> None:
        if on_progress:
            on_progress("checking cells", done, stages)

    told(0)
    folds = folds_of(folds, dataset.groups)
    flat = flat_channels(dataset.images)
    told(1)
    duplicates = find_duplicates(dataset.images, flat=flat) if duplicates is None else duplicates
    told(2)
    largest, mean = levels(dataset.images)
    told(3)
    findings = [
        *_duplicate_ids(dataset),
        *look_alikes(dataset),
        *_passed_over(dataset),
        *_duplicates(dataset, duplicates, folds, splits, splits_follow=splits_follow),
        *constant(dataset, flat),
        *saturated(dataset, largest),
        *outliers(dataset, flat, mean),
    ]
    told(4)
    findings += [*file_findings(dataset), *undeclared(dataset), *_sizes(dataset)]
    findings += _classes(dataset, duplicates, folds)
    told(5)
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    return CheckReport(dataset.name, len(dataset), folds, tuple(findings), tuple(duplicates))


def _sizes(dataset: CellDataset) -> list[Finding]:
    """How crops of several sizes were brought to one, and what was lost by it."""
    return [
        Finding("crop-sizes", note.severity, (), note.message)
        for note in dataset.notes_of("crop-sizes")
    ]


def _class_of(dataset: CellDataset, cell: int) -> str:
    label = int(dataset.labels[cell])
    return "unlabelled" if label == UNLABELLED else dataset.classes[label]


def _duplicate_ids(dataset: CellDataset) -> list[Finding]:
    names, counts = np.unique(dataset.ids, return_counts=True)
    if not (counts > 1).any():
        return []
    twice = tuple(str(name) for name in names[counts > 1])
    message = (
        f"{len(twice)} ids belong to more than one cell: {some(twice)}; "
        "make them unique, so that predictions can be traced to cells"
    )
    return [Finding("duplicate-id", "error", twice, Message.of(message))]


def _passed_over(dataset: CellDataset) -> list[Finding]:
    """What the reader of a folder left: images in hidden folders, links that lead back."""
    return [
        Finding("ignored-files", note.severity, (), note.message)
        for note in dataset.notes_of("ignored-files")
    ]


def _duplicates(
    dataset: CellDataset,
    duplicates: Sequence[DuplicatePair],
    folds: int,
    splits: Splits | None,
    *,
    splits_follow: bool,
) -> list[Finding]:
    if not duplicates:
        return []
    part, drawn = _naive_parts(dataset, folds) if splits is None else _parts(dataset, splits)
    findings = []
    for linked in _linked(duplicates):
        cells = np.unique([(pair.a, pair.b) for pair in linked])
        ids = named(dataset, cells)
        classes = sorted({_class_of(dataset, int(cell)) for cell in cells})
        kind: Kind = "near-duplicate"
        if all(pair.kind == "exact" for pair in linked):
            kind = "exact-duplicate"
        severity: Severity = "warning"
        where = f" ({'both' if len(cells) == 2 else 'all'} {classes[0]})"
        if len(classes) > 1:
            kind = "duplicate-across-classes"
            # That one picture is another, moved, is an inference; it shall not stop a search.
            if any(pair.alignment is None for pair in linked):
                severity = "error"
            of_each = [_class_of(dataset, int(cell)) for cell in cells]
            where = f" but are labelled {' and '.join(of_each if len(cells) == 2 else classes)}"
        torn = len(np.unique(part[cells])) > 1 and not (splits is None and splits_follow)
        if torn and splits is not None:
            severity = "error"
        straddle = f"; {drawn} would put them on both sides" if torn and splits is None else ""
        straddle = f"; {drawn} put them on both sides" if torn and splits is not None else straddle
        remove = "remove one" if len(cells) == 2 else "keep one of them"
        remedy = f"correct the label, or {remove}" if len(classes) > 1 else remove
        findings.append(
            Finding(
                kind,
                severity,
                ids,
                Message.of(
                    f"{_same(linked, ids)}{where}{straddle}; {remedy} "
                    "(a search keeps them together)"
                ),
            )
        )
    return findings


def _linked(duplicates: Sequence[DuplicatePair]) -> list[list[DuplicatePair]]:
    """Pairs that hang together, by the first of them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array([(pair.a, pair.b) for pair in duplicates], np.int64)
    cells, places = np.unique(ends, return_inverse=True)
    left, right = places.reshape(-1, 2).T
    graph = coo_array((np.ones(len(ends), np.int8), (left, right)), (len(cells), len(cells)))
    _, group = connected_components(graph, directed=False)
    found: dict[int, list[DuplicatePair]] = {}
    for pair, of in zip(duplicates, group[left].tolist(), strict=True):
        found.setdefault(of, []).append(pair)
    return list(found.values())


def _same(linked: Sequence[DuplicatePair], ids: Sequence[str]) -> str:
    """``a and b are identical``, or of more cells how many they are."""
    if len(ids) > 2:
        exact = all(pair.kind == "exact" for pair in linked)
        how = "are identical" if exact else "show the same image, in pairs or in a chain"
        return f"{len(ids)} cells {how}: {some(ids)}"
    pair = linked[0]
    if pair.kind == "exact":
        return f"{ids[0]} and {ids[1]} are identical"
    moved = "" if pair.alignment is None else pair.alignment.words
    how = f", {moved}," if moved else ""
    return (
        f"{ids[0]} and {ids[1]} show the same image{how} to within "
        f"{round(pair.largest_difference, 1):g} grey levels"
    )


def _naive_parts(dataset: CellDataset, folds: int) -> tuple[NDArray[np.int64], str]:
    """Where a split that knows nothing of duplicates would put each cell, and its name."""
    from cellsearch.data.placing import HOLDOUT

    part = np.zeros(len(dataset), np.int64)
    rng = np.random.default_rng(0)
    for label in np.unique(dataset.labels):
        cells = rng.permutation(np.flatnonzero(dataset.labels == label))
        held = round(0.2 * len(cells))
        part[cells[:held]] = HOLDOUT
        part[cells[held:]] = np.arange(len(cells) - held) % folds
    return part, f"a plain stratified split into a hold-out and {folds} folds"


def _parts(dataset: CellDataset, splits: Splits) -> tuple[NDArray[np.int64], str]:
    part = np.full(len(dataset), -1, np.int64)
    for number, (_, cells) in enumerate(splits.parts()):
        part[cells] = number
    return part, "the given splits"


def _classes(
    dataset: CellDataset, duplicates: Sequence[DuplicatePair], folds: int
) -> list[Finding]:
    findings = []
    unlabelled = np.flatnonzero(dataset.labels == UNLABELLED)
    if len(unlabelled):
        names = named(dataset, unlabelled)
        message = f"{len(unlabelled)} cells have no label: {some(names)}; label or remove them"
        severity: Severity = "warning"
        if len(unlabelled) == len(dataset):
            severity, message = (
                "error",
                "no cell has a label, so no classifier can be trained on them",
            )
        findings.append(Finding("unlabelled", severity, names, Message.of(message)))
    if len(dataset.classes) == 1:
        message = (
            f"there is only one class, {dataset.classes[0]}, and a classifier needs two: put the "
            "cells of each class into a folder of its name, or give a table of labels"
        )
        findings.append(Finding("one-class", "error", (), Message.of(message)))
    findings += _one_group(dataset)
    counts = units_per_class(dataset, units_of(dataset, duplicates))
    small = set(too_small(counts, folds).tolist())
    word = unit_word(dataset)
    for label, name in enumerate(dataset.classes):
        cells = named(dataset, np.flatnonzero(dataset.labels == label))
        had = f"{name} has {counts[label]} {word if counts[label] != 1 else word[:-1]}"
        if label in small:
            too_few = Message.of(
                f"{had}, {folds} folds and a hold-out need {folds + 1}: no figures can be "
                "reported; ",
                choices(int(counts[label]) - 1),
            )
            findings.append(Finding("not-estimable", "error", cells, too_few))
        elif len(cells) < _TINY_CLASS:
            in_fold = 0.8 * len(cells) / folds
            message = (
                f"{had}, about {in_fold:.0f} cells per fold: its figures will have wide "
                "intervals; read them pooled over the folds"
            )
            findings.append(Finding("tiny-class", "note", cells, Message.of(message)))
    return findings


def _one_group(dataset: CellDataset) -> list[Finding]:
    there = [] if dataset.groups is None else np.unique(dataset.groups).tolist()
    if len(there) != 1:
        return []
    message = Message.of(
        f"all cells belong to one group, {there[0]}, so no group can be held out: add cells of "
        "other groups, or "
        "read the cells without groups (of a table ",
        Setting("group_column", "none", reader=True),
        f"); figures then hold for {there[0]} only",
    )
    return [Finding("one-group", "error", (), message)]
