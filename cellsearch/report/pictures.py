"""The pictures of a report with their captions; each caption says of how many cells or trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from cellsearch.card.importance_plot import importance_figure
from cellsearch.card.metrics import Part
from cellsearch.card.tables import PARTS
from cellsearch.report import figures, from_card
from cellsearch.report.facts import CardFacts, RunFacts
from cellsearch.report.svg import drawing
from cellsearch.report.tables import named
from cellsearch.stats.evaluation import FEW_CELLS

LEVEL = "95 % intervals: recall exact, precision by smoothed bootstrap"


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure.

    Attributes:
        name: of its file, without suffix, and of its ids on the page.
        section: of the page that it stands in.
        figure: of matplotlib.
        caption: what it shows, and n.
    """

    name: str
    section: str
    figure: Figure
    caption: str

    @property
    def inches(self) -> float:
        """Width; the page shows type of all pictures in one size by it."""
        return float(self.figure.get_size_inches()[0])

    @property
    def wide(self) -> bool:
        """Wider than a phone can show legibly; the page lets it be scrolled."""
        return self.inches > figures.WIDE + 1.0


def pictures(facts: RunFacts) -> Iterator[Picture]:
    """All that can be drawn of this run, in the order of the page."""
    with drawing():
        yield from _search(facts)
        if facts.card is not None:
            for part, title in PARTS.items():
                yield from _figures(facts.card, part, title)
            yield from _card(facts.card)
        yield from _course(facts)


def _search(facts: RunFacts) -> Iterator[Picture]:
    metric = named(facts.record.config.metric)
    drawn = figures.history(facts, metric)
    trials = len(facts.trials)
    judged = sum(sum(fold.cells.values()) for fold in facts.splits.folds) if facts.splits else 0
    cells = f", each on the same {judged:,} cells where all folds were trained" if judged else ""
    if drawn is not None:
        scored = sum(each.row.score is not None for each in facts.trials)
        yield Picture(
            "history",
            "search",
            drawn,
            f"Out-of-fold {metric} of each trial, pooled over its folds (n = {scored:,} of "
            f"{trials:,} trials that have a score{cells}). Grey: the best complete trial so far. "
            "Scores of trials without all folds are of fewer cells and cannot be compared with "
            "the others.",
        )
    drawn = figures.lanes(facts, metric)
    if drawn is not None:
        lanes = sum(bool(each.steps) for each in facts.trials)
        left = (
            f" Shown are stopped trials, baseline and best, {figures.MOST_LANES} at most."
            if lanes > figures.MOST_LANES
            else ""
        )
        yield Picture(
            "racing",
            "racing",
            drawn,
            f"{metric[0].upper()}{metric[1:]} of each trial after each fold, pooled over the folds "
            f"so far (n = {lanes:,} trials, {facts.folds} folds). Empty squares: folds that were "
            f"not trained.{left}",
        )


def _figures(card: CardFacts, part: Part, title: str) -> Iterator[Picture]:
    winner, baseline = card.metrics.part(part).winner, card.metrics.baseline(part)
    classes = list(winner.per_class)
    beside = ", winner above baseline" if baseline else ""
    yield Picture(
        f"per_class_{part}",
        part,
        figures.per_class(winner, baseline, ("recall", "precision")),
        f"{title}: recall and precision of each class{beside} (n = {winner.cells:,} cells; n of "
        f"each class at its name). {LEVEL}. Hollow marks: classes of fewer than {FEW_CELLS} cells.",
    )
    for who, side in (("winner", winner), ("baseline", baseline)):
        if side is not None:
            yield Picture(
                f"confusion_{part}_{who}",
                "confusion",
                figures.confusion(side.confusion, classes),
                f"{title}, {who}: counts, and share of the true class (n = {side.cells:,} cells).",
            )


def _card(card: CardFacts) -> Iterator[Picture]:
    if card.importance is not None:
        drawn = importance_figure(card.importance)
        if drawn is not None:
            yield Picture(
                "importance",
                "importance",
                drawn,
                "Which choices the good trials share "
                f"(n = {card.importance.trials:,} complete trials). "
                "Grey: no more than by chance, or not distinguishable from no effect.",
            )
    if card.calibration is not None:
        drawn, after = from_card.reliability(card.calibration), card.calibration.hold_out.after
        if drawn is not None and after is not None:
            drawn.set_size_inches(4.6, 5.2)
            yield Picture(
                "reliability",
                "reliability",
                drawn,
                "Share of cells that are right over their confidence, hold-out "
                f"(n = {after.cells:,} cells in bins of equal mass), "
                "with exact 95 % intervals. Dashed: perfect "
                "calibration.",
            )


def _course(facts: RunFacts) -> Iterator[Picture]:
    for who, trial in (("best", facts.winner), ("baseline", facts.baseline)):
        if trial is None or (who == "baseline" and trial is facts.winner):
            continue
        drawn = from_card.learning_curves(facts, trial)
        if drawn is not None:
            role = "the baseline" if who == "baseline" else "the best trial"
            yield Picture(
                f"learning_{who}",
                "learning",
                drawn,
                f"Training of trial {trial.number}, {role}, epoch by epoch (n = "
                f"{len(trial.steps)} fold{'s' * (len(trial.steps) != 1)}, one network each).",
            )
