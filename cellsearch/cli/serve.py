"""``cellsearch serve``: a card as a local web page and REST API."""

from __future__ import annotations

from typing import Annotated

import typer

from cellsearch.cli.options import Abstain, AllowHost, CardArgument, Fit, Sets


def serve(
    card: CardArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other than loopback is open to others.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads of one prediction; default: the number of cores, at most 8."
        ),
    ] = None,
    fit: Fit = None,
    abstain: Abstain = None,
    sets: Sets = None,
    max_upload: Annotated[
        int, typer.Option(min=1, help="Largest request, and largest file.", metavar="MB")
    ] = 200,
    allow_host: AllowHost = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a card as a web page and REST API on this machine, until Ctrl-C.

    Example: cellsearch serve runs/mine/card --port 8000 --open
    """
    from dataclasses import replace

    from cellsearch.errors import RunError
    from cellsearch.run.history import require_card
    from cellsearch.serve.limits import DEFAULT, MB

    try:
        from cellsearch.serve.server import run_server
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("cellsearch", ""):
            raise
        raise RunError(
            "cellsearch serve needs the extra 'serve': pip install 'cellsearch[serve]'"
        ) from None
    require_card(card)
    run_server(
        card,
        host=host,
        port=port,
        threads=threads,
        fit=fit,
        abstain=abstain,
        sets=sets,
        limits=replace(DEFAULT, file_bytes=max_upload * MB, request_bytes=max_upload * MB),
        allow_host=allow_host or (),
        open_page=open_page,
    )
