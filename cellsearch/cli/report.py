"""``cellsearch report``: under way."""

from __future__ import annotations


def report() -> None:
    """Under way."""
    raise NotImplementedError
