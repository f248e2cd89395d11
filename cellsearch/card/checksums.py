"""``checksums.json``: the sha256 of every other file of a card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from cellsearch.errors import CardError

CHECKSUMS = "checksums.json"


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> dict[str, Path]:
    """Files below ``folder`` by their relative POSIX path.

    ``checksums.json`` and whatever lies under a dotted name are left out: a Hugging Face clone
    adds ``.gitattributes``, ``.git`` and ``.cache``.
    """
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {
        name: path
        for name, path in found.items()
        if name != CHECKSUMS and not any(part.startswith(".") for part in Path(name).parts)
    }


def write_checksums(folder: Path) -> None:
    """Write ``checksums.json`` for what lies in ``folder`` now."""
    sums = {name: sha256_of(path) for name, path in files_of(folder).items()}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def read_checksums(folder: Path) -> dict[str, str]:
    """Relative POSIX path to sha256.

    Raises:
        CardError: the file is missing or damaged.
    """
    path = folder / CHECKSUMS
    try:
        sums = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"{folder} is not a complete card: {CHECKSUMS} is missing") from None
    except OSError as error:
        raise CardError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CardError(f"{path} is damaged: {error}") from None
    if not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise CardError(f"{path} is damaged: expected file names and their sha256")
    return sums


def problems_with(
    folder: Path, sums: dict[str, str], *, only: Iterable[str] | None = None
) -> list[str]:
    """What differs between a folder and its checksums, one sentence a file.

    Args:
        only: look at these files alone; by default at all, and for files not listed.
    """
    present = files_of(folder)
    asked = sorted(sums) if only is None else list(only)
    problems = []
    for name in asked:
        if name not in sums:
            problems.append(f"{name} is not listed in {CHECKSUMS}")
        elif name not in present:
            problems.append(f"{name} is missing")
        elif sha256_of(present[name]) != sums[name]:
            problems.append(f"{name} has changed since the card was written")
    if only is None:
        extra = sorted(set(present) - set(sums))
        problems.extend(f"{name} does not belong to the card" for name in extra)
    return problems
