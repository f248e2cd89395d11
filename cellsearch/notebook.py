"""How the objects of the public API look in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellsearch.markup import Markup, block, line, note, table

if TYPE_CHECKING:
    from cellsearch.run import SearchResult
    from cellsearch.tune.study import TrialRow

ROWS = 10


def html(thing: object) -> str:
    """What a notebook shows of a data set, splits, space, recipe, search result or card.

    No script, nothing fetched, all text escaped; readable on light and dark ground.

    Raises:
        TypeError: something else.
    """
    shown = getattr(thing, "_repr_html_", None)
    if not type(thing).__module__.startswith("cellsearch.") or shown is None:
        raise TypeError(f"no HTML for {type(thing).__name__}")
    return str(shown())


def result_html(result: SearchResult) -> str:
    """Verdict, figures of the hold-out, and the leaderboard."""
    from cellsearch.card.html import headline_parts

    complete = result.leaderboard()
    parts: list[Markup] = []
    if result.interrupted:
        parts.append(line(f"interrupted; go on with cellsearch.resume({str(result.folder)!r})"))
    if result.card is not None:
        parts += headline_parts(result.card)
    parts.append(_leaderboard(complete))
    fates = (("PRUNED", "stopped early"), ("FAIL", "failed"), ("RUNNING", "unfinished"))
    counts = [
        f"{number} {said}"
        for state, said in fates
        if (number := sum(row.state == state for row in result.trials))
    ]
    more = [f"{len(complete) - ROWS} more complete"] if len(complete) > ROWS else []
    parts.append(note(", ".join([f"{len(complete)} trials complete", *more, *counts])))
    return block(f"search: {result.folder}", *parts)


def _leaderboard(complete: list[TrialRow]) -> Markup:
    from cellsearch.progress import brief

    rows = [
        (
            f"{row.number}{' (baseline)' if row.baseline else ''}",
            "" if row.score is None else f"{row.score:.4f}",
            f"{row.seconds / 60:.1f}",
            brief(row.recipe),
        )
        for row in complete[:ROWS]
    ]
    return table(["trial", "out-of-fold score", "minutes", "recipe"], rows, numbers=(1, 2))
