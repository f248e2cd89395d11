"""The tables of a report: figures as a card states them, never computed anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellsearch.card.markdown import difference, figure, recall_of
from cellsearch.card.metrics import ClassEntry, Part
from cellsearch.report.facts import CardFacts, RunFacts, Trial
from cellsearch.report.search_story import saving
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.metrics import TITLES, metric_named
from cellsearch.util.durations import spoken

PARTS: Mapping[Part, str] = {"hold_out": "Hold-out", "out_of_fold": "Out-of-fold"}
STATES = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "FAIL": "failed",
    "RUNNING": "unfinished",
}


@dataclass(frozen=True)
class Table:
    """Text in rows.

    Attributes:
        header: of the columns.
        rows: as many texts each.
        left: so many columns at the left are text, the others numbers,
        texts: but for these, counted from 0.
        marked: rows that stand out.
        sortable: by a click on a heading.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    marked: frozenset[int] = frozenset()
    texts: frozenset[int] = frozenset()
    sortable: bool = False


def named(metric: str) -> str:
    """A metric in words."""
    return TITLES[metric_named(metric)]


def estimate(facts: Mapping[str, float] | None) -> Estimate | None:
    """A figure of ``metrics.json``."""
    return None if facts is None else Estimate(facts["value"], facts["low"], facts["high"])


def metric_table(card: CardFacts, part: Part) -> Table:
    """Each metric of winner and baseline, and their paired difference."""
    facts, baseline = card.metrics.part(part), card.metrics.baseline(part)
    rows = []
    for name, value in facts.winner.metrics.items():
        row = [TITLES[metric_named(name)], figure(value)]
        if baseline:
            row += [figure(baseline.metrics[name]), _apart(facts.difference[name])]
        rows.append(row)
    header = ["figure", "winner"] + (["baseline", "paired difference"] if baseline else [])
    return Table(header, rows)


def class_table(card: CardFacts, part: Part) -> Table:
    """Recall, precision and F1 of each class; ``6 of 14 found`` where there are few cells."""
    facts, baseline = card.metrics.part(part), card.metrics.baseline(part)
    rows = []
    for name, own in facts.winner.per_class.items():
        row = [name, f"{own.support:,}", _recall(own, own.support)]
        if baseline:
            row += [
                _recall(baseline.per_class[name], own.support),
                _apart(facts.recall_difference.get(name)),
            ]
        none_called = own.estimable and own.precision is None
        row.append("none predicted" if none_called else figure(own.precision))
        rows.append([*row, figure(own.f1)])
    header = ["class", "cells", "recall"]
    header += ["recall of the baseline", "difference"] if baseline else []
    return Table([*header, "precision", "F1"], rows)


def _recall(entry: ClassEntry, cells: int) -> str:
    value = entry.recall
    return f"not estimable ({cells:,} cells)" if value is None else recall_of(value, cells)


def _apart(value: Estimate | None) -> str:
    return "-" if value is None else difference(value)


def recipe_tables(
    recipe: Mapping[str, Any], baseline: Mapping[str, Any] | None
) -> tuple[Table, Table]:
    """Parameters that differ from the baseline's, and the others; all are among the others where
    there is no baseline."""
    names = list(dict.fromkeys([*recipe, *(baseline or {})]))
    rows = [
        (name, _value(recipe, name), _value(baseline, name) if baseline is not None else "")
        for name in names
    ]
    if baseline is None:
        alone = Table(("parameter", "value"), [row[:2] for row in rows], left=2)
        return Table(alone.header, (), left=2), alone
    header = ("parameter", "winner", "baseline")
    return (
        Table(header, [row for row in rows if row[1] != row[2]], left=3),
        Table((*header[:1], "both"), [row[:2] for row in rows if row[1] == row[2]], left=2),
    )


def _value(recipe: Mapping[str, Any], name: str) -> str:
    if name not in recipe:
        return "does not apply"
    value = recipe[name]
    return f"{value:.4g}" if isinstance(value, float) else str(value) if value != "" else "none"


def trial_table(facts: RunFacts) -> Table:
    """All trials, best first, then the others by number."""
    from cellsearch.space.recipe import brief

    def place(each: Trial) -> tuple[bool, float, int]:
        done = each.row.state == "COMPLETE"
        return not done, -(each.row.score or 0.0) if done else 0.0, each.number

    rows, marked = [], set()
    for at, each in enumerate(sorted(facts.trials, key=place)):
        row = each.row
        if each is facts.winner:
            marked.add(at)
        rows.append(
            (
                f"{row.number}{' (baseline)' if row.baseline else ''}",
                STATES.get(row.state, row.state.lower()),
                "-" if row.score is None else f"{row.score:.4f}",
                f"{row.folds} of {facts.folds}",
                f"{row.seconds / 60:.1f}",
                brief(row.recipe),
                row.reason,
            )
        )
    header = ("trial", "state", "score", "folds", "minutes", "recipe", "why it ended early")
    return Table(
        header, rows, left=2, marked=frozenset(marked), texts=frozenset((5, 6)), sortable=True
    )


