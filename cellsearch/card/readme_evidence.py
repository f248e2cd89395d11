"""The parts of README.md that show curves, saliency, the map of the hold-out, generated cells."""

from __future__ import annotations

from cellsearch.card.embedding import FILE as EMBEDDING
from cellsearch.card.evidence import CURVES, Evidence
from cellsearch.card.generated import generated_section
from cellsearch.card.markdown import figure, plain, table
from cellsearch.card.saliency import FILE as SALIENCY
from cellsearch.stats.curves import REPEATS as DRAWN
from cellsearch.stats.curves import Curves
from cellsearch.stats.evaluation import LEVEL


def evidence_sections(evidence: Evidence) -> list[str]:
    """Curves, saliency, map and generated cells; the last is empty where there are none."""
    return [
        _curves(evidence.curves_holdout, evidence.curves_oof),
        _saliency(evidence),
        _embedding(evidence),
        generated_section(evidence.generators, evidence.generated_names),
    ]


def _curves(holdout: Curves, oof: Curves | None) -> str:
    text = (
        "## Each class against all others\n\nROC AUC is the chance that a cell of the class ranks "
        "above a cell of another; 0.5 is guessing. Average precision is the mean precision over "
        "all cells of the class; guessing gives the class's share, so compare it with that. "
        f"In brackets {100 * LEVEL:.0f} % intervals: a smoothed bootstrap of {DRAWN:,} samples "
        "drawn within each class, and of whole groups where there are any. "
    )
    if oof is not None:
        text += (
            "Out-of-fold probabilities come of one network a fold, whose scales may differ; their "
            "areas are the poorer for it. "
        )
    text += f"The curves as numbers: `{CURVES}`.\n\n"
    for name, stem, curves in (
        ("Hold-out", "hold_out", holdout),
        ("Out-of-fold", "out_of_fold", oof),
    ):
        if curves is not None:
            text += f"### {name}\n\n{_areas(curves)}\n"
            if curves.classes:
                text += (
                    f"![ROC, {name.lower()}](plots/roc_{stem}.png)\n"
                    f"![precision and recall, {name.lower()}]"
                    f"(plots/precision_recall_{stem}.png)\n\n"
                )
    return text


def _areas(curves: Curves) -> str:
    rows = [
        [
            plain(one.name),
            f"{one.positives:,}",
            f"{100 * one.prevalence:.1f} %",
            figure(one.roc_auc),
            figure(one.average_precision),
        ]
        for one in curves.classes
    ]
    rows += [
        [plain(name), f"left out: {plain(why)}", "", "", ""]
        for name, why in curves.left_out.items()
    ]
    return table(("class", "cells", "share", "ROC AUC", "average precision"), rows)


def _first_of(evidence: Evidence) -> str:
    if evidence.members == 1:
        return ""
    return f" The first of the {evidence.members} networks is shown."


def _saliency(evidence: Evidence) -> str:
    found = evidence.saliency
    if found is None:
        return f"## Saliency\n\nNone is drawn: {plain(evidence.saliency_reason)}.\n"
    return (
        "## Saliency\n\nHold-out cells beside what the model's answer rests on: integrated "
        "gradients of the log-probability of the predicted class (Sundararajan et al. 2017), from "
        f"a flat crop of mean intensity to the cell in {found.steps} steps, without test flips, "
        "absolute values summed over channels. Of each class the cells found most surely and the "
        "surest mistake are shown; they are no random choice. Bright is what counts, for or "
        f"against; each map has its own scale.{_first_of(evidence)} The maps: `{SALIENCY}`.\n\n"
        "![saliency](plots/saliency.png)\n"
    )


def _embedding(evidence: Evidence) -> str:
    found = evidence.embedding
    held = evidence.curves_holdout.cells
    some = (
        f"{len(found.rows):,} of {held:,} hold-out cells (rare classes whole)"
        if len(found.rows) < held
        else f"All {held:,} hold-out cells"
    )
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in evidence.embedding_notes)
    distances = (
        "" if found.method == "PCA" else " Neighbours mean something here, long distances do not."
    )
    return (
        f"## Embedding of the hold-out\n\n{some} by {found.method} of their {found.of}, coloured "
        "by true class; ringed cells are taken for another class."
        f"{distances}{_first_of(evidence)}{notes} The places: `{EMBEDDING}`.\n\n"
        "![embedding of the hold-out](plots/embedding.png)\n"
    )
