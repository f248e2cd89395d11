"""Standard output that cannot spell a letter, that nobody reads any more, or that is full."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

CLOSED_PIPE = 141
"""128 + SIGPIPE: what a shell reports of a program whose reader went away."""

_HANDLER = "cellsearch.json"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """``backslashreplace``, but in the escapes of JSON, so that ``--json`` stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def spell_all() -> None:
    """Let standard output escape the letters that its encoding has not, instead of raising."""
    codecs.register_error(_HANDLER, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_HANDLER)


@contextmanager
def standard_output() -> Iterator[None]:
    """End in order where standard output takes no more.

    Raises:
        SystemExit: 141 where nobody reads any more, with no word; 2 where it cannot be written,
            with one line on standard error.
    """
    # click puts a wrapper in its place that says nothing of a closed pipe.
    out = sys.stdout
    try:
        try:
            yield
        finally:
            if out is not None:
                out.flush()
    except SystemExit as ended:
        # click and rich turn a closed pipe into code 1, which says that a check found problems.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _let_go(out, sys.__stderr__)
        raise SystemExit(CLOSED_PIPE) from None
    except OSError as error:
        if error.errno == errno.EPIPE:
            _let_go(out, sys.__stderr__)
            raise SystemExit(CLOSED_PIPE) from None
        if not _refuses(out):
            raise
        _let_go(out)
        why = (error.strerror or str(error)).lower()
        with suppress(OSError):
            sys.stderr.write(f"cellsearch: cannot write to standard output: {why}\n")
        raise SystemExit(2) from None


def _refuses(stream: TextIO | None) -> bool:
    """Whether it is this stream that cannot be written, and no other file."""
    if stream is None:
        return False
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        return True
    return False


def _let_go(*streams: TextIO | None) -> None:
    """What is left in the buffers goes nowhere, else Python complains of it as it ends."""
    for stream in streams:
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
