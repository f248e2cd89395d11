"""``metrics.json``: every figure of a card with its interval, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellsearch.card.parts import write_json
from cellsearch.stats.comparison import Comparison, comparison_as_json
from cellsearch.stats.evaluation import LEVEL, REPEATS, as_plain
from cellsearch.tune.findings import Found, optimism


def rival(metrics: Mapping[str, Any], part: str) -> Mapping[str, Any] | None:
    """The baseline's figures of ``hold_out`` or ``out_of_fold``, as ``write_metrics`` wrote them.

    None where trial 0 did not finish, and where it is the winner: there is nothing to hold the
    winner against.
    """
    search = metrics.get("search") or {}
    if search.get("winner") is not None and search["winner"] == search.get("baseline_trial", 0):
        return None
    found: Mapping[str, Any] | None = metrics[part]["baseline"]
    return found


def write_metrics(
    path: Path,
    holdout: Comparison,
    pooled: Comparison,
    found: Found,
    others: Mapping[str, Any],
) -> None:
    """Write winner, baseline, their differences, optimism and verdict; ``others`` beside them.

    Raises:
        CardError: NaN, or a value that JSON cannot hold.
    """
    gaps = optimism(pooled.winner, holdout.winner)
    write_json(
        path,
        {
            "level": LEVEL,
            "bootstrap_samples": REPEATS,
            "intervals": "smoothed bootstrap within classes; recall and specificity of a class: "
            "Clopper-Pearson; where groups is a number, the wider of these and of a bootstrap of "
            "groups, recall and specificity Korn-Graubard",
            **others,
            "hold_out": comparison_as_json(holdout),
            "out_of_fold": comparison_as_json(pooled),
            "optimism": {name: as_plain(value) for name, value in gaps.items()},
            "verdict": found.verdict.to_dict() if found.verdict is not None else None,
        },
    )
