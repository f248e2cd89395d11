"""``cellsearch compare``: a run beside something else on the same cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import RunArgument
from cellsearch.errors import ConfigError


def compare(
    run: RunArgument,
    answers: Annotated[
        Path,
        typer.Option(
            help="CSV or TSV with columns id, class and, for several people, rater.",
            metavar="TABLE",
        ),
    ],
    part: Annotated[
        str, typer.Option(help="Cells to compare on: holdout, or oof (out-of-fold).")
    ] = "holdout",
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the figures here.", metavar="CSV")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """The model of a run beside the answers of people, on the same cells.

    Example: cellsearch compare runs/jurkat-2026-11-21-1 --answers experts.csv
    """
    from cellsearch.answers import compare_answers
    from cellsearch.report import answers_report

    if part not in ("holdout", "oof"):
        raise ConfigError(f"--part: expected holdout or oof, got {part!r}")
    report = compare_answers(run, answers, part="oof" if part == "oof" else "holdout")
    if csv is not None:
        report.write_csv(csv)
    if json:
        typer.echo(report.to_json())
    else:
        answers_report(report)
