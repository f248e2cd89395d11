"""``cellsearch doctor``: whether this installation can do what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import Json


def doctor(
    storage: Annotated[
        str | None,
        typer.Option(
            help="Also test this database, such as postgresql://user@host/name.", metavar="URL"
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Also start Ray, which takes up to a minute.")
    ] = False,
    runs: Annotated[
        Path, typer.Option(help="Folder that runs are written to.", metavar="DIR")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Check this installation: versions, cores, memory, disks, storage, devices, precision.

    Each line is ok, a warning or a problem, with the remedy. Exit code 1 if there is a problem.

    Example: cellsearch doctor

    Example: cellsearch doctor --ray --storage postgresql://user@host/name
    """
    from cellsearch.doctor import examine
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import counted, say, say_json

    checks = []
    progress = Terminal().progress
    for check in examine(runs=runs, storage=storage, ray=ray, on_progress=progress):
        checks.append(check)
        if not as_json:
            say(check.line())
    problems = sum(check.state == "problem" for check in checks)
    warnings = sum(check.state == "warning" for check in checks)
    if as_json:
        say_json({"problems": problems, "warnings": warnings, "checks": checks})
    elif problems or warnings:
        say(f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}")
    else:
        say("no problems found; next, look at your cells: cellsearch init FOLDER")
    if problems:
        raise typer.Exit(1)