def stopped_table(facts: RunFacts) -> Table | None:
    """Trials that the race stopped, and what that spared."""
    rows = [
        (
            str(each.number),
            f"{each.row.folds} of {facts.folds}",
            "-" if each.row.score is None else f"{each.row.score:.3f}",
            each.row.reason,
        )
        for each in facts.trials
        if each.stopped
    ]
    if not rows:
        return None
    return Table(("trial", "folds trained", "score so far", "why"), rows, texts=frozenset((3,)))


def racing_sentence(facts: RunFacts) -> str:
    """What the race saved, in words."""
    if not facts.record.config.race:
        return "Racing was off: every trial was trained on all folds."
    if facts.folds < 2:
        return "With one fixed split there is nothing to race over."
    found = saving(facts.trials, facts.folds)
    if not found.stopped:
        return "No trial was stopped early, so racing saved nothing."
    return (
        f"Racing stopped {found.stopped:,} of {len(facts.trials):,} trials. It spared "
        f"{found.folds:,} of {found.all_folds:,} folds, about {spoken(found.seconds)} of training "
        f"beside the {spoken(found.spent)} that were spent (an estimate: each spared fold is "
        "counted at the mean of its own trial's folds)."
    )


def dataset_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """What the cells are."""
    config, card, cells = facts.record.config, facts.card, facts.cells
    rows = [("data set", config.dataset)]
    if card is not None:
        about = card.config.dataset
        rows += [("title", about.title), ("licence", about.licence), ("source", about.url)]
        rows.append(("channels", ", ".join(card.config.channels)))
        shape = f"{card.config.height} x {card.config.width} px, {card.config.dtype}"
        rows.append(("crops", shape))
    elif cells is not None:
        rows += [("title", cells.provenance.title), ("licence", cells.provenance.licence)]
        rows.append(("channels", ", ".join(cells.channels)))
        height, width = cells.images.shape[2:]
        rows.append(("crops", f"{height} x {width} px, {cells.images.dtype}"))
    if cells is not None:
        size = cells.provenance.pixel_size_um
        rows += [("pixel", f"{size:g} um")] if size else []
        groups = None if cells.groups is None else len(set(cells.groups.tolist()))
        told = "none were declared" if groups is None else f"{groups:,}, never torn apart"
        rows.append(("groups (donors, plates, slides)", told))
        rows.append(("cells in all", f"{len(cells):,}"))
        sized = [note.text for note in cells.notes_of("crop-sizes")]
        rows += [("sizes", "; ".join(sized))] if sized else []
    rows.append(("sha256 of the cells", facts.record.dataset_sha256))
    return [row for row in rows if row[1]]


def parts_table(facts: RunFacts) -> Table | None:
    """Cells of each class in the hold-out and in the folds."""
    splits = facts.splits
    if splits is None:
        return None
    whole, held = splits.dataset.classes, splits.holdout.cells
    folds = [fold.cells for fold in splits.folds]
    total = max(1, sum(whole.values()))
    rows = []
    for name, cells in whole.items():
        each = [fold.get(name, 0) for fold in folds]
        span = " to ".join(dict.fromkeys(f"{count:,}" for count in (min(each), max(each))))
        share = f"{100 * cells / total:.1f} %"
        rows.append((name, f"{cells:,}", share, f"{held.get(name, 0):,}", f"{sum(each):,}", span))
    sums = [sum(whole.values()), sum(held.values()), sum(sum(fold.values()) for fold in folds)]
    rows.append(("all", f"{sums[0]:,}", "", f"{sums[1]:,}", f"{sums[2]:,}", ""))
    header = ("class", "cells", "share", "hold-out", f"in {len(folds)} folds", "in a fold")
    return Table(header, rows)


def search_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """What was asked."""
    config = facts.record.config
    bound = [] if config.budget is None else [f"{config.budget} trials"]
    bound += [] if config.seconds is None else [f"{spoken(config.seconds)} of wall clock"]
    counts = {s: sum(t.row.state == s for t in facts.trials) for s in STATES}
    came = [f"{n} {STATES[state]}" for state, n in counts.items() if n]
    came += [f"{facts.beyond} draws beyond the limits"] if facts.beyond else []
    split = (
        f"one fixed split, {config.split}"
        if config.split
        else f"{config.folds} folds, the same for all trials"
    )
    initial = [] if config.init_from is None else [("first weights", str(config.init_from))]
    return [
        ("objective", f"{named(config.metric)}, pooled over the folds"),
        ("search space", config.space),
        ("budget", " and ".join(bound) or "none"),
        ("trials", ", ".join(came) or "none"),
        ("judged on", split),
        ("hold-out", f"{100 * config.holdout:.0f} % of the cells, locked, scored once at the end"),
        ("seed", str(config.seed)),
        *initial,
        ("sampler", "multivariate TPE (Optuna), trial 0 is the baseline"),
    ]
