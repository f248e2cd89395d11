"""What a client did wrong, as JSON: what is the matter, and what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cellsearch.errors import CellsearchError
from cellsearch.serve.wording import on_page

_LOG = logging.getLogger("cellsearch.serve")


class Trouble(BaseModel):
    """Every answer of 400 and above."""

    error: str
    remedy: str


class Problem(Exception):  # noqa: N818
    """A request that is refused.

    Attributes:
        status: of the answer.
        error: what is the matter.
        remedy: what to do about it.
    """

    def __init__(self, status: int, error: str, remedy: str) -> None:
        super().__init__(error)
        self.status, self.error, self.remedy = status, error, remedy


def refusal(
    status: int, error: str, remedy: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer of 400 and above."""
    return JSONResponse(
        {"error": error, "remedy": remedy}, status_code=status, headers=dict(headers or {})
    )


def install(app: FastAPI) -> None:
    """Let every error of ``app`` be told in this form; what nobody expected is logged."""

    async def known(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, Problem)
        headers = {503: {"Retry-After": "2"}, 408: {"Connection": "close"}}.get(problem.status, {})
        return refusal(problem.status, problem.error, problem.remedy, headers=headers)

    async def plain(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, HTTPException)
        remedy = {404: "GET /api lists what there is", 405: "GET /api lists what there is"}
        return refusal(
            problem.status_code,
            str(problem.detail),
            remedy.get(problem.status_code, "see /openapi.json"),
            headers=problem.headers,
        )

    async def invalid(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, RequestValidationError)
        parts = [
            f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}"
            for one in problem.errors()
        ]
        return refusal(422, "; ".join(parts), "see /openapi.json for what is taken")

    async def ours(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, CellsearchError)
        return refusal(
            422, on_page(problem.message), "send images as the card takes them: GET /api/card"
        )

    async def full(_: Request, problem: Exception) -> JSONResponse:
        _LOG.error("%s", problem)
        return refusal(
            507,
            "the server cannot write its temporary files",
            "free space in its temporary folder, or set TMPDIR to one with space",
        )

    async def unexpected(request: Request, problem: Exception) -> JSONResponse:
        _LOG.error("%s %s failed", request.method, request.url.path, exc_info=problem)
        return refusal(
            500,
            "the server failed in a way nobody expected; it is still up",
            "its log says more; report it with the file that was sent",
        )

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(CellsearchError, ours)
    app.add_exception_handler(OSError, full)
    app.add_exception_handler(Exception, unexpected)
