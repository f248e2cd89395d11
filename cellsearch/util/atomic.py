"""Files and folders that appear wholly or not at all, and that survive a power cut."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

SCRATCH = ".cellsearch-"
LONGEST_START = 200


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream to write; what was written takes the place of ``path`` at the end, durably.

    On an error an older file is left as it was, and nothing else is left.

    Raises:
        OSError: the disk refuses.
    """
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole_text(path: Path, text: str) -> None:
    """Write UTF-8 text as ``whole_file`` does.

    Raises:
        OSError: the disk refuses.
    """
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A path to make a folder (or file) at; it takes the place of ``folder`` at the end, durably.

    It lies beside ``folder``, in a folder of a name that nobody else has. What lay at ``folder``
    goes only when the new one is there. On an error it is left as it was.

    Raises:
        OSError: the disk refuses.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, suffix=".tmp", dir=folder.parent))
    try:
        temporary = scratch / "new"
        yield temporary
        sync_tree(temporary)
        _swap(temporary, folder, scratch / "old")
        sync_folder(folder.parent)
    finally:
        remove(scratch)


def leftovers(parent: Path) -> list[Path]:
    """What ``whole_folder`` was at below ``parent`` when its process was killed."""
    return list(parent.glob(f"{SCRATCH}*.tmp"))


def sync_tree(path: Path) -> None:
    """Make a file, or a folder and all that is in it, durable; links are left alone."""
    if path.is_symlink():
        return
    if path.is_dir():
        for inner in path.iterdir():
            sync_tree(inner)
        sync_folder(path)
    elif path.is_file():
        with path.open("r+b" if os.name == "nt" else "rb") as file:
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable, where the system allows opening folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # A name may have 255 bytes, with what is added here.
    start = os.fsdecode(os.fsencode(path.name)[:LONGEST_START])
    return path.with_name(f".{start}.{secrets.token_hex(6)}.tmp")


def _swap(temporary: Path, folder: Path, old: Path) -> None:
    if not os.path.lexists(folder):
        temporary.replace(folder)
        return
    folder.replace(old)
    try:
        temporary.replace(folder)
    except OSError:
        old.replace(folder)
        raise
