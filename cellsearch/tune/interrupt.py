"""Ctrl-C and SIGTERM: the first one ends the search cleanly, the second one at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_STATUS = 130


class Interrupted(BaseException):
    """Raised where work may be broken off; not an Exception, so that no library swallows it."""


class Interrupts:
    """Turns signals into a flag, and within ``breakable`` into ``Interrupted``.

    The driver's own steps are never broken off, so the study is never half-written.
    """

    def __init__(self) -> None:
        self.requested = False
        self._breakable = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread alone; elsewhere the caller's handler stays.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Within, a signal raises ``Interrupted`` at once."""
        self.check()
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False

    def check(self) -> None:
        """Raise ``Interrupted`` if a signal has come."""
        if self.requested:
            raise Interrupted

    def retake(self) -> None:
        """Set the handlers again, after a library has set its own."""
        for number in self._before:
            signal.signal(number, self._handle)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(EXIT_STATUS)
        self.requested = True
        if self._breakable:
            raise Interrupted
