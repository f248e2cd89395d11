"""From a path as somebody typed it to the file that is meant: letters may be composed otherwise."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cellsearch.errors import ReadError
from cellsearch.util.spelling import Spellings, escaped

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

Listings = dict[Path, Spellings]
"""Names in folders, by folder, kept while many paths are looked for."""


def named_path(path: Path, listings: Listings | None = None) -> Path:
    """The path itself where it is there, else the one whose names are the same when composed.

    Keyboards and tables compose letters (``ü``, Unicode NFC), some disks part them (``u`` and a
    diaeresis, NFD); both print alike.

    Args:
        path: as it was typed.
        listings: kept between calls; folders change names too rarely to be listed for each path.

    Returns:
        A path that exists, or ``path`` as it is where nothing fits.

    Raises:
        ReadError: several names fit, none of them to the letter; or no file can have such a name.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        # A name of more than 255 bytes, or with a zero byte in it.
        raise _no_name(path, error) from None
    else:
        return path
    place = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        if os.path.lexists(place / part):
            place /= part
            continue
        found = _spellings(place, listings).meant(part)
        if len(found) > 1:
            raise ReadError(
                f"{path}: several names in {place} are composed to it, "
                f"{', '.join(map(escaped, sorted(found)))}: rename all but one"
            )
        if not found:
            return path
        place /= found[0]
    return place


def taken_for(path: Path, listings: Listings | None = None) -> str:
    """What to add where there is no such path: a name beside it that differs in case, say."""
    return _spellings(path.parent, listings).taken_for(path.name)


def _spellings(folder: Path, listings: Listings | None) -> Spellings:
    if listings is not None and folder in listings:
        return listings[folder]
    try:
        found = Spellings.of(each.name for each in folder.iterdir())
    except (OSError, ValueError):
        found = Spellings.of(())
    if listings is not None:
        listings[folder] = found
    return found


def require_nameable(path: Path) -> None:
    """Refuse a name that no file can have: more than 255 bytes, or a zero byte in it.

    Raises:
        ReadError: it has.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except (OSError, ValueError) as error:
        raise _no_name(path, error) from None


def _no_name(path: Path, error: OSError | ValueError) -> ReadError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ReadError(f"{ascii(str(path))[1:-1][:200]}: {reason.lower()}")


def special_kind(path: Path) -> str:
    """``a named pipe``, ``a socket``, ``a device``: what would hang a reader; else ""."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except (OSError, ValueError):
        return ""


def require_no_pipe(path: Path) -> None:
    """Refuse what would hang a reader.

    Raises:
        ReadError: a named pipe, a socket or a device.
    """
    if kind := special_kind(path):
        raise ReadError(f"{path}: {kind}, neither a file nor a folder")


def require_utf8(names: Sequence[str], folder: Path | None = None) -> None:
    """Refuse names that no table, no card and no terminal could hold.

    Args:
        names: of files and folders.
        folder: in which they are.

    Raises:
        ReadError: names that are not UTF-8, as those of an old archive may be.
    """
    bad = [ascii(name) for name in names if not _is_utf8(name)]
    if bad:
        shown, more = ", ".join(bad[:10]), f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        where = "" if folder is None else f"{folder}: "
        raise ReadError(f"{where}{len(bad)} names are not UTF-8 ({shown}{more}): rename them")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
