"""What every request must pass before it is looked at: its Host, its Origin and its length.

Which names it answers to, and whose pages may change something, ``util.hosts`` says.
"""

from __future__ import annotations

import re
import time

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellsearch.serve.limits import Limits, size
from cellsearch.serve.problems import Problem, refusal
from cellsearch.serve.wording import as_control
from cellsearch.util.hosts import KnownHosts, Refusal, refusal_of
from cellsearch.util.messages import Setting

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
        hosts: names that the Host header may bear.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, hosts: KnownHosts) -> None:
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
        refused = refusal_of(
            scope["method"],
            headers.get("host", ""),
            origin=headers.get("origin"),
            fetch_site=headers.get("sec-fetch-site"),
            hosts=self.hosts,
        )
        if refused is not None:
            raise Problem(refused.status, refused.error, _remedy(refused))
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


def _remedy(refused: Refusal) -> str:
    if not refused.foreign_name:
        return "open the server's own page, or send the request from a program"
    return (
        "open it as http://127.0.0.1, http://localhost or by the address of its machine, and its "
        f"port; or ask for {as_control(Setting('allow_host', 'NAME'))}"
    )
