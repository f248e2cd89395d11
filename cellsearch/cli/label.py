"""``cellsearch labels`` and ``cellsearch suggest``: labels to check, and cells to label next."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli.options import (
    CardArgument,
    Fit,
    Json,
    Mirror,
    ReaderOptions,
    RunArgument,
    Variant,
    reader_options,
)

QUIET_SECONDS = 2.0


def labels(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="CSV with one row per suspect label.", metavar="CSV"),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Page with pictures of the first suspects.", metavar="FILE"),
    ] = None,
    pictures: Annotated[int, typer.Option(help="Cells on that page.", min=1, max=1000)] = 60,
    seed: Annotated[int, typer.Option(help="Of the intervals' bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """Rank cells whose label is probably wrong, by predictions of networks that never saw them.

    No label is changed: a person looks at the cells and decides. Cells of the hold-out are not
    judged.

    Example: cellsearch labels runs/jurkat-2026-11-21-1 -o suspects.csv --html suspects.html
    """
    from cellsearch.interop.bench import refuse_places
    from cellsearch.label.issues import label_issues
    from cellsearch.report.label_page import refuse_page, write_label_page
    from cellsearch.run.history import card_of
    from cellsearch.terminal.labels import label_report
    from cellsearch.terminal.tables import say, say_json

    card = card_of(run)
    refuse_places((), {"out": out}, keep=(card,))
    if html is not None:
        refuse_page(html, card)
    found = label_issues(run, seed=seed)
    if out is not None and found.suspects:
        found.write_csv(out)
    missing = "" if html is None else write_label_page(found, html, most=pictures)
    if as_json:
        facts = asdict(found) | {"out": out, "html": html, "missing": missing or None}
        say_json(facts if out is None else facts | {"suspects": None})
        return
    label_report(found, out)
    if missing:
        say(f"missing: {missing}")
    if html is not None:
        say(f"page: {html}; open it in a browser")


def suggest(
    card: CardArgument,
    cells: Annotated[str, typer.Argument(help="A folder of images, or a dataset by name or path.")],
    count: Annotated[
        int, typer.Option("-n", "--count", help="How many cells to suggest.", min=1)
    ] = 100,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="CSV with one row per cell.", metavar="CSV")
    ] = None,
    fit: Fit = None,
    seed: Annotated[int, typer.Option(help="Of the cells that are drawn by chance.")] = 0,
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
    as_json: Json = False,
) -> None:
    """Choose the unlabelled cells whose labels rare classes gain most by; without torch.

    A tenth is drawn by chance; the shares of the classes can be told from those alone. Cells that
    the card was trained or scored on are left out.

    Example: cellsearch suggest runs/demo/card new/ -n 50 -o next.csv
    """
    from cellsearch.card.card import ModelCard
    from cellsearch.card.inputs import fit_rule
    from cellsearch.data.source import files_read
    from cellsearch.data.unlabelled import cells_to_predict
    from cellsearch.interop.bench import refuse_places
    from cellsearch.label.suggest import suggest as choose
    from cellsearch.run.history import require_card
    from cellsearch.terminal.labels import suggestion_report
    from cellsearch.terminal.progress import Terminal, after
    from cellsearch.terminal.tables import say_json

    read = files_read(cells, mirror=mirror, **reader_options(option))
    refuse_places((), {"out": out}, keep=(*read, card))
    require_card(card)
    opened = ModelCard.load(card)
    config = opened.config
    rule = fit_rule(config, fit)
    on_progress = after(QUIET_SECONDS, Terminal().progress)
    images = cells_to_predict(
        cells,
        channels=config.channels,
        dtype=config.dtype,
        variant=variant,
        mirror=mirror,
        defaults={"fit": rule}
        if rule == "refuse"
        else {"size": f"{config.height}x{config.width}", "fit": rule, "cut": True},
        on_progress=on_progress,
        options=reader_options(option),
    )
    found = choose(opened, images, count, fit=rule, seed=seed, on_progress=on_progress)
    if out is not None:
        found.write_csv(out)
    if as_json:
        facts = asdict(found) | {"card": card, "images": cells, "out": out}
        say_json(facts if out is None else facts | {"cells": None})
        return
    suggestion_report(found, out)
