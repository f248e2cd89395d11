"""``cellsearch report``: one HTML file that tells a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import Json, RunArgument


def report(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="HTML file (default RUN/report.html).", metavar="FILE"),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Also write the figures as SVG files to this folder.", metavar="FOLDER"),
    ] = None,
    audit: Annotated[
        bool,
        typer.Option("--audit/--no-audit", help="Look for leaks too, and list what was found."),
    ] = True,
    as_json: Json = False,
) -> None:
    """One HTML file that tells a run; it opens from its path, offline, on a phone and in print.

    A run that has not ended gets one too, which says what is missing. Repeated searches (--outer,
    --repeats) get one each and one together.

    Example: cellsearch report runs/jurkat-2026-11-21-1 -o jurkat.html
    """
    from cellsearch.report import write_report
    from cellsearch.run.history import require_run
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import say, say_json

    require_run(run, repeated=True)
    written = write_report(run, out, audit=audit, figures=figures, on_progress=Terminal().progress)
    if as_json:
        say_json(written)
        return
    for each in written.missing:
        say(f"missing: {each}")
    for part in written.reports:
        say(f"report: {part.file}")
    say(f"{written.verdict}")
    say(f"report: {written.file} ({written.size / 1e6:.1f} MB); open it in a browser")
