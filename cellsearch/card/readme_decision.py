"""The part of README.md that says how probabilities become classes, and what else they could."""

from __future__ import annotations

from collections.abc import Mapping

from cellsearch.card.config import CardConfig
from cellsearch.card.markdown import plain, table
from cellsearch.stats.decision import DECIDED_TAU, Decide
from cellsearch.stats.evaluation import Evaluation
from cellsearch.stats.metrics import TITLES, Metric

_GOOD_FOR: dict[Decide, str] = {
    "balanced": "every class has the same weight: rare cells are found, at the price of common "
    "cells called rare. For screening, and where each class matters alike.",
    "natural": "classes weigh as they came in the training: the fewest cells are wrong and a rare "
    "class is right when it is called, at the price of rare cells missed. For counting where "
    "the mix is that of the training.",
}
_STATED: tuple[Metric, ...] = ("balanced_accuracy", "weighted_f1", "accuracy")


def decision_section(decisions: Mapping[Decide, Evaluation], config: CardConfig) -> str:
    """Rule, priors and both confusion matrices of the hold-out; empty where there is no rule."""
    decision = config.decision
    if decision is None or not decisions:
        return ""
    own = next((name for name, tau in DECIDED_TAU.items() if tau == decision.tau), None)
    named = f"the {own} one" if own else "between the two below"
    priors = [
        [plain(name), f"{natural:.4f}", f"{effective:.4f}"]
        for name, natural, effective in zip(
            config.classes, decision.priors.natural, decision.priors.effective, strict=True
        )
    ]
    parts = [
        "## How a cell gets its class\n",
        "Not by its greatest probability, which seldom falls on a rare class, but by "
        "argmax(log p - log e + (1 - tau) log n): p the probability, n the share of the class "
        "among the training cells, e its share as the loss counted them (after balancing and "
        f"class weights). This card decides with tau = {decision.tau:g}, {named}; all figures "
        "and tables are of that, and `model.onnx` gives it as "
        f"`{config.onnx.decided}`. `cellsearch predict --decide balanced` or `natural` takes the "
        "other. Probabilities are the same for both.\n",
        table(("class", "n", "e"), priors),
    ]
    for name, found in decisions.items():
        figures = ", ".join(
            f"{TITLES[metric]} {value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
            for metric in _STATED
            for value in (found.metrics[metric],)
        )
        rows = [
            [plain(label), *[f"{count:,}" for count in line]]
            for label, line in zip(found.classes, found.confusion.tolist(), strict=True)
        ]
        heads = ("true \\ decided", *[plain(label) for label in found.classes])
        parts += [
            f"**{name.capitalize()} decision** on the hold-out: {_GOOD_FOR[name]} {figures}.\n",
            table(heads, rows),
        ]
    return "\n".join(parts)
