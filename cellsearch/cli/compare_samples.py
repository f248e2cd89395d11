"""``cellsearch compare-samples``: shares of classes in the samples of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cellsearch.cli.options import Json


def compare_samples(
    fractions: Annotated[
        Path,
        typer.Argument(
            help="What predict wrote with --samples COLUMN and --fractions CSV.",
            metavar="FRACTIONS",
        ),
    ],
    design: Annotated[
        Path,
        typer.Option(
            help="Table with columns sample, condition, and optionally replicate, donor or batch.",
            metavar="TABLE",
        ),
    ],
    control: Annotated[
        str | None,
        typer.Option(
            help="Condition that the others are compared with. Default: the one called control, "
            "vehicle, DMSO, untreated, mock, baseline or WT.",
            metavar="CONDITION",
        ),
    ] = None,
    share: Annotated[
        Literal["em", "adjusted_count", "raw"] | None,
        typer.Option(help="Which share is compared. Default: the first of these that is there."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the figures here.", metavar="CSV")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw every replicate, as PNG and SVG.", metavar="PNG"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the shares of the classes between treated and control samples, over replicates.

    The replicate counts, not the cell. Samples of one replicate (or of one donor and condition) are
    averaged; where a donor or batch has both conditions, they are compared within it.

    Example: cellsearch compare-samples fractions.csv --design design.csv --plot shares.png
    """
    from cellsearch.compare.plot import refuse_picture
    from cellsearch.compare.samples import compare_samples as compared
    from cellsearch.compare.samples_plot import draw_samples
    from cellsearch.interop.bench import refuse_places
    from cellsearch.terminal.results import sample_comparison_report

    refuse_places((), {"csv": csv}, keep=(fractions, design))
    if plot is not None:
        refuse_picture(plot)
    report = compared(fractions, design, control=control, share=share)
    if csv is not None:
        report.write_csv(csv)
    drawn = draw_samples(report, plot) if plot is not None else []
    if as_json:
        typer.echo(report.to_json())
    else:
        sample_comparison_report(report, drawn)
