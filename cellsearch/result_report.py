"""How a run ended, on the terminal: leaderboard, the card's figures, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.report import interval, leaderboard, say, table

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard
    from cellsearch.run import SearchResult


def run_result(result: SearchResult, metric: str) -> None:
    """Print how a run ended: leaderboard, hold-out per class, where the card lies."""
    leaderboard(result.trials, metric)
    if result.interrupted:
        say(f"interrupted; go on with: cellsearch resume {shlex.quote(str(result.folder))}")
        return
    if result.card is not None:
        from cellsearch.history import verdict_lines

        card_figures(result.card)
        for line in (*decided_lines(result.card.metrics), *verdict_lines(result.card.folder)):
            say(line)
        next_steps(result.folder)


def next_steps(run: Path) -> None:
    """Print where a run's card lies, and what to type next."""
    card = shlex.quote(str(run / "card"))
    say(f"card: {run / 'card'}")
    say(f"the whole story, one HTML file:    cellsearch report {shlex.quote(str(run))}")
    say(f"classify new images:               cellsearch predict {card} IMAGES -o cells.csv")
    say(f"the same in the browser:           cellsearch serve {card}")
    say(f"look for leaks:                    cellsearch audit {shlex.quote(str(run))}")


def card_figures(card: ModelCard) -> None:
    """Print the hold-out's figures of a card, winner beside baseline."""
    from cellsearch.card.metrics_file import rival

    holdout = card.metrics["hold_out"]
    winner, baseline = holdout["winner"], rival(card.metrics, "hold_out")
    rows = []
    for name, facts in winner["per_class"].items():
        if not facts["estimable"]:
            row = [name, str(facts["support"]), "not estimable", "", "", ""]
        else:
            before = baseline["per_class"][name]["recall"] if baseline else None
            cells = int(facts["support"])
            row = [
                name,
                str(cells),
                _recall(facts["recall"], cells),
                interval(facts["precision"]),
                interval(facts["f1"]),
                _recall(before, cells),
            ]
        rows.append(row if baseline else row[:-1])
    header = ["class", "cells", "recall", "precision", "F1"]
    table(
        [*header, "recall of the baseline"] if baseline else header,
        rows,
        title=f"Hold-out, {winner['cells']:,} cells the search never saw (95 % intervals)",
    )
    for metric in ("balanced_accuracy", "weighted_f1"):
        line = f"hold-out {metric.replace('_', ' ')} {interval(winner['metrics'][metric])}"
        if baseline:
            line += (
                f"; baseline {interval(baseline['metrics'][metric])}"
                f"; difference {interval(holdout['difference'][metric], sign='+')}"
            )
        say(line)


def decided_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What abstention and prediction sets gave on the hold-out; none where none was asked for."""
    found = metrics.get("confidence") or {}
    lines = []
    if held := (found.get("abstention") or {}).get("hold_out"):
        lines.append(
            f"abstaining ({held['rule']} {held['level']:g}): a class for "
            f"{interval(held['coverage'])} of the hold-out, right in "
            f"{interval(held['selective_accuracy'])} of it"
        )
    if held := (found.get("sets") or {}).get("hold_out"):
        lines.append(
            f"prediction sets ({held['level']:g}): hold the class of {interval(held['coverage'])} "
            f"of the hold-out, with {held['mean_size']:.2f} classes in the mean"
        )
        if always := [name for name, each in held["per_class"].items() if each["in_every_set"]]:
            lines.append(f"in every set, for want of cells: {', '.join(always)}")
    return lines


def _recall(figure: dict[str, float] | None, cells: int) -> str:
    """``0 of 3 found: 0-71 %`` for a class of a few cells."""
    from cellsearch.card.figures import FEW_CELLS
    from cellsearch.card.markdown import found_of

    if figure is None or cells >= FEW_CELLS:
        return interval(figure)
    return found_of(round(figure["value"] * cells), cells, figure["low"], figure["high"])
