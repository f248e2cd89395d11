"""Where read cells, generators and weights are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$CELLSEARCH_CACHE``, or the user's cache folder."""
    if named := os.environ.get("CELLSEARCH_CACHE"):
        return Path(named).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("cellsearch"))
