"""``cellsearch init``: the first look at somebody's own cells."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsearch.cli.options import Force, Json, ReaderOptions, reader_options

if TYPE_CHECKING:
    from cellsearch.scan import FirstLook
    from cellsearch.scan.estimate import Estimate


def init(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder of your images, a table of paths and classes, or a file of cells.",
            metavar="FOLDER",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The manifest (default <folder>.yaml here); for a folder without classes the "
            "table to fill in, .csv.",
            metavar="FILE",
        ),
    ] = None,
    force: Force = False,
    option: ReaderOptions = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate/--no-estimate", help="Time some recipes to estimate how long a run takes."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Look at a folder of cells, write a commented manifest, and propose a command.

    Nothing in the folder is changed. Exit code 1 where the cells cannot be used for training;
    each problem is listed with its remedy.

    Example: cellsearch init my-cells

    Example: cellsearch init images -o labels.csv
    """
    from cellsearch.scan import first_look
    from cellsearch.scan.facts import facts, lines, next_lines
    from cellsearch.scan.write import require_free
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import say, say_json
    from cellsearch.util.wording import worded

    if out is not None:
        require_free(out, force=force)
    progress = Terminal().progress
    look = first_look(path, reader_options(option), progress)
    if not as_json:
        for line in lines(look) if not look.known_as else ():
            say(worded(line))
    written = _written(look, out, force=force)
    took = _estimate(look) if estimate and written and not look.problems else None
    if as_json:
        said = {
            "problems": [worded(each) for each in look.problems],
            "notes": [worded(each) for each in look.layout.notes],
        }
        say_json({**facts(look, written, took), **said})
    else:
        for problem in look.problems:
            say(f"problem: {worded(problem)}")
        for line in next_lines(look, written, took):
            say(worded(line))
        if look.layout.kind == "flat" and not written:
            say(f"a table to fill in: cellsearch init {shlex.quote(str(path))} -o labels.csv")
        elif look.layout.kind == "flat":
            say(
                "next, fill in the column label, then: cellsearch init "
                f"{shlex.quote(str(written[0]))}"
            )
        elif look.problems:
            say("no manifest was written; fix this, then run it again")
    if look.problems:
        raise typer.Exit(1)


def _written(look: FirstLook, out: Path | None, *, force: bool) -> list[Path]:
    from cellsearch.scan.write import manifest_name, write

    if look.known_as:
        return []
    if look.layout.kind == "flat":
        return [] if out is None else write(look, out, force=force)
    if look.problems:
        return []
    return write(look, out or Path(f"{manifest_name(look)}.yaml"), force=force)


def _estimate(look: FirstLook) -> Estimate | None:
    from cellsearch.scan.estimate import estimate
    from cellsearch.terminal.progress import Terminal

    if look.run is None or look.sample is None:
        return None
    training = round(0.8 * sum(look.layout.counts.values()) * (1 - 1 / look.run.folds))
    return estimate(
        look.sample,
        training,
        space=look.run.space,
        budget=look.run.budget,
        folds=look.run.folds,
        on_progress=Terminal().progress,
    )
