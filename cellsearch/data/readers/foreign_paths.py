"""Paths as other programs and machines write them: backslashes, drives, URLs, another root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

_SAMPLE = 200
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
WEB = re.compile(r"(?i)(?:https?|ftp|s3|gs)://")


@dataclass(frozen=True)
class Translated:
    """What is looked for in place of what a table says.

    Attributes:
        texts: N paths with forward slashes, relative to the table's folder where they can be.
        root: folder of another machine that the table's folder stands for; "" where none does.
        elsewhere: whether there are absolute paths that lead to no file here.
    """

    texts: tuple[str, ...]
    root: str = ""
    elsewhere: bool = False


def plain(value: str) -> str:
    r"""``sub\a.png``, ``"C:\a b.png"`` and ``file:///C:/a%20b.png`` with forward slashes."""
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if url := re.match(r"(?i)file:(?://(?:localhost)?(?=/|[A-Za-z]:)|//)?", text):
        text = unquote(text[url.end() :])
        if re.match(r"/[A-Za-z]:", text):
            text = text[1:]
        elif url[0].lower() == "file://" and not text.startswith("/"):
            # What follows two slashes alone is a machine.
            text = f"//{text}"
    return text.replace("\\", "/")


def translated(folder: Path, values: Sequence[str]) -> Translated:
    r"""Paths of a table as they lead to files below its folder.

    Absolute paths that lead nowhere are of another machine: where the folder that all of them share
    stands for the table's own, as ``C:\data`` does for ``/home/me/data``, they are read so. One
    folder is taken for all rows, so that no two files of one name are confused.

    Args:
        folder: of the table.
        values: N paths, as the table has them.
    """
    texts = [plain(value) for value in values]
    foreign = [text for text in texts if _ABSOLUTE.match(text) and not _is_here(text)]
    if not foreign:
        return Translated(tuple(texts))
    parts = [text.split("/") for text in foreign]
    shared = _common([each[:-1] for each in parts])
    # Evenly over the table, as the first rows may be of one folder.
    sample = parts[:: -(-len(parts) // _SAMPLE)]
    first = 3 if foreign[0].startswith("//") else 1
    found = {
        depth: sum(_is_file(folder.joinpath(*each[depth:])) for each in sample)
        for depth in range(first, len(shared) + 1)
    }
    if not any(found.values()):
        return Translated(tuple(texts), elsewhere=True)
    depth = max(found, key=lambda each: (found[each], -each))
    root = "/".join(shared[:depth])
    wanted = set(foreign)
    moved = tuple(text[len(root) + 1 :] if text in wanted else text for text in texts)
    return Translated(moved, root or "/")


def _common(parts: Sequence[Sequence[str]]) -> list[str]:
    """The folders that all paths begin with."""
    alike = takewhile(lambda names: len(set(names)) == 1, zip(*parts, strict=False))
    return [names[0] for names in alike]


def _is_here(text: str) -> bool:
    """Whether an absolute path leads to a file of this machine; ``C:/a.png`` is none on POSIX."""
    path = Path(text)
    return path.is_absolute() and _is_file(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
