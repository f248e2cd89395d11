"""What lies in a folder, by name alone: images, other files, hidden ones, links."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cellsearch.data.readers.folders import is_read, natural, require_utf8
from cellsearch.data.readers.images import is_image
from cellsearch.errors import ReadError

Progress = Callable[[str, int, int], None]

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
TABLES = frozenset({".csv", ".tsv"})


@dataclass
class Survey:
    """Names found below a folder; nothing is opened.

    Attributes:
        root: the folder.
        images: every visible image file, in natural order of its path below ``root``.
        tables: CSV and TSV files directly in ``root``.
        others: files that are no images, counted by suffix.
        hidden: files and folders that the readers pass over: ``.DS_Store``, ``__MACOSX`` ...
        loops: links to a folder above themselves.
        unreadable: folders that may not be opened.
        empty: folders directly in ``root`` without an image below them.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    links: int = 0
    loops: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)

    def parts(self) -> list[tuple[str, ...]]:
        """Folders between the root and each image, and the image's name."""
        return [image.relative_to(self.root).parts for image in self.images]


def survey(root: Path, on_progress: Progress | None = None) -> Survey:
    """Walk a folder; links to folders are followed once, as the readers follow them.

    Raises:
        ReadError: the folder itself may not be opened, or names in it are not UTF-8.
    """
    found = Survey(root)
    try:
        top = list(os.scandir(root))
    except OSError as error:
        raise ReadError(f"{root}: {(error.strerror or str(error)).lower()}") from None
    for image in _images(root, top, found, (root.resolve(),)):
        found.images.append(image)
        if on_progress and len(found.images) % 1000 == 0:
            on_progress("listing files", len(found.images), len(found.images) + 1)
    if on_progress and len(found.images) >= 1000:
        on_progress("listing files", len(found.images), len(found.images))
    with_images = {image.relative_to(root).parts[0] for image in found.images}
    found.empty = [
        Path(entry.path)
        for entry in sorted(top, key=lambda entry: natural(entry.name))
        if not _passed_over(entry.name) and entry.is_dir() and entry.name not in with_images
    ]
    return found


def _passed_over(name: str) -> bool:
    return name.startswith((".", "__"))


def _images(
    folder: Path, entries: list[os.DirEntry[str]], found: Survey, above: tuple[Path, ...]
) -> Iterator[Path]:
    names = [entry.name for entry in entries if not _passed_over(entry.name)]
    require_utf8([name for name in names if is_read(name)], folder)
    for entry in sorted(entries, key=lambda entry: natural(entry.name)):
        path = folder / entry.name
        if _passed_over(entry.name):
            found.hidden += 1
            continue
        found.links += entry.is_symlink()
        if entry.is_dir():
            require_utf8([entry.name], folder)
            real = path.resolve()
            if real in above:
                found.loops.append(path)
                continue
            try:
                within = list(os.scandir(path))
            except OSError:
                found.unreadable.append(path)
                continue
            yield from _images(path, within, found, (*above, real))
        elif is_image(path):
            yield path
        elif entry.name.lower() in SYSTEM_FILES:
            found.hidden += 1
        else:
            if folder == found.root and path.suffix.lower() in TABLES:
                found.tables.append(path)
            found.others[path.suffix.lower() or "without a suffix"] += 1
