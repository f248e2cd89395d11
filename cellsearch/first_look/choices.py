"""What a look at the cells proposes: size, channels, folds, rare classes, space, budget."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cellsearch.util.messages import Message, Setting

FOLDS = 5
FEWEST_FOLDS = 2
LARGE_CROP, SMALLER_CROP = 128, 96
"""Sides in px: beyond the first, crops are proposed to be resized to the second. Of 60 draws each
of the spaces ``default`` and ``quick``, 25 and 33 % lie within the space's limits at 96 px, 17 and
17 % at 120, 3 and 3 % at 224, none at 300."""


@dataclass(frozen=True)
class SizeChoice:
    """How crops of several sizes become one.

    Attributes:
        size: height and width, px.
        fit: ``pad`` or ``resize``.
        why: for the comment beside it.
    """

    size: tuple[int, int]
    fit: str
    why: str


def choose_size(sizes: Mapping[tuple[int, int], int], *, sampled: bool) -> SizeChoice | None:
    """The largest by padding, where that wastes little; else the median by resizing.

    Args:
        sizes: (height, width) to how many images.
        sampled: not every image was opened, so a larger one may exist.
    """
    if len(sizes) < 2:
        (height, width) = next(iter(sizes), (0, 0))
        return _smaller(height, width, f"Crops are of {height}x{width} px")
    every = np.repeat(np.array(list(sizes)), list(sizes.values()), axis=0)
    largest, median = every.max(axis=0), np.median(every, axis=0)
    low = every.min(axis=0)
    span = f"{low[0]}x{low[1]} to {largest[0]}x{largest[1]} px, {len(sizes)} sizes"
    if max(median) > LARGE_CROP:
        return _smaller(int(median[0]), int(median[1]), f"Crops are of {span}")
    if (largest <= 2 * median).all() and not sampled:
        return SizeChoice(
            (int(largest[0]), int(largest[1])),
            "pad",
            f"Crops are of {span}. pad centres each and fills the edge with the border's median, "
            "so cells keep their scale; resize would bring each to the whole size instead, and "
            "how large a cell is could no longer be learnt.",
        )
    side = [8 * math.ceil(float(middle) / 8) for middle in median]
    reason = (
        "not every image was opened, so a larger one may exist, which pad would refuse"
        if sampled
        else "the largest is more than twice the median, so padding to it would be mostly edge"
    )
    return SizeChoice(
        (side[0], side[1]),
        "resize",
        f"Crops are of {span}; {reason}. resize interpolates, and how large a cell is can then not "
        f"be learnt; to keep the scale: size: [{largest[0]}, {largest[1]}] and fit: pad.",
    )


def _smaller(height: int, width: int, what: str) -> SizeChoice | None:
    """Crops that the networks of the built-in spaces would find too large, made smaller."""
    if max(height, width) <= LARGE_CROP:
        return None
    scale = SMALLER_CROP / max(height, width)
    return SizeChoice(
        (max(8, round(scale * height)), max(8, round(scale * width))),
        "resize",
        f"{what}; the spaces default and quick bound what a network may cost, and nearly all of "
        "their draws are beyond it at 224 px, so crops are resized. Where fine detail tells the "
        "classes apart, take out size and fit and search a space of networks for large crops, such "
        "as live-cell-2025-wide, best on a GPU.",
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
        return RunChoice(FOLDS, "", "default", 50, (), "no cell has a label: nothing can be learnt")
    if len(counts) < 2:
        return RunChoice(FOLDS, "", "default", 50, (), "one class alone: two are needed to learn")
    small = {name: n for name, n in units.items() if n < FOLDS + 1}
    folds, rare = FOLDS, ""
    enough = [name for name in units if name not in small]
    if small and (grouped or len(enough) < 2):
        folds = min(FOLDS, min(units.values()) - 1)
        if folds < FEWEST_FOLDS:
            needed = f"{FEWEST_FOLDS} folds and a hold-out need {FEWEST_FOLDS + 1} {word} a class"
            return RunChoice(FOLDS, "", "default", 50, (), f"too few cells: {needed}")
        least = f": the smallest class has {min(units.values())} {word}"
        why.append(Message.of(Setting("folds", folds), least))
    elif small:
        rare = "keep"
        shown = ", ".join(f"{name} ({n})" for name, n in small.items())
        why.append(
            Message.of(
                Setting("rare", "keep"),
                f": {shown} are too few for {FOLDS} folds and a hold-out, so they are trained on "
                "without a figure of their own; or ",
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
            Message.of(Setting("space", "quick"), f": {cells} cells cannot tell many recipes apart")
        )
    elif cells > 20_000:
        budget = 20
        why.append(
            Message.of(
                Setting("budget", 20),
                f": a trial on {cells:,} cells is long; ",
                Setting("time", "4h"),
                " bounds it too",
            )
        )
    return RunChoice(folds, rare, space, budget, tuple(why))


def looks_numbered(classes: Sequence[str]) -> bool:
    """Whether classes are called by numbers alone."""
    return all(re.fullmatch(r"-?\d+", name) for name in classes)


LABEL_FREE = re.compile(
    r"(?i)bright[- _]?field|dark[- _]?field|phase|dic|ssc|side[- _]?scatter|bf|trans"
)
"""Names of channels that are seen without a stain."""
