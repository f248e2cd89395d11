"""What readers of folders pass over, by its name or as a link, and the notes that tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cellsearch.data.arrays import listed
from cellsearch.data.notes import Note
from cellsearch.data.readers.images import SUFFIXES, is_image
from cellsearch.util.spelling import on_one_line

SYSTEM = frozenset(
    {
        ".appledouble",
        ".cache",
        ".directory",
        ".documentrevisions-v100",
        ".ds_store",
        ".fseventsd",
        ".git",
        ".hg",
        ".ipynb_checkpoints",
        ".lsoverride",
        ".spotlight-v100",
        ".svn",
        ".temporaryitems",
        ".thumbnails",
        ".trashes",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
"""Names, in lower case, that operating systems and tools give to files and folders of their own."""

_HOLD_CELLS = SUFFIXES | {".cif", ".rtdc"}


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that is not read, and why.

    Attributes:
        path: as it lies below the root.
        reason: ``hidden`` or ``system`` by its name; ``above``: a link to a folder above itself;
            ``again``: a folder that is read elsewhere in the tree; ``broken``: a link to nothing.
        images: image files in it, or 1 for an image file; not counted for links.
        target: where a link leads, or where the folder is read; "" for others.
        folder: whether it is a folder.
    """

    path: Path
    reason: Literal["hidden", "system", "above", "again", "broken"]
    images: int = 0
    target: str = ""
    folder: bool = False


def passed_over(root: Path, passed: Sequence[PassedOver]) -> list[Note]:
    """A note for each kind of thing passed over that may hold cells, with names and counts."""
    by_reason = {
        reason: [each for each in passed if each.reason == reason]
        for reason in ("hidden", "system", "above", "again", "broken")
    }

    def below(each: PassedOver) -> str:
        return on_one_line(each.path.relative_to(root).as_posix())

    notes = []
    for reason in ("hidden", "system"):
        folders = [each for each in by_reason[reason] if each.folder]
        files = [below(each) for each in by_reason[reason] if not each.folder]
        if folders:
            counts = [f"{below(each)} ({each.images:,})" for each in folders]
            notes.append(
                images_passed_over(
                    f"{_counted(sum(each.images for each in folders), 'image')} in "
                    f"{_counted(len(folders), f'{reason} folder')}, {listed(counts)}; rename a "
                    "folder if cells lie in it"
                )
            )
        if files:
            notes.append(
                images_passed_over(
                    f"{_counted(len(files), f'{reason} image')}, {listed(files)}; rename those "
                    "that are cells"
                )
            )
    if above := [below(each) for each in by_reason["above"]]:
        notes.append(_links(f"{_counted(len(above), 'link')} to a folder above, {listed(above)}"))
    for reason, where in (("again", "what is read already"), ("broken", "nothing")):
        if links := [f"{below(e)} -> {on_one_line(e.target)}" for e in by_reason[reason]]:
            notes.append(_links(f"{_counted(len(links), 'link')} to {where}, {listed(links)}"))
    return notes


def images_passed_over(text: str) -> Note:
    """A note on images that were not read."""
    return Note("ignored-files", f"ignored: {text}", "warning")


def _links(text: str) -> Note:
    return Note("ignored-files", f"ignored: {text}")


def is_system(name: str) -> bool:
    """Whether an operating system or a tool gave a file or folder this name."""
    return name.lower() in SYSTEM or name.startswith(("._", ".Trash-", ".nfs"))


def is_visible(name: str) -> bool:
    """Whether readers open what has this name."""
    return not name.startswith(".") and not is_system(name)


def is_read(name: str) -> bool:
    """Whether some reader might open a file of this name in a folder."""
    return is_image(Path(name)) or Path(name).suffix.lower() in (".csv", ".tsv", ".cif", ".rtdc")


def may_hold_cells(name: str) -> bool:
    """Whether a file of this name, though hidden, is an image or a file of cells."""
    return Path(name).suffix.lower() in _HOLD_CELLS and not name.startswith("._")


def hidden_as(path: Path) -> Literal["hidden", "system"]:
    """Why a name is passed over."""
    return "system" if is_system(path.name) else "hidden"


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"
