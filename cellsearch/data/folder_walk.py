"""The one walk of a user's folder: what lies in it, what is passed over, and what is at fault.

Links to folders are followed once: what lies in the tree itself is read where it lies, then each
link that leads to a folder not yet read. A link to a folder above itself is never followed.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cellsearch.data.arrays import listed
from cellsearch.data.natural_order import natural
from cellsearch.data.notes import Note
from cellsearch.data.passed_over import (
    PassedOver,
    hidden_as,
    is_read,
    is_visible,
    may_hold_cells,
    passed_over,
)
from cellsearch.data.readers.images import is_image
from cellsearch.errors import ReadError
from cellsearch.util.named_path import require_utf8, special_kind
from cellsearch.util.progress import Progress
from cellsearch.util.spelling import on_one_line


@dataclass(frozen=True)
class Fault:
    """What cannot be read, though it may hold cells: a locked folder, a link to nothing, a pipe."""

    path: Path
    why: str
    gone: bool = False


@dataclass
class Walk:
    """All that lies below a folder.

    Attributes:
        root: the folder.
        files: visible files, links to files among them, in natural order of their paths.
        folders: visible folders directly in the root that are read, in natural order.
        passed: what is not read, in the order in which it was found.
        faults: what cannot be read.
        hidden: how many hidden and system files and folders there are.
    """

    root: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    passed: list[PassedOver] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    hidden: int = 0

    @property
    def images(self) -> list[Path]:
        """Those of the files that are images by name."""
        return [file for file in self.files if is_image(file)]

    def top(self, path: Path) -> str:
        """Name of the folder or file directly in the root in which a path lies, or that it is."""
        return path.parts[len(self.root.parts)]

    def notes(self) -> list[Note]:
        """A note for each kind of thing passed over that may hold cells, with names and counts."""
        return passed_over(self.root, self.passed)

    def require_whole(self, within: Sequence[str] | None = None) -> None:
        """Refuse a folder of which a part cannot be read.

        Args:
            within: names of the folders in the root that matter; None: all.

        Raises:
            ReadError: names every part.
        """
        found = [
            f"{on_one_line(fault.path.relative_to(self.root).as_posix())} {fault.why}"
            for fault in self.faults
            if within is None or self.top(fault.path) in within
        ]
        if found:
            raise ReadError(f"{self.root}: {listed(found)}")


class _Entry(NamedTuple):
    """A name in a folder, as the walk found it; ``folder`` where it is one and is read."""

    path: Path
    folder: bool


class _Walker:
    """State of one walk: which folders are read, by device and number, and where."""

    def __init__(self, root: Path, on_progress: Progress | None) -> None:
        self.walk = Walk(root)
        self.read: dict[tuple[int, int], Path] = {}
        self.within: dict[Path, list[_Entry]] = {}
        self.links: deque[Path] = deque()
        self.hidden: list[Path] = []
        self.on_progress = on_progress
        self.seen = 0

    def descend(self, start: Path) -> None:
        """Read a folder and those in it, however deep; links to folders are put off."""
        pending = deque([start])
        while pending:
            folder = pending.popleft()
            try:
                status = folder.stat()
                known = self.read.setdefault((status.st_dev, status.st_ino), folder)
                if known != folder:
                    self.walk.passed.append(PassedOver(folder, "again", target=self.below(known)))
                    continue
                self.within[folder] = self.entries(folder)
            except OSError as error:
                if folder == self.walk.root:
                    raise ReadError(f"{folder}: {_reason(error)}") from None
                self.fault(folder, f"cannot be opened ({_reason(error)})")
                continue
            pending.extend(entry.path for entry in self.within[folder] if entry.folder)

    def entries(self, folder: Path) -> list[_Entry]:
        with os.scandir(folder) as found:
            there = sorted(found, key=lambda entry: natural(entry.name))
        kept = []
        for entry in there:
            if not is_visible(entry.name):
                self.hide(folder / entry.name)
            elif (found_one := self.entry(folder / entry.name, entry)) is not None:
                kept.append(found_one)
        odd = [each for each in kept if not each.path.name.isascii()]
        require_utf8([e.path.name for e in odd if e.folder or is_read(e.path.name)], folder)
        self.told(len(kept))
        return kept

    def entry(self, path: Path, entry: os.DirEntry[str]) -> _Entry | None:
        """What is kept of a visible name; None for a link to a folder, or what is no file."""
        link = entry.is_symlink()
        try:
            if entry.is_dir():
                if link:
                    self.links.append(path)
                return None if link else _Entry(path, folder=True)
            if entry.is_file():
                return _Entry(path, folder=False)
            kind = special_kind(path) or "no file"
            path.stat()
        except OSError as error:
            self.broken(path, error)
            return None
        if is_image(path):
            self.fault(path, f"is {kind}, not an image: remove it")
        return None

    def broken(self, path: Path, error: OSError) -> None:
        target = _target(path)
        if isinstance(error, PermissionError):
            self.fault(path, f"leads to {target}, which cannot be opened ({_reason(error)})")
        elif is_image(path) or not (path.suffix or error.errno == errno.ELOOP):
            # A name without a suffix may be that of a folder of cells on a disk that is away.
            why = f"is a link to {target}, which is not there: restore or remove it"
            self.walk.faults.append(Fault(path, why, gone=True))
        else:
            self.walk.passed.append(PassedOver(path, "broken", target=target))

    def hide(self, path: Path) -> None:
        self.walk.hidden += 1
        if path.is_dir():
            self.hidden.append(path)
        elif may_hold_cells(path.name):
            self.walk.passed.append(PassedOver(path, hidden_as(path), images=1))

    def count_hidden(self) -> None:
        """Images in hidden folders, but for those that a link led to."""
        for folder in self.hidden:
            if not _leads_up(folder) and (count := self.images_in(folder)):
                found = PassedOver(folder, hidden_as(folder), images=count, folder=True)
                self.walk.passed.append(found)

    def images_in(self, hidden: Path) -> int:
        """How many image files lie below; what cannot be opened holds none."""
        count, pending = 0, deque([hidden])
        while pending:
            folder = pending.popleft()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in self.read:
                    continue
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(folder / entry.name)
                        else:
                            count += may_hold_cells(entry.name)
            except OSError:
                continue
        return count

    def follow(self, link: Path) -> None:
        """Read a link's folder, unless it is read already or lies above."""
        real = os.path.realpath(link)
        for place in (link.parent, self.walk.root):
            above = os.path.realpath(place)
            if Path(above).is_relative_to(real):
                self.walk.passed.append(PassedOver(link, "above", target=_target(link)))
                return
        try:
            status = link.stat()
        except OSError as error:
            self.broken(link, error)
            return
        known = self.read.get((status.st_dev, status.st_ino))
        if known is not None:
            self.walk.passed.append(PassedOver(link, "again", target=self.below(known)))
            return
        require_utf8([link.name], link.parent)
        beside = self.within[link.parent]
        beside.append(_Entry(link, folder=True))
        beside.sort(key=lambda entry: natural(entry.path.name))
        self.descend(link)

    def below(self, path: Path) -> str:
        return path.relative_to(self.walk.root).as_posix()

    def fault(self, path: Path, why: str) -> None:
        self.walk.faults.append(Fault(path, why))

    def told(self, more: int) -> None:
        before, self.seen = self.seen, self.seen + more
        if self.on_progress and self.seen // 1000 > before // 1000:
            self.on_progress("listing files", self.seen, self.seen + 1)

    def done(self) -> Walk:
        """All files in natural order of their paths."""
        self.count_hidden()
        passed = {each.path for each in self.walk.passed}
        top = self.within[self.walk.root]
        self.walk.folders = [e.path for e in top if e.folder and e.path not in passed]
        left = top[::-1]
        while left:
            entry = left.pop()
            if entry.folder:
                left.extend(self.within.get(entry.path, [])[::-1])
            else:
                self.walk.files.append(entry.path)
        if self.on_progress and self.seen >= 1000:
            self.on_progress("listing files", self.seen, self.seen)
        return self.walk


