"""Suspect labels, and cells to label next, on a terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cellsearch.terminal.tables import counted, say, table

if TYPE_CHECKING:
    from cellsearch.label.issues import LabelIssues
    from cellsearch.label.suggest import Suggestions

SHOWN = 20


def label_report(found: LabelIssues, out: Path | None) -> None:
    """Print counts of pairs of classes, how many labels may be wrong, and the first suspects."""
    table(
        ("given", "suggested", "suspects", "of the given", "share"),
        [
            (
                each.given,
                each.suggested,
                f"{each.suspects:,}",
                f"{each.of:,}",
                f"{100 * each.suspects / each.of:.1f} %",
            )
            for each in found.pairs[:SHOWN]
        ],
        title=f"Suspect labels, {found.cells:,} out-of-fold cells",
    )
    if len(found.pairs) > SHOWN:
        say(f"and {len(found.pairs) - SHOWN} more pairs")
    for line in found.sentences():
        say(line)
    if out is not None and not found.suspects:
        say(f"no label is suspect, so {out} was not written")
    elif out is not None:
        say(f"{counted(len(found.suspects), 'suspect')}, the most suspect first, in {out}")
    elif found.suspects:
        table(
            ("rank", "id", "given", "suggested", "score"),
            [
                (str(s.rank), s.id, s.given, s.suggested, f"{s.score:.3g}")
                for s in found.suspects[:SHOWN]
            ],
        )
        if len(found.suspects) > SHOWN:
            say(f"and {len(found.suspects) - SHOWN:,} more; -o CSV writes them all")


def suggestion_report(found: Suggestions, out: Path | None) -> None:
    """Print what each class may gain, why cells were chosen, and the first of them."""
    table(
        ("class", "labelled so far", "expected among these", "among as many at random"),
        [
            (each.name, f"{each.labelled:,}", f"{each.expected:.1f}", f"{each.at_random:.1f}")
            for each in found.yields
        ],
        title=f"{counted(len(found.cells), 'cell')} to label, of {found.pool:,}",
    )
    reasons = Counter(each.reason for each in found.cells)
    say(", ".join(f"{reason} {count:,}" for reason, count in reasons.items()))
    say("only the random ones tell the shares of the classes; the others were chosen by the card")
    for count, why in ((found.known, "known to the card"), (found.copies, "copies of others")):
        if count:
            say(f"left out: {counted(count, 'cell')} {why}")
    if out is not None:
        say(f"{len(found.cells):,} rows in {out}")
        return
    table(
        ("id", "reason", "class"),
        [(each.id, each.reason, each.target) for each in found.cells[:SHOWN]],
    )
    if len(found.cells) > SHOWN:
        say(f"and {len(found.cells) - SHOWN:,} more; -o CSV writes them all")
