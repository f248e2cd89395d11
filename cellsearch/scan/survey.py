"""What lies in a folder, by name alone: images, other files, hidden ones, links."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cellsearch.data.folder_walk import Fault, walk
from cellsearch.data.natural_order import Key, natural
from cellsearch.data.readers.images import is_image
from cellsearch.util.progress import Progress

TABLES = frozenset({".csv", ".tsv"})


@dataclass(frozen=True)
class Survey:
    """Names found below a folder; nothing is opened.

    Attributes:
        root: the folder.
        images: every visible image file, in natural order of its path below ``root``; links to
            images that are not there among them.
        tables: CSV and TSV files directly in ``root``.
        others: files that are no images, counted by suffix.
        hidden: how many files and folders readers pass over: ``.DS_Store``, ``__MACOSX`` ...
        notes: on what of that may hold cells, and on links that are not followed.
        faults: what cannot be read.
        empty: folders directly in ``root`` without an image below them.
    """

    root: Path
    images: list[Path]
    tables: list[Path]
    others: Counter[str]
    hidden: int
    notes: list[str]
    faults: list[Fault]
    empty: list[Path]

    def parts(self) -> list[tuple[str, ...]]:
        """Folders between the root and each image, and the image's name."""
        return [image.relative_to(self.root).parts for image in self.images]


def survey(root: Path, on_progress: Progress | None = None) -> Survey:
    """Walk a folder as the readers walk it.

    Raises:
        ReadError: the folder itself may not be opened, or names in it are not UTF-8.
    """
    found = walk(root, on_progress)
    gone = [fault for fault in found.faults if is_image(fault.path) and fault.gone]
    images = found.images
    if gone:
        # They are told of as images that cannot be read, as damaged ones are.
        images = sorted([*images, *(fault.path for fault in gone)], key=_by_path)
    others = [file for file in found.files if not is_image(file)]
    with_images = {found.top(image) for image in images}
    return Survey(
        root,
        images,
        [file for file in others if file.parent == root and file.suffix.lower() in TABLES],
        Counter(file.suffix.lower() or "without a suffix" for file in others),
        found.hidden,
        [str(note) for note in found.notes()],
        [fault for fault in found.faults if fault not in gone],
        [folder for folder in found.folders if folder.name not in with_images],
    )


def _by_path(path: Path) -> list[Key]:
    return [natural(part) for part in path.parts]
