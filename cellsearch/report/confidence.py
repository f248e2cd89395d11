"""Calibration, abstention and prediction sets of a card in sentences; the tables are the card's."""

from __future__ import annotations

from cellsearch.card.metrics import AbstentionPart, Calibration, SetPart
from cellsearch.stats.wording import figure


def temperature_sentence(found: Calibration) -> str:
    """The temperature, and what it was fitted on."""
    facts = found.temperature
    text = (
        f"Temperature {facts.value:.2f} (95 % interval {facts.low:.2f} to {facts.high:.2f}), "
        f"fitted on {facts.cells:,} out-of-fold cells alone. Above 1 the network was "
        "over-confident. It changes no predicted class."
    )
    return f"{text} {facts.note}".strip()


def abstention_sentence(found: AbstentionPart) -> str:
    """What was requested."""
    return f"Requested: a {found.rule} of {100 * found.level:g} % in each predicted class."


def sets_sentence(found: SetPart) -> str:
    """Prediction sets: what they cover on the hold-out."""
    return (
        f"Sets meant to contain the true class {100 * found.level:g} % of the time. Hold-out: "
        f"coverage {figure(found.coverage)}, {found.mean_size:.2f} classes in a set, "
        f"{100 * found.single:.1f} % of the sets hold one class, {100 * found.empty:.1f} % none."
    )
