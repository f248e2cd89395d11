"""``cellsearch audit``: whether a run shows a leak."""

from __future__ import annotations

import json as text
from typing import Annotated

import typer

from cellsearch.cli.options import RunArgument


def audit(
    run: RunArgument,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Look for leaks in a run, and name the cells. Exit code 1 if a check fails.

    Example: cellsearch audit runs/jurkat-2026-11-21-1
    """
    from cellsearch.audit import audit_run
    from cellsearch.nested import is_nested, nested_runs
    from cellsearch.report import say

    reports = [audit_run(each) for each in (nested_runs(run) if is_nested(run) else [run])]
    if json:
        facts = [report.to_dict() for report in reports]
        typer.echo(text.dumps(facts if is_nested(run) else facts[0], indent=2))
    else:
        for report in reports:
            for check in report.checks:
                say(check.line())
            say(report.summary())
    if any(report.failed for report in reports):
        raise typer.Exit(1)
