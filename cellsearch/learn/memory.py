"""Memory that a worker gives back between fits, so that it does not grow with every recipe."""

from __future__ import annotations

import ctypes
import gc
import sys


def release_memory() -> None:
    """Collect what is unreachable and hand the allocator's free pages back to the system.

    Each recipe has tensors of other sizes, so freed blocks seldom fit the next one; glibc keeps
    them. Elsewhere than on Linux with glibc only the collection is done.
    """
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):
            return
