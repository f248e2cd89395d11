"""``cellsearch runs``, ``show`` and ``dashboard``: what one does with a run afterwards."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import Json, RunArgument


def runs(
    folder: Annotated[
        Path, typer.Argument(help="Folder that holds runs.", metavar="FOLDER")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """The runs of a folder, newest first.

    Example: cellsearch runs
    """
    from cellsearch.facts import run_facts
    from cellsearch.history import run_folders, run_line
    from cellsearch.report import say, say_json, table

    found = run_folders(folder)
    if as_json:
        say_json([run_facts(run) for run in found])
        return
    if not found:
        say(f"no runs in {folder}; begin one: cellsearch run --dataset demo --space quick")
        return
    table(
        ("run", "dataset", "space", "metric", "trials", "best", "baseline", "state"),
        [run_line(run) for run in found],
    )
    say(f"look at one: cellsearch show {found[0]}")


def show(
    run: RunArgument,
    trials: Annotated[int, typer.Option("-n", help="Rows of the leaderboard.", min=1)] = 10,
    as_json: Json = False,
) -> None:
    """The leaderboard of a run, and where its card lies.

    Example: cellsearch show runs/jurkat-2026-11-21-1 -n 20
    """
    from cellsearch.facts import past_facts
    from cellsearch.history import past_run, verdict_lines
    from cellsearch.report import leaderboard, next_steps, say, say_json

    past = past_run(run)
    if as_json:
        say_json(past_facts(past))
        return
    leaderboard(past.rows, past.record.config.metric, limit=trials)
    card = run / "card"
    if not card.is_dir():
        say(f"no card yet: cellsearch resume {run}")
        return
    for line in verdict_lines(card):
        say(line)
    next_steps(run)


def dashboard(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of a run (default the newest one).",
            metavar="RUN",
            autocompletion=completion.runs,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than loopback is open to others.")
    ] = "127.0.0.1",
) -> None:
    """Optuna's dashboard on a run: note, report, and each trial's figures and learning curves.

    Example: cellsearch dashboard runs/jurkat-2026-11-21-1 --port 8081
    """
    from cellsearch.history import newest_run
    from cellsearch.progress import Terminal
    from cellsearch.report import say
    from cellsearch.run_report.dashboard import open_dashboard

    run = run or newest_run(Path("runs"))
    server, url, complaint = open_dashboard(
        run, host=host, port=port, on_progress=Terminal().progress
    )
    if complaint:
        say(complaint)
    say(f"{run}: {url} (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        server.serve_forever()
