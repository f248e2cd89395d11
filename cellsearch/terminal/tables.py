"""What is printed when the work is done: tables of cells, trials, findings and predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Printed

from cellsearch.util.json_text import json_text
from cellsearch.util.spelling import printable
from cellsearch.util.tables import Table

if TYPE_CHECKING:
    from cellsearch.compare.raters import AnswersReport, Scores
    from cellsearch.data.check import CheckReport
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.stats.evaluation import Estimate
    from cellsearch.tune.study import TrialRow

PLAIN_WIDTH = 160


def _console() -> Console:
    # Names may look like rich's own marks: [bold], :cat:.
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, emoji=False, width=PLAIN_WIDTH)


def show(found: Table) -> None:
    """Print a table; plain text where the output is not a terminal."""
    view = Printed(
        title=printable(found.title) or None, title_justify="left", box=None, pad_edge=False
    )
    for column in found.columns:
        view.add_column(printable(column.name), overflow="fold")
    for row in found.texts:
        view.add_row(*map(printable, row))
    _console().print(view, markup=False)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print rows of text below headers."""
    show(replace(Table.of(headers, list(rows)), title=title))


def say(text: str) -> None:
    """Print one line, whatever its length."""
    _console().print(printable(text), soft_wrap=True, markup=False)


def counted(number: int, word: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{number:,} {word}{'s' * (number != 1)}"


def say_json(facts: object) -> None:
    """Print facts as one JSON document; paths as text, numbers that are not finite as null."""
    from cellsearch.util.wording import as_option

    print(json_text(facts, word=as_option))  # noqa: T201


def summary_lines(cells: CellDataset) -> list[str]:
    """Name, shape, channels, counts and imbalance of a dataset."""
    channels, height, width = cells.images.shape[1:]
    counts = cells.counts
    present = counts[counts > 0]
    kind = " (generated, not real cells)" if cells.provenance.synthetic else ""
    free = set(cells.provenance.label_free)
    named = ", ".join(f"{c} (label-free)" if c in free else c for c in cells.channels)
    numbers = ", ".join(f"{c} {n:,}" for c, n in zip(cells.classes, counts, strict=True))
    return [
        f"{cells.name}{kind}: {len(cells):,} cells, {channels} x {height} x {width}, "
        f"{cells.images.dtype}",
        f"channels: {named}",
        f"classes: {numbers}; imbalance {present.max() / present.min():,.0f} to 1"
        if len(present)
        else "classes: no cell has a label",
    ]


def held_out_groups(cells: CellDataset, splits: Splits) -> list[str]:
    """How many groups there are and are held out; none where cells are independent."""
    from cellsearch.data.held_groups import HeldGroups

    found = HeldGroups.of(cells, splits)
    if found is None:
        return []
    counts = f"groups: {found.groups:,}, of which {found.held:,} in the hold-out"
    return [counts, found.note] if found.note else [counts]


def dataset_summary(cells: CellDataset) -> None:
    """Print what a dataset holds."""
    for line in summary_lines(cells):
        say(line)
    facts = cells.provenance
    for label, value in (
        ("title", facts.title),
        ("licence", facts.licence),
        ("cite", facts.citation),
        ("source", facts.url),
        ("notes", facts.notes),
    ):
        if value:
            say(f"{label}: {value}")
    if facts.pixel_size_um:
        say(f"pixel: {facts.pixel_size_um} um")
    total = max(1, len(cells))
    rows = [
        (name, f"{count:,}", f"{100 * count / total:.2f} %")
        for name, count in zip(cells.classes, cells.counts, strict=True)
    ]
    table(("class", "cells", "share"), rows)


def check_report(report: CheckReport, cells: CellDataset) -> None:
    """Print the findings of an integrity check."""
    from cellsearch.util.wording import worded

    rows = [(f.severity, f.kind, worded(f.message)) for f in report.findings]
    if not rows:
        say(f"{cells.name}: {len(cells):,} cells checked, nothing found")
        return
    table(("severity", "kind", "what"), rows)
    errors = sum(f.severity == "error" for f in report.findings)
    found = f"{counted(len(rows), 'finding')}, {counted(errors, 'error')}"
    say(f"{cells.name}: {len(cells):,} cells checked, {found}")


def leaderboard(rows: Sequence[TrialRow], metric: str, *, limit: int = 10) -> None:
    """Print complete trials, best first, and what became of the others."""
    from cellsearch.space.recipe import brief

    complete = [row for row in rows if row.state == "COMPLETE"]
    named = metric.replace("_", " ")
    lines = [
        (
            str(rank),
            f"{row.number}{' (baseline)' if row.baseline else ''}",
            f"{row.score:.4f}",
            f"{row.seconds / 60:.1f}",
            brief(row.recipe),
        )
        for rank, row in enumerate(complete[:limit], start=1)
    ]
    if lines:
        title = f"Out-of-fold {named}, pooled over the folds"
        table(("rank", "trial", named, "minutes", "recipe"), lines, title=title)
    for row in complete[limit:]:
        if row.baseline:
            say(f"baseline (trial {row.number}): {row.score:.4f}")
    counts = Counter("short" if row.only_short else row.state for row in rows)
    say(
        f"{len(complete)} complete, {counts['PRUNED']} stopped early, {counts['FAIL']} failed"
        + (f", {counts['short']} only trained briefly" if counts["short"] else "")
        + (f", {counts['RUNNING']} unfinished" if counts["RUNNING"] else "")
    )


def prediction_report(
    rows: Sequence[Mapping[str, str]], classes: Sequence[str], out: Path | None
) -> None:
    """Print one cell as a table of probabilities, many as counts of each class."""
    from cellsearch.card.predict import class_columns

    if len(rows) == 1:
        row = rows[0]
        named = zip(classes, class_columns(classes), strict=True)
        shares = sorted(((float(row[column]), name) for name, column in named), reverse=True)
        table(
            ("class", "probability"),
            [(name, f"{100 * share:.1f} %") for share, name in shares],
            title=f"{row['id']}: {row['predicted_class']}",
        )
    elif out is None:
        table(
            ("id", "predicted", "confidence"),
            [(r["id"], r["predicted_class"], f"{float(r['confidence']):.3f}") for r in rows[:20]],
        )
        if len(rows) > 20:
            say(f"and {len(rows) - 20:,} more; -o CSV writes them all")
    if len(rows) > 1:
        found = [(name, sum(r["predicted_class"] == name for r in rows)) for name in classes]
        table(
            ("class", "cells", "share"),
            [(name, f"{n:,}", f"{100 * n / len(rows):.1f} %") for name, n in found],
        )
    if out is not None:
        say(f"{len(rows):,} rows in {out}")


def answers_report(report: AnswersReport) -> None:
    """Print a run's model beside each rater: both scores, their difference, and a verdict."""
    from cellsearch.card.predictions import NAMES
    from cellsearch.stats.wording import difference, figure, p_value

    named = {
        each.rater: each.rater + (" (best)" if each is report.best else "")
        for each in report.raters
    }

    def scores(pick: Callable[[Scores], Estimate]) -> list[tuple[str, ...]]:
        return [
            (
                named[each.rater],
                f"{each.cells:,}",
                figure(pick(each.model)),
                figure(pick(each.answers)),
                difference(pick(each.difference)),
            )
            for each in report.raters
        ]

    tests = [
        (f"{each.model_alone:,}", f"{each.rater_alone:,}", p_value(each.p), p_value(each.p_holm))
        for each in report.raters
    ]
    grouped = "independent" if report.groups is None else f"in {counted(report.groups, 'group')}"
    where = f"{NAMES[report.part]} cells of {report.run}, {grouped} (95 % intervals)"
    headers = ("rater", "cells", "model", "rater's", "model minus rater")
    table(
        (*headers, "only model right", "only rater right", "p", "p, Holm"),
        [(*row, *test) for row, test in zip(scores(lambda s: s.accuracy), tests, strict=True)],
        title=f"Accuracy on {where}",
    )
    table(headers, scores(lambda s: s.balanced_accuracy), title=f"Balanced accuracy on {where}")
    for each in report.raters:
        if each.unanswered or each.outside:
            say(
                f"{each.rater}: {each.unanswered:,} of the {report.cells:,} cells have no answer, "
                f"{each.outside:,} answers are of other cells; neither count"
            )
    for each in report.raters:
        say(f"model against {named[each.rater]}: {each.verdict}")
