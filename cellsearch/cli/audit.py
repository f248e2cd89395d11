"""``cellsearch audit``: whether a run shows a leak."""

from __future__ import annotations

import typer

from cellsearch.cli.options import Json, RunArgument


def audit(
    run: RunArgument,
    as_json: Json = False,
) -> None:
    """Look for leaks in a run, and name the cells. Exit code 1 if a check fails.

    Example: cellsearch audit runs/jurkat-2026-11-21-1
    """
    from cellsearch.audit import audit_run
    from cellsearch.run.folder import is_nested, nested_runs
    from cellsearch.run.history import require_run
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import say, say_json

    require_run(run, repeated=True)
    progress = Terminal().progress
    folders = nested_runs(run) if is_nested(run) else [run]
    reports = [audit_run(each, on_progress=progress) for each in folders]
    if as_json:
        facts = [report.to_dict() for report in reports]
        say_json(facts if is_nested(run) else facts[0])
    else:
        for report in reports:
            for check in report.checks:
                say(check.line())
            say(report.summary())
    if any(report.failed for report in reports):
        raise typer.Exit(1)
