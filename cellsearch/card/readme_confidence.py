"""The part of README.md on probabilities: calibration, abstention, prediction sets."""

from __future__ import annotations

from cellsearch.card.abstain import FEWEST_KEPT, Abstention, Selection
from cellsearch.card.confidence import CALIBRATION, Confidence
from cellsearch.card.conformal import PredictionSets, SetFigures, too_few
from cellsearch.card.markdown import figure, listed, plain, table
from cellsearch.stats.calibration import FEWEST_CALLED, ClassReliability
from cellsearch.stats.evaluation import Estimate


def confidence_sections(
    confidence: Confidence | None, classes: tuple[str, ...], members: int
) -> list[str]:
    """Calibration, and abstention and prediction sets where they were asked for."""
    if confidence is None:
        return []
    rules = confidence.rules
    parts = [_calibration(confidence, members)]
    if rules.abstention is not None and confidence.selection is not None:
        parts.append(_abstention(rules.abstention, confidence.selection, confidence.oof_selection))
    if rules.sets is not None and confidence.sets is not None:
        parts.append(_sets(rules.sets, confidence.sets, classes))
    return parts


def calibrated_or_not(confidence: Confidence | None) -> str:
    """One sentence for the limits of the card."""
    if confidence is None or confidence.rules.temperature.value == 1.0:
        return "The probabilities have not been calibrated."
    return (
        "The probabilities are calibrated for the mix of classes in this data set, as far as one "
        "number can."
    )


def _calibration(confidence: Confidence, members: int) -> str:
    found = confidence.rules.temperature
    before, after = confidence.before, confidence.after
    text = "## Calibration\n\n"
    if found.value == 1.0 and found.note:
        text += f"No temperature is applied: {found.note}.\n\n"
    else:
        sure = f"{'over' if found.value > 1 else 'under'}-confident"
        if found.low <= 1.0 <= found.high:
            sure = f"perhaps {sure}: 1, which changes nothing, is in the interval"
        text += (
            f"The graph gives softmax(log(p) / T) with the temperature **T = {found.value:.2f}** "
            f"(95 % interval {found.low:.2f} to {found.high:.2f}; before it the model is "
            f"{sure}), fitted by likelihood on {found.cells:,} out-of-fold cells alone "
            "(Guo et al. 2017), without class weights: probabilities are to be right for the mix "
            "of this data set. "
            "It changes no predicted class."
            + (f" Note that {found.note}." if found.note else "")
            + (
                " It comes of single networks, while this card averages several, whose mean is "
                "less sure of itself: the hold-out shows whether T is then too much."
                if members > 1
                else ""
            )
            + "\n\n"
        )
    shown = [("hold-out, before", before), ("hold-out, after", after)]
    if confidence.oof_before is not None and confidence.oof_after is not None:
        shown += [
            ("out-of-fold, before", confidence.oof_before),
            ("out-of-fold, after", confidence.oof_after),
        ]
    rows = [
        [
            name,
            figure(one.error),
            f"{one.chance:.3f}",
            f"{one.log_loss:.3f}",
            f"{one.brier:.3f}",
        ]
        for name, one in shown
    ]
    header = ("cells", "calibration error", "by chance alone", "log loss", "Brier score")
    return (
        text + table(header, rows) + "\n"
        "Calibration error: mean absolute difference between confidence and the share that is "
        f"right, over {len(after.bins)} bins of equal mass. With so many cells even perfect "
        "confidences would show the error *by chance alone*; only what exceeds it is "
        "miscalibration. In brackets 95 % bootstrap intervals. The out-of-fold row *after* was "
        "measured on the cells that T was fitted on.\n\n"
        "### Each predicted class, hold-out, after\n\n"
        + table(
            ("called as", "cells", "mean confidence", "share right", "calibration error"),
            [_class(one) for one in after.classes],
        )
        + f"\nNo error is stated below {FEWEST_CALLED} cells; compare confidence and share. "
        f"Every bin, also before and out of fold: `{CALIBRATION}`.\n\n"
        "![reliability, hold-out](plots/reliability_hold_out.png)\n"
    )


