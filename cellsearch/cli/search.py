"""``cellsearch run`` and ``cellsearch resume``: the whole job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellsearch.cli.options import Json, RunArgument, run_options, run_values
from cellsearch.util.passwords import without_password

if TYPE_CHECKING:
    from cellsearch.run.nested import NestedResult
    from cellsearch.run.search import SearchResult


@run_options()
def run(
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the run (default runs/<dataset>-<date>-<n>)."),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Start a new run although an unfinished one like it could be resumed."
        ),
    ] = False,
    outer: Annotated[
        int | None,
        typer.Option(
            help="Repeat the whole search in K outer folds; each cell is held out once.",
            metavar="K",
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="Repeat the whole search on R newly drawn hold-outs.", metavar="R"),
    ] = None,
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Search, refit the winner, score the hold-out once, and write a model card.

    With --json, prints one document at the end: verdict, figures and the folder of the card.

    Example: cellsearch run --dataset demo --space quick --budget 10

    Example: cellsearch run --dataset cells.yaml --time 2h --rare keep --abstain coverage=0.9
    """
    from cellsearch.run.config import RunConfig
    from cellsearch.run.search import start
    from cellsearch.terminal.progress import Terminal

    values = run_values(fields)
    if "seconds" in values:
        values.setdefault("budget", None)
    config = RunConfig.of(**values)
    command = _typed()
    if outer is not None or repeats is not None:
        from cellsearch.run.nested import nested_search

        nested = nested_search(
            config, outer=outer, repeats=repeats, out=out, observer=Terminal(), command=command
        )
        _nested_ends(nested, as_json=as_json)
        return
    result = start(config, out=out, fresh=fresh, observer=Terminal(), command=command)
    _ends(result, config.metric, as_json=as_json)


@run_options(
    "budget", "seconds", "slots", "threads", "backend", "address", "storage", "abstain", "sets"
)
def resume(run: RunArgument, *, as_json: Json = False, **fields: Any) -> None:
    """Resume an interrupted run. Finished trials are kept.

    Example: cellsearch resume runs/jurkat-2026-11-21-1 --budget 100
    """
    from cellsearch.run.folder import is_nested, read_record
    from cellsearch.run.history import require_run
    from cellsearch.run.nested import resume_nested
    from cellsearch.run.search import resume
    from cellsearch.terminal.progress import Terminal

    given = run_values(fields)
    require_run(run, repeated=True)
    if is_nested(run):
        _nested_ends(resume_nested(run, observer=Terminal(), **given), as_json=as_json)
        return
    command = _typed()
    result = resume(run, observer=Terminal(), command=command, **given)
    _ends(result, read_record(result.folder).config.metric, as_json=as_json)


def _typed() -> str:
    """The command as it is kept: each word without a password."""
    return shlex.join(["cellsearch", *map(without_password, sys.argv[1:])])


def _ends(result: SearchResult, metric: str, *, as_json: bool) -> None:
    from cellsearch.cli.json_output import result_facts
    from cellsearch.terminal.results import run_result
    from cellsearch.terminal.tables import say_json

    if as_json:
        say_json(result_facts(result, metric))
    else:
        run_result(result, metric)
    if result.interrupted:
        raise typer.Exit(130)


def _nested_ends(nested: NestedResult, *, as_json: bool) -> None:
    from cellsearch.cli.json_output import nested_facts
    from cellsearch.terminal.results import nested_result
    from cellsearch.terminal.tables import say_json

    if as_json:
        say_json(nested_facts(nested))
    else:
        nested_result(nested)
    if nested.interrupted:
        raise typer.Exit(130)
