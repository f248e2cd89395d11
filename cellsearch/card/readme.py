"""README.md: what the model is, how far its figures hold, and how to use it.

The text is ``templates/README.md.j2``; here are the values that fill it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellsearch.card import tables
from cellsearch.card.config import CardConfig
from cellsearch.card.evidence import Evidence
from cellsearch.card.front_matter import front_matter
from cellsearch.card.limits import shape_of
from cellsearch.card.metrics import Calibration, CardMetrics, SearchFacts
from cellsearch.space.recipe import Recipe, brief
from cellsearch.stats.calibration import FEWEST_CALLED
from cellsearch.stats.curves import REPEATS as DRAWN
from cellsearch.stats.curves import curves_as_json
from cellsearch.stats.evaluation import FEW_GROUPS, LEVEL, REPEATS
from cellsearch.stats.metrics import TITLES
from cellsearch.stats.wording import difference, figure
from cellsearch.tune.findings import Importance
from cellsearch.tune.looks import looked
from cellsearch.util.markdown import plain, table
from cellsearch.util.tables import Column, Table

MOST_PARAMETERS = 10
_STATES = {
    "complete": "complete",
    "pruned": "stopped early (pruned)",
    "failed": "failed",
    "fail": "failed",
}


@dataclass(frozen=True)
class Story:
    """All that README.md is made of.

    Attributes:
        config: of the card.
        metrics: of the card.
        calibration: of the card; None where it was not measured.
        importance: which choice mattered; None where it is not known.
        evidence: curves, saliency and the map of the hold-out.
        notes: on the data.
        label_free: channels that need no label.
        grouped: whether groups (donors, plates) kept cells together in the splits.
        counts: cells of each class in the whole data set.
        folds: of the search.
        development: cells outside the hold-out.
        command: that made the card.
        plots: names of the pictures of figures, without suffix.
        files: relative paths in the card.
    """

    config: CardConfig
    metrics: CardMetrics
    calibration: Calibration | None
    importance: Importance | None
    evidence: Evidence
    notes: str
    label_free: tuple[str, ...]
    grouped: bool
    counts: tuple[int, ...]
    folds: int
    development: int
    command: str
    plots: tuple[str, ...]
    files: tuple[str, ...]


def write_readme(story: Story) -> str:
    """The text of README.md, front matter included."""
    config, metrics = story.config, story.metrics
    search, confidence = metrics.search, metrics.confidence
    evidence = story.evidence
    abstention, sets = confidence.abstention, confidence.sets
    total = sum(story.counts)
    name = f"cellsearch {config.dataset.name} classifier"
    beside = [
        (title, metrics.part(part).winner.cells, tables.beside_table(metrics.part(part), other))
        for part, title in tables.PARTS.items()
        if (other := metrics.baseline(part)) is not None
    ]
    areas = [
        ("Hold-out", "hold_out", evidence.curves_holdout),
        ("Out-of-fold", "out_of_fold", evidence.curves_oof),
    ]
    return _render(
        "README.md.j2",
        front=front_matter(config, metrics.hold_out.winner, model_name=name),
        story=story,
        config=config,
        metrics=metrics,
        search=search,
        evidence=evidence,
        calibration=story.calibration,
        held=metrics.hold_out.winner,
        oof=metrics.out_of_fold.winner,
        shape=shape_of(config),
        axes=f"(N, {len(config.channels)}, {config.height}, {config.width})",
        notes=[line for line in story.notes.splitlines() if line.strip()],
        total=total,
        shares=Table.of(
            ("class", "cells", "share"),
            [
                [label, cells, f"{100 * cells / total:.2f} %"]
                for label, cells in zip(config.classes, story.counts, strict=True)
            ],
        ),
        budget=_budget(search),
        steps=tables.steps_table(metrics),
        metric_title=TITLES[metrics.metric],
        baseline_won=metrics.baseline_won,
        beside=beside,
        importance=""
        if story.importance is None
        else importance_section(story.importance, pictured="plots/importance.png" in story.files),
        unreached=[]
        if abstention is None
        else [k for k, one in abstention.hold_out.per_class.items() if one.threshold is None],
        in_every_set=[]
        if sets is None
        else [k for k, one in sets.hold_out.per_class.items() if one.in_every_set],
        areas=[
            (title, stem, tables.areas_table(curves_as_json(found) or {}), bool(found.classes))
            for title, stem, found in areas
            if found is not None
        ],
        recipe=Table(
            (Column("parameter", "code"), Column("value", "code")),
            [
                [parameter, "none" if value == "" else str(value)]
                for parameter, value in config.recipe.items()
            ],
        ),
        joined=Table.of(
            ("trial", "share", "recipe"),
            [
                [each.trial, f"{100 * each.weight:.0f} %", brief(Recipe.from_params(each.recipe))]
                for each in config.ensemble
            ],
            numbers=(1,),
        ),
        fewest_called=FEWEST_CALLED,
        few_groups=FEW_GROUPS,
        repeats=REPEATS,
        drawn=DRAWN,
    )


def importance_section(found: Importance, *, pictured: bool) -> str:
    """Parameters by importance, and the effect of each choice on each class."""
    return _render("importance.md.j2", found=found, pictured=pictured, most=MOST_PARAMETERS)


def _budget(search: SearchFacts) -> list[str]:
    facts = [] if search.budget is None else [f"{search.budget} trials requested"]
    facts += [f"{n} {_STATES[state]}" for state, n in search.trials.items() if state in _STATES]
    facts += [] if search.seconds is None else [f"{search.seconds / 60:.1f} minutes in trials"]
    return facts


def _render(template: str, **values: Any) -> str:
    text = _environment().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cellsearch.card", "templates"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "thousands": lambda number: f"{number:,}",
        "difference": difference,
        "figure": figure,
        "line": lambda text: " ".join(text.split()) + "\n",
        "listed": _listed,
        "looked": looked,
        "plain": plain,
        "sentence": lambda text: f"{text[0].upper()}{text[1:].rstrip('.')}.",
        "table": lambda found: table(found) + "\n",
    }
    environment.globals |= {
        each.__name__: each
        for each in (
            tables.abstention_class_table,
            tables.abstention_table,
            tables.calibration_table,
            tables.called_table,
            tables.class_table,
            tables.confusion_table,
            tables.priors_table,
            tables.effect_table,
            tables.headline_table,
            tables.parameter_table,
            tables.sets_table,
        )
    }
    environment.globals["level"] = f"{100 * LEVEL:.0f}"
    return environment


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(plain, names))
