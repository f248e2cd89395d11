"""``cellsearch serve``: under way."""

from __future__ import annotations


def serve() -> None:
    """Under way."""
    raise NotImplementedError
