"""How a run ended, on the terminal: leaderboard, the card's figures, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cellsearch.card.predict import set_names
from cellsearch.card.predictions import NAMES
from cellsearch.card.tables import short_class_table
from cellsearch.stats.evaluation import FEW_CELLS
from cellsearch.stats.metrics import METRICS, TITLES
from cellsearch.stats.wording import difference, figure, p_value, recall_of
from cellsearch.terminal.tables import counted, leaderboard, say, show, table
from cellsearch.util.messages import Setting
from cellsearch.util.wording import as_option

if TYPE_CHECKING:
    from cellsearch.card.abstain import Abstention
    from cellsearch.card.card import ModelCard
    from cellsearch.card.metrics import CardMetrics
    from cellsearch.card.prevalence import Fractions, SampleFractions
    from cellsearch.compare.runs import RunsReport
    from cellsearch.compare.samples import SamplesReport
    from cellsearch.data.cropping.crop import Cropped
    from cellsearch.run.nested import NestedResult
    from cellsearch.run.search import SearchResult
    from cellsearch.stats.evaluation import Estimate


def run_result(result: SearchResult, metric: str) -> None:
    """Print how a run ended: leaderboard, hold-out per class, where the card lies."""
    leaderboard(result.trials, metric)
    if result.interrupted:
        say(f"interrupted; resume with: cellsearch resume {shlex.quote(str(result.folder))}")
        return
    if result.card is not None:
        from cellsearch.run.history import verdict_lines

        card_figures(result.card)
        for line in (*decided_lines(result.card.figures), *verdict_lines(result.card.folder)):
            say(line)
        next_steps(result.folder)


def next_steps(run: Path) -> None:
    """Print where a run's card lies, and what to type next."""
    card = shlex.quote(str(run / "card"))
    say(f"card: {run / 'card'}")
    say(f"report, one HTML file:             cellsearch report {shlex.quote(str(run))}")
    say(f"classify new images:               cellsearch predict {card} IMAGES -o cells.csv")
    say(f"predict in the browser:             cellsearch serve {card}")
    say(f"look for leaks:                    cellsearch audit {shlex.quote(str(run))}")
    say(f"check the labels:                  cellsearch labels {shlex.quote(str(run))}")


def card_figures(card: ModelCard) -> None:
    """Print the hold-out's figures of a card, winner beside baseline."""
    holdout = card.figures.hold_out
    winner, baseline = holdout.winner, card.figures.baseline("hold_out")
    title = f"Hold-out, {winner.cells:,} cells the search never saw (95 % intervals)"
    show(replace(short_class_table(winner, baseline), title=title))
    for metric in ("balanced_accuracy", "weighted_f1"):
        line = f"hold-out {metric.replace('_', ' ')} {figure(winner.metrics[metric])}"
        if baseline:
            line += (
                f"; baseline {figure(baseline.metrics[metric])}"
                f"; difference {difference(holdout.difference[metric])}"
            )
        say(line)


def decided_lines(figures: CardMetrics) -> list[str]:
    """What abstention and prediction sets gave on the hold-out; none where none was asked for."""
    abstention, sets = figures.confidence.abstention, figures.confidence.sets
    lines = []
    if abstention is not None:
        held = abstention.hold_out
        lines.append(
            f"abstaining ({held.rule} {held.level:g}): {figure(held.coverage)} of the hold-out "
            f"get a class, of which {figure(held.selective_accuracy)} are right"
        )
    if sets is not None:
        covered = sets.hold_out
        lines.append(
            f"prediction sets ({covered.level:g}): {figure(covered.coverage)} of them contain "
            f"the true class; {covered.mean_size:.2f} classes on average"
        )
        if always := [name for name, each in covered.per_class.items() if each.in_every_set]:
            lines.append(f"in every set, because it has too few cells: {', '.join(always)}")
    return lines


