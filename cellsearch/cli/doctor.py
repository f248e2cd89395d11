"""``cellsearch doctor``: under way."""

from __future__ import annotations


def doctor() -> None:
    """Under way."""
    raise NotImplementedError
