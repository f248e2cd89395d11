"""What a run asks of its cells before anything is trained: no finding of severity error."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from cellsearch.data.check import CheckReport, check_dataset
from cellsearch.data.findings import Finding, Kind, present_kind
from cellsearch.errors import DataError, SplitError
from cellsearch.run.folder import Accepted
from cellsearch.util.messages import Message, Setting, joined

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.near_duplicates import DuplicatePair
    from cellsearch.data.splits import Splits
    from cellsearch.run.config import RunConfig
    from cellsearch.run.observer import RunObserver

OF_SPLITS: frozenset[Kind] = frozenset({"not-estimable", "one-group", "unlabelled"})
"""Errors that the drawing of splits meets itself, with the folds and options that are asked for;
what ``rare="keep"`` excuses is none there."""

NEVER: frozenset[Kind] = OF_SPLITS | {"one-class"}
"""Errors with which nothing can be trained, so that there is nothing to accept."""

SHOWN = 5
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Checked:
    """What a check of a run's cells came to.

    Attributes:
        duplicates: pairs of cells that show the same picture, which splits keep together.
        errors: that were not accepted; those of ``OF_SPLITS`` are for the splits to say.
        accepted: that the run goes on with.
        of_splits: kinds of the errors that the drawing of splits meets too.
        shown_by: what shows every finding.
    """

    duplicates: tuple[DuplicatePair, ...]
    errors: tuple[Finding, ...]
    accepted: tuple[Accepted, ...]
    of_splits: tuple[Kind, ...] = ()
    shown_by: str = ""

    @classmethod
    def of(cls, report: CheckReport, accept: Sequence[str], *, shown_by: str = "") -> Self:
        """Part the errors of a report into what is accepted and what is not."""
        errors = [each for each in report.findings if each.severity == "error"]
        own = [each for each in errors if each.kind not in OF_SPLITS]
        asked = set(map(present_kind, accept))
        taken = [each for each in own if each.kind in asked and each.kind not in NEVER]
        return cls(
            duplicates=report.duplicates,
            errors=tuple(each for each in own if each not in taken),
            accepted=tuple(Accepted(kind=each.kind, message=str(each.message)) for each in taken),
            of_splits=tuple(dict.fromkeys(e.kind for e in errors if e.kind in OF_SPLITS)),
            shown_by=shown_by,
        )


def check_cells(
    config: RunConfig,
    cells: CellDataset,
    observer: RunObserver,
    *,
    named: bool,
    splits: Splits | None = None,
    duplicates: Sequence[DuplicatePair] | None = None,
) -> Checked:
    """Look for what ``datasets check`` calls an error; warnings are told in one line.

    Args:
        config: of the run.
        cells: as the run takes them, task and rare classes applied.
        observer: who watches.
        named: the cells can be read again by the name in ``config``.
        splits: where they were given, so that a pair of duplicates on two sides is an error.
        duplicates: of the cells, where they are known already.
    """
    observer.message("checking the cells, as `cellsearch datasets check` does")
    report = check_dataset(
        cells, folds=config.folds, splits=splits, duplicates=duplicates, splits_follow=True
    )
    found = Checked.of(report, config.accept, shown_by=_shown_by(config, named=named))
    warned = [each.kind for each in report.findings if each.severity == "warning"]
    if warned:
        kinds = ", ".join(f"{kind} {warned.count(kind)}" for kind in dict.fromkeys(warned))
        word = "warning" if len(warned) == 1 else "warnings"
        observer.message(f"{len(warned)} {word} ({kinds}); {found.shown_by}")
    for line in accepted_lines(found.accepted):
        observer.message(f"accepted: {line}")
    return found


def accepted_lines(accepted: Sequence[Accepted]) -> list[str]:
    """A line for each kind of what was accepted."""
    lines = []
    for kind in dict.fromkeys(each.kind for each in accepted):
        messages = [each.message for each in accepted if each.kind == kind]
        more = f" (and {len(messages) - 1} more of this kind)" if len(messages) > 1 else ""
        lines.append(f"{kind}: {messages[0]}{more}")
    return lines


def drawn_soundly(
    name: str, checked: Checked, accept: Sequence[str], draw: Callable[[], Drawn]
) -> Drawn:
    """What ``draw`` draws, where neither it nor the check has found an error.

    Args:
        name: of the data set.
        checked: of its cells.
        accept: kinds that are accepted already.
        draw: the drawing of splits.

    Raises:
        SplitError: the cells are sound, but no splits can be drawn.
        DataError: errors that were not accepted, and why no splits can be drawn, all of them.
    """
    failure = None
    try:
        drawn = draw()
    except SplitError as error:
        if not checked.errors:
            raise
        failure = error
    if checked.errors:
        raise _refused(name, checked, accept, failure)
    return drawn


def require_sound(cells: CellDataset, accept: Sequence[str]) -> None:
    """Refuse cells to train one recipe on, without splits, in which the check finds errors.

    Raises:
        DataError: all errors that are not accepted.
    """
    shown_by = "cellsearch.data.check.check_dataset(cells) shows them"
    checked = Checked.of(check_dataset(cells), accept, shown_by=shown_by)
    if checked.errors:
        raise _refused(cells.name, checked, accept)


def _refused(
    name: str, checked: Checked, accept: Sequence[str], failure: SplitError | None = None
) -> DataError:
    """The error that names each error of a check, of each kind the first few."""
    lines: list[Message] = []
    kinds = list(dict.fromkeys(each.kind for each in checked.errors))
    for kind in kinds:
        of_kind = [each.message for each in checked.errors if each.kind == kind]
        lines += [Message.of(f"  {kind}: ", message) for message in of_kind[:SHOWN]]
        if len(of_kind) > SHOWN:
            lines.append(
                Message.of(f"  {kind}: and {len(of_kind) - SHOWN} more; {checked.shown_by}")
            )
    if failure is not None:
        kind_of = ", ".join(checked.of_splits) or "splits"
        lines.append(Message.of(f"  {kind_of}: ", failure.message))
    acceptable = tuple(kind for kind in kinds if kind not in NEVER)
    given = (each for each in map(present_kind, accept) if each not in (*acceptable, *NEVER))
    every = (*given, *acceptable)
    last = Message.of("fix them, or run anyway with ", Setting("accept", every))
    if failure is not None or len(acceptable) < len(kinds):
        only = (
            f"; errors of the kind {', '.join(acceptable)} can be accepted with ",
            Setting("accept", every),
        )
        last = Message.of("fix them", *(only if acceptable else ()))
    count = len(checked.errors) + (failure is not None)
    what = "an error" if count == 1 else f"{count} errors"
    return DataError(f"{name}: the check of the cells found {what}:\n", joined([*lines, last]))


def _shown_by(config: RunConfig, *, named: bool) -> str:
    """What shows every finding."""
    if not named:
        return "cellsearch.data.check.check_dataset(cells) shows them"
    words = ["cellsearch", "datasets", "check", config.dataset]
    words += ["--variant", config.variant] if config.variant else []
    words += ["--from", str(config.mirror)] if config.mirror else []
    for option, value in config.options.items():
        words += ["--option", f"{option}={value}"]
    task = " and the task of this run" if any(config.task.values()) else ""
    return f"see them with `{shlex.join(words)}`{task}"
