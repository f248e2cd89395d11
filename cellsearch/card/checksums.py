"""``checksums.json``: the sha256 of every other file of a card.

A card may come from anybody. What it lists is all that is read, copied or sent, and none of it may
be a link, which leads to files of whoever opens the card.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from cellsearch.errors import CardError
from cellsearch.util.json_text import from_json

CHECKSUMS = "checksums.json"


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> dict[str, Path]:
    """Files below ``folder`` by their relative POSIX path; links are no files.

    ``checksums.json`` and whatever lies under a dotted name are left out: a Hugging Face clone
    adds ``.gitattributes``, ``.git`` and ``.cache``.
    """
    return {
        name: path
        for name, path in _entries(folder).items()
        if name != CHECKSUMS and path.is_file() and not path.is_symlink()
    }


def foreign_to(folder: Path) -> list[str]:
    """Links, pipes and devices of a card, a sentence each; none of them is ever opened."""
    found = []
    for name, path in _entries(folder).items():
        if path.is_symlink():
            found.append(f"{name} is a link, which may lead to any file of this machine")
        elif not path.is_file() and not path.is_dir():
            found.append(f"{name} is neither a file nor a folder")
    return found


def require_plain(folder: Path) -> None:
    """Refuse a card with links, pipes or devices, before a file of it is opened.

    Raises:
        CardError: each of them is named.
    """
    if found := foreign_to(folder):
        raise CardError(
            f"{folder} cannot be trusted: {'; '.join(found[:10])}; a card holds files alone; "
            "where they are links of the Hub's cache, download it into a folder of its own"
        )


def copy_listed(folder: Path, target: Path) -> None:
    """Copy a card as its checksums list it, and nothing else, into a folder.

    Raises:
        CardError: a file is missing, a link, or not as it was written; the copy is what is looked
            at.
        OSError: the disk refuses.
    """
    require_plain(folder)
    sums = read_checksums(folder)
    present = files_of(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name in sums:
        if name not in present:
            raise CardError(f"{folder} is not a complete card: {name} is missing")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(present[name], target / name, follow_symlinks=False)
    shutil.copyfile(folder / CHECKSUMS, target / CHECKSUMS, follow_symlinks=False)
    if problems := [*foreign_to(target), *problems_with(target, sums)]:
        raise CardError(f"{folder} cannot be copied: {'; '.join(problems)}")


def _entries(folder: Path) -> dict[str, Path]:
    """Whatever lies below a folder, by relative POSIX path; no link is followed."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: path
        for name, path in found.items()
        if not any(part.startswith(".") for part in name.split("/"))
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
        sums = from_json(path.read_text(encoding="utf-8"))
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
        folder: of the card.
        sums: what it lists.
        only: look at these files alone; by default at all, and for files not listed.

    Raises:
        CardError: it holds a link, which is not followed.
    """
    require_plain(folder)
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
