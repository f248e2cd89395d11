"""How a card looks in a notebook: its headline, the verdict, and every class with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellsearch.card.figures import FEW_CELLS
from cellsearch.card.markdown import found_of
from cellsearch.card.metrics_file import rival
from cellsearch.markup import Markup, block, line, note, table

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard


def card_html(card: ModelCard) -> str:
    """Figures of the hold-out: the winner's, and the baseline's recall beside it."""
    config, data = card.config, card.config.dataset
    made = ", of generated cells, not real ones" if data.synthetic else ""
    return block(
        f"model card: {data.title or data.name}{made}",
        *headline_parts(card),
        note(
            f"takes {len(config.channels)} x {config.height} x {config.width} px of {config.dtype} "
            f"({', '.join(config.channels)}); {config.parameters:,} parameters; {card.folder}"
        ),
    )


def headline_parts(card: ModelCard) -> list[Markup]:
    """Headline, verdict, and the table of classes."""
    parts = [line(card.headline)]
    verdict = card.metrics.get("verdict")
    if verdict:
        parts.append(line(f"verdict: {verdict['sentence']}"))
    holdout = card.metrics["hold_out"]
    winner, baseline = holdout["winner"], rival(card.metrics, "hold_out")
    rows = []
    for name, facts in winner["per_class"].items():
        cells = int(facts["support"])
        if not facts["estimable"]:
            rows.append((name, f"{cells:,}", "not estimable", "", "", *([""] if baseline else [])))
            continue
        before = baseline["per_class"][name]["recall"] if baseline else None
        rows.append(
            (
                name,
                f"{cells:,}",
                _recall(facts["recall"], cells),
                "none predicted" if facts["precision"] is None else _figure(facts["precision"]),
                _figure(facts["f1"]),
                *([_recall(before, cells)] if baseline else []),
            )
        )
    heads = ["class", "cells", "recall", "precision", "F1"]
    heads += ["recall of the baseline"] if baseline else []
    parts.append(table(heads, rows, numbers=range(1, len(heads))))
    parts.append(note(f"{winner['cells']:,} cells of the hold-out; 95 % intervals"))
    return parts


def _recall(figure: Mapping[str, Any] | None, cells: int) -> str:
    if figure is None or cells >= FEW_CELLS:
        return _figure(figure)
    return found_of(round(figure["value"] * cells), cells, figure["low"], figure["high"])


def _figure(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
