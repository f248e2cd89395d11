"""``cellsearch datasets``: what can be learnt from, and whether it is fit for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import (
    Channels,
    Merge,
    Mirror,
    OneVsRest,
    Only,
    ReaderOptions,
    Variant,
    reader_options,
    task_options,
)

app = typer.Typer(help="Datasets: list, describe, fetch, check.", no_args_is_help=True)
NameArgument = Annotated[
    str,
    typer.Argument(help="A built-in name, a manifest, or a folder, table or .npz of cells."),
]


@app.command(name="list")
def list_datasets() -> None:
    """Names of the built-in datasets."""
    from cellsearch import catalog
    from cellsearch.data.manifest import load_manifest
    from cellsearch.report import table

    rows = []
    for name in catalog.names("datasets"):
        manifest = load_manifest(name)
        cells = sum(kind.count for kind in manifest.classes)
        kind = "generated" if manifest.synthetic else "real"
        rows.append((name, f"{cells:,}", str(len(manifest.classes)), kind, manifest.title))
    table(("dataset", "cells", "classes", "kind", "title"), rows)


@app.command()
def describe(
    name: NameArgument,
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
    channels: Channels = None,
    merge: Merge = None,
    only: Only = None,
    one_vs_rest: OneVsRest = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Where the contact sheet goes.", metavar="PNG")
    ] = None,
) -> None:
    """Counts, imbalance and channels, and a contact sheet of some cells of each class."""
    from cellsearch.data.contact_sheet import contact_sheet
    from cellsearch.data.source import load_dataset
    from cellsearch.data.task import apply_task
    from cellsearch.progress import Terminal
    from cellsearch.report import dataset_summary

    cells = load_dataset(
        name,
        variant=variant,
        mirror=mirror,
        on_progress=Terminal().progress,
        **reader_options(option),
    )
    cells = apply_task(cells, **task_options(channels, merge, only, one_vs_rest))
    dataset_summary(cells)
    path = contact_sheet(cells, sheet or Path(f"{cells.name}-cells.png"))
    typer.echo(f"contact sheet: {path}")


@app.command()
def fetch(name: NameArgument, mirror: Mirror = None) -> None:
    """Download a built-in dataset, or take it from a folder; checksums are verified."""
    from cellsearch.data.source import load_dataset
    from cellsearch.progress import Terminal

    cells = load_dataset(name, mirror=mirror, on_progress=Terminal().progress)
    typer.echo(f"{name}: {len(cells):,} cells in {cells.folder}")


@app.command()
def check(
    name: NameArgument,
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
    channels: Channels = None,
    merge: Merge = None,
    only: Only = None,
    one_vs_rest: OneVsRest = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds a search would use.")] = 5,
    groups: Annotated[
        bool,
        typer.Option(
            "--groups", help="Ask whether images tell donor, plate or date apart (batch effect)."
        ),
    ] = False,
) -> None:
    """Twins, blank and saturated images, classes too small. Exit code 1 if errors are found."""
    from cellsearch.data.check import check_dataset
    from cellsearch.data.group_probe import group_lines
    from cellsearch.data.source import load_dataset
    from cellsearch.data.task import apply_task
    from cellsearch.progress import Terminal
    from cellsearch.report import check_report, say

    cells = load_dataset(
        name,
        variant=variant,
        mirror=mirror,
        on_progress=Terminal().progress,
        **reader_options(option),
    )
    cells = apply_task(cells, **task_options(channels, merge, only, one_vs_rest))
    report = check_dataset(cells, folds=folds)
    check_report(report, cells)
    if groups:
        for line in group_lines(cells):
            say(line)
    if any(finding.severity == "error" for finding in report.findings):
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """The JSON schema of a manifest, for editors."""
    from cellsearch.data.manifest import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
