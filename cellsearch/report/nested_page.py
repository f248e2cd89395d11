"""The page of repeated searches: each of them with a link, and the figures of the procedure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from cellsearch.card.metrics import Figures
from cellsearch.card.tables import short_class_table
from cellsearch.report import figures
from cellsearch.report.facts import gather
from cellsearch.report.nested_facts import NestedFacts
from cellsearch.report.page import render
from cellsearch.report.pictures import LEVEL, Picture
from cellsearch.report.svg import drawing, inline
from cellsearch.report.tables import named
from cellsearch.run.folder import read_record
from cellsearch.run.nested import NestedSummary
from cellsearch.stats.metrics import TITLES, metric_named
from cellsearch.stats.wording import figure
from cellsearch.util.tables import Table

_ABOUT = {
    "outer": "The whole search was repeated inside each of {times} outer folds, whose cells had no "
    "part in choosing or training the model that predicts them. The pooled figures are of the "
    "whole procedure, search included, and not of one model; no verdict is given.",
    "repeats": "The whole search was repeated on {times} newly drawn hold-outs. The means are of "
    "the whole procedure, search included, and not of one model; no verdict is given.",
}


def nested_page(facts: NestedFacts, links: Mapping[Path, str]) -> tuple[str, list[Picture], str]:
    """HTML, its pictures, and its headline.

    Args:
        facts: of the searches.
        links: from a search's folder to its report, relative to this page.
    """
    request, summary = facts.request, facts.summary
    headline = summary.headline if summary else "no estimate yet: not all searches have ended"
    pooled = summary.pooled if summary else None
    pictures = _pictures(pooled) if pooled else []
    with drawing():
        shown = [
            {
                "name": each.name,
                "svg": Markup(inline(each.figure, each.name, each.caption)),
                "caption": each.caption,
                "wide": each.wide,
                "inches": each.inches,
            }
            for each in pictures
        ]
    metrics, caption = _metrics(summary) if summary else (None, "")
    text = render(
        "nested.html.j2",
        title=f"{request.config.dataset}: {facts.folder.resolve().name}",
        kind=f"{request.times} outer folds" if request.kind == "outer" else "repeated hold-outs",
        headline=f"{headline[0].upper()}{headline[1:]}.",
        about=_ABOUT[request.kind].format(times=request.times),
        missing=facts.missing,
        metric=named(request.config.metric),
        searches=[_search(run, links.get(run, ""), request.config.metric) for run in facts.runs],
        metrics=metrics,
        metrics_caption=caption,
        classes=short_class_table(pooled) if pooled else None,
        pictures={"pooled": shown},
        command=_command(facts),
        folder=facts.folder,
    )
    return text, pictures, headline


def _command(facts: NestedFacts) -> str:
    return read_record(facts.runs[0]).command if facts.runs else "no search was started"


def _search(run: Path, link: str, metric: str) -> dict[str, str]:
    facts = gather(run)
    row = dict.fromkeys(("winner", "cells", "score", "baseline"), "-")
    row |= {"name": run.name, "link": link, "verdict": facts.verdict}
    row["state"] = "ended" if facts.ended else "not ended"
    if facts.card is not None:
        held = facts.card.metrics.hold_out
        row["winner"] = f"trial {facts.card.metrics.search.winner}"
        row["cells"] = f"{held.winner.cells:,}"
        row["score"] = figure(held.winner.metrics[metric])
        if held.baseline:
            row["baseline"] = figure(held.baseline.metrics[metric])
    return row


def _metrics(summary: NestedSummary) -> tuple[Table, str]:
    pooled = summary.pooled
    found = pooled.metrics if pooled else summary.means
    rows = [(TITLES[metric_named(name)], figure(each)) for name, each in found.items()]
    what = (
        f"pooled, n = {pooled.cells:,} cells, each predicted once"
        if pooled
        else f"mean of n = {len(summary.searches)} searches"
    )
    return Table.of(("figure", "value"), rows), f"Figures with 95 % intervals, {what}"


def _pictures(pooled: Figures) -> list[Picture]:
    classes, n = list(pooled.per_class), f"n = {pooled.cells:,} cells"
    with drawing():
        return [
            Picture(
                "per_class_pooled",
                "pooled",
                figures.per_class(pooled, None, ("recall", "precision")),
                f"Recall and precision of each class over the outer folds ({n}). {LEVEL}.",
            ),
            Picture(
                "confusion_pooled",
                "pooled",
                figures.confusion(pooled.confusion, classes),
                f"Outer folds together: counts, and share of the true class ({n}).",
            ),
        ]
