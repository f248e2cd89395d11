"""What every request must pass before it is looked at: its Host, its Origin and its length.

A page on another site may send requests to a server on this machine. Its name can be made to point
at 127.0.0.1 (DNS rebinding), so on loopback the Host header must be a name of this machine; and it
may post a form (CSRF), so the Origin of whatever changes something must be the server itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellsearch.serve.limits import Limits, size
from cellsearch.serve.problems import Problem, refusal
from cellsearch.serve.wording import as_control
from cellsearch.util.messages import Setting

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware.

    Args:
        app: what lies behind.
        limits: of the length of a request.
        hosts: names that the Host header may bear; None for any.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, hosts: Collection[str] | None) -> None:
        self.app = app
        self.limits = limits
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def armoured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._require_known(scope)
        except Problem as problem:
            answer = refusal(problem.status, problem.error, problem.remedy)
            await answer(scope, receive, armoured)
            return
        await self.app(scope, self._counted(receive), armoured)

    def _require_known(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise Problem(
                421,
                f"this server does not answer to the name {host[:100]!r}",
                "open it as http://127.0.0.1, or as http://localhost, and its port",
            )
        if scope["method"] not in READING:
            origin = headers.get("origin")
            foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
            if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                raise Problem(
                    403,
                    "a page of another site may not send anything to this server",
                    "open the server's own page, or send the request from a program",
                )
        length = headers.get("content-length", "0")
        # Latin-1 has digits that are no numbers (²), and Python no integer of very many digits.
        if re.fullmatch(r"[0-9]{1,30}", length) and int(length) > self.limits.request_bytes:
            raise too_long(self.limits, int(length))

    def _counted(self, receive: Receive) -> Receive:
        """Body parts, until they add up to more than a request may hold, or come too slowly."""
        so_far = 0
        whole = False
        start = time.monotonic()

        async def counted() -> Message:
            nonlocal so_far, whole
            if whole:
                # What is waited for now is that the client goes away.
                return await receive()
            # Else a few who send a byte a minute would keep all others out.
            patience = self.limits.body_seconds + so_far / self.limits.body_rate
            with anyio.move_on_after(start + patience - time.monotonic()) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                raise too_slow(self.limits)
            whole = not message.get("more_body", False)
            so_far += len(message.get("body", b""))
            if so_far > self.limits.request_bytes:
                raise too_long(self.limits)
            return message

        return counted


def too_slow(limits: Limits) -> Problem:
    """408 of a body that does not come."""
    return Problem(
        408,
        f"the request came more slowly than {size(limits.body_rate)} a second for more than "
        f"{limits.body_seconds} s",
        "send fewer files in a request, or over a faster connection",
    )


def too_long(limits: Limits, length: int | None = None) -> Problem:
    """413 of a body with too many bytes."""
    sent = "more" if length is None else size(length)
    return Problem(
        413,
        f"a request may hold {size(limits.request_bytes)}, this one holds {sent}",
        "send the files in several requests; cut a large image into cells first; or ask for "
        f"{as_control(Setting('max_upload'))} of more",
    )


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
