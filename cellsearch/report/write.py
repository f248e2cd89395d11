"""Writing the report of a run, or of repeated searches with those of each of them."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.card.whole_files import write_text
from cellsearch.errors import CardError, CellsearchError, RunError
from cellsearch.run.folder import read_record, replace_text
from cellsearch.util.messages import Setting
from cellsearch.util.progress import Progress

if TYPE_CHECKING:
    from cellsearch.audit.report import AuditReport
    from cellsearch.report.facts import RunFacts
    from cellsearch.report.pictures import Picture

REPORT = "report.html"
"""Name of the file in the run's folder."""
ENDS = (".html", ".htm")
"""What the name of a file ends in that a report may replace."""

_READING, _DRAWING = "reading the run", "drawing the report"


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        run: folder of the run.
        file: HTML.
        size: of the file, in bytes.
        state: ``finished``, or ``searching`` of a run that has not ended.
        verdict: one sentence.
        missing: what the report could not say, and why.
        pictures: names of those in it.
        audit: counts of checks by status; None where none was made.
        reports: of the single searches, where the run is of repeated ones.
    """

    run: Path
    file: Path
    size: int
    state: str
    verdict: str
    missing: tuple[str, ...]
    pictures: tuple[str, ...]
    audit: dict[str, int] | None = None
    reports: tuple[Written, ...] = ()


def write_report(
    run: Path | str,
    out: Path | str | None = None,
    *,
    audit: bool = True,
    figures: Path | None = None,
    on_progress: Progress | None = None,
) -> Written:
    """Write the report of a run, whatever there is of it.

    Args:
        run: folder of a run or of repeated searches.
        out: HTML file; by default ``report.html`` in the folder.
        audit: look for leaks, and say what was found; takes most of the time.
        figures: folder where each picture is also written as SVG.
        on_progress: told of stages, and how far they are.

    Raises:
        RunError: not the folder of a run, or the file cannot be written or is none to replace.
    """
    from cellsearch.run.folder import is_nested

    run = Path(run)
    file = Path(out) if out is not None else run / REPORT
    refuse(file, run)
    if is_nested(run):
        return _write_nested(run, file, audit=audit, figures=figures, on_progress=on_progress)
    return _write_run(run, file, audit=audit, figures=figures, on_progress=on_progress)


def refuse(file: Path, run: Path | None, *, setting: str = "out") -> None:
    """Refuse, before the work, a place where a page cannot go: it never replaces something else.

    Args:
        file: HTML.
        run: folder that may hold it; None for one that must be there already.
        setting: that named it.

    Raises:
        RunError: standard output, a folder, a disk, or a file of another kind.
    """
    asked = Setting(setting)
    if str(file) == "-":
        raise RunError(
            Setting(setting, "-"),
            f": standard output takes no report; name a file, such as {REPORT}",
        )
    if file.is_dir():
        raise RunError(asked, f": {file} is a folder; name a file, such as {file / REPORT}")
    if file.is_block_device():
        raise RunError(asked, f": {file} is a disk; name a file, such as {REPORT}")
    if not file.parent.is_dir() and file.parent != run:
        raise RunError(asked, f": there is no folder {file.parent}; make it first")
    if file.is_file() and Path(os.path.realpath(file)).suffix.lower() not in ENDS:
        raise RunError(
            asked,
            f": {file} is there already and no report ({', '.join(ENDS)}), so it is not "
            f"replaced; name another file, such as {file.with_suffix('.html')}",
        )


def _write_run(
    run: Path, file: Path, *, audit: bool, figures: Path | None, on_progress: Progress | None
) -> Written:
    # Not at the top: a wrong folder is said before matplotlib is loaded.
    read_record(run)
    tell = on_progress or _nobody
    tell(_READING, 0, 1)
    from cellsearch.report.facts import gather
    from cellsearch.report.page import run_page
    from cellsearch.report.pictures import pictures

    facts = gather(run)
    tell(_READING, 1, 1)
    audited = _audit(run, facts, wanted=audit, tell=tell)
    drawn = list(pictures(facts))
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        tell(_DRAWING, done, len(drawn))

    text = run_page(facts, drawn, audited, on_picture=one_more)
    size = save(file, text)
    if figures is not None:
        save_figures(drawn, figures)
    return Written(
        run=run,
        file=file,
        size=size,
        state=facts.record.state,
        verdict=facts.verdict,
        missing=facts.missing,
        pictures=tuple(each.name for each in drawn),
        audit=None if isinstance(audited, str) else _counts(audited),
    )


def _audit(run: Path, facts: RunFacts, *, wanted: bool, tell: Progress) -> AuditReport | str:
    """Its result, or why there is none."""
    again = f"make it with `cellsearch audit {shlex.quote(str(run))}`"
    if not wanted:
        return f"No audit was made for this report; {again}."
    if facts.cells is None:
        return f"No audit was possible, because the cells are gone; {again} once they are back."
    from cellsearch.audit import audit_run

    tell("looking for leaks", 0, 1)
    try:
        found = audit_run(run)
    except CellsearchError as error:
        return f"No audit was possible: {error}"
    tell("looking for leaks", 1, 1)
    return found


def _counts(audit: AuditReport) -> dict[str, int]:
    states = ("passed", "FAILED", "not applicable")
    return {state.lower(): sum(check.status == state for check in audit.checks) for state in states}


def _write_nested(
    run: Path, file: Path, *, audit: bool, figures: Path | None, on_progress: Progress | None
) -> Written:
    from cellsearch.report.nested_facts import gather_nested
    from cellsearch.report.nested_page import nested_page

    facts = gather_nested(run)
    parts = []
    for each in facts.runs:

        def tell(stage: str, done: int, total: int, name: str = each.name) -> None:
            (on_progress or _nobody)(f"{name}: {stage}", done, total)

        own = None if figures is None else figures / each.name
        parts.append(_write_run(each, each / REPORT, audit=audit, figures=own, on_progress=tell))
    text, drawn, headline = nested_page(
        facts, {part.run: os.path.relpath(part.file, file.parent) for part in parts}
    )
    size = save(file, text)
    if figures is not None:
        save_figures(drawn, figures)
    return Written(
        run=run,
        file=file,
        size=size,
        state="finished" if facts.summary is not None else "searching",
        verdict=headline,
        missing=facts.missing,
        pictures=tuple(each.name for each in drawn),
        reports=tuple(parts),
    )


def save_figures(pictures: list[Picture], folder: Path) -> None:
    """Each picture as ``<name>.svg``, with its text as text.

    Raises:
        RunError: the folder cannot be written.
    """
    from cellsearch.report.svg import drawing, paper

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(Setting("figures"), f": cannot make {folder}: {error.strerror}") from None
    with drawing():
        for each in pictures:
            replace_text(folder / f"{each.name}.svg", paper(each.figure, each.name))


def save(file: Path, text: str) -> int:
    """Write a page; its size in bytes, which a pipe would not tell.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        write_text(file, text)
    except CardError as error:
        raise RunError(error) from None
    return len(text.encode("utf-8"))


def _nobody(*_: Any) -> None:
    return
