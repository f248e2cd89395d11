"""``cellsearch predict`` and ``cellsearch verify``: what a card is for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cellsearch.cli.options import (
    Abstain,
    CardArgument,
    Fit,
    Json,
    Mirror,
    ReaderOptions,
    Sets,
    Variant,
    reader_options,
)

QUIET_SECONDS = 2.0
Decide = Literal["balanced", "natural"]


def predict(
    card: CardArgument,
    images: Annotated[
        str, typer.Argument(help="An image, a folder of images, or a dataset by name or path.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="CSV with one row per cell.", metavar="CSV")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="A table for cellprofiler, napari or qupath, or a folder of lists for ideas; "
            "may be given several times.",
            metavar="PROGRAMME=PATH",
        ),
    ] = None,
    fit: Fit = None,
    abstain: Abstain = None,
    sets: Sets = None,
    decide: Annotated[
        Decide | None,
        typer.Option(
            help="balanced: find rare classes. natural: the fewest mistakes where classes are as "
            "frequent as in the training. By default the card's own rule.",
        ),
    ] = None,
    fractions: Annotated[
        Path | None,
        typer.Option(
            help="CSV of the share of each class in the sample, corrected for known mistakes.",
            metavar="CSV",
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            help="Shares for each sample alone: a column of the table, or source (the file a cell "
            "was cut from), folder, or group.",
            metavar="COLUMN",
        ),
    ] = None,
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
    as_json: Json = False,
) -> None:
    """Classify cells with a card. Needs neither torch nor Ray.

    Example: cellsearch predict runs/demo/card crops/ -o cells.csv --to cellprofiler=cpa.csv
    """
    from cellsearch.card.inputs import fit_rule, size_note
    from cellsearch.card.predict import CardPredictor, predict_cells, to_rows
    from cellsearch.card.prevalence import (
        fraction_rows,
        fractions_by_sample,
        fractions_of,
        sample_rows,
    )
    from cellsearch.card.rules import rules_for
    from cellsearch.card.whole_files import write_csv
    from cellsearch.data.samples import samples_of
    from cellsearch.data.source import files_read
    from cellsearch.data.unlabelled import cells_to_predict
    from cellsearch.interop.bench import parse_targets, refuse_places, write_for
    from cellsearch.run.history import require_card
    from cellsearch.terminal.progress import Terminal, after
    from cellsearch.terminal.results import decision_report, fractions_report, samples_report
    from cellsearch.terminal.tables import prediction_report, say, say_json
    from cellsearch.util.wording import as_option

    targets = parse_targets(to)
    # A table may lie among the images; only what is read itself must stay.
    read = files_read(images, mirror=mirror, **reader_options(option))
    refuse_places(targets, {"out": out, "fractions": fractions}, keep=(*read, card))
    require_card(card)
    predictor = CardPredictor.load(card)
    config = predictor.config
    if decide is not None:
        config.require_rule(decide)
    abstention, asked_sets = rules_for(card, config, abstain=abstain, sets=sets, decide=decide)
    rule = fit_rule(config, fit)
    on_progress = after(QUIET_SECONDS, Terminal().progress)
    cells = cells_to_predict(
        images,
        channels=config.channels,
        dtype=config.dtype,
        variant=variant,
        mirror=mirror,
        # Crops of several sizes cannot lie in one array: brought to the card's as they are read.
        defaults={"fit": rule}
        if rule == "refuse"
        else {"size": f"{config.height}x{config.width}", "fit": rule, "cut": True},
        on_progress=on_progress,
        # One of them is called channels, too.
        options=reader_options(option),
    )
    for note in cells.notes_of("ignored-files"):
        Terminal().message(f"note: {note.message.worded(as_option)}")
    # Wrong names are said before cells are classified.
    named = None if samples is None else samples_of(cells, samples, Path(images).expanduser())
    told = [note.message.worded(as_option) for note in cells.notes_of("crop-sizes")]
    sizes = [*told, size_note(cells.images, config, fit=rule)]
    probabilities = predict_cells(predictor, cells.images, fit=rule, on_progress=on_progress)
    rows = to_rows(
        cells,
        probabilities,
        config.classes,
        called=config.decide(probabilities, decide),
        abstention=abstention,
        sets=asked_sets,
    )
    sample = None
    if fractions is not None or len(rows) > 1:
        sample = fractions_of(probabilities, config)
    by_sample = () if named is None else fractions_by_sample(probabilities, named, config)
    if fractions is not None and sample is not None:
        shares = sample_rows(by_sample) if by_sample else fraction_rows(sample)
        write_csv(fractions, shares, for_people=True)
    if out is not None:
        write_csv(out, rows, for_people=True)
    written = [write_for(target, rows, config.classes) for target in targets]
    if as_json:
        say_json(
            _facts(rows, config.classes, sample, out)
            | {"card": card, "images": images, "out": out, "written": written}
            | {"sizes": list(filter(None, sizes))}
            | {"samples": by_sample or None}
        )
        return
    for line in filter(None, sizes):
        say(line)
    prediction_report(rows, config.classes, out)
    decision_report(rows, config.classes, abstention)
    if by_sample:
        samples_report(by_sample)
    elif sample is not None and len(rows) > 1:
        fractions_report(sample)
    for one in written:
        say(f"for {one.programme}: {one.files[0]}{_more(len(one.files) - 1)}")
        if one.note:
            say(f"for {one.programme}: {one.note}")


def verify(card: CardArgument, as_json: Json = False) -> None:
    """Check a card: compare every checksum and predict its test cells again.

    Example: cellsearch verify runs/demo/card
    """
    from cellsearch.card.card import ModelCard
    from cellsearch.run.history import require_card
    from cellsearch.terminal.tables import say_json

    require_card(card)
    report = ModelCard.load(card).verify()
    if as_json:
        say_json(report)
        return
    typer.echo(
        f"{card}: {report.files} files unchanged, {report.cells} test cells replayed, "
        f"largest difference {report.largest_difference:.1e}"
    )


def _facts(
    rows: list[dict[str, str]], classes: tuple[str, ...], sample: Any, out: Path | None
) -> dict[str, object]:
    """What ``--json`` prints; the cells themselves only where no file holds them."""
    from cellsearch.cli.json_output import cell_facts

    found = Counter(row["predicted_class"] for row in rows)
    decided = None
    if rows and "decision" in rows[0]:
        decided = sum(row["decision"] == row["predicted_class"] for row in rows)
    return {
        "classes": classes,
        "count": len(rows),
        "counts": {name: found[name] for name in classes},
        "decided": decided,
        "fractions": None if sample is None else sample.classes,
        "notes": () if sample is None else sample.notes,
        "cells": cell_facts(rows, classes) if out is None else None,
    }


def _more(files: int) -> str:
    return f" and {files} more files beside it" if files > 1 else " and one beside it" * files
