"""The task that a run is about: which channels it sees, and which classes it tells apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cellsearch.data.dataset import CellDataset
from cellsearch.data.names import parse_merges, parse_several, shown, unknown_names
from cellsearch.data.relabel import merged
from cellsearch.errors import DataError
from cellsearch.util.messages import Setting

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """Names of channels and classes, each of them for itself.

    Attributes:
        channels: to keep, in this order; empty keeps all.
        merge: new names of several classes.
        only: classes to keep, after the merge; empty keeps all.
    """

    channels: tuple[str, ...] = ()
    merge: Mapping[str, tuple[str, ...]] | None = None
    only: tuple[str, ...] = ()


def task_of(
    typed: Mapping[str, Sequence[str]], *, channels: Sequence[str], classes: Sequence[str]
) -> Task:
    """The names in texts as they were typed, such as ``{"merge": ("T=CD4++CD8",)}``.

    Args:
        typed: channels, merge, only -> the texts that were given one after another.
        channels: C names of a data set.
        classes: K names of it; ``only`` is of those after the merge.

    Raises:
        ConfigError: a name that is not known, or a text that can be read in several ways.
        DataError: a merge that cannot be.
    """
    merge = parse_merges(typed.get("merge", ()), classes)
    after = tuple(classes)
    if merge and "only" in typed:
        after = _asked("merge", lambda: merged(after, merge)[0])
    return Task(
        parse_several(
            typed.get("channels", ()), channels, setting=Setting("channels"), what="channel"
        ),
        merge,
        parse_several(typed.get("only", ()), after, setting=Setting("only")),
    )


def apply_task(
    cells: CellDataset,
    *,
    channels: Sequence[str] = (),
    merge: Mapping[str, Sequence[str]] | None = None,
    only: Sequence[str] = (),
    one_vs_rest: str | None = None,
    typed: Mapping[str, Sequence[str]] | None = None,
) -> CellDataset:
    """Cells with these channels and classes; what was changed is added to the notes.

    Args:
        cells: any data set.
        channels: to keep, in this order; empty keeps all.
        merge: new names of several classes, ``{"interphase": ["G1", "S", "G2"]}``.
        only: classes to keep, after the merge; the cells of the others are left out.
        one_vs_rest: a class, after merge and choice, against all others as ``not-<class>``.
        typed: the first three as texts that were typed, in place of the names; see ``task_of``.

    Raises:
        ConfigError: a typed text with a name that is not known, or with several readings.
        DataError: a name that is no channel or class (the nearest is offered, all are listed), or
            fewer than two classes would be left.
    """
    if typed:
        asked = task_of(typed, channels=cells.channels, classes=cells.classes)
        channels = asked.channels or channels
        merge = asked.merge or merge
        only = asked.only or only
    # A text is one name, not its letters.
    channels = (channels,) if isinstance(channels, str) else channels
    only = (only,) if isinstance(only, str) else only
    notes = []
    if channels:
        cells = _asked("channels", lambda: _selected(cells, channels))
        notes.append(f"channels chosen for this task: {shown(channels)}")
    if merge:
        cells = _asked("merge", lambda: cells.merge_classes(merge))
        named = (f"{name} = {' + '.join(members)}" for name, members in merge.items())
        notes.append(f"classes merged for this task: {'; '.join(named)}")
    if only:
        cells = _asked("only", lambda: _kept(cells, only))
        notes.append(f"classes chosen for this task: {shown(only)}")
    if one_vs_rest is not None:
        rest = [name for name in cells.classes if name != one_vs_rest]
        cells = _asked("one_vs_rest", lambda: _against(cells, one_vs_rest))
        notes.append(f"one class against the rest: {one_vs_rest} against {shown(rest)}")
    if notes and cells.classes and len(cells.classes) < 2:
        raise DataError(
            f"the task leaves one class, {cells.classes[0]}, and two are needed; look at ",
            Setting("merge"),
            ", ",
            Setting("only"),
            " and ",
            Setting("one_vs_rest"),
        )
    if not notes:
        return cells
    origin = cells.provenance.with_notes(*notes)
    # A folder would hold the notes from before.
    return replace(cells, provenance=origin, folder=None)


def _asked(setting: str, change: Callable[[], T]) -> T:
    try:
        return change()
    except DataError as error:
        raise DataError(Setting(setting), ": ", error) from None


def _selected(cells: CellDataset, channels: Sequence[str]) -> CellDataset:
    _known(channels, cells.channels, "channel")
    return cells.select_channels(channels)


def _known(names: Sequence[str], there: Sequence[str], what: str) -> None:
    unknown = [name for name in names if name not in there]
    if unknown:
        raise DataError(unknown_names(unknown, there, what))


def _kept(cells: CellDataset, only: Sequence[str]) -> CellDataset:
    _known(only, cells.classes, "class")
    others = [name for name in cells.classes if name not in only]
    return cells.drop_classes(others) if others else cells


def _against(cells: CellDataset, one: str) -> CellDataset:
    _known([one], cells.classes, "class")
    others = [name for name in cells.classes if name != one]
    return cells.merge_classes({f"not-{one}": others}) if others else cells
