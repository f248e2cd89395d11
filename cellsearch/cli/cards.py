"""``cellsearch predict`` and ``cellsearch verify``: what a card is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import Mirror, ReaderOptions, Variant, reader_options

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
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
) -> None:
    """Classify cells with a card; neither torch nor ray is loaded."""
    from cellsearch.card.predict import CardPredictor, to_rows, write_csv
    from cellsearch.data.source import cells_to_predict
    from cellsearch.report import prediction_report

    predictor = CardPredictor.load(card)
    config, options = predictor.config, reader_options(option)
    if fit is not None:
        # Images of several sizes are brought to the card's as they are read.
        options = {"size": f"{config.height}x{config.width}", "fit": fit} | options
    cells = cells_to_predict(
        images, channels=config.channels, variant=variant, mirror=mirror, **options
    )
    rows = to_rows(cells, predictor.predict(cells.images), config.classes)
    if out is not None:
        write_csv(out, rows)
    prediction_report(rows, config.classes, out)


def verify(card: CardArgument) -> None:
    """Replay a card's test cells and compare every checksum."""
    from cellsearch.card.card import ModelCard

    report = ModelCard.load(card).verify()
    typer.echo(
        f"{card}: {report.files} files as written, {report.cells} test cells replayed, "
        f"largest difference {report.largest_difference:.1e}"
    )
