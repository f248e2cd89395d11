"""``cellsearch export``: under way."""

from __future__ import annotations


def export() -> None:
    """Under way."""
    raise NotImplementedError


def push() -> None:
    """Under way."""
    raise NotImplementedError
