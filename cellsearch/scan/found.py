"""What a first look finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import Finding
from cellsearch.data.near_duplicates import DuplicatePair
from cellsearch.scan.choices import RunChoice, SizeChoice
from cellsearch.scan.crops import Crops
from cellsearch.scan.group_choice import GroupChoice
from cellsearch.scan.layout import Layout
from cellsearch.util.messages import Message


@dataclass
class FirstLook:
    """What a look found.

    Attributes:
        path: that was looked at.
        layout: the cells as names tell of them.
        crops: pixels; of another reader's file, all of them.
        channels: names.
        size: choice where crops have several sizes.
        groups: that the layout or names show, the declared one first.
        findings: of the integrity check, and of how the files were saved.
        checked: cells that the integrity check compared.
        run: the command to run.
        known_as: name of a built-in data set whose files these are; "" where they are not.
        hidden: files and folders that readers pass over.
        others: other files, counted by suffix.
        sample: cells that were read, at the size proposed; None where there are problems.
        duplicates: pairs among them that show the same picture.
    """

    path: Path
    layout: Layout
    crops: Crops
    channels: tuple[str, ...] = ()
    size: SizeChoice | None = None
    groups: list[GroupChoice] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()
    checked: int = 0
    run: RunChoice | None = None
    known_as: str = ""
    hidden: int = 0
    others: dict[str, int] = field(default_factory=dict)
    sample: CellDataset | None = None
    duplicates: tuple[DuplicatePair, ...] = ()

    @property
    def problems(self) -> list[str | Message]:
        """What keeps the cells from being learnt from."""
        stopped = [self.run.problem] if self.run and self.run.problem else []
        return [*self.layout.problems, *stopped]

    @property
    def group(self) -> GroupChoice | None:
        """The groups that the manifest declares."""
        return next((each for each in self.groups if each.declared), None)

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width that a network would see, px."""
        if self.size:
            return self.size.size
        return max(self.crops.sizes) if self.crops.images else (0, 0)

    @property
    def needs_table(self) -> bool:
        """Whether only a table, yet to be written, can say which cells these are."""
        return self.layout.kind == "nested" or (
            bool(self.crops.bad) and self.layout.kind in ("folders", "nested")
        )

    @property
    def kept(self) -> list[int]:
        """Positions of the cells that a manifest would name."""
        return [k for k in range(len(self.layout.cells)) if k not in self.crops.bad]
