"""What a look at the cells proposes: size, channels, folds, rare classes, space, budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cellsearch.data.crop_sizes import LOST_SHARE, Size, span_of, square_side
from cellsearch.util.messages import Message, Setting

FOLDS = 5
FEWEST_FOLDS = 2
LARGE_CROP, SMALLER_CROP = 128, 96
"""Sides in px: beyond the first, crops are proposed to be resized to the second. Of 60 draws each
of the spaces ``default`` and ``quick``, 25 and 33 % lie within the space's limits at 96 px, 17 and
17 % at 120, 3 and 3 % at 224, none at 300."""
BOUND = (
    "The spaces default and quick bound what a network may cost, and nearly all of their draws are "
    "beyond it at 224 px, so crops are made smaller. Where fine detail tells the classes apart, "
    "take out size and fit and search a space of networks for large crops, such as "
    "live-cell-2025-wide, best on a GPU."
)


@dataclass(frozen=True)
class SizeChoice:
    """How crops of several sizes become one.

    Attributes:
        size: height and width, px.
        fit: ``pad``, ``shrink`` or ``resize``.
        why: for the comment beside it.
    """

    size: tuple[int, int]
    fit: str
    why: str


def choose_size(
    sizes: Mapping[Size, int], *, classes: Mapping[str, Mapping[Size, int]] | None = None
) -> SizeChoice | None:
    """The readers' own square, but no larger than the built-in spaces bear; None for one size.

    Args:
        sizes: (height, width) to how many images.
        classes: the same of each class: where the square would shrink many of one, a larger one
            is chosen, if that is in bounds.
    """
    if len(sizes) < 2:
        (height, width) = next(iter(sizes), (0, 0))
        return _smaller(height, width, f"Crops are of {height}x{width} px")
    middle = float(np.median(np.repeat([max(size) for size in sizes], list(sizes.values()))))
    most = LARGE_CROP if middle <= LARGE_CROP else SMALLER_CROP
    lost = [its for its in (classes or {}).values() if _loses_scale(its, square_side(sizes))]
    side = max(square_side(each, most=most) for each in (sizes, *lost))
    larger, total = _larger(sizes, side), sum(sizes.values())
    what = f"Crops are of {span_of(sizes)} px, {len(sizes):,} sizes"
    if middle > LARGE_CROP:
        why = (
            f"{what}; {larger:,} of {total:,} are larger than {side}x{side} px and are shrunk, "
            f"aspect kept, so the size of these cells is lost. {BOUND}"
        )
        return SizeChoice((side, side), "shrink", why)
    why = (
        f"{what}; {side}x{side} px holds {total - larger:,} of {total:,}. shrink centres each and "
        "fills the edge with the border's median, so cells keep their scale"
    )
    if larger:
        why += f"; the {larger:,} larger ones are shrunk, aspect kept, and lose theirs"
    why += ". resize would stretch each to the whole size, and the scale would be lost."
    return SizeChoice((side, side), "shrink", why)


def _larger(sizes: Mapping[Size, int], side: int) -> int:
    return sum(count for size, count in sizes.items() if max(size) > side)


def _loses_scale(sizes: Mapping[Size, int], side: int) -> bool:
    return _larger(sizes, side) > LOST_SHARE * sum(sizes.values())


def _smaller(height: int, width: int, what: str) -> SizeChoice | None:
    """Crops that the networks of the built-in spaces would find too large, made smaller."""
    if max(height, width) <= LARGE_CROP:
        return None
    scale = SMALLER_CROP / max(height, width)
    return SizeChoice(
        (max(8, round(scale * height)), max(8, round(scale * width))), "resize", f"{what}. {BOUND}"
    )


@dataclass(frozen=True)
class RunChoice:
    """The command to run.

    Attributes:
        folds: of the cross-validation.
        rare: ``""``, or what ``--rare`` is given.
        space: search space.
        budget: trials.
        why: one reason a line, for a person.
        problem: why nothing can be run, "" where it can.
    """

    folds: int
    rare: str
    space: str
    budget: int
    why: tuple[Message, ...]
    problem: str = ""

    def words(self, dataset: str) -> list[str]:
        """The command's words, given what ``--dataset`` takes."""
        words = ["cellsearch", "run", "--dataset", dataset, "--space", self.space]
        words += ["--budget", str(self.budget)]
        words += ["--folds", str(self.folds)] if self.folds != FOLDS else []
        return [*words, *(["--rare", self.rare] if self.rare else [])]

    def trial_words(self, dataset: str) -> list[str]:
        """A run of minutes that shows whether all works."""
        return replace(self, space="quick", budget=8).words(dataset)


def choose_run(
    counts: Mapping[str, int], units: Mapping[str, int], size: tuple[int, int], *, grouped: bool
) -> RunChoice:
    """Folds and rare classes as the counts allow; space and budget as number and size suggest.

    Args:
        counts: cells of each class.
        units: what may be split of each class: cells, or groups.
        size: of a crop, px.
        grouped: whether units are groups.
    """
    word = "groups" if grouped else "cells"
    why: list[Message] = []
    if not counts:
        return RunChoice(
            FOLDS, "", "default", 50, (), "no cell has a label, so no classifier can be trained"
        )
    if len(counts) < 2:
        return RunChoice(
            FOLDS, "", "default", 50, (), "there is only one class, and a classifier needs two"
        )
    small = {name: n for name, n in units.items() if n < FOLDS + 1}
    folds, rare = FOLDS, ""
    enough = [name for name in units if name not in small]
    if small and (grouped or len(enough) < 2):
        folds = min(FOLDS, min(units.values()) - 1)
        if folds < FEWEST_FOLDS:
            needed = f"{FEWEST_FOLDS} folds and a hold-out need {FEWEST_FOLDS + 1} {word} per class"
            return RunChoice(FOLDS, "", "default", 50, (), f"too few cells: {needed}")
        least = f": the smallest class has {min(units.values())} {word}"
        why.append(Message.of(Setting("folds", folds), least))
    elif small:
        rare = "keep"
        shown = ", ".join(f"{name} ({n})" for name, n in small.items())
        why.append(
            Message.of(
                Setting("rare", "keep"),
                f": {shown} are too few for {FOLDS} folds and a hold-out; they are used for "
                "training and get no figures of their own. Alternatives: ",
                Setting("rare", "drop"),
                ", or ",
                Setting("rare", "merge=NAME"),
            )
        )
    cells = sum(counts.values())
    space, budget = "default", 50
    if max(size) > LARGE_CROP:
        why.append(
            Message.of(
                f"crops of {size[0]} x {size[1]} px are large for the space {space}: resize them, "
                "or search live-cell-2025-wide"
            )
        )
    if cells < 200:
        space, budget = "quick", 20
        why.append(
            Message.of(
                Setting("space", "quick"), f": {cells} cells are too few to compare many recipes"
            )
        )
    elif cells > 20_000:
        budget = 20
        why.append(
            Message.of(
                Setting("budget", 20),
                f": a trial on {cells:,} cells takes long; ",
                Setting("time", "4h"),
                " also limits it",
            )
        )
    return RunChoice(folds, rare, space, budget, tuple(why))


def looks_numbered(classes: Sequence[str]) -> bool:
    """Whether classes are called by numbers alone."""
    return all(re.fullmatch(r"-?\d+", name) for name in classes)


LABEL_FREE = re.compile(
    r"(?i)bright[- _]?field|dark[- _]?field|phase|dic|ssc|side[- _]?scatter|bf|trans"
)
"""Names of channels that are visible without a stain."""
