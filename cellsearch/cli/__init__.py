"""The command line: each command parses, calls and prints; expected errors end with code 2."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from cellsearch.cli import (
    audit,
    cards,
    compare,
    compare_samples,
    convert,
    crop,
    datasets,
    doctor,
    exports,
    init,
    label,
    report,
    runs,
    search,
    serve,
    spaces,
)
from cellsearch.cli.streams import spell_all, standard_output
from cellsearch.errors import CellsearchError
from cellsearch.util.spelling import printable
from cellsearch.util.wording import as_option

EPILOG = """\b
Exit codes: 0 done; 1 a check found problems (audit, doctor, init, datasets check);
2 wrong input, explained in one message; 130 interrupted, continue with `cellsearch resume RUN`.

\b
Example: cellsearch init my-cells
Example: cellsearch run --dataset demo --space quick --budget 8
Example: cellsearch --install-completion
"""

_FORMER: Mapping[str, str] = {"sets": "prediction-sets", "slots": "max-concurrent-trials"}
"""Options of older versions, which still work and are not shown."""


def _present(name: str) -> str:
    return _FORMER.get(name, name)


app = typer.Typer(
    name="cellsearch",
    epilog=EPILOG,
    help="Find the best classifier for imbalanced single-cell images, with figures you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Rich's panels take longer to import than all the rest of `--help`.
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "token_normalize_func": _present,
    },
)
app.command(name="init", short_help="Look at a folder of cells; write a manifest.")(init.init)
app.command(name="run", short_help="Search for the best classifier; write its card.")(search.run)
app.command(name="resume", short_help="Resume an interrupted run.")(search.resume)
app.command(name="runs")(runs.runs)
app.command(name="show")(runs.show)
app.command(name="dashboard", short_help="Open Optuna's dashboard for a run.")(runs.dashboard)
app.command(name="report", short_help="Write the report of a run, one HTML file.")(report.report)
app.command(name="compare", short_help="Compare runs, or a run with human raters.")(compare.compare)
app.command(name="compare-samples", short_help="Compare treated and control samples.")(
    compare_samples.compare_samples
)
app.command(name="audit", short_help="Look for leaks in a run.")(audit.audit)
app.command(name="labels", short_help="Rank labels that are probably wrong.")(label.labels)
app.command(name="predict")(cards.predict)
app.command(name="suggest", short_help="Choose the cells to label next.")(label.suggest)
app.command(name="verify")(cards.verify)
app.command(name="serve", short_help="Serve a card as a web page and REST API.")(serve.serve)
app.command(name="export", short_help="Write a card in the format of another tool.")(exports.export)
app.command(name="push", short_help="Upload a card to the Hugging Face Hub.")(exports.push)
app.command(name="convert", short_help="Write cells in another file format.")(convert.convert)
app.command(name="crop", short_help="Crop cells out of whole images.")(crop.crop)
app.command(name="doctor", short_help="Check this installation.")(doctor.doctor)
app.add_typer(datasets.app, name="datasets")
app.add_typer(spaces.app, name="spaces")


def _print_version(value: bool) -> None:
    if value:
        from cellsearch.util.version import __version__

        typer.echo(f"cellsearch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the ``cellsearch`` command.

    Exit codes: 0 done, 1 a check found problems, 2 a wrong input explained in one message, 130
    interrupted, 141 nobody reads what it prints.
    """
    spell_all()
    with standard_output():
        _run()


def _run() -> None:
    try:
        # The same under `python -m cellsearch`, and completion needs the name.
        app(prog_name="cellsearch")
    except CellsearchError as error:
        _close_bars()
        sys.stderr.write(f"cellsearch: {printable(error.message.worded(as_option))}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        _close_bars()
        sys.stderr.write("cellsearch: interrupted\n")
        raise SystemExit(130) from None


def _close_bars() -> None:
    if "cellsearch.terminal.progress" in sys.modules:
        from cellsearch.terminal.progress import close_bars

        close_bars()
