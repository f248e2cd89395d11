"""``cellsearch compare``: a run beside other runs, or beside people, on the same cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import Json, SharedStorage
from cellsearch.errors import ConfigError

if TYPE_CHECKING:
    from cellsearch.card.predictions import Part


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs; each is compared with the first.",
            metavar="RUN...",
            autocompletion=completion.runs,
        ),
    ],
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Answers of human raters, for one run: CSV or TSV with columns id, class and, "
            "for several people, rater.",
            metavar="TABLE",
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            help="Cells to compare on: holdout, or oof (out-of-fold).",
            autocompletion=completion.parts,
        ),
    ] = "holdout",
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the figures here.", metavar="CSV")
    ] = None,
    as_json: Json = False,
    storage: SharedStorage = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw the runs side by side, as PNG and SVG.", metavar="PNG"),
    ] = None,
) -> None:
    """Compare the models of runs, or one model with human raters, on the same cells.

    Example: cellsearch compare runs/plain runs/wide --plot both.png

    Example: cellsearch compare runs/jurkat-2026-11-21-1 --answers experts.csv
    """
    if part not in ("holdout", "oof"):
        raise ConfigError(f"--part: expected holdout or oof, got {part!r}")
    chosen: Part = "oof" if part == "oof" else "holdout"
    if storage is not None:
        from cellsearch.run.shared import locate

        runs = [locate(run, storage) for run in runs]
    # Files in the folder of a run are of its user; those of its card are not.
    cards = [run / "card" if (run / "card").is_dir() else run for run in runs]
    if csv is not None:
        from cellsearch.interop.bench import refuse_places

        refuse_places((), {"csv": csv}, keep=(*cards, *filter(None, [answers])))
    if plot is not None and answers is not None:
        raise ConfigError("--plot: draws runs side by side; leave it out with --answers")
    if plot is not None:
        from cellsearch.compare.plot import refuse_picture

        refuse_picture(plot, keep=cards)
    if answers is None:
        _runs(runs, chosen, csv, plot, as_json=as_json)
        return
    from cellsearch.compare.raters import compare_answers
    from cellsearch.run.history import card_of
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import answers_report

    if len(runs) > 1:
        raise ConfigError(f"--answers: can be compared with one run, got {len(runs)}")
    card_of(runs[0])
    progress = Terminal().progress
    report = compare_answers(runs[0], answers, part=chosen, on_progress=progress)
    if csv is not None:
        report.write_csv(csv)
    if as_json:
        typer.echo(report.to_json())
    else:
        answers_report(report)


def _runs(
    runs: list[Path], part: Part, csv: Path | None, plot: Path | None, *, as_json: bool
) -> None:
    from cellsearch.compare.runs import compare_runs
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.results import runs_report

    report = compare_runs(runs, part=part, on_progress=Terminal().progress)
    if csv is not None:
        report.write_csv(csv)
    drawn: list[Path] = []
    if plot is not None:
        from cellsearch.compare.plot import draw_runs

        drawn = draw_runs(report, plot)
    if as_json:
        typer.echo(report.to_json())
    else:
        runs_report(report, drawn)
