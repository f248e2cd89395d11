"""Where read data sets are kept, and how each is built once, whoever asks first."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from cellsearch.data.arrays import slug
from cellsearch.data.dataset import CellDataset, require_unchanged
from cellsearch.data.readers.stack import relative
from cellsearch.errors import DataError, ReadError
from cellsearch.util.named_path import require_no_pipe

Kept = TypeVar("Kept")
LONGEST_NAME = 100
"""Characters; a name on the disk may have 255 bytes, and more than this one is put into it."""


def key_of(facts: Any) -> str:
    """Hex sha256 of JSON-able facts, independent of the order of keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def fingerprint(root: Path, files: Iterable[Path]) -> list[list[Any]]:
    """Name, size and time of change (ns) of each file: what tells whether to read it again.

    Raises:
        ReadError: a file is missing, or is a pipe or a device.
    """
    prints: list[list[Any]] = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise ReadError(f"{file}: {(error.strerror or str(error)).lower()}") from None
        require_no_pipe(file)
        prints.append([relative(file, root), status.st_size, status.st_mtime_ns])
    return prints


def cached(
    cache: Path,
    name: str,
    facts: Any,
    build: Callable[[], CellDataset],
    *,
    verified: bool = False,
) -> CellDataset:
    """The data set of these facts, opened where it lies, else built and saved.

    Processes that ask for the same one wait for the first. A folder that was damaged is
    built anew.

    Args:
        cache: folder of the cache.
        name: of the data set.
        facts: that tell it from others.
        build: makes it.
        verified: read every byte of what is there; else some of them all over it.

    Raises:
        DataError: the cache cannot be written.
    """
    key = key_of(facts)
    folder = cache / "datasets" / f"{slug(name)[:LONGEST_NAME]}-{key[:16]}"

    def anew() -> CellDataset:
        shutil.rmtree(folder, ignore_errors=True)
        return build().save(folder)

    return built_once(cache, key[:16], lambda: _opened(folder, verified=verified), anew)


def built_once(
    cache: Path, lock: str, opened: Callable[[], Kept | None], build: Callable[[], Kept]
) -> Kept:
    """What is kept in the cache, else built by one process while others wait for it.

    Args:
        cache: folder of the cache.
        lock: name of the lock that those who ask for the same share.
        opened: what is there, or None.
        build: makes and keeps it.

    Raises:
        DataError: the cache cannot be written.
    """
    found = opened()
    if found is not None:
        return found
    # 0.1 s to import (asyncio), and a cached data set needs it not.
    from filelock import FileLock

    try:
        (cache / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "locks" / f"{lock}.lock"):
            found = opened()
            return build() if found is None else found
    except OSError as error:
        raise DataError(
            f"the cache {cache} cannot be written ({(error.strerror or str(error)).lower()}); "
            "name another folder with CELLSEARCH_CACHE"
        ) from error


def _opened(folder: Path, *, verified: bool) -> CellDataset | None:
    try:
        found = CellDataset.open(folder)
        if verified:
            require_unchanged(found)
    except DataError:
        return None
    return found
