"""create_app: the API, the page and the guard before both, for one card."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from cellsearch.serve import problems
from cellsearch.serve.desk import open_desk
from cellsearch.serve.guard import Guard
from cellsearch.serve.limits import DEFAULT, Limits
from cellsearch.serve.routes import api
from cellsearch.util.hosts import KnownHosts

STATIC = Path(__file__).parent / "static"
LOOPBACK_ALONE = KnownHosts()


def create_app(
    card: Path,
    *,
    limits: Limits = DEFAULT,
    threads: int | None = None,
    fit: str | None = None,
    abstain: str | None = None,
    sets: float | None = None,
    hosts: KnownHosts = LOOPBACK_ALONE,
) -> FastAPI:
    """The web page and REST API of a card, as an ASGI application.

    Args:
        card: its folder; every checksum is compared.
        limits: of what clients send and the server keeps.
        threads: of onnxruntime for one call; by default the usable cores, at most 8.
        fit: ``pad``, ``shrink``, ``resize`` or ``refuse`` crops of another size; by default the
            card's own rule.
        abstain: ``coverage=0.9`` or ``precision=0.95``; by default the card's own rule.
        sets: level of prediction sets; by default the card's own.
        hosts: names that the Host header may bear; by default those of loopback alone.

    Raises:
        CardError: no card, a file of it missing or changed, or rules that cannot be had.
    """
    from cellsearch.util.version import __version__

    desk = open_desk(card, limits=limits, threads=threads, fit=fit, abstain=abstain, sets=sets)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.store.close()

    app = FastAPI(
        title="cellsearch serve",
        summary=f"Classifies single-cell images by the card {desk.config.dataset.name}.",
        version=__version__,
        lifespan=lifespan,
        # Their pages load scripts of a CDN.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(api(desk))
    app.add_middleware(Guard, limits=limits, hosts=hosts)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def index() -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @app.api_route("/api", methods=["GET", "HEAD"], include_in_schema=False)
    def routes() -> Response:
        return FileResponse(STATIC / "api.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
