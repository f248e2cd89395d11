"""A folder per class: ``root/<class>/**/<image>``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.file_traits import traits_of
from cellsearch.data.folder_walk import walk
from cellsearch.data.notes import Note
from cellsearch.data.passed_over import images_passed_over
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.options import ImageOptions, Names, known_names
from cellsearch.data.readers.stack import find_groups, read_images
from cellsearch.errors import ConfigError, DataError
from cellsearch.util.progress import Progress
from cellsearch.util.spelling import Spellings, both_forms, escaped, on_one_line

TRAINING = {"train", "training"}
SPLIT_NAMES = {*TRAINING, "val", "valid", "validation", "test", "testing"}


class Options(ImageOptions):
    """Options of a folder per class."""

    classes: Names | None = Field(None, description="class folders, in order; default: all, sorted")
    ids: Literal["path", "name"] = Field(
        "path",
        description="path: the file's below the folder; name: its name alone, where %2F stands "
        "for a slash, as `cellsearch convert` writes ids and groups",
    )


@dataclass(frozen=True)
class ClassFolders:
    """Folders that are classes, and what beside their images was found and left.

    Attributes:
        images: visible image files of each class, in natural order of their paths.
        notes: on what was passed over, a line each.
        passed: what was passed over; another walk that finds other things reads other cells.
    """

    images: dict[str, list[Path]]
    notes: tuple[Note, ...]
    passed: tuple[Path, ...]


def are_splits(names: Iterable[str]) -> bool:
    """Whether folders of these names are splits: all of them, or a training and a test part."""
    lower = {name.lower() for name in names}
    return lower <= SPLIT_NAMES or (
        bool(lower & TRAINING) and bool(lower & (SPLIT_NAMES - TRAINING))
    )


def class_folders(root: Path, asked: tuple[str, ...] | str | None) -> ClassFolders:
    """The image files of each class folder.

    Args:
        root: the folder in which they lie.
        asked: names of the folders, in order, or a text that names them; letters may be composed
            otherwise than on disk.

    Raises:
        ReadError: a folder that cannot be opened, a link to nothing, a pipe among the images.
        DataError: no folders, folders that are splits, a class folder that is missing or empty.
    """
    found = walk(root)
    there = {path.name: path for path in found.folders}
    notes = found.notes()
    if not there:
        found.require_whole()
        raise DataError(
            f"{root}: no class folders; expected {root.name}/<class>/<image>{_and(notes)}"
        )
    try:
        known = both_forms(there)
        classes = known_names(asked, known, option="classes", what="class folder")
    except ConfigError as error:
        raise ConfigError(error, _and(notes)) from None
    if classes is None and are_splits(there):
        parts = [name for name in there if name.lower() in SPLIT_NAMES]
        raise DataError(
            f"{root}: the folders {', '.join(parts)} are splits, not classes; give one of them, "
            "or a table with columns path, label, split"
        )
    spellings = Spellings.of(there)
    wanted = {name: spellings.meant(name) for name in classes or there}
    found.require_whole(
        None if classes is None else [name for names in wanted.values() for name in names]
    )
    _require_there(root, wanted, there, notes)
    of_folder: dict[str, list[Path]] = {name: [] for name in there}
    loose = []
    for image in found.images:
        name = found.top(image)
        if name in of_folder:
            of_folder[name].append(image)
        else:
            loose.append(name)
    images = {name: of_folder[names[0]] for name, names in wanted.items()}
    empty = [name for name, its in images.items() if not its]
    if empty:
        raise DataError(f"{root}: no images in the class folder {listed(empty)}{_and(notes)}")
    if loose:
        notes.append(
            images_passed_over(
                f"{len(loose):,} images beside the class folders, "
                f"{listed([on_one_line(name) for name in loose], most=3)}"
            )
        )
    taken = {names[0] for names in wanted.values()}
    if others := {name: its for name, its in of_folder.items() if its and name not in taken}:
        counts = [f"{on_one_line(name)} ({len(its):,})" for name, its in others.items()]
        notes.append(
            images_passed_over(
                f"{sum(map(len, others.values())):,} images in folders that are not among the "
                f"classes, {listed(counts)}"
            )
        )
    left = [each.path for each in found.passed if each.images]
    left += [root / name for name in (*loose, *others)]
    return ClassFolders(images, tuple(notes), tuple(left))


def _and(notes: Sequence[Note]) -> str:
    return "".join(f"; {note}" for note in notes)


def _require_there(
    root: Path, wanted: Mapping[str, list[str]], there: Mapping[str, Path], notes: Sequence[Note]
) -> None:
    missing = [name for name, names in wanted.items() if not names]
    if missing:
        near = [Spellings.of(there).taken_for(name) for name in missing]
        raise DataError(
            f"{root}: no class folder {listed(missing)}; there are {listed(list(there))}"
            f"{''.join(near)}{_and(notes)}"
        )
    firsts = [names[0] for names in wanted.values()]
    if shared := [name for name, names in wanted.items() if firsts.count(names[0]) > 1]:
        raise DataError(
            f"{root}: the classes {listed([escaped(name) for name in shared])} are one folder: "
            "name it once"
        )
    several = [names for names in wanted.values() if len(names) > 1]
    if several:
        raise DataError(
            f"{root}: several class folders of one name, "
            f"{listed([escaped(name) for names in several for name in names])}: rename all but one"
        )


def unique_ids(sources: Sequence[str]) -> list[str]:
    """Paths without their suffix where that is still unique, else whole."""
    stems = [source.rsplit(".", 1)[0] for source in sources]
    return stems if len(set(stems)) == len(stems) else list(sources)


def files(root: Path, options: Options) -> list[Path]:
    """Every image that would be read, and what would be passed over."""
    found = class_folders(root, options.classes)
    return [file for files in found.images.values() for file in files] + list(found.passed)


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read every image of every class folder."""
    folders = class_folders(root, options.classes)
    found = folders.images
    paths = [file for files in found.values() for file in files]
    pixels, channels, sources, fitting = read_images(root, paths, options, on_progress)
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
        provenance=Provenance().with_notes(*folders.notes),
        fitting=fitting,
        file_traits=traits_of([(path,) for path in paths], on_progress),
    )
