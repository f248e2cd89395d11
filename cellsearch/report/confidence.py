"""Calibration, abstention, prediction sets and curves of a card as tables."""

from __future__ import annotations

from cellsearch.card.markdown import difference, figure
from cellsearch.report.facts import CardFacts
from cellsearch.report.tables import PARTS, Table, estimate, named
from cellsearch.tune.findings import Importance


def calibration_table(card: CardFacts) -> Table | None:
    """Calibration error before and after the temperature, beside what chance alone shows."""
    if card.calibration is None:
        return None
    rows = []
    for part, title in PARTS.items():
        for when, facts in (card.calibration.get(part) or {}).items():
            rows.append(
                (
                    f"{title}, {when}",
                    f"{facts['cells']:,}",
                    figure(estimate(facts["error"])),
                    f"{facts['chance']:.3f}",
                    f"{facts['log_loss']:.3f}",
                    f"{facts['brier']:.3f}",
                )
            )
    header = ("cells", "n", "calibration error", "by chance alone", "log loss", "Brier score")
    return Table(header, rows) if rows else None


def temperature_sentence(card: CardFacts) -> str:
    """The temperature, and what it was fitted on."""
    if card.calibration is None:
        return ""
    facts = card.calibration["temperature"]
    text = (
        f"Temperature {facts['value']:.2f} (95 % interval {facts['low']:.2f} to "
        f"{facts['high']:.2f}), fitted on {facts['cells']:,} out-of-fold cells alone; above 1 the "
        "network was over-confident. It changes no predicted class."
    )
    return f"{text} {facts['note']}".strip()


def abstention_tables(card: CardFacts) -> tuple[str, Table, Table] | None:
    """What was asked for, the figures of both parts, and the hold-out's classes."""
    found = card.metrics.confidence.abstention
    if found is None:
        return None
    held, oof = found.hold_out, found.out_of_fold
    asked = f"Requested: a {held.rule} of {100 * held.level:g} % in each predicted class."
    names = {
        "coverage": "coverage: share given a class",
        "selective_accuracy": "accuracy of those",
        "selective_balanced_accuracy": "balanced accuracy of those",
    }
    rows = [
        (title, figure(getattr(held, key)), figure(getattr(oof, key, None)))
        for key, title in names.items()
    ]
    classes = [
        (
            name,
            f"{each.threshold:.3f}" if each.threshold is not None else "-",
            f"{each.cells:,}",
            figure(each.coverage, cells=each.cells),
            f"{each.kept:,} of {each.called:,}",
            "none kept" if each.precision is None else figure(each.precision),
        )
        for name, each in held.per_class.items()
    ]
    header = ("class", "threshold", "cells", "coverage", "kept of those called so", "precision")
    return asked, Table(("figure", "hold-out", "out-of-fold"), rows), Table(header, classes)


def sets_table(card: CardFacts) -> tuple[str, Table] | None:
    """Prediction sets: what they cover on the hold-out."""
    found = card.metrics.confidence.sets
    if found is None:
        return None
    held = found.hold_out
    said = (
        f"Sets meant to contain the true class {100 * held.level:g} % of the time. Hold-out: "
        f"coverage {figure(held.coverage)}, {held.mean_size:.2f} classes in a set, "
        f"{100 * held.single:.1f} % of the sets hold one class, {100 * held.empty:.1f} % "
        "none."
    )
    rows = [
        (
            name,
            f"{each.out_of_fold_cells:,}",
            "in every set" if each.in_every_set else f"{each.threshold:.4f}",
            figure(each.coverage),
        )
        for name, each in held.per_class.items()
    ]
    return said, Table(("class", "out-of-fold cells", "threshold", "hold-out coverage"), rows)


def curves_table(card: CardFacts, part: str) -> Table | None:
    """Area under the ROC curve and average precision of each class against all others."""
    found = (card.curves or {}).get(part)
    if not found:
        return None
    rows = [
        (
            name,
            f"{each['positives']:,}",
            f"{100 * each['prevalence']:.1f} %",
            figure(estimate(each["roc_auc"])),
            figure(estimate(each["average_precision"])),
        )
        for name, each in found["classes"].items()
    ]
    rows += [(name, "", "", f"left out: {why}", "") for name, why in found["left_out"].items()]
    return Table(("class", "cells", "share", "ROC AUC", "average precision"), rows)


def parameter_table(found: Importance) -> Table | None:
    """Parameters, and whether they matter more than chance."""
    if not found.parameters:
        return None
    rows = [
        (
            each.name,
            f"{100 * each.importance:.0f} %",
            f"{each.trials:,}",
            "more than chance" if each.p < 0.05 else "not distinguishable from chance",
        )
        for each in found.parameters
    ]
    return Table(("parameter", "importance", "trials", "verdict"), rows)


def effect_table(found: Importance) -> Table | None:
    """Choices, and what they did to the metric and to each class."""
    if not found.effects:
        return None
    rows = [
        (
            f"{each.choice}: {each.level}, not {each.reference}",
            f"recall of {each.of}" if each.of else named(found.metric),
            f"{each.trials:,} / {each.others:,}",
            difference(each.difference)
            if each.verdict != "not distinguishable"
            else "not distinguishable",
        )
        for each in found.effects
    ]
    return Table(("choice", "figure", "trials with / without", "effect"), rows, left=2)
