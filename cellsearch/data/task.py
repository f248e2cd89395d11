"""The task that a run is about: which channels it sees, and which classes it tells apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cellsearch.catalog import near_miss
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import DataError


def apply_task(
    cells: CellDataset,
    *,
    channels: Sequence[str] = (),
    merge: Mapping[str, Sequence[str]] | None = None,
    only: Sequence[str] = (),
    one_vs_rest: str | None = None,
) -> CellDataset:
    """Cells with these channels and classes; what was changed is added to the notes.

    Args:
        cells: any data set.
        channels: to keep, in this order; empty keeps all.
        merge: new names of several classes, ``{"interphase": ["G1", "S", "G2"]}``.
        only: classes to keep, after the merge; the cells of the others are left out.
        one_vs_rest: a class, after merge and choice, against all others as ``not-<class>``.

    Raises:
        DataError: a name that is no channel or class (the nearest is offered, all are listed), or
            fewer than two classes would be left.
    """
    notes = []
    if channels:
        cells = _asked("--channels", lambda: _selected(cells, channels))
        notes.append(f"channels chosen for this task: {', '.join(channels)}")
    if merge:
        cells = _asked("--merge", lambda: cells.merge_classes(merge))
        named = (f"{name} = {' + '.join(members)}" for name, members in merge.items())
        notes.append(f"classes merged for this task: {'; '.join(named)}")
    if only:
        cells = _asked("--only", lambda: _kept(cells, only))
        notes.append(f"classes chosen for this task: {', '.join(only)}")
    if one_vs_rest is not None:
        rest = [name for name in cells.classes if name != one_vs_rest]
        cells = _asked("--one-vs-rest", lambda: _against(cells, one_vs_rest))
        notes.append(f"one class against the rest: {one_vs_rest} against {', '.join(rest)}")
    if notes and cells.classes and len(cells.classes) < 2:
        raise DataError(
            f"the task leaves one class, {cells.classes[0]}, and two are needed; look at --merge, "
            "--only and --one-vs-rest"
        )
    if not notes:
        return cells
    origin = cells.provenance.with_notes(*notes)
    # A folder would hold the notes from before.
    return replace(cells, provenance=origin, folder=None)


def _asked(option: str, change: Callable[[], CellDataset]) -> CellDataset:
    try:
        return change()
    except DataError as error:
        raise DataError(f"{option}: {error}") from None


def _selected(cells: CellDataset, channels: Sequence[str]) -> CellDataset:
    unknown = [name for name in channels if name not in cells.channels]
    if unknown:
        raise DataError(
            f"no channel {unknown[0]!r}{near_miss(unknown[0], cells.channels)}; "
            f"there are {', '.join(cells.channels)}"
        )
    return cells.select_channels(channels)


def _known(cells: CellDataset, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in cells.classes]
    if unknown:
        raise DataError(
            f"no class {unknown[0]!r}{near_miss(unknown[0], cells.classes)}; "
            f"there are {', '.join(cells.classes)}"
        )


def _kept(cells: CellDataset, only: Sequence[str]) -> CellDataset:
    _known(cells, only)
    others = [name for name in cells.classes if name not in only]
    return cells.drop_classes(others) if others else cells


def _against(cells: CellDataset, one: str) -> CellDataset:
    _known(cells, [one])
    others = [name for name in cells.classes if name != one]
    return cells.merge_classes({f"not-{one}": others}) if others else cells