def nested_result(result: NestedResult) -> None:
    """Print each search, the classes of the pooled cells, and the estimate."""
    summary = result.summary
    if summary is None:
        say(f"interrupted; resume with: cellsearch resume {shlex.quote(str(result.folder))}")
        return
    named = summary.metric.replace("_", " ")
    table(
        ("search", "winner", "hold-out cells", named, "of the baseline"),
        [
            (
                each.name,
                f"trial {each.trial}",
                f"{each.cells:,}",
                f"{each.winner[summary.metric]:.3f}",
                f"{each.baseline[summary.metric]:.3f}" if each.baseline else "-",
            )
            for each in summary.searches
        ],
        title="Each search, on cells it never saw",
    )
    if summary.pooled is not None:
        rows = []
        for name, each in summary.pooled.per_class.items():
            rows.append((name, f"{each.support:,}", recall_of(each.recall, each.support)))
        table(("class", "cells", "recall"), rows, title="Pooled (95 % intervals)")
    say(summary.headline)
    say(f"figures: {result.folder / 'summary.json'}")


def runs_report(report: RunsReport, drawn: Sequence[Path] = ()) -> None:
    """Print every figure of every run, the differences from the first, and the verdicts."""
    names = [Path(run.run).name for run in report.runs]
    if len(set(names)) < len(names):
        names = [run.run for run in report.runs]
    headers = ["figure", "cells", *names, *(f"{name} minus {names[0]}" for name in names[1:])]
    rows = [
        [
            TITLES[name],
            f"{report.cells:,}",
            *(figure(run.metrics[name]) for run in report.runs),
            *(difference(run.metric_differences[name]) for run in report.runs[1:]),
        ]
        for name in METRICS
    ]
    for name, cells in report.support.items():
        if report.runs[0].recalls[name] is None:
            continue
        rows.append(
            [
                f"recall of {name}",
                f"{cells:,}",
                *(recall_of(run.recalls[name], cells) for run in report.runs),
                *(difference(run.recall_differences[name]) for run in report.runs[1:]),
            ]
        )
    grouped = f" in {counted(report.groups, 'group')}" if report.groups is not None else ""
    where = f"{NAMES[report.part].capitalize()}, {report.cells:,} cells{grouped}"
    table(headers, rows, title=f"{where} (95 % intervals)")
    for name, run in zip(names[1:], report.runs[1:], strict=True):
        shown = "" if run.p_holm is None else f" (p, Holm: {p_value(run.p_holm)})"
        say(f"{name} against {names[0]}: {run.verdict}{shown}")
    few = [name for name, cells in report.support.items() if 0 < cells < FEW_CELLS]
    if few:
        say(f"fewer than {FEW_CELLS} cells; read the intervals: {', '.join(few)}")
    if report.part == "holdout":
        say("a run chosen by these figures was chosen by its hold-out, so its figure is too good")
    for path in drawn:
        say(f"drawn: {path}")


def decision_report(
    rows: Sequence[Mapping[str, str]], classes: Sequence[str], abstention: Abstention | None
) -> None:
    """Print how many cells are ``uncertain``, and how large prediction sets are."""
    if not rows:
        return
    if abstention is not None:
        open_ = sum(row["decision"] != row["predicted_class"] for row in rows)
        say(
            f"{abstention.rule} of {100 * abstention.level:g} %: {len(rows) - open_:,} of "
            f"{len(rows):,} cells get a class; uncertain: {open_:,}"
        )
        never = [name for name, t in zip(classes, abstention.thresholds, strict=True) if t is None]
        if never:
            say(f"{', '.join(never)}: this is not sure, so cells called so are uncertain")
    if "set" in rows[0]:
        sizes = [len(set_names(row["set"], classes)) for row in rows]
        say(
            f"prediction sets: {sum(sizes) / len(sizes):.2f} classes on average, "
            f"{sizes.count(1):,} of one class, {sizes.count(0):,} of none"
        )


