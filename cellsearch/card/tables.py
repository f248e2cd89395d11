"""The tables of a card, each described once; README, report, notebook and terminal show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from cellsearch.card.config import CardConfig
from cellsearch.card.metrics import (
    AbstentionMetrics,
    AbstentionPart,
    Calibration,
    CardMetrics,
    ClassEntry,
    Figures,
    Part,
    PartMetrics,
    SetPart,
)
from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.metrics import TITLES, Metric, metric_named
from cellsearch.stats.wording import difference, figure, recall_of
from cellsearch.tune.findings import ChoiceEffect, Importance
from cellsearch.util.tables import Cell, Column, Table

PARTS: Mapping[Part, str] = {"hold_out": "Hold-out", "out_of_fold": "Out-of-fold"}
BESIDE = ("recall of the baseline", "difference of recall")
"""Columns of ``class_table`` that need a baseline."""


class ClassAreas(BaseModel):
    """Of one class against all others, as in ``curves.json``."""

    positives: int
    prevalence: float
    roc_auc: Estimate
    average_precision: Estimate


class Areas(BaseModel):
    """Areas under the curves of the classes; ``left_out`` says why a class has none."""

    classes: dict[str, ClassAreas]
    left_out: dict[str, str]


def class_table(
    winner: Figures,
    baseline: Figures | None = None,
    gaps: Mapping[str, Estimate | None] | None = None,
) -> Table:
    """Every figure of each class.

    Args:
        winner: its figures.
        baseline: whose recall stands beside it; None for none.
        gaps: difference of recall by class.
    """
    shown = [
        Column("class", "text"),
        Column("cells"),
        Column("precision", synonym="PPV"),
        Column("recall", synonym="sensitivity"),
        Column("specificity"),
        Column("F1"),
        *(Column(name) for name in BESIDE if baseline),
    ]
    rows = []
    for name, own in winner.per_class.items():
        row: list[Cell] = [name, own.support, *_class_figures(own)]
        if baseline:
            before, gap = baseline.per_class[name].recall, (gaps or {}).get(name)
            row += [recall_of(before, own.support) if before else "-", difference(gap)]
        rows.append(row)
    return Table(tuple(shown), rows)


def _class_figures(own: ClassEntry) -> list[str]:
    cells = own.support
    uncalled = own.estimable and own.precision is None
    return [
        "none predicted" if uncalled else figure(own.precision, cells=cells),
        recall_of(own.recall, cells),
        figure(own.specificity, cells=cells),
        figure(own.f1, cells=cells),
    ]


def short_class_table(winner: Figures, baseline: Figures | None = None) -> Table:
    """For a terminal and a notebook."""
    beside = BESIDE[:1] if baseline else ()
    found = class_table(winner, baseline)
    return found.take("class", "cells", "recall", "precision", "F1", *beside)


def metric_table(part: PartMetrics, baseline: Figures | None) -> Table:
    """Each metric of winner and baseline, and their difference."""
    rows = []
    for name, value in part.winner.metrics.items():
        row: list[Cell] = [TITLES[metric_named(name)], figure(value)]
        if baseline:
            row += [figure(baseline.metrics[name]), difference(part.difference[name])]
        rows.append(row)
    gap = "paired difference" if part.paired else "difference"
    return Table.of(["figure", "winner", *(["baseline", gap] if baseline else [])], rows)


def beside_table(part: PartMetrics, baseline: Figures) -> Table:
    """``metric_table``, and below it the recall of each class."""
    found, classes = (
        metric_table(part, baseline),
        class_table(part.winner, baseline, part.recall_difference),
    )
    recalls = classes.take("class", "recall", *BESIDE).rows
    known = [
        [f"recall of {row[0]}", *row[1:]]
        for row, own in zip(recalls, part.winner.per_class.values(), strict=True)
        if own.recall is not None
    ]
    return Table(found.columns, [*found.rows, *known])


def steps_table(metrics: CardMetrics) -> Table | None:
    """Baseline, baseline with the rule of decision, and winner on the hold-out.

    What the rule alone gives is not a gain of the search. None where there is no such rule.
    """
    held, plain = metrics.hold_out, metrics.baseline_by_greatest
    if plain is None or held.baseline is None:
        return None
    models = [
        ("baseline, by its greatest probability", plain),
        ("baseline, by the rule of this card", held.baseline),
    ]
    if not metrics.baseline_won:
        models.append(("winner, by the same rule", held.winner))
    shown: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1", "weighted_f1")
    rows = [[name, *(figure(each.metrics[metric]) for metric in shown)] for name, each in models]
    return Table.of(("hold-out", *(TITLES[metric] for metric in shown)), rows)


def headline_table(metrics: CardMetrics) -> Table:
    """The winner's metrics on the hold-out and out-of-fold."""
    held, oof = metrics.hold_out.winner, metrics.out_of_fold.winner
    names = (
        "figure",
        f"hold-out (n = {held.cells:,})",
        f"out-of-fold (n = {oof.cells:,})",
    )
    rows = [
        [TITLES[metric_named(name)], figure(value), figure(oof.metrics[name])]
        for name, value in held.metrics.items()
    ]
    return Table.of(names, rows)


def priors_table(config: CardConfig) -> Table:
    """Share of each class among the training cells, and as the loss counted them."""
    if config.decision is None:
        return Table.of(("class", "n", "e"), [])
    priors = config.decision.priors
    rows = [
        [name, f"{natural:.4f}", f"{effective:.4f}"]
        for name, natural, effective in zip(
            config.classes, priors.natural, priors.effective, strict=True
        )
    ]
    return Table.of(("class", "n", "e"), rows)


