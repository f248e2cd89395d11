"""The tables of a report: figures as a card states them, never computed anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cellsearch.card import tables
from cellsearch.card.metrics import Part
from cellsearch.label.issues import LabelIssues
from cellsearch.report.facts import CardFacts, RunFacts, Trial
from cellsearch.report.search_story import saving
from cellsearch.stats.metrics import TITLES, metric_named
from cellsearch.tune.looks import looked
from cellsearch.util.durations import spoken
from cellsearch.util.tables import Column, Table

STATES = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "FAIL": "failed",
    "RUNNING": "unfinished",
}


def named(metric: str) -> str:
    """A metric in words."""
    return TITLES[metric_named(metric)]


def class_table(card: CardFacts, part: Part) -> Table:
    """Recall, precision and F1 of each class; the baseline's recall beside it."""
    facts, baseline = card.metrics.part(part), card.metrics.baseline(part)
    beside = tables.BESIDE if baseline else ()
    found = tables.class_table(facts.winner, baseline, facts.recall_difference)
    return found.take("class", "cells", "recall", *beside, "precision", "F1")


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
        alone = Table.of(("parameter", "value"), [row[:2] for row in rows], numbers=())
        return replace(alone, rows=()), alone
    differ, same = [row for row in rows if row[1] != row[2]], [r for r in rows if r[1] == r[2]]
    return (
        Table.of(("parameter", "winner", "baseline"), differ, numbers=()),
        Table.of(("parameter", "both"), [row[:2] for row in same], numbers=()),
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
                state_of(each),
                "-" if row.score is None else f"{row.score:.4f}",
                f"{row.folds} of {facts.folds}",
                f"{row.seconds / 60:.1f}",
                brief(row.recipe),
                row.reason,
            )
        )
    names = (
        *(Column("trial", "text"), Column("state", "text")),
        *map(Column, ("score", "folds", "minutes")),
        *(Column("recipe", "long"), Column("why it stopped early", "long")),
    )
    return Table(names, rows, marked=frozenset(marked), sortable=True)


def state_of(trial: Trial) -> str:
    """What became of a trial, for people."""
    if trial.row.only_short:
        return "only trained briefly"
    return STATES.get(trial.row.state, trial.row.state.lower())


def short_table(facts: RunFacts) -> Table | None:
    """Short trainings of networks, best first, and how much further each was trained."""
    from cellsearch.space.recipe import brief

    tried = [(each.row.short_loss, each) for each in facts.trials]
    short = sorted(
        ((loss, each.number, each) for loss, each in tried if loss is not None), key=lambda t: t[:2]
    )
    if not short:
        return None
    rows = [
        (
            str(number),
            f"{loss:.3f}",
            "" if each.row.half_loss is None else f"{each.row.half_loss:.3f}",
            state_of(each) if each.row.score is None else f"{each.row.score:.3f}",
            brief(each.row.recipe),
            each.row.origin or "named by the space",
        )
        for loss, number, each in short
    ]
    names = (
        Column("trial", "text"),
        *map(Column, ("log loss, short", "log loss, half", "score, in full")),
        *(Column("recipe", "long"), Column("where it comes from", "long")),
    )
    return Table(names, rows, sortable=True)


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
    names = (Column("trial", "text"), Column("folds trained"), Column("score so far"))
    return Table((*names, Column("why", "long")), rows)


def racing_sentence(facts: RunFacts) -> str:
    """What the race saved, in words."""
    if not facts.record.config.race:
        return "Racing was off: every trial was trained on all folds."
    if facts.folds < 2:
        return "With one fixed split there is no racing."
    found = saving(facts.trials, facts.folds)
    if not found.stopped:
        return "No trial was stopped early, so racing saved no time."
    return (
        f"Racing stopped {found.stopped:,} of {len(facts.trials):,} trials. It saved "
        f"{found.folds:,} of {found.all_folds:,} folds"
        f", about {spoken(found.seconds)} of training; {spoken(found.spent)} were spent"
        f" (an estimate: each saved fold counts as the mean of the folds of its trial)"
        "."
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
        told = "none were declared" if groups is None else f"{groups:,}, kept together"
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
    return Table.of(header, rows)


def _holdout(facts: RunFacts) -> str:
    said = f"{100 * facts.record.config.holdout:.0f} % of the cells, locked, scored once at the end"
    looks = None if facts.card is None else facts.card.metrics.looks
    return said if looks is None else f"{said}; {looked(looks.looks)}"


def search_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """What was asked."""
    config = facts.record.config
    bound = [] if config.budget is None else [f"{config.budget} trials"]
    bound += [] if config.seconds is None else [f"{spoken(config.seconds)} of wall clock"]
    states = Counter(state_of(each) for each in facts.trials)
    came = [f"{n} {state}" for state, n in states.items()]
    came += [f"{facts.beyond} draws over budget"] if facts.beyond else []
    split = (
        f"one fixed split, {config.split}"
        if config.split
        else f"{facts.folds} folds, the same for all trials"
    )
    initial = [] if config.init_from is None else [("first weights", str(config.init_from))]
    return [
        ("objective", f"{named(config.metric)}, pooled over the folds"),
        ("search space", config.space),
        ("budget", " and ".join(bound) or "none"),
        ("trials", ", ".join(came) or "none"),
        ("judged on", split),
        ("hold-out", _holdout(facts)),
        ("seed", str(config.seed)),
        *initial,
        ("sampler", "multivariate TPE (Optuna), trial 0 is the baseline"),
    ]


def _held(facts: RunFacts) -> str:
    """The share that is locked away, which whole groups may make another than was asked for."""
    share = facts.record.config.holdout
    if facts.splits is not None:
        parts = {name: len(part.indices) for name, part in facts.splits.parts().items()}
        share = parts["holdout"] / max(1, sum(parts.values()))
    return f"{100 * share:.0f} %"


def pair_table(found: LabelIssues, *, most: int | None = None) -> Table:
    """Suspects of the pairs of classes that have most of them, or of all pairs."""
    return Table.of(
        ("given", "suggested", "suspects", "of the given"),
        [(each.given, each.suggested, each.suspects, each.of) for each in found.pairs[:most]],
        numbers=(2, 3),
    )
