"""The REST API: what is asked, and which function of the desk answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response

from cellsearch.serve import answers
from cellsearch.serve.desk import MONTAGE, Desk
from cellsearch.serve.problems import Problem, Trouble
from cellsearch.serve.queries import Query as CellQuery
from cellsearch.serve.telling import refused
from cellsearch.serve.uploads import FIELD, received

T = TypeVar("T")
WORKERS = 2
"""Threads that decode and predict at once: each may hold some hundred MB, and the network uses
several cores by itself."""

FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "PNG, JPEG, BMP, TIFF, .npy, .npz, or a zip of these",
                        }
                    },
                }
            }
        },
    }
}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}
TROUBLE: dict[int | str, dict[str, Any]] = {
    code: {"model": Trouble} for code in (400, 403, 404, 408, 413, 415, 421, 422, 503)
}


def api(desk: Desk) -> APIRouter:
    """Routes below ``/api`` for one card."""
    router = APIRouter(prefix="/api", responses=TROUBLE)
    store = desk.store
    threads = anyio.CapacityLimiter(WORKERS)
    sending = 0

    async def worked(function: Callable[..., T], *arguments: Any) -> T:
        return await anyio.to_thread.run_sync(lambda: function(*arguments), limiter=threads)

    @asynccontextmanager
    async def one_upload() -> AsyncIterator[None]:
        nonlocal sending
        if sending >= desk.limits.uploads:
            raise Problem(
                503,
                f"{sending} requests are sending files already",
                "send it again in a few seconds",
            )
        sending += 1
        try:
            yield
        finally:
            sending -= 1

    @router.get("/health")
    async def health() -> answers.Health:
        """Whether the server is up."""
        samples, count = store.figures()
        return answers.Health(status="ok", samples=samples, bytes=count)

    @router.get("/card")
    async def card() -> answers.CardFacts:
        """What is served, and what may be sent."""
        return desk.facts()

    @router.post("/samples", status_code=201)
    def new_sample() -> answers.NewSample:
        """Make an empty sample."""
        return answers.NewSample(sample=store.new().token)

    @router.post("/samples/{token}/files", openapi_extra=FILES)
    async def add_files(token: str, request: Request) -> answers.Added:
        """Add files to a sample, and predict their cells."""
        sample = store.get(token)
        async with one_upload(), received(request, desk.limits) as files:
            outcome = await worked(desk.add, files, sample)
        return answers.Added(
            added=outcome.added,
            cells=len(sample),
            brought=outcome.brought,
            refused=refused(outcome),
        )

    @router.get("/samples/{token}")
    async def summary(token: str) -> answers.SampleFacts:
        """Counts, and each class's share corrected for the card's own mistakes."""
        return await worked(desk.summary, store.get(token))

    @router.delete("/samples/{token}", status_code=204)
    def delete(token: str) -> None:
        """Forget a sample."""
        store.delete(token)

    @router.get("/samples/{token}/cells")
    def cells(
        token: str,
        *,
        sort: Annotated[
            str, Query(description="input, confidence, id, class, or p:<class>")
        ] = "confidence",
        order: Literal["asc", "desc"] = "desc",
        kind: Annotated[str, Query(alias="class", description="predicted class")] = "",
        decision: Annotated[
            str, Query(description="uncertain, certain, or the class a cell is given")
        ] = "",
        least: Annotated[float, Query(alias="min", ge=0, le=1)] = 0.0,
        most: Annotated[float, Query(alias="max", ge=0, le=1)] = 1.0,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 60,
    ) -> answers.Cells:
        """Cells, sorted and filtered; min and max are of the confidence."""
        query = CellQuery(sort, order == "desc", kind, decision, least, most)
        return desk.cells(store.get(token), query, offset=offset, limit=limit)

    @router.get("/samples/{token}/cells/{index}/image.png", responses=PNG, response_class=Response)
    def image(token: str, index: int, channel: str = MONTAGE) -> Response:
        """A channel of a cell, or all side by side, in the sample's contrast."""
        return _png(desk.image(store.get(token), index, channel))

    @router.get(
        "/samples/{token}/cells/{index}/saliency.png", responses=PNG, response_class=Response
    )
    async def saliency(
        token: str,
        index: int,
        name: Annotated[
            str | None, Query(alias="class", description="by default the predicted one")
        ] = None,
    ) -> Response:
        """Where covering the cell lowers the probability of a class (occlusion)."""
        return _png(await worked(desk.explained, store.get(token), index, name))

    @router.get("/samples/{token}/cells.csv", responses=CSV, response_class=Response)
    async def table(token: str) -> Response:
        """One row a cell, as `cellsearch predict -o` writes."""
        return _csv(await worked(desk.table, store.get(token)), "cells.csv")

    @router.get("/samples/{token}/fractions.csv", responses=CSV, response_class=Response)
    async def shares(token: str) -> Response:
        """One row a class, as `cellsearch predict --fractions` writes."""
        return _csv(await worked(desk.shares_table, store.get(token)), "fractions.csv")

    @router.post("/predict", openapi_extra=FILES)
    async def predict(request: Request) -> answers.Prediction:
        """Predict the cells of some files; nothing is kept."""
        async with one_upload(), received(request, desk.limits) as files:
            return await worked(desk.predict, files)

    return router


def _png(data: bytes) -> Response:
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


def _csv(data: bytes, name: str) -> Response:
    return Response(
        data,
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