def cropped_report(cropped: Cropped) -> None:
    """Print how many objects were cropped, how large, and which were left out."""
    counts, cells = cropped.counts, cropped.cells
    side = cells.images.shape[2]
    scale = cells.provenance.pixel_size_um
    wide = f" ({side * scale:.3g} um)" if scale else ""
    say(
        f"{counted(counts.objects, 'object')} in {counted(counts.images, 'image')}; crops of "
        f"{side} x {side} px{wide}"
    )
    keep = as_option(Setting("border", "keep"))
    for number, why in (
        (counts.on_border, f"reach the border of their image ({keep} keeps them)"),
        (counts.tiny, f"are too small ({as_option(Setting('least_area'))})"),
        (counts.unlabelled, "have no row in the table of labels"),
    ):
        if number:
            say(f"left out: {number:,} that {why}")
    if counts.larger:
        say(
            f"{counted(counts.larger, 'cell')} larger than the crop, cut at its edge; "
            f"{as_option(Setting('size', counts.side_for_all(cropped.margin)))} holds all"
        )
    for name, count in zip(cells.classes, cells.counts.tolist(), strict=True):
        say(f"  {name}: {count:,}")
    for note in cells.provenance.reader_notes:
        if note.remedy is not None:
            say(f"note: {note.message.worded(as_option)}")
    if cells.groups is None:
        say("one image: figures of a classifier will hold for cells of this image alone")


def fractions_report(found: Fractions) -> None:
    """Print counts and shares of the classes in a sample, raw and corrected."""
    table(
        ("class", "cells", "raw share", "adjusted count (95 %)", "EM (95 %)"),
        [
            (
                one.name,
                f"{one.count:,}",
                f"{100 * one.raw:.1f} %",
                _share(one.adjusted),
                _share(one.em),
            )
            for one in found.classes
        ],
        title=f"Shares of the classes in this sample of {found.cells:,} cells",
    )
    if any(one.em is not None for one in found.classes):
        say(
            "corrected for the known mistakes of the card, assuming that cells of a class look as "
            "they did in training and only the shares differ. EM is closer on average, but its "
            "interval is too narrow where the shares differ much; use the interval of the "
            "adjusted count then"
        )
    for note in found.notes:
        say(note)


def samples_report(found: Sequence[SampleFractions]) -> None:
    """Print the corrected shares of each sample, EM where it is known, else what was counted."""
    classes = [one.name for one in found[0].fractions.classes]
    table(
        ("sample", "cells", *classes),
        [
            (
                each.sample,
                f"{each.fractions.cells:,}",
                *(
                    _share(one.em) if one.em else f"{100 * one.raw:.1f} % (raw)"
                    for one in each.fractions.classes
                ),
            )
            for each in found
        ],
        title=f"Shares of the classes in {counted(len(found), 'sample')} (EM, 95 %)",
    )
    for note in dict.fromkeys(note for each in found for note in each.fractions.notes):
        say(note)


def sample_comparison_report(report: SamplesReport, drawn: Sequence[Path] = ()) -> None:
    """Print treated less control for each class, and what the replicates can tell."""
    for each in report.conditions:
        table(
            (
                "class",
                report.control,
                each.condition,
                "difference (95 %)",
                "p",
                "Holm",
                "p of t",
                "Holm of t",
            ),
            [
                (
                    name,
                    f"{100 * one.control:.1f} %",
                    f"{100 * one.treated:.1f} %",
                    difference(one.difference),
                    p_value(one.p),
                    p_value(one.p_holm),
                    p_value(one.p_t),
                    p_value(one.p_t_holm),
                )
                for name, one in each.classes.items()
            ],
            title=f"{each.condition} against {report.control}, {report.share} shares",
        )
        say(each.sentence)
        if each.left_out:
            say(f"without both conditions, so left out: {', '.join(each.left_out)}")
    for note in report.notes:
        say(note)
    for path in drawn:
        say(f"drawn: {path}")


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    share, within = f"{100 * estimate.value:.1f} %", estimate.interval
    if within is None:
        return share
    return f"{share} ({100 * within.low:.1f} to {100 * within.high:.1f})"
