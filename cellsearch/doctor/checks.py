"""One check as a value, and all of them in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cellsearch.util.messages import Message

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is, and what to do about it.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``warning``: works, but look at it; ``problem``: something will fail.
        found: how it is.
        remedy: what to do; "" where it is ok.
    """

    name: str
    state: State
    found: str | Message
    remedy: str | Message = ""

    def line(self) -> str:
        """For a terminal."""
        from cellsearch.cli.wording import worded

        remedy = f"; {worded(self.remedy)}" if self.remedy else ""
        return f"{self.state:<8} {self.name}: {worded(self.found)}{remedy}"


def examine(
    *,
    runs: Path = Path("runs"),
    storage: str | None = None,
    ray: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Check]:
    """Every check, as it is done.

    Args:
        runs: folder that runs are written to.
        storage: database URL to try.
        ray: start Ray, which takes some seconds to a minute.
        on_progress: told of what takes longer than a moment.
    """
    from cellsearch.doctor import installation, machine, services

    def slow(stage: str, checks: Callable[[], list[Check]]) -> Iterator[Check]:
        if on_progress:
            on_progress(stage, 0, 1)
        found = checks()
        if on_progress:
            on_progress(stage, 1, 1)
        yield from found

    yield from installation.packages()
    yield from installation.compiled()
    yield from installation.extras()
    yield from machine.cores()
    yield from machine.memory()
    yield from machine.folders(runs)
    if storage is None:
        yield services.sqlite()
    else:
        yield from slow("trying the database", lambda: [services.database(storage)])
    yield services.weights()
    yield services.java()
    yield from slow("loading torch and timing precisions", services.torch_devices)
    if ray:
        yield from slow("starting Ray", lambda: [services.ray_starts()])
