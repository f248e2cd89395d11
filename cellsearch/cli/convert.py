"""``cellsearch convert``: under way."""

from __future__ import annotations


def convert() -> None:
    """Under way."""
    raise NotImplementedError
