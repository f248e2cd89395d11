"""What the tests of the documents share: pages taken apart, and the cells their commands work on.

A block of a page that is marked ``python`` or ``bash`` is run, unless the line before it says why
not: ``<!-- not run: reason -->``. A block marked ``text`` after ``<!-- output -->`` is what the
block before it must have printed, line by line, with ``...`` for what may differ. A page says what
it needs with ``<!-- needs: cells, run -->``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import tifffile

from cellsearch import load_dataset

from conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
RUNNABLE = ("python", "bash")
_FENCE = re.compile(r"^( *)(`{3,})\s*(?:\{\.)?(\w*)( \.no-run\})?")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->")
KEPT = {"G1": 120, "S": 75, "G2": 75, "Prophase": 30, "Metaphase": 15}
"""Cells of each class in the folder ``cells``."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        page: path below the repository.
        line: of its fence, from 1.
        language: ``python``, ``bash``, ``text``, ``yaml`` ...
        text: what it holds, its indent removed.
        remark: of the comment right before it; empty where there is none.
    """

    page: str
    line: int
    language: str
    text: str
    remark: str

    @property
    def runs(self) -> bool:
        """Whether a test runs it."""
        return self.language in RUNNABLE and not self.remark.startswith("not run:")

    @property
    def is_output(self) -> bool:
        """Whether it is what the block before it printed."""
        return self.remark == "output"


def pages() -> list[Path]:
    """README, CONTRIBUTING and every page of ``docs/``."""
    top = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    return [*top, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    fence = opened = None
    for number, line in enumerate(lines):
        match = _FENCE.match(line)
        if match and fence is None:
            fence, opened = match, number
        elif match and fence is not None and match[2] == fence[2] and not match[3]:
            before = next((text for text in reversed(lines[:opened]) if text.strip()), "")
            comment = _COMMENT.fullmatch(before.strip())
            indent = len(fence[1])
            body = "\n".join(text[indent:] for text in lines[opened + 1 : number])
            name = page.relative_to(REPOSITORY).as_posix()
            remark = comment[1] if comment else ""
            if fence[4]:
                remark = "not run: marked so in its fence"
            found.append(Block(name, opened + 1, fence[3], body + "\n", remark))
            fence = None
    assert fence is None, f"{page}: a block is not closed"
    return found


def needs(page: Path) -> set[str]:
    """What a page's commands work on."""
    match = re.search(r"<!--\s*needs:\s*(.*?)\s*-->", page.read_text(encoding="utf-8"))
    return set(re.split(r",\s*", match[1])) if match else set()


def make_cells(folder: Path, *, donors: bool = False) -> Path:
    """Generated cells as a folder for each class, one TIFF a cell; with ``donors`` in the names."""
    cells = load_dataset("demo").select_channels(["brightfield"])
    seen: dict[str, int] = {}
    for index, label in enumerate(cells.labels):
        name = cells.classes[label]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= KEPT.get(name, 0):
            stem = f"donor{seen[name] % 6 + 1}_{seen[name]:04d}" if donors else f"{index:04d}"
            path = folder / name / f"{stem}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, cells.images[index, 0])
    return folder


def make_new(folder: Path) -> Path:
    """Twenty more of these cells, without a label."""
    cells = load_dataset("demo").select_channels(["brightfield"])
    folder.mkdir(parents=True)
    for number, index in enumerate(range(150, 410, 13)):
        tifffile.imwrite(folder / f"cell_{number:02d}.tif", cells.images[index, 0])
    return folder
