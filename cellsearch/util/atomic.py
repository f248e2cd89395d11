"""Files and folders that appear wholly or not at all, and that survive a power cut."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


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
    """A path beside ``folder`` to make a folder (or file) at; it takes its place at the end.

    What lay at ``folder`` goes only when the new one is there. On an error it is left as it was.

    Raises:
        OSError: the disk refuses.
    """
    temporary = _beside(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _swap(temporary, folder)
    finally:
        remove(temporary)


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
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _swap(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        temporary.replace(folder)
        return
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.old")
    folder.replace(old)
    try:
        temporary.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    remove(old)
