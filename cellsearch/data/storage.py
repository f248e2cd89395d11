"""A folder of plain ``.npy`` files and one JSON: written whole or not at all, memory-mapped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import DataError
from cellsearch.util.atomic import write_whole_text
from cellsearch.util.json_text import from_json

FORMAT_VERSION = 1
DESCRIPTION = "dataset.json"
CHUNK_BYTES = 16 * 2**20
SAMPLES = "samples"
BLOCKS, BLOCK_BYTES = 256, 2**14


def rows_per_chunk(array: NDArray[Any]) -> int:
    """Rows of ``array`` that make up about 16 MiB; at least one."""
    per_row = max(1, array.nbytes // max(1, len(array)))
    return max(1, CHUNK_BYTES // per_row)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    # ndarray.tofile hides the reason when a disk is full and a written memory map dies of
    # SIGBUS; plain writes raise OSError with errno.
    with path.open("xb") as file:
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, array.dtype))
        np.lib.format.write_array_header_1_0(file, header | {"shape": array.shape})
        step = rows_per_chunk(array)
        for start in range(0, len(array), step):
            file.write(np.ascontiguousarray(array[start : start + step]).tobytes())
        file.flush()
        os.fsync(file.fileno())


def _sampled(path: Path) -> str:
    """Hex sha256 of a file's length and of blocks all over it; of all of a small one."""
    length = path.stat().st_size
    found = hashlib.sha256(str(length).encode())
    last = max(0, length - BLOCK_BYTES)
    with path.open("rb") as file:
        for start in np.unique(np.linspace(0, last, BLOCKS).astype(np.int64)).tolist():
            file.seek(start)
            found.update(file.read(BLOCK_BYTES))
    return found.hexdigest()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space or choose another folder"
    return error.strerror or str(error)


def write_folder(
    folder: Path, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]
) -> None:
    """Write ``<name>.npy`` for each array and ``dataset.json``, all at once.

    A temporary folder beside ``folder`` is filled and renamed, so that a reader sees
    everything or nothing. Where another process was faster, its equal copy is kept.

    Args:
        folder: where to; created with its parents.
        arrays: name -> array; may be memory-mapped, copied in chunks of 16 MiB.
        description: JSON-able; must hold ``sha256`` of the arrays.

    Raises:
        DataError: the disk is full or not writable, or ``folder`` holds something else.
    """
    description = {"format_version": FORMAT_VERSION, **description}
    temporary = folder.parent / f".{folder.name}.{secrets.token_hex(6)}.tmp"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not _holds(folder, description):
            temporary.mkdir()
            for name, array in arrays.items():
                _write_array(temporary / f"{name}.npy", array)
            description[SAMPLES] = {
                file.name: _sampled(file) for file in sorted(temporary.glob("*.npy"))
            }
            write_whole_text(temporary / DESCRIPTION, json.dumps(description, indent=1))
            _move_into_place(temporary, folder, description)
    except OSError as error:
        raise DataError(f"cannot save the data set to {folder}: {_reason(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary: Path, folder: Path, description: Mapping[str, Any]) -> None:
    try:
        temporary.replace(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        if not _holds(folder, description):
            raise DataError(
                f"{folder} exists and holds something else; name a new folder or remove it"
            ) from error


def _holds(folder: Path, description: Mapping[str, Any]) -> bool:
    """Whether the same arrays lie there; a description that differs is then brought up to date."""
    with contextlib.suppress(OSError, ValueError):
        found = from_json((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("sha256") != description["sha256"]:
            return False
        # The arrays are the same, and so is what was sampled of them.
        description = {**description, **{key: found[key] for key in (SAMPLES,) if key in found}}
        if found != json.loads(json.dumps(description)):
            write_whole_text(folder / DESCRIPTION, json.dumps(description, indent=1))
        return True
    return False


def read_folder(
    folder: Path, needed: Sequence[str]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Description and memory-mapped, read-only arrays that ``write_folder`` left.

    Args:
        folder: where they lie.
        needed: arrays that must be there, of one length; the first of the shape described.

    Raises:
        DataError: no data set lies there, it was written by a later version, or a file is
            missing, truncated, or damaged where it is looked at: in a few MB all over it.
    """
    path = folder / DESCRIPTION
    try:
        description = from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no saved data set in {folder}: {DESCRIPTION} is missing") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version {version!r}, this cellsearch reads {FORMAT_VERSION}; "
            "upgrade cellsearch or save the data set again"
        )
    arrays: dict[str, NDArray[Any]] = {}
    samples = description.get(SAMPLES, {})
    for file in sorted(folder.glob("*.npy")):
        try:
            arrays[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
            sound = file.name not in samples or samples[file.name] == _sampled(file)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file} is truncated or not an array: {error}") from error
        if not sound:
            raise DataError(f"{file} is damaged: its bytes are not those that were written")
    missing = [f"{name}.npy" for name in needed if name not in arrays]
    if missing:
        raise DataError(f"the data set in {folder} is not whole: {', '.join(missing)} missing")
    shape = tuple(description.get("shape", ()))
    if arrays[needed[0]].shape != shape or {len(array) for array in arrays.values()} != {shape[0]}:
        raise DataError(f"the arrays in {folder} do not fit its {DESCRIPTION}; save it again")
    return description, arrays
