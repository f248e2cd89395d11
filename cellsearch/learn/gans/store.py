"""Where trained generators are kept, and how each is trained once, whoever asks first.

gans/<key>/generator.json         what it was trained on and how, and digests of the files beside it
gans/<key>/generator.safetensors  weights
gans/<key>/generated.npy          the cells it made
gans/<key>/critic.npy             the critic's estimate at each step
gans/<key>.lock                   held by whoever trains it
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.cache import key_of
from cellsearch.errors import DataError
from cellsearch.util.user_folders import cache_folder

FORMAT_VERSION = 1
DESCRIPTION = "generator.json"
WEIGHTS, CELLS, CRITIC = "generator.safetensors", "generated.npy", "critic.npy"


@dataclass(frozen=True, eq=False)
class Entry:
    """What is kept of a generator.

    Attributes:
        images: (m, C, H, W) raw cells; memory-mapped once it was read.
        critic: (steps,) float32.
        weights: safetensors; empty once it was read.
        more: what else is worth keeping, JSON-able.
    """

    images: NDArray[Any]
    critic: NDArray[np.float32]
    weights: bytes
    more: Mapping[str, Any]


def kept(
    facts: Mapping[str, Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    build: Callable[[], Entry],
) -> tuple[Entry, bool]:
    """The entry of these facts, from its folder, else built and kept.

    Processes that ask for the same one wait for the first. An entry whose digests, shape or facts
    disagree is built anew.

    Args:
        facts: all that the generator depends on, JSON-able; together with the version of this
            format they are the key.
        shape: of the images.
        dtype: of the images.
        build: trains it.

    Returns:
        The entry, and whether it lay there already.

    Raises:
        DataError: the cache cannot be written.
    """
    facts = {"format_version": FORMAT_VERSION, **facts}
    home = cache_folder() / "gans"
    folder = home / key_of(facts)
    found = _read(folder, facts, shape, dtype)
    if found is not None:
        return found, True
    from filelock import FileLock

    try:
        home.mkdir(parents=True, exist_ok=True)
        # The kernel drops this lock when its holder dies.
        with FileLock(home / f"{folder.name}.lock"):
            found = _read(folder, facts, shape, dtype)
            if found is not None:
                return found, True
            _write(folder, facts, build())
    except OSError as error:
        raise DataError(
            f"the cache {home} cannot be written ({(error.strerror or str(error)).lower()}); "
            "name another folder with CELLSEARCH_CACHE"
        ) from error
    found = _read(folder, facts, shape, dtype)
    if found is None:
        raise DataError(f"{folder}: what was just written reads differently; is the disk sound?")
    return found, False


def _read(
    folder: Path, facts: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Entry | None:
    """The entry, None where there is none or it is damaged."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if {name: description[name] for name in facts} != facts:
            return None
        for name in (WEIGHTS, CELLS, CRITIC):
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != description["files"][name]:
                    return None
        images = np.load(folder / CELLS, mmap_mode="r", allow_pickle=False)
        critic = np.load(folder / CRITIC, allow_pickle=False)
        more = description["more"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if images.shape != shape or images.dtype != dtype:
        return None
    return Entry(images, critic, b"", more)


def _write(folder: Path, facts: Mapping[str, Any], entry: Entry) -> None:
    """All at once; whatever lay there goes. Only for who holds the lock."""
    temporary = folder.with_name(f"{folder.name}.tmp")
    for stale in (temporary, folder):
        shutil.rmtree(stale, ignore_errors=True)
    temporary.mkdir()
    (temporary / WEIGHTS).write_bytes(entry.weights)
    np.save(temporary / CELLS, entry.images, allow_pickle=False)
    np.save(temporary / CRITIC, entry.critic, allow_pickle=False)
    digests = {}
    for name in (WEIGHTS, CELLS, CRITIC):
        with (temporary / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    description = {**facts, "more": dict(entry.more), "files": digests}
    (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    for path in (*temporary.iterdir(), temporary):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    temporary.replace(folder)
