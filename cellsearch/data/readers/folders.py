"""A folder per class: ``root/<class>/**/<image>``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.file_traits import traits_of
from cellsearch.data.readers import Progress, RawCells
from cellsearch.data.readers.images import is_image
from cellsearch.data.readers.options import ImageOptions, Names
from cellsearch.data.readers.stack import find_groups, read_images
from cellsearch.errors import DataError, ReadError

SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


class Options(ImageOptions):
    """Options of a folder per class."""

    classes: Names | None = Field(None, description="class folders, in order; default: all, sorted")
    ids: Literal["path", "name"] = Field(
        "path",
        description="path: the file's below the folder; name: its name alone, where %2F stands "
        "for a slash, as `cellsearch convert` writes ids and groups",
    )


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key by which ``cell2`` stands before ``cell10``."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith((".", "__"))]
    except OSError as error:
        raise ReadError(f"{folder}: {(error.strerror or str(error)).lower()}") from None
    require_utf8([entry.name for entry in found if entry.is_dir() or is_read(entry.name)], folder)
    return sorted(found, key=lambda entry: natural(entry.name))


def is_read(name: str) -> bool:
    """Whether some reader might open a file of this name in a folder."""
    return is_image(Path(name)) or Path(name).suffix.lower() in (".csv", ".tsv", ".cif")


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
        where = "" if folder is None else f"{folder}: "
        raise ReadError(f"{where}{len(bad)} names are not UTF-8 ({listed(bad)}): rename them")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, hidden files aside, in natural order."""
    return [folder / entry.name for entry in _entries(folder)]


def images_below(folder: Path) -> list[Path]:
    """Visible image files below a folder, however deep, in natural order."""
    found: list[Path] = []
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir():
            found += images_below(path)
        elif is_image(path):
            found.append(path)
    return found


def class_folders(root: Path, classes: Sequence[str] | None) -> dict[str, list[Path]]:
    """Class name to image files.

    Raises:
        DataError: no folders, folders that are splits, a class folder that is missing or empty.
    """
    folders = {path.name: path for path in visible(root) if path.is_dir()}
    if not folders:
        raise DataError(f"{root}: no class folders; expected {root.name}/<class>/<image>")
    if classes is None and {name.lower() for name in folders} <= SPLIT_NAMES:
        raise DataError(
            f"{root}: the folders {', '.join(folders)} are splits, not classes; give one of them, "
            "or a table with columns path, label, split"
        )
    missing = [name for name in classes or () if name not in folders]
    if missing:
        raise DataError(
            f"{root}: no class folder {listed(missing)}; there are {', '.join(folders)}"
        )
    found = {name: images_below(folders[name]) for name in classes or folders}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise DataError(f"{root}: no images in the class folder {listed(empty)}")
    return found


def unique_ids(sources: Sequence[str]) -> list[str]:
    """Paths without their suffix where that is still unique, else whole."""
    stems = [source.rsplit(".", 1)[0] for source in sources]
    return stems if len(set(stems)) == len(stems) else list(sources)


def files(root: Path, options: Options) -> list[Path]:
    """Every image that would be read."""
    return [file for files in class_folders(root, options.classes).values() for file in files]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read every image of every class folder."""
    found = class_folders(root, options.classes)
    paths = [file for files in found.values() for file in files]
    pixels, channels, sources = read_images(root, paths, options, on_progress)
    groups = find_groups(options.group_pattern, sources)
    ids = unique_ids(sources)
    if options.ids == "name":
        ids = [unquote(path.name.rsplit(".", 1)[0]) for path in paths]
        groups = None if groups is None else [unquote(group) for group in groups]
    return RawCells(
        images=pixels,
        labels=[name for name, files in found.items() for _ in files],
        ids=ids,
        sources=sources,
        object_numbers=[0] * len(paths),
        channels=channels,
        groups=groups,
        classes=tuple(found),
        name=root.resolve().name,
        file_traits=traits_of([(path,) for path in paths], on_progress),
    )