def _class(one: ClassReliability) -> list[str]:
    if one.confidence is None:
        return [plain(one.name), "0", "", "none is called so", ""]
    error = "too few cells" if one.error is None else figure(one.error)
    return [plain(one.name), f"{one.called:,}", f"{one.confidence:.3f}", figure(one.right), error]


def _abstention(rule: Abstention, held: Selection, oof: Selection | None) -> str:
    asked = f"{rule.rule} of {100 * rule.level:g} %"
    text = (
        f"## Abstention\n\nAsked for: a {asked} in each predicted class. A cell whose confidence "
        "lies below the threshold of its predicted class is given the decision `uncertain`. The "
        "thresholds were chosen out of fold, which flatters the out-of-fold column.\n\n"
    )
    names = [
        one.name
        for one, threshold in zip(held.classes, rule.thresholds, strict=True)
        if threshold is None
    ]
    if names:
        text += (
            f"**The {asked} cannot be reached** for {listed(names)}: no threshold gives it out of "
            f"fold with at least {FEWEST_KEPT} cells. Every cell called so is uncertain.\n\n"
        )
    shown = [held] if oof is None else [held, oof]
    rows = [
        ["coverage: share given a class", *(figure(one.coverage) for one in shown)],
        ["selective accuracy: of those, right", *(_of(one.accuracy) for one in shown)],
        ["selective balanced accuracy", *(_of(one.balanced_accuracy) for one in shown)],
    ]
    text += table(("figure", "hold-out", "out-of-fold")[: 1 + len(shown)], rows) + "\n"
    if held.gone:
        text += (
            f"No hold-out cell of {listed(held.gone)} is given a class; the selective balanced "
            "accuracy leaves these classes out.\n\n"
        )
    rows = [
        [
            plain(one.name),
            "-" if threshold is None else f"{threshold:.3f}",
            f"{one.cells:,}",
            _of(one.coverage),
            f"{one.kept:,} of {one.called:,}",
            _of(one.precision),
        ]
        for one, threshold in zip(held.classes, rule.thresholds, strict=True)
    ]
    header = (
        *("class", "threshold", "cells", "coverage of its cells"),
        *("kept of those called so", "precision of the kept"),
    )
    return text + "Hold-out:\n\n" + table(header, rows)


def _of(estimate: Estimate | None) -> str:
    return "none kept" if estimate is None else figure(estimate)


def _sets(sets: PredictionSets, found: SetFigures, classes: tuple[str, ...]) -> str:
    few = too_few(sets)
    rows = [
        [
            plain(name),
            f"{sets.cells[k]:,}",
            "in every set" if few[k] else f"{sets.thresholds[k]:.4f}",
            figure(found.per_class[k]),
        ]
        for k, name in enumerate(classes)
    ]
    text = (
        "## Prediction sets\n\n"
        f"All classes that a cell may be of, so that about {100 * sets.level:g} % of the cells of "
        "*each* class have theirs in the set (class-conditional conformal prediction; Vovk 2012, "
        "Sadinle et al. 2019). The thresholds come of out-of-fold probabilities, which are those "
        "of the folds' networks and not of this one: for such cross-conformal sets the coverage "
        "is not proven for a single card, so read what the hold-out shows.\n\n"
    )
    names = [name for name, one in zip(classes, few, strict=True) if one]
    if names:
        text += (
            f"**Too few out-of-fold cells** of {listed(names)} for any threshold: the class is in "
            "every set, which makes all sets larger.\n\n"
        )
    return (
        text
        + table(("class", "out-of-fold cells", "threshold", "hold-out coverage"), rows)
        + f"\nOver all hold-out cells: coverage {figure(found.coverage)}; "
        f"{found.mean_size:.2f} classes in a set; {100 * found.single:.1f} % of the sets hold one "
        f"class and {100 * found.empty:.1f} % none, of cells that look like no class.\n"
    )
