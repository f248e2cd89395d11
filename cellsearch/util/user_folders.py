"""Folders of the user: what is kept between runs, and the ledger of what was scored."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$CELLSEARCH_CACHE``, or the user's cache folder."""
    if named := os.environ.get("CELLSEARCH_CACHE"):
        return Path(named).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("cellsearch"))


def ledger_folder() -> Path:
    """``$CELLSEARCH_LEDGER``, or the user's data folder, which nobody clears like a cache."""
    if named := os.environ.get("CELLSEARCH_LEDGER"):
        return Path(named).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("cellsearch"))