def walk(root: Path, on_progress: Progress | None = None) -> Walk:
    """Walk a folder; nothing but folders is opened.

    Args:
        root: the folder, or a link to it.
        on_progress: told how many names were listed, where they are thousands.

    Raises:
        ReadError: the folder itself cannot be opened, or names in it are not UTF-8.
    """
    walker = _Walker(root, on_progress)
    walker.descend(root)
    while walker.links:
        walker.follow(walker.links.popleft())
    return walker.done()


def every_file(root: Path) -> list[Path]:
    """Every file below a folder, hidden ones too, sorted; links to folders are not followed."""
    found, pending = [], deque([root])
    while pending:
        folder = pending.popleft()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(folder / entry.name)
                    elif (folder / entry.name).is_file():
                        found.append(folder / entry.name)
        except OSError as error:
            raise ReadError(f"{folder}: {_reason(error)}") from None
    return sorted(found)


def visible(folder: Path) -> list[Path]:
    """What lies directly in a folder, hidden and system names and links upwards aside, in order.

    Raises:
        ReadError: the folder cannot be opened, or names in it are not UTF-8.
    """
    try:
        there = [each for each in folder.iterdir() if is_visible(each.name)]
    except OSError as error:
        raise ReadError(f"{folder}: {_reason(error)}") from None
    require_utf8([each.name for each in there if each.is_dir() or is_read(each.name)], folder)
    return sorted(
        (each for each in there if not _leads_up(each)), key=lambda each: natural(each.name)
    )


def _leads_up(path: Path) -> bool:
    if not path.is_symlink():
        return False
    return Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(path))


def images_below(folder: Path) -> list[Path]:
    """Visible image files below a folder, however deep, in natural order; faults are not told."""
    return walk(folder).images


def _target(link: Path) -> str:
    try:
        return on_one_line(str(link.readlink()))
    except OSError:
        return "nothing"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
