"""``cellsearch runs``, ``show`` and ``dashboard``: what one does with a run afterwards."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import AllowHost, Json, RunArgument, SharedStorage
from cellsearch.util.passwords import without_password

if TYPE_CHECKING:
    from cellsearch.run.shared import SharedRun


def runs(
    folder: Annotated[
        Path, typer.Argument(help="Folder that holds runs.", metavar="FOLDER")
    ] = Path("runs"),
    storage: SharedStorage = None,
    as_json: Json = False,
) -> None:
    """List the runs of a folder, or of everybody who uses one database, newest first.

    Example: cellsearch runs

    Example: cellsearch runs --storage postgresql+psycopg://lab@server/cellsearch
    """
    from cellsearch.cli.json_output import run_facts
    from cellsearch.run.history import RUN_COLUMNS, run_folders, run_line
    from cellsearch.terminal.tables import say, say_json, table

    if storage is not None:
        _shared(storage, as_json=as_json)
        return
    found = run_folders(folder)
    if as_json:
        say_json([run_facts(run) for run in found])
        return
    if not found:
        say(f"no runs in {folder}; start one: cellsearch run --dataset demo --space quick")
        return
    table(RUN_COLUMNS, [run_line(run) for run in found])
    say(f"look at one: cellsearch show {shlex.quote(str(found[0]))}")


def _shared(storage: str, *, as_json: bool) -> None:
    from cellsearch.cli.json_output import shared_facts
    from cellsearch.run.shared import SHARED_COLUMNS, shared_line, shared_runs
    from cellsearch.terminal.tables import say, say_json, table

    found = shared_runs(storage)
    if as_json:
        say_json([shared_facts(run) for run in found])
        return
    if not found:
        say("no runs in this database yet; `cellsearch run ... --storage URL` adds one")
        return
    table(SHARED_COLUMNS, [shared_line(run) for run in found])
    name, url = shlex.quote(found[0].row.facts.name), shlex.quote(without_password(storage))
    say(f"look at one: cellsearch show {name} --storage {url}")


def _show_shared(found: SharedRun, *, trials: int, as_json: bool) -> None:
    """A run whose folder is on another machine: what its study tells."""
    from cellsearch.cli.json_output import shared_facts
    from cellsearch.terminal.tables import leaderboard, say, say_json

    if as_json:
        say_json(shared_facts(found))
        return
    leaderboard(found.trials, found.row.facts.metric, limit=trials)
    say(f"its folder {found.folder} cannot be read from here")
    say(f"card: {found.row.card}" if found.row.card else "no card yet")


def show(
    run: RunArgument,
    trials: Annotated[int, typer.Option("-n", help="Rows of the leaderboard.", min=1)] = 10,
    storage: SharedStorage = None,
    as_json: Json = False,
) -> None:
    """Show the leaderboard of a run and where its card is. Repeated searches get one line each.

    Example: cellsearch show runs/jurkat-2026-11-21-1 -n 20
    """
    if storage is not None and not (run / "run.json").is_file():
        from cellsearch.run.shared import shared_run

        found = shared_run(storage, str(run))
        if not found.is_here:
            _show_shared(found, trials=trials, as_json=as_json)
            return
        run = found.folder
    from cellsearch.cli.json_output import past_facts
    from cellsearch.run.folder import is_nested
    from cellsearch.run.history import past_run, require_run, verdict_lines
    from cellsearch.terminal.results import next_steps
    from cellsearch.terminal.tables import leaderboard, say, say_json

    require_run(run, repeated=True)
    if is_nested(run):
        _show_repeated(run, as_json=as_json)
        return
    past = past_run(run)
    if as_json:
        say_json(past_facts(past))
        return
    leaderboard(past.rows, past.record.config.metric, limit=trials)
    card = run / "card"
    if not card.is_dir():
        say(f"no card yet: cellsearch resume {shlex.quote(str(run))}")
        return
    for line in verdict_lines(card):
        say(line)
    next_steps(run)


def _show_repeated(folder: Path, *, as_json: bool) -> None:
    from cellsearch.report.nested_facts import gather_nested
    from cellsearch.run.history import RUN_COLUMNS, run_line
    from cellsearch.terminal.tables import say, say_json, table

    found = gather_nested(folder)
    if as_json:
        # The keys are those of `cellsearch run --outer 5 --json`.
        unfinished = found.summary is None
        facts = {"run": folder, "interrupted": unfinished, "runs": found.runs}
        summary = None if found.summary is None else found.summary.model_dump(mode="json")
        say_json(facts | {"summary": summary})
        return
    kind = {"outer": "outer folds", "repeats": "repeats"}[found.request.kind]
    say(f"{folder}: {found.request.times} searches on {kind}")
    if found.runs:
        table(RUN_COLUMNS, [run_line(each) for each in found.runs])
    for line in found.missing:
        say(line)
    if found.summary is not None:
        say(found.summary.headline)
    for each in found.runs[:1]:
        say(f"look at one: cellsearch show {shlex.quote(str(each))}")


def dashboard(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of a run (default the newest one).",
            metavar="RUN",
            autocompletion=completion.runs,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other than loopback is open to others.")
    ] = "127.0.0.1",
    allow_host: AllowHost = None,
) -> None:
    """Optuna's dashboard on a run: note, report, and each trial's figures and learning curves.

    Example: cellsearch dashboard runs/jurkat-2026-11-21-1 --port 8081
    """
    from cellsearch.report.dashboard import open_dashboard
    from cellsearch.run.history import newest_run, require_run
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import say

    run = run or newest_run(Path("runs"))
    require_run(run)
    server, url, complaint = open_dashboard(
        run,
        host=host,
        port=port,
        allow_host=allow_host or (),
        on_progress=Terminal().progress,
    )
    if complaint:
        say(complaint)
    say(f"{run}: {url} (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        server.serve_forever()
