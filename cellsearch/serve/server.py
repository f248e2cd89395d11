"""uvicorn around the application: a socket that is ours before anything is promised."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

# Not used here, but without it no upload is read: better missed at the start.
import python_multipart  # noqa: F401
import uvicorn

from cellsearch.errors import RunError
from cellsearch.serve.app import create_app
from cellsearch.serve.limits import Limits
from cellsearch.terminal.tables import say
from cellsearch.util.hosts import is_loopback, known_hosts
from cellsearch.util.messages import Setting

BACKLOG = 128
PATIENCE = 5
"""Seconds that running requests are given at the end, and that an idle connection is kept."""


def run_server(
    card: Path,
    *,
    host: str,
    port: int,
    threads: int | None,
    fit: str | None,
    abstain: str | None,
    sets: float | None,
    limits: Limits,
    allow_host: Sequence[str],
    open_page: bool,
) -> None:
    """Serve a card until the process is interrupted.

    Raises:
        CardError: the card cannot be served.
        RunError: the address or the port cannot be had, or a name is none.
    """
    local, hosts = is_loopback(host), known_hosts(host, allow_host)
    with _listening(host, port) as listening:
        app = create_app(
            card,
            limits=limits,
            threads=threads,
            fit=fit,
            abstain=abstain,
            sets=sets,
            hosts=hosts,
        )
        url = _url(host, int(listening.getsockname()[1]))
        if not local:
            say(
                f"warning: {host} is not loopback: whoever reaches this machine can send it images "
                "and see what it answers; there is no password. Put a proxy with one before it."
            )
        say(f"serving {card} at {url} (API: {url}api); Ctrl-C ends it")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                # The one that is always there, and that reads on where a request was refused.
                http="h11",
                log_level="warning",
                access_log=False,
                lifespan="on",
                server_header=False,
                timeout_keep_alive=PATIENCE,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        if open_page:
            threading.Thread(target=_open_when_up, args=(server, url), daemon=True).start()
        # uvicorn ends cleanly, and then raises what it was sent.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        say("ended")


def _listening(host: str, port: int) -> socket.socket:
    try:
        facts = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = facts[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise RunError(
            Setting("host", host), f": no address of this machine ({error.strerror})"
        ) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise RunError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with ",
            Setting("port"),
            ", or ",
            Setting("port", 0),
            " for any that is free",
        ) from None
    return listening


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def _open_when_up(server: uvicorn.Server, url: str) -> None:
    while not server.started:
        time.sleep(0.1)
    webbrowser.open(url)
