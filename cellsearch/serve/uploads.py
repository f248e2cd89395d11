"""The files of one request, received while they are counted."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cellsearch.serve.limits import Limits, size
from cellsearch.serve.problems import Problem

FIELD = "files"
LABEL = 200


@dataclass(frozen=True)
class Received:
    """One file.

    Attributes:
        label: what the client calls it; never a path.
        bytes: how many.
        file: its content, in memory while it is small and else in an unnamed file.
    """

    label: str
    bytes: int
    file: BinaryIO

    def save(self, path: Path) -> None:
        """Write its content to a path of our own naming."""
        with path.open("wb") as target:
            shutil.copyfileobj(self.file, target, 256 * 1024)


@asynccontextmanager
async def received(request: Request, limits: Limits) -> AsyncIterator[list[Received]]:
    """The files of a multipart request; closed at the end.

    Raises:
        Problem: 413 too many files or bytes; 400, 415 or 422 not what is expected.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem(
            415,
            "files come as multipart/form-data",
            f"such as curl -F {FIELD}=@cell.tif, one {FIELD}= for each file",
        )
    try:
        async with request.form(max_files=limits.request_files, max_fields=8) as form:
            parts = form.getlist(FIELD)
            files = [
                Received(label(part.filename or ""), part.size or 0, part.file)
                for part in parts
                if isinstance(part, UploadFile)
            ]
            if not files:
                raise Problem(
                    422,
                    f"the request holds no file in a field named {FIELD!r}",
                    f"such as curl -F {FIELD}=@cell.tif, one {FIELD}= for each file",
                )
            yield files
    except ClientDisconnect:
        raise Problem(400, "the client went away while it was sending", "send it again") from None
    except HTTPException as error:
        if "too many files" in str(error.detail).lower():
            raise Problem(
                413,
                f"a request may hold {limits.request_files} files, this one holds more",
                f"send them in several requests of at most {limits.request_files} files to the "
                "same sample, or in a zip",
            ) from None
        raise Problem(
            400,
            f"the request cannot be read: {error.detail}",
            f"send files alone, each in a field named {FIELD!r}",
        ) from None


def label(name: str) -> str:
    """A file's name as it is shown: printable, of modest length, never used as a path."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    text = "".join(one for one in "/".join(parts) if unicodedata.category(one)[0] != "C").strip()
    return (text if len(text) <= LABEL else f"...{text[3 - LABEL :]}") or "unnamed"


def too_large(one: Received, limits: Limits) -> str | None:
    """Why a file is refused for its size; None where it is not."""
    if one.bytes > limits.file_bytes:
        return f"a file may hold {size(limits.file_bytes)}, this one holds {size(one.bytes)}"
    return None
