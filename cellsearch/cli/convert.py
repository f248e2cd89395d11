"""``cellsearch convert``: cells in another layout of files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import DatasetArgument, Json, run_options, run_values

FORMATS = ("folder", "table", "npz", "zarr", "hdf5", "tiff")


@run_options("mirror", "options", "variant", "channels", "merge", "only")
def convert(
    dataset: DatasetArgument,
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="File or folder to write.", metavar="PATH")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="folder (a folder a class), table (CSV and images), npz, zarr (OME-Zarr), hdf5 or "
            "tiff (OME-TIFF). Default: by the suffix of the name, else folder.",
            metavar="FORMAT",
            autocompletion=completion.among(FORMATS),
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file, or a folder that convert wrote.")
    ] = False,
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Write cells as a folder, a table, .npz, OME-Zarr, HDF5 or OME-TIFF.

    All but a folder keep every cell's id, source, object number and group, and their order; a
    folder keeps ids and groups. What is written is read by --dataset and by predict at once.
    Cells of a .cif have no labels until a table gives some; they are written as a table.

    Example: cellsearch convert sample.cif -o sample
    """
    from cellsearch.data.task import task_of
    from cellsearch.data.unlabelled import cells_to_convert
    from cellsearch.data.writers.place import refuse_overlap, refuse_taken
    from cellsearch.data.writers.registry import format_of, write_cells
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import say, say_json
    from cellsearch.util.named_path import named_path
    from cellsearch.util.wording import as_option

    values = run_values(fields)
    out = named_path(out.parent) / out.name
    # Said before a long reading rather than after it.
    format_of(out, to)
    refuse_taken(out, force=force)
    refuse_overlap(out, named_path(Path(dataset)))
    watch = Terminal()
    cells = cells_to_convert(
        dataset,
        variant=values.get("variant"),
        mirror=values.get("mirror"),
        on_progress=watch.progress,
        **values.get("options", {}),
    )
    for note in cells.notes_of("ignored-files"):
        watch.message(f"note: {note.message.worded(as_option)}")
    task = task_of(values.get("typed", {}), channels=cells.channels, classes=cells.classes)
    if task.channels:
        cells = cells.select_channels(task.channels)
    if task.merge:
        cells = cells.merge_classes(task.merge)
    if task.only:
        # One class alone may be written, though nothing can be learnt from it.
        cells = cells.drop_classes([name for name in cells.classes if name not in task.only])
    written = write_cells(cells, out, to=to, force=force, on_progress=watch.progress)
    if as_json:
        say_json(
            {
                "out": written.path,
                "read_as": written.readable,
                "format": written.format,
                "cells": written.cells,
                "labelled": written.labelled,
                "classes": cells.classes,
                "channels": cells.channels,
                "not_held": written.losses,
            }
        )
        return
    for note in cells.notes_of("crop-sizes"):
        say(note.text)
    say(f"{written.cells:,} cells in {written.path} ({written.format})")
    if written.losses:
        say(f"a {written.format} does not keep: {', '.join(written.losses)}")
    readable = shlex.quote(str(written.readable))
    if written.labelled:
        say(f"train on them: cellsearch run --dataset {readable}")
    else:
        say(f"no labels; classify them: cellsearch predict CARD {readable} -o cells.csv")
