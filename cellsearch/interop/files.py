"""Folders that are written wholly or not at all, and only replaced on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellsearch.errors import CardError
from cellsearch.util.atomic import whole_folder
from cellsearch.util.messages import Setting


@contextmanager
def new_folder(folder: Path, *, mark: str, force: bool = False) -> Iterator[Path]:
    """A folder to write into that takes the place of ``folder`` when all is done.

    Args:
        folder: where it goes; what is there is replaced if it holds ``mark`` and ``force`` is set.
        mark: name of a file by which a folder of this kind is known.
        force: replace an older one.

    Raises:
        CardError: something is there that may not be replaced, or the disk refuses.
    """
    there = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if there and not (folder / mark).is_file():
        raise CardError(f"{folder} exists and holds other things; name a folder that does not")
    if there and not force:
        raise CardError(
            f"{folder} exists; name another folder, or replace it with ", Setting("force", True)
        )
    try:
        with whole_folder(folder) as building:
            building.mkdir()
            yield building
    except OSError as error:
        raise CardError(f"cannot write {folder}: {error.strerror or error}") from None
