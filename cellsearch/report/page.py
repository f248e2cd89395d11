"""The page: what a run left behind, its pictures and tables, as one HTML text."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from cellsearch.card import tables as card_tables
from cellsearch.card.tables import PARTS
from cellsearch.errors import CellsearchError
from cellsearch.label.issues import LabelIssues, label_issues
from cellsearch.report import confidence, tables
from cellsearch.report.facts import CardFacts, RunFacts
from cellsearch.report.mistakes import data_uri, mistakes
from cellsearch.report.pictures import Picture
from cellsearch.report.svg import drawing, inline
from cellsearch.report.tables import named
from cellsearch.stats.wording import difference, interval
from cellsearch.util.durations import spoken

if TYPE_CHECKING:
    from cellsearch.audit.report import AuditReport

MOST_GENERATED = 12
"""Pictures of generated cells, one a class."""


def render(template: str, **values: Any) -> str:
    """Fill a template of this package; all text is escaped, but for pictures made here."""
    environment = Environment(
        loader=PackageLoader("cellsearch.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        each.__name__: each
        for each in (
            card_tables.abstention_class_table,
            card_tables.abstention_table,
            card_tables.calibration_table,
            card_tables.effect_table,
            card_tables.parameter_table,
            card_tables.sets_table,
        )
    }
    return environment.get_template(template).render(**values, made=made())


def made() -> str:
    """When, and by which cellsearch."""
    from cellsearch.util.version import __version__

    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"cellsearch {__version__}, {now}"


def run_page(
    facts: RunFacts,
    pictures: Sequence[Picture],
    audit: AuditReport | str,
    *,
    on_picture: Callable[[], None] | None = None,
) -> str:
    """The report of one run.

    Args:
        facts: of the run.
        pictures: drawn.
        audit: its result, or why there is none.
        on_picture: called after each picture.
    """
    shown: dict[str, list[dict[str, Any]]] = {}
    with drawing():
        for each in pictures:
            entry: dict[str, Any] = {
                "name": each.name,
                "svg": Markup(inline(each.figure, each.name, each.caption)),
                "caption": each.caption,
                "wide": each.wide,
                "inches": each.inches,
            }
            shown.setdefault(each.section, []).append(entry)
            if on_picture is not None:
                on_picture()
    card, winner, baseline = facts.card, facts.winner, facts.baseline
    return render(
        "run.html.j2",
        facts=facts,
        title=_title(facts),
        verdict=_sentence(facts.verdict),
        joined=_joined(card),
        headline=_headline(card) if card is not None else [],
        synthetic=card is not None and card.config.dataset.synthetic,
        pictures=shown,
        dataset_rows=tables.dataset_rows(facts),
        parts=tables.parts_table(facts),
        search_rows=tables.search_rows(facts),
        space=_space(facts),
        racing=tables.racing_sentence(facts),
        stopped=tables.stopped_table(facts),
        short=tables.short_table(facts),
        trials=tables.trial_table(facts) if facts.trials else None,
        recipe=None
        if winner is None
        else tables.recipe_tables(
            winner.row.recipe.to_params(),
            None if baseline is None else baseline.row.recipe.to_params(),
        ),
        winner=winner,
        folder=facts.folder.resolve(),
        metric=named(facts.record.config.metric),
        **(_card(facts, card) if card is not None else {"card": None}),
        audit=audit,
        times=_times(facts),
        hardware=_hardware(facts),
        packages=_packages(card),
    )


def _labels(facts: RunFacts) -> LabelIssues | str:
    """Suspect labels, or why none are known."""
    try:
        return label_issues(facts.folder)
    except CellsearchError as error:
        return str(error)


def _card(facts: RunFacts, card: CardFacts) -> dict[str, Any]:
    metrics, calibration = card.metrics, card.calibration
    abstention, sets = metrics.confidence.abstention, metrics.confidence.sets
    return {
        "card": card,
        "figure_tables": {
            part: (
                card_tables.metric_table(metrics.part(part), metrics.baseline(part)),
                tables.class_table(card, part),
            )
            for part in PARTS
        },
        "part_titles": PARTS,
        "intervals": metrics.intervals,
        "optimism": _optimism(card),
        "mistakes": mistakes(card.folder, facts.cells),
        "labels": _labels(facts),
        "pair_table": tables.pair_table,
        "label_command": f"cellsearch labels {shlex.quote(str(facts.folder))} --html suspects.html",
        "importance": card.importance,
        "generated": [
            (path.stem.removeprefix("generated_"), data_uri(path))
            for path in card.generated_pictures()[:MOST_GENERATED]
        ],
        "temperature": "" if calibration is None else confidence.temperature_sentence(calibration),
        "calibration": calibration,
        "abstention": abstention,
        "asked": "" if abstention is None else confidence.abstention_sentence(abstention.hold_out),
        "sets": sets,
        "covered": "" if sets is None else confidence.sets_sentence(sets.hold_out),
        "curves": {
            title: card_tables.areas_table(found)
            for part, title in PARTS.items()
            if (found := (card.curves or {}).get(part))
        },
    }


def _title(facts: RunFacts) -> str:
    return f"{facts.record.config.dataset}: {facts.folder.resolve().name}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _joined(card: CardFacts | None) -> str:
    """Which trials the card joins; "" where it is of one."""
    found = None if card is None else card.metrics.ensemble
    return found.sentence if found is not None and found.accepted else ""


def _headline(card: CardFacts) -> list[tuple[str, str, str]]:
    """Tiles: what, the figure, and its interval or the like."""
    metrics = card.metrics
    held, baseline = metrics.hold_out, metrics.baseline("hold_out")
    shown = [("winner, hold-out", held.winner.metrics[metrics.metric], "")]
    if baseline:
        shown.append(("baseline, hold-out", baseline.metrics[metrics.metric], ""))
    if baseline and held.difference:
        shown.append(("paired difference", held.difference[metrics.metric], "+"))
    shown.append(("winner, out-of-fold", metrics.out_of_fold.winner.metrics[metrics.metric], ""))
    return [
        (
            what,
            f"{value.value:{sign}.3f}",
            interval(value, sign=sign),
        )
        for what, value, sign in shown
    ]


def _optimism(card: CardFacts) -> str:
    metric = card.metrics.metric
    value = card.metrics.optimism.get(metric)
    if value is None:
        return ""
    return (
        f"Optimism of the search: the winner's out-of-fold {named(metric)} less that of the "
        f"hold-out is {difference(value)}."
    )


def _space(facts: RunFacts) -> str:
    path = facts.folder / "space.yaml"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _times(facts: RunFacts) -> list[tuple[str, str]]:
    spent = sum(each.row.seconds for each in facts.trials)
    rows = [("begun", facts.record.created), ("in trials", spoken(spent))]
    if facts.holdout is not None:
        rows.append(("hold-out scored", str(facts.holdout.get("scored", ""))))
    if facts.card is not None:
        rows.append(("card written", facts.card.config.created))
    return rows


def _hardware(facts: RunFacts) -> list[tuple[str, str]]:
    from cellsearch.errors import RunError
    from cellsearch.tune.job import finished_folds

    config, versions = facts.record.config, (facts.card.versions if facts.card else None) or {}
    rows = [("asked for", f"device {config.device}, backend {config.backend}")]
    if config.threads or config.slots:
        rows.append(
            ("threads per trial, max concurrent trials", _pair(config.threads, config.slots))
        )
    for name, key in (("platform", "platform"), ("machine", "machine")):
        if versions.get(key):
            rows.append((name, str(versions[key])))
    for name in ("processor", "cores", "memory", "accelerator"):
        if versions.get(name):
            rows.append((name, str(versions[name])))
    winner = facts.winner
    try:
        first = finished_folds(facts.folder, winner.number, [0])[0] if winner else None
    except RunError:
        first = None
    if first is not None:
        rows.append(("precision of the best trial", first.precision))
        rows.append(("cells trained on in a second", f"{first.images_per_second:,.0f}"))
    return rows


def _pair(threads: int | None, slots: int | None) -> str:
    return f"{threads or 'default'}, {slots or 'default'}"


def _packages(card: CardFacts | None) -> list[tuple[str, str]]:
    if card is None or card.versions is None:
        return [("python (of this report)", platform.python_version())]
    packages: Mapping[str, str] = card.versions.get("packages", {})
    return [("python", str(card.versions.get("python", ""))), *packages.items()]
