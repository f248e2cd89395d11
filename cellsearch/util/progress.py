"""The steps of loops, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Told the stage, how many steps are done, and how many there are."""


class Steps:
    """Counts through several loops as one stage.

    Args:
        stage: what is being done.
        total: steps of all loops.
        on_progress: told the stage, how many steps are done, and the total; None for nobody.
    """

    def __init__(self, stage: str, total: int, on_progress: Progress | None) -> None:
        self.stage, self.total, self.done = stage, total, 0
        self._told = on_progress

    def through(self, items: Iterable[T]) -> Iterator[T]:
        """The items; each counts once it has been dealt with."""
        for item in items:
            if self._told:
                self._told(self.stage, self.done, self.total)
            yield item
            self.done += 1
        if self._told:
            self._told(self.stage, self.done, self.total)
