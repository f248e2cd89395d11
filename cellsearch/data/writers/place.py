"""A file or folder that is written whole or not at all: beside its place, then renamed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellsearch.errors import ConfigError, DataError
from cellsearch.util.atomic import whole_folder
from cellsearch.util.messages import Setting
from cellsearch.util.yaml_files import WITHIN

MARK = "# Written by cellsearch convert.\n"
"""First line of the manifest in a folder of ours: what ``--force`` may replace."""


def refuse_taken(out: Path, *, force: bool) -> None:
    """Refuse a path that something lies at.

    Raises:
        ConfigError: without ``force``, anything; with it, a folder that is neither empty nor of
            our making; a name that no file can have.
    """
    try:
        taken = out.exists() or out.is_symlink()
    except OSError as error:
        raise ConfigError(f"-o {out}: {(error.strerror or str(error)).lower()}") from None
    if not taken:
        return
    if not force:
        raise ConfigError(
            _named(out),
            ": exists already; name another, or replace it with ",
            Setting("force", True),
        )
    if out.is_dir() and not _ours(out):
        raise ConfigError(
            _named(out),
            ": a folder that cellsearch did not write is never replaced; name another, or remove "
            "it yourself",
        )


def refuse_overlap(out: Path, source: Path) -> None:
    """Refuse to write over, into or around what is read.

    Args:
        out: file or folder to write.
        source: that cells are read from; what is no path is of no concern.

    Raises:
        ConfigError: one is the other, or lies in it.
    """
    if not source.exists():
        return
    # A link to it is it, and one folder may be spelt in many ways.
    there, read = out.resolve(), source.resolve()
    if there == read or (out.exists() and out.samefile(source)):
        raise ConfigError(_named(out), ": is the input; name another")
    if there.is_relative_to(read):
        raise ConfigError(
            _named(out), f": lies in {source}, which is the input; name another place"
        )
    if out.exists() and read.is_relative_to(there):
        raise ConfigError(_named(out), f": holds {source}, which is the input; name another place")


def _named(out: Path) -> Setting:
    return Setting("out", str(out))


def _ours(folder: Path) -> bool:
    if not any(folder.iterdir()):
        return True
    try:
        if (folder / WITHIN).read_text(encoding="utf-8").startswith(MARK):
            return True
    except (OSError, UnicodeDecodeError):
        pass
    return _our_zarr(folder)


def _our_zarr(folder: Path) -> bool:
    from cellsearch.data.readers.self_described import KEY

    try:
        return f'"{KEY}"' in (folder / "zarr.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A path beside ``out`` to fill; renamed to ``out`` at the end, removed on an error.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    try:
        with whole_folder(out) as temporary:
            yield temporary
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else (error.strerror or str(error)).lower()
        raise DataError(f"cannot write {out}: {reason}") from error
