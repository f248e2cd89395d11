"""``cellsearch init``: under way."""

from __future__ import annotations


def init() -> None:
    """Under way."""
    raise NotImplementedError
