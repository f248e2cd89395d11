"""The members of a zip, one after the other, written under names of our own.

Nothing that an archive says is believed: not its sizes (counted while unpacking), not its names
(labels only, so absolute ones, ``..`` and links lead nowhere), not the length of its directory.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cellsearch.data.passed_over import is_system
from cellsearch.data.readers.images import SUFFIXES
from cellsearch.errors import ReadError
from cellsearch.serve.limits import MB, Limits, size

CHUNK = 256 * 1024
END = struct.Struct("<4s4H2LH")
LOCATOR = 20
ENTRY = 46
FREE = 20 * MB
"""Unpacked bytes up to which no ratio matters: small drawings pack well."""


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        name: as the archive has it; a label.
        path: where its bytes lie; overwritten by the next member. None where it is refused.
        reason: why it is refused.
    """

    name: str
    path: Path | None
    reason: str = ""


def is_npz(path: Path, limits: Limits) -> bool:
    """Whether all members are arrays.

    Raises:
        ReadError: a damaged archive, or one beyond the limits.
    """
    with _opened(path, limits) as archive:
        names = archive.namelist()
        return bool(names) and all(name.endswith(".npy") for name in names)


def members(path: Path, scratch: Path, limits: Limits) -> Iterator[Member]:
    """Unpack a zip, member by member, into ``scratch``.

    Raises:
        ReadError: a damaged archive, or one beyond the limits.
    """
    packed = path.stat().st_size
    so_far = 0
    with _opened(path, limits) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            *folders, name = entry.filename.replace("\\", "/").split("/")
            if any(map(is_system, (*folders, name))):
                # What Finder and Explorer add is no image, and nobody misses it; thumbnails are.
                if not name.startswith("._") and Path(name).suffix.lower() in SUFFIXES:
                    yield Member(entry.filename, None, "it lies in a folder of the system's own")
                continue
            if entry.flag_bits & 0x1:
                yield Member(entry.filename, None, "it is locked by a password")
                continue
            try:
                with archive.open(entry) as source, scratch.open("wb") as target:
                    own = 0
                    while piece := source.read(CHUNK):
                        own += len(piece)
                        so_far += len(piece)
                        _require_modest(own, so_far, packed, limits)
                        target.write(piece)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
                yield Member(entry.filename, None, "damaged, or packed in an unusual way")
                continue
            yield Member(entry.filename, scratch)


def _opened(path: Path, limits: Limits) -> zipfile.ZipFile:
    _require_short_directory(path, limits)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError):
        raise ReadError("a damaged zip, or truncated") from None
    declared = sum(entry.file_size for entry in archive.infolist())
    try:
        _require_modest(0, declared, path.stat().st_size, limits)
    except ReadError:
        archive.close()
        raise
    return archive


def _require_modest(own: int, whole: int, packed: int, limits: Limits) -> None:
    if own > limits.file_bytes:
        raise ReadError(f"a member unpacks to more than {size(limits.file_bytes)}")
    if whole > limits.zip_bytes:
        raise ReadError(f"it unpacks to more than {size(limits.zip_bytes)}; send several zips")
    if whole > max(FREE, limits.zip_ratio * packed):
        raise ReadError(
            f"it unpacks to more than {limits.zip_ratio} times its size, as no archive of images "
            "does; send the images themselves"
        )


def _require_short_directory(path: Path, limits: Limits) -> None:
    """Count the entries of the directory before zipfile makes an object of each.

    What the archive says of their number is not asked: zipfile does not ask it either.
    """
    length = path.stat().st_size
    tail = min(length, END.size + 65535)
    with path.open("rb") as file:
        file.seek(length - tail)
        data = file.read(tail)
        at = len(data) - END.size
        if at < 0 or data[at : at + 4] != b"PK\x05\x06" or data[-2:] != b"\0\0":
            at = data.rfind(b"PK\x05\x06")
        if at < 0 or at + END.size > len(data):
            raise ReadError("a damaged zip, or truncated")
        end = length - tail + at
        size_of_directory = int(END.unpack_from(data, at)[5])
        # zipfile believes a zip64 record, where there is one, rather than this; it stands before.
        file.seek(max(0, end - LOCATOR))
        many = file.read(LOCATOR).startswith(b"PK\x06\x07")
        if many or size_of_directory > 400 * limits.zip_members:
            raise _too_many(limits)
        file.seek(max(0, end - size_of_directory))
        directory = file.read(size_of_directory)
    count = at = 0
    while at + ENTRY <= len(directory):
        count += 1
        if count > limits.zip_members:
            raise _too_many(limits)
        at += ENTRY + sum(struct.unpack_from("<3H", directory, at + 28))


def _too_many(limits: Limits) -> ReadError:
    return ReadError(f"more than {limits.zip_members:,} files in it; send several zips")
