"""What a model cannot do, as the card, its README and the report say it."""

from __future__ import annotations

from cellsearch.card.config import CardConfig
from cellsearch.card.metrics import Limit, SearchFacts
from cellsearch.data.held_groups import HeldGroups
from cellsearch.stats.evaluation import FEW_CELLS, Evaluation


def limits_of(
    config: CardConfig,
    holdout: Evaluation,
    search: SearchFacts,
    *,
    held: HeldGroups | None,
) -> list[Limit]:
    """The limits of a model, those of its figures first.

    Args:
        config: of the card.
        holdout: the winner's figures.
        search: of which the accepted errors are read.
        held: groups (donors, plates) in the hold-out; None where cells are independent.
    """
    cells = list(
        zip(holdout.classes, holdout.support.tolist(), holdout.estimable.tolist(), strict=True)
    )
    few = [f"{name} ({n})" for name, n, known in cells if known and n < FEW_CELLS]
    unknown = [f"{name} ({n})" for name, n, known in cells if not known]
    found = []
    if few:
        found.append(
            Limit(
                title=f"Fewer than {FEW_CELLS} hold-out cells",
                text=f"{', '.join(few)}. Their figures rest on a handful of cells, and so do the "
                "means over classes. Read the intervals.",
            )
        )
    if unknown:
        found.append(
            Limit(
                title="Not estimable",
                text=f"{', '.join(unknown)}; in brackets the hold-out cells. The model can give "
                "these classes. How well is not known, and they count in no figure.",
            )
        )
    found += [
        Limit(title="Accepted error of the check of the cells", text=f"{each}.")
        for each in search.accepted
    ]
    population = (
        f"Whole {held.word}s were held out: {held.held:,} of {held.groups:,}."
        if held
        else "No groups (donors, plates, days) were known, so hold-out cells come from the same "
        "samples as training cells. Expect lower figures elsewhere."
    )
    if held and held.note:
        population = f"{held.note[0].upper()}{held.note[1:]}."
    calibrated = (
        "The probabilities have not been calibrated."
        if config.temperature in (None, 1.0)
        else "The probabilities are calibrated for the mix of classes in this data set, as far as "
        "one number can."
    )
    seen = ", ".join(f"{part.channel} {part.low:g} to {part.high:g}" for part in config.ranges)
    return [
        *found,
        Limit(
            title="Population",
            text=f"The model knows the cells of {config.dataset.name} alone. {population}",
        ),
        Limit(
            title="Input",
            text=f"Only {shape_of(config)}. Intensities seen in training: {seen}. Another scale is "
            "refused; another exposure is not noticed.",
        ),
        Limit(
            title="Every image gets a class",
            text=f"Debris, doublets and cells of other kinds get one too. {calibrated}",
        ),
        Limit(
            title="Shares",
            text="Where classes are mixed in other shares than here, precision changes, and so "
            "does what a probability means. cellsearch predict --fractions corrects the shares of "
            "a whole sample. It assumes that the cells of each class look as they do here.",
        ),
        Limit(
            title="Not a diagnostic device",
            text="It was neither built, tested nor approved for decisions about patients.",
        ),
    ]


def shape_of(config: CardConfig) -> str:
    """``crops of 40 x 40 px with 2 channels (bright, dark), uint16``."""
    many = "s" * (len(config.channels) > 1)
    return (
        f"crops of {config.height} x {config.width} px with {len(config.channels)} "
        f"channel{many} ({', '.join(config.channels)}), {config.dtype}"
    )
