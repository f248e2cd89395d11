"""The part of README.md that states figures: hold-out, out-of-fold, and beside the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cellsearch.card.markdown import (
    confusion_table,
    difference,
    figure,
    per_class_table,
    plain,
    recall_of,
    table,
)
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.evaluation import LEVEL, REPEATS
from cellsearch.stats.metrics import METRICS, TITLES


def figures_section(holdout: Comparison, pooled: Comparison, pictures: Sequence[str]) -> str:
    """Headline figures, each class, the confusion matrix and the pictures."""
    held, oof = holdout.winner, pooled.winner
    rows = [
        [TITLES[metric], figure(held.metrics[metric]), figure(oof.metrics[metric])]
        for metric in METRICS
    ]
    header = ("figure", f"hold-out (n = {held.cells:,})", f"out-of-fold (n = {oof.cells:,})")
    return (
        "## Figures\n\n" + table(header, rows) + "\n"
        f"In brackets {100 * LEVEL:.0f} % intervals: a smoothed bootstrap of {REPEATS:,} samples "
        "drawn within each class, which leaves a few cells that are all right or all wrong "
        "uncertain; for the recall and specificity of a class the exact (Clopper-Pearson) "
        "interval. They show the chance in which cells were scored, not that of training anew. "
        "The out-of-fold column is what the search chose by, so it flatters the winner; the "
        "hold-out column does not. Every figure, also as "
        "numbers: `metrics.json`.\n\n"
        "### Each class, hold-out\n\n" + per_class_table(held) + "\n"
        "Precision, the positive predictive value (PPV): the part of the cells called so that are "
        "of the class. Recall, the sensitivity: the part of the class's cells that were found. "
        "Specificity: the part of the other classes' cells that were not called so; of a rare "
        "class it is high even where most calls are wrong. F1: harmonic mean of precision and "
        "recall.\n\n"
        "### Each class, out-of-fold\n\n" + per_class_table(oof) + "\n"
        "### Confusion matrix, hold-out\n\nRows are true classes, columns predicted ones.\n\n"
        + confusion_table(held)
        + "\n"
        + "\n".join(f"![{name.replace('_', ' ')}](plots/{name}.png)" for name in pictures)
        + "\n"
    )


def baseline_section(holdout: Comparison, pooled: Comparison, search: Mapping[str, Any]) -> str:
    """What the search was worth: winner and baseline on the same cells."""
    text = "## Beside the baseline\n\n"
    if search.get("winner") is not None and search["winner"] == search.get("baseline_trial", 0):
        return text + (
            "**The baseline itself won**: no recipe of this search was better than trial 0, the "
            "same plain small network in every search, without class weights or augmentation. Its "
            "figures are those above.\n"
        )
    named = (("Hold-out", holdout), ("Out-of-fold", pooled))
    shown = [(name, pair) for name, pair in named if pair.baseline is not None]
    if not shown:
        return text + "There is no baseline to compare with: trial 0 did not finish.\n"
    text += (
        "Trial 0 of every search is the same plain small network, without class weights or "
        "augmentation. A paired difference has an interval from scoring both models on the same "
        "drawn cells.\n\n"
    )
    for name, pair in shown:
        text += f"{name}, n = {pair.winner.cells:,}:\n\n{_beside(pair)}\n"
    return text


def _beside(pair: Comparison) -> str:
    other = pair.baseline
    if other is None:
        return ""
    rows = [
        [
            TITLES[metric],
            figure(pair.winner.metrics[metric]),
            figure(other.metrics[metric]),
            difference(pair.differences[metric]),
        ]
        for metric in METRICS
    ]
    for index, name in enumerate(other.classes):
        ours, theirs = pair.winner.estimate(index, "recall"), other.estimate(index, "recall")
        if ours is not None and theirs is not None:
            gap = pair.recalls[index] if index < len(pair.recalls) else None
            change = difference(gap) if gap else f"{ours.value - theirs.value:+.3f}"
            cells = int(other.support[index])
            shown = (recall_of(ours, cells), recall_of(theirs, cells))
            rows.append([f"recall of {plain(name)}", *shown, change])
    return table(
        ("figure", "winner", "baseline", "paired difference" if pair.paired else "difference"), rows
    )