def confusion_table(found: Figures) -> Table:
    """Counts, rows true."""
    rows: list[list[Cell]] = [
        [name, *counts] for name, counts in zip(found.per_class, found.confusion, strict=True)
    ]
    first = Column("true / predicted", "heading")
    return Table((first, *map(Column, found.per_class)), rows)


def calibration_table(found: Calibration) -> Table:
    """Calibration error before and after the temperature, beside what chance alone shows."""
    rows: list[list[Cell]] = [
        [
            f"{title}, {when}",
            one.cells,
            figure(one.error),
            f"{one.chance:.3f}",
            f"{one.log_loss:.3f}",
            f"{one.brier:.3f}",
        ]
        for part, title in PARTS.items()
        for when, one in found.part(part).items()
    ]
    names = ("cells", "n", "calibration error", "by chance alone", "log loss", "Brier score")
    return Table.of(names, rows)


def called_table(found: Calibration) -> Table:
    """Each predicted class on the hold-out, after the temperature."""
    rows: list[list[Cell]] = []
    after = found.hold_out.after
    for one in after.classes if after else ():
        if one.confidence is None:
            rows.append([one.name, 0, "", "none is called so", ""])
            continue
        error = "too few cells" if one.error is None else figure(one.error)
        rows.append([one.name, one.called, f"{one.confidence:.3f}", figure(one.right), error])
    names = ("called as", "cells", "mean confidence", "share right", "calibration error")
    return Table.of(names, rows)


def abstention_table(found: AbstentionMetrics) -> Table:
    """What abstaining gives on the hold-out and out-of-fold."""
    parts = [part for part in (found.hold_out, found.out_of_fold) if part is not None]
    names = {
        "coverage: share given a class": "coverage",
        "selective accuracy: of those, right": "selective_accuracy",
        "selective balanced accuracy": "selective_balanced_accuracy",
    }
    rows = [[title, *(_kept(getattr(part, key)) for part in parts)] for title, key in names.items()]
    return Table.of(("figure", "hold-out", "out-of-fold")[: 1 + len(parts)], rows)


def abstention_class_table(found: AbstentionPart) -> Table:
    """Thresholds, and what they give in each class."""
    rows: list[list[Cell]] = [
        [
            name,
            "-" if each.threshold is None else f"{each.threshold:.3f}",
            each.cells,
            _kept(each.coverage),
            f"{each.kept:,} of {each.called:,}",
            _kept(each.precision),
        ]
        for name, each in found.per_class.items()
    ]
    names = (
        *("class", "threshold", "cells", "coverage of its cells"),
        *("kept of those called so", "precision of the kept"),
    )
    return Table.of(names, rows)


def _kept(estimate: Estimate | None) -> str:
    return "none kept" if estimate is None else figure(estimate)


def sets_table(found: SetPart) -> Table:
    """Thresholds of prediction sets, and what they cover on the hold-out."""
    rows: list[list[Cell]] = [
        [
            name,
            each.out_of_fold_cells,
            "in every set"
            if each.in_every_set or each.threshold is None
            else f"{each.threshold:.4f}",
            figure(each.coverage),
        ]
        for name, each in found.per_class.items()
    ]
    return Table.of(("class", "out-of-fold cells", "threshold", "hold-out coverage"), rows)


def areas_table(curves: Mapping[str, Any]) -> Table:
    """ROC AUC and average precision of each class, of one part of ``curves.json``."""
    found = Areas.model_validate(curves)
    rows: list[list[Cell]] = [
        [
            name,
            each.positives,
            f"{100 * each.prevalence:.1f} %",
            figure(each.roc_auc),
            figure(each.average_precision),
        ]
        for name, each in found.classes.items()
    ]
    rows += [[name, f"left out: {why}", "", "", ""] for name, why in found.left_out.items()]
    return Table.of(("class", "cells", "share", "ROC AUC", "average precision"), rows)


def parameter_table(found: Importance, *, most: int | None = None) -> Table:
    """Parameters, and whether they matter more than chance."""
    rows: list[list[Cell]] = [
        [
            each.name,
            f"{100 * each.importance:.0f} %",
            each.trials,
            "yes" if each.p < 1.0 - LEVEL else "not distinguishable from chance",
        ]
        for each in found.parameters[:most]
    ]
    names = ("importance", "trials", "more than chance")
    return Table((Column("parameter", "code"), *map(Column, names)), rows)


def effect_table(found: Importance) -> Table:
    """Choices, and what they did to the metric and to the recall of each class."""
    figures = list(dict.fromkeys(effect.of for effect in found.effects))
    by: dict[tuple[str, str, str], dict[str, ChoiceEffect]] = {}
    for effect in found.effects:
        by.setdefault((effect.choice, effect.level, effect.reference), {})[effect.of] = effect
    rows: list[list[Cell]] = []
    for (choice, level, reference), effects in by.items():
        one = next(iter(effects.values()))
        cells = [_effect(effects.get(of)) for of in figures]
        counts = f"{one.trials:,} / {one.others:,}"
        rows.append([choice, f"{level}, not {reference}", counts, *cells])
    named = [f"recall of {of}" if of else TITLES[found.metric] for of in figures]
    first = (Column("choice", "code"), Column("made", "text"), Column("trials with / without"))
    return Table((*first, *map(Column, named)), rows)


def _effect(effect: ChoiceEffect | None) -> str:
    if effect is None:
        return ""
    if effect.verdict == "not distinguishable":
        return effect.verdict
    return difference(effect.difference)
