"""What is printed of a whole sample: how many cells were decided, and corrected shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cellsearch.card.predict import set_names
from cellsearch.report import say, table

if TYPE_CHECKING:
    from cellsearch.card.abstain import Abstention
    from cellsearch.card.figures import Estimate
    from cellsearch.card.prevalence import Fractions


def decision_report(
    rows: Sequence[Mapping[str, str]], classes: Sequence[str], abstention: Abstention | None
) -> None:
    """Print how many cells are ``uncertain``, and how large prediction sets are."""
    if not rows:
        return
    if abstention is not None:
        open_ = sum(row["decision"] != row["predicted_class"] for row in rows)
        say(
            f"{abstention.rule} of {100 * abstention.level:g} %: {len(rows) - open_:,} of "
            f"{len(rows):,} cells are given a class, {open_:,} are uncertain"
        )
        never = [name for name, t in zip(classes, abstention.thresholds, strict=True) if t is None]
        if never:
            say(f"{', '.join(never)}: cannot be reached, so cells called so are uncertain")
    if "set" in rows[0]:
        sizes = [len(set_names(row["set"], classes)) for row in rows]
        say(
            f"prediction sets: {sum(sizes) / len(sizes):.2f} classes in the mean, "
            f"{sizes.count(1):,} of one class, {sizes.count(0):,} of none"
        )


def fractions_report(found: Fractions) -> None:
    """Print counts and shares of the classes in a sample, raw and corrected."""
    table(
        ("class", "cells", "raw share", "adjusted count (95 %)", "EM (95 %)"),
        [
            (
                one.name,
                f"{one.count:,}",
                f"{100 * one.raw:.1f} %",
                _share(one.adjusted),
                _share(one.em),
            )
            for one in found.classes
        ],
        title=f"Shares of the classes in this sample of {found.cells:,} cells",
    )
    if any(one.em is not None for one in found.classes):
        say(
            "corrected for the card's own mistakes, on the assumption that cells of a class look "
            "as they did in training and only the shares differ; EM is nearer in the mean, but "
            "where the shares differ much its interval is too narrow: believe that of the adjusted "
            "count"
        )
    for note in found.notes:
        say(note)


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
