"""The groups of an ``.npz``, in one part or several, and arrays that look like groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.catalog import near_miss
from cellsearch.data.arrays import listed
from cellsearch.data.readers import column_notes
from cellsearch.data.readers.self_described import COLUMNS, as_texts
from cellsearch.data.readers.table_groups import no_groups
from cellsearch.errors import DataError, ReadError
from cellsearch.util.messages import Message

DEFAULT = "groups"


def whole(archive: Any, key: str) -> NDArray[Any]:
    """An array of an open ``.npz``, which fills its part of the file to the last byte.

    Raises:
        ValueError: Python objects, no array, or a header that tells of more or fewer values.
        zipfile.BadZipFile: bytes that do not match their checksum.
    """
    shape, dtype, length = _header(archive, key)
    if dtype.hasobject:
        raise ValueError(f"array {key} holds Python objects")
    needed = math.prod(shape) * dtype.itemsize
    if length != needed:
        raise ValueError(f"array {key} has {length:,} bytes, its header tells of {needed:,}")
    found: NDArray[Any] = archive[key]
    return found


def refuse_objects(root: Path, archive: Any, keys: Sequence[str]) -> None:
    """Refuse arrays of Python objects, which only running code from the file would read.

    Raises:
        ReadError: which arrays, and how each is saved so that it can be read; all at once.
    """
    found = []
    for key in keys:
        shape, dtype, _ = _header(archive, key)
        if not dtype.hasobject:
            continue
        if key.endswith("images"):
            how = (
                "crops of several sizes: pad them to one and save np.stack(crops), or save each as "
                "an image in a folder per class"
                if len(shape) == 1
                else "save it as numbers: images.astype(np.uint16), say"
            )
        else:
            how = f"save it as texts: np.array({key}, dtype=str), or as integers"
        found.append(f"{key} holds Python objects; {how} (its shape is {shape})")
    if found:
        raise ReadError(f"{root.name}: not an .npz of plain arrays: {'; '.join(found)}")


def _header(archive: Any, key: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and dtype of an array, and the bytes that follow its header."""
    names = set(archive.zip.namelist())
    member = f"{key}.npy" if f"{key}.npy" in names else key
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        return shape, dtype, archive.zip.getinfo(member).file_size - file.tell()


def groups_in(
    root: Path, archive: Any, names: Sequence[str], counts: Sequence[int], asked: str | None
) -> NDArray[Any] | None:
    """The groups of all parts, one after the other; None where there are none.

    Args:
        root: the file, for messages.
        archive: of ``np.load``.
        names: prefixes of the parts.
        counts: cells of each part.
        asked: name of the array without a prefix, ``none``, or None for ``groups``.

    Raises:
        DataError: an array that is not there, or in some parts alone, or not one group a cell.
    """
    bare = _bare(archive, names)
    if no_groups(asked, bare):
        return None
    name = asked or DEFAULT
    keys = [f"{part}{name}" for part in names]
    missing = [key for key in keys if key not in archive.files]
    if len(missing) == len(keys) and asked is None:
        return None
    if missing:
        hint = near_miss(name, bare) if len(missing) == len(keys) else ""
        parts = " of each part" if len(keys) > 1 else ""
        raise DataError(
            f"{root.name}: no array {listed(missing)}: give option groups the name of an array"
            f"{parts}{hint}, or none; there are {listed(sorted(bare))}"
        )
    found = []
    for key, count in zip(keys, counts, strict=True):
        refuse_objects(root, archive, [key])
        values = decoded(whole(archive, key))
        if values.shape not in ((count,), (count, 1)):
            raise DataError(
                f"{root.name}: {key} of shape {values.shape} for {count} images; expected one "
                "group a cell"
            )
        found.append(values.ravel())
    if len(found) == 1:
        return found[0]
    # Numbers in one part and texts in another would make two donors of one.
    return np.array([text for values in found for text in as_texts(values)])


def group_like_in(
    archive: Any, names: Sequence[str], counts: Sequence[int], asked: str | None
) -> dict[str, list[str]]:
    """Arrays of a value a cell that are called as donors or plates are, and that nobody reads."""
    bare = _bare(archive, names)
    if no_groups(asked, bare):
        return {}
    taken = {asked or DEFAULT, *(COLUMNS if list(names) == [""] else ())}
    found: dict[str, list[str]] = {}
    for name in column_notes.group_like(bare - taken):
        keys = [f"{part}{name}" for part in names]
        parts = [plain(archive, key) for key in keys if key in archive.files]
        if [part.shape for part in parts] in (
            [(n,) for n in counts],
            [(n, 1) for n in counts],
        ):
            found[name] = [text for part in parts for text in as_texts(part.ravel())]
    return found


def remedies(others: dict[str, list[str]]) -> dict[str, Message]:
    """How each of these arrays is declared."""
    return {name: column_notes.option("groups", name) for name in others}


def notes_on(
    others: dict[str, list[str]],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    asked: str | None,
) -> list[column_notes.Note]:
    """What is told of arrays that look like groups."""
    how = remedies(others)
    if groups is None:
        return column_notes.of_groups(others, labels, remedies=how)
    return column_notes.of_crossing(others, labels, groups, taken=asked or DEFAULT, remedies=how)


def plain(archive: Any, key: str) -> NDArray[Any]:
    """An array that nobody asked for; an empty one where it holds Python objects."""
    try:
        return decoded(whole(archive, key))
    except ValueError:
        return np.empty(0)


def decoded(array: NDArray[Any]) -> NDArray[Any]:
    """Bytes as the texts they hold; anything else as it is."""
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _bare(archive: Any, names: Sequence[str]) -> set[str]:
    """Arrays of the parts, without ``train_``, ``val_`` and ``test_``."""
    return {
        key.removeprefix(part) for part in names for key in archive.files if key.startswith(part)
    }
