"""``cellsearch datasets``: what can be learnt from, and whether it is fit for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellsearch.cli.options import TASK, DatasetArgument, Json, Mirror, run_options, run_values

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.util.progress import Progress

app = typer.Typer(help="Datasets: list, describe, fetch, check.", no_args_is_help=True)


@app.command(name="list")
def list_datasets(as_json: Json = False) -> None:
    """Names of the built-in datasets.

    Example: cellsearch datasets list
    """
    from cellsearch.data.manifest import load_manifest
    from cellsearch.terminal.tables import say_json, table
    from cellsearch.util import yaml_files

    manifests = {name: load_manifest(name) for name in yaml_files.names("datasets")}
    if as_json:
        say_json(
            [
                {
                    "name": name,
                    "title": manifest.title,
                    "licence": manifest.licence,
                    "synthetic": manifest.synthetic,
                    "classes": {kind.name: kind.count for kind in manifest.classes},
                    "channels": [channel.name for channel in manifest.channels],
                    "variants": list(manifest.variants),
                }
                for name, manifest in manifests.items()
            ]
        )
        return
    rows = []
    for name, manifest in manifests.items():
        cells = sum(kind.count for kind in manifest.classes)
        kind = "generated" if manifest.synthetic else "real"
        rows.append((name, f"{cells:,}", str(len(manifest.classes)), kind, manifest.title))
    table(("dataset", "cells", "classes", "kind", "title"), rows)


@app.command()
@run_options(*TASK)
def describe(
    name: DatasetArgument,
    *,
    sheet: Annotated[
        Path | None, typer.Option(help="Where the contact sheet goes.", metavar="PNG")
    ] = None,
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Counts, imbalance and channels, and a contact sheet of some cells of each class.

    Example: cellsearch datasets describe demo --sheet demo.png
    """
    from cellsearch.cli.json_output import dataset_facts
    from cellsearch.data.contact_sheet import contact_sheet
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import dataset_summary, say_json

    cells = _cells(name, fields, Terminal().progress)
    if not as_json:
        dataset_summary(cells)
    path = contact_sheet(cells, sheet or Path(f"{cells.name}-cells.png"))
    if as_json:
        say_json(dataset_facts(cells) | {"contact_sheet": path})
        return
    typer.echo(f"contact sheet: {path}")
    typer.echo(f"check them: cellsearch datasets check {shlex.quote(name)}")


@app.command()
def fetch(name: DatasetArgument, mirror: Mirror = None, as_json: Json = False) -> None:
    """Download a built-in dataset, or take it from a folder; checksums are verified.

    Example: cellsearch datasets fetch jurkat
    """
    from cellsearch.cli.json_output import dataset_facts
    from cellsearch.data.source import load_dataset
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import say_json

    cells = load_dataset(name, mirror=mirror, on_progress=Terminal().progress)
    if as_json:
        say_json(dataset_facts(cells))
        return
    typer.echo(f"{name}: {len(cells):,} cells in {cells.folder}")


@app.command()
@run_options(*TASK)
def check(
    name: DatasetArgument,
    *,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds a search would use (default as in `run`).")
    ] = None,
    groups: Annotated[
        bool,
        typer.Option(
            "--groups", help="Test whether images reveal the donor, plate or date (batch effect)."
        ),
    ] = False,
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Duplicates, blank images, small classes, files saved otherwise. Exit code 1 if errors are
    found.

    Example: cellsearch datasets check my-cells.yaml --groups
    """
    from cellsearch.cli.json_output import dataset_facts
    from cellsearch.data.check import check_dataset
    from cellsearch.data.group_probe import group_lines
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.tables import check_report, say, say_json
    from cellsearch.util.wording import worded

    progress = Terminal().progress
    cells = _cells(name, fields, progress, verified=True)
    report = check_dataset(cells, folds=folds, on_progress=progress)
    if not as_json:
        check_report(report, cells)
    told = [worded(x) for x in group_lines(cells, on_progress=progress)] if groups else []
    if as_json:
        found = {"folds": report.folds, "findings": report.findings, "groups": told}
        say_json(dataset_facts(cells) | found)
    else:
        for line in told:
            say(line)
    if any(finding.severity == "error" for finding in report.findings):
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """The JSON schema of a manifest, for editors.

    Example: cellsearch datasets schema > manifest.schema.json
    """
    from cellsearch.data.manifest import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _cells(
    name: str, given: Mapping[str, Any], on_progress: Progress, *, verified: bool = False
) -> CellDataset:
    """The cells of a data set, for the task that the options of ``TASK`` say."""
    from cellsearch.data.source import load_dataset
    from cellsearch.data.task import apply_task

    values = run_values(given)
    cells = load_dataset(
        name,
        variant=values.pop("variant", None),
        mirror=values.pop("mirror", None),
        verified=verified,
        on_progress=on_progress,
        **values.pop("options", {}),
    )
    return apply_task(cells, **values)
