"""``cellsearch predict`` and ``cellsearch verify``: what a card is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import (
    Abstain,
    Mirror,
    ReaderOptions,
    Sets,
    Variant,
    reader_options,
)

CardArgument = Annotated[Path, typer.Argument(help="Folder of a model card.", metavar="CARD")]


def predict(
    card: CardArgument,
    images: Annotated[
        str, typer.Argument(help="An image, a folder of images, or a dataset by name or path.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="CSV with one row a cell.", metavar="CSV")
    ] = None,
    fit: Annotated[
        str | None, typer.Option(help="Bring other crop sizes to the card's: pad or resize.")
    ] = None,
    abstain: Abstain = None,
    sets: Sets = None,
    fractions: Annotated[
        Path | None,
        typer.Option(help="CSV of each class's share of the sample, corrected.", metavar="CSV"),
    ] = None,
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
) -> None:
    """Classify cells with a card; neither torch nor ray is loaded."""
    from cellsearch.card.predict import CardPredictor, to_rows, write_csv
    from cellsearch.card.prevalence import fraction_rows, fractions_of
    from cellsearch.card.rules import rules_for
    from cellsearch.data.source import cells_to_predict
    from cellsearch.report import prediction_report
    from cellsearch.sample_report import decision_report, fractions_report

    predictor = CardPredictor.load(card)
    abstention, asked_sets = rules_for(card, predictor.config, abstain=abstain, sets=sets)
    config, options = predictor.config, reader_options(option)
    if fit is not None:
        # Images of several sizes are brought to the card's as they are read.
        options = {"size": f"{config.height}x{config.width}", "fit": fit} | options
    cells = cells_to_predict(
        images, channels=config.channels, variant=variant, mirror=mirror, **options
    )
    probabilities = predictor.predict(cells.images)
    rows = to_rows(cells, probabilities, config.classes, abstention=abstention, sets=asked_sets)
    sample = None
    if fractions is not None or len(rows) > 1:
        sample = fractions_of(probabilities, config)
    if fractions is not None and sample is not None:
        write_csv(fractions, fraction_rows(sample))
    if out is not None:
        write_csv(out, rows)
    prediction_report(rows, config.classes, out)
    decision_report(rows, config.classes, abstention)
    if sample is not None and len(rows) > 1:
        fractions_report(sample)


def verify(card: CardArgument) -> None:
    """Replay a card's test cells and compare every checksum."""
    from cellsearch.card.card import ModelCard

    report = ModelCard.load(card).verify()
    typer.echo(
        f"{card}: {report.files} files as written, {report.cells} test cells replayed, "
        f"largest difference {report.largest_difference:.1e}"
    )
