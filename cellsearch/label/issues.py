"""label_issues: cells of a finished run whose label is probably wrong, the most suspect first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellsearch.card.checksums import problems_with, read_checksums
from cellsearch.card.config import read_config
from cellsearch.card.predict import GROUP, Row, class_columns
from cellsearch.card.predictions import FILES, rows_of
from cellsearch.card.whole_files import write_csv
from cellsearch.errors import CardError, RunError
from cellsearch.label.confident import expected, judged
from cellsearch.label.mix import natural_mix
from cellsearch.run.history import card_of
from cellsearch.stats.evaluation import Estimate

COLUMNS = ("rank", "id", "source", "object_number", "given_class", "suggested_class", "score")


@dataclass(frozen=True)
class Suspect:
    """A cell whose label is probably wrong.

    Attributes:
        rank: from 1, the most suspect first.
        id: of the cell.
        source: file that it is from.
        object_number: its number there.
        given: class of its label.
        suggested: class that the model takes for likelier.
        score: probability of the given class over what cells of that class have on average.
        probabilities: of each class, out-of-fold, calibrated, under the natural mix of classes.
    """

    rank: int
    id: str
    source: str
    object_number: int
    given: str
    suggested: str
    score: float
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class PairCount:
    """Suspects of one given and one suggested class, and all cells that were given the class."""

    given: str
    suggested: str
    suspects: int
    of: int


@dataclass(frozen=True)
class LabelIssues:
    """Labels of a run that its out-of-fold predictions contradict. No label is changed.

    Attributes:
        run: folder.
        cells: with out-of-fold predictions; those of the hold-out have none.
        groups: among them; None where cells count as independent.
        classes: names.
        suspects: the most suspect first.
        pairs: counts of suspects, the largest first.
        disagreements: how many labels and confident predictions disagree: errors of labels and of
            the model, so rather more than there are wrong labels.
        surprises: labels that the model finds all but impossible, beyond those to be expected were
            its probabilities right: rather fewer than there are wrong labels.
    """

    run: Path
    cells: int
    groups: int | None
    classes: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    pairs: tuple[PairCount, ...]
    disagreements: Estimate
    surprises: Estimate

    def __repr__(self) -> str:
        return f"LabelIssues({len(self.suspects)} suspects of {self.cells} cells of {self.run})"

    def sentences(self) -> tuple[str, ...]:
        """How many labels may be wrong, and that none was changed."""
        return (
            f"labels and confident predictions disagree on about {_number(self.disagreements)} "
            "cells: wrong labels and errors of the model together",
            f"labels that the model finds all but impossible, beyond what its probabilities "
            f"allow: {_number(self.surprises)}",
            "no label was changed; look at the suspects and decide",
        )

    def rows(self) -> list[Row]:
        """A row a suspect, as in the CSV; a class named like another column is ``p(<class>)``."""
        columns = class_columns(self.classes, also=COLUMNS)
        return [
            {
                "rank": str(each.rank),
                "id": each.id,
                "source": each.source,
                "object_number": str(each.object_number),
                "given_class": each.given,
                "suggested_class": each.suggested,
                "score": f"{each.score:.6g}",
            }
            | {
                column: f"{each.probabilities[name]:.6g}"
                for name, column in zip(self.classes, columns, strict=True)
            }
            for each in self.suspects
        ]

    def write_csv(self, path: Path | str) -> None:
        """Write the rows, wholly or not at all.

        Raises:
            RunError: no suspects, or the file cannot be written.
        """
        if not self.suspects:
            raise RunError(f"no label is suspect, so nothing is written to {path}")
        try:
            write_csv(path, self.rows())
        except CardError as error:
            raise RunError(error) from None


def label_issues(run: Path | str, *, seed: int = 0) -> LabelIssues:
    """Find the labels that a run's out-of-fold predictions contradict; none is changed.

    Each cell is judged by networks that never saw it, by the probability of its given class over
    what cells of that class have on average (confident learning, Northcutt et al. 2021). A label
    below a tenth of the average is suspect.

    Args:
        run: folder of a finished run, or of its card.
        seed: of the intervals' bootstrap.

    Raises:
        RunError: no run, or a run without a card yet.
        CardError: the card holds no out-of-fold predictions, or they have changed.

    Example:
        >>> found = cellsearch.label_issues("runs/jurkat-2026-11-21-1")
        >>> found.write_csv("suspects.csv")
    """
    run = Path(run)
    card = card_of(run)
    config = read_config(card)
    path = card / FILES["oof"]
    if not path.is_file():
        raise CardError(
            f"{card} holds no {FILES['oof']}: labels are judged by out-of-fold predictions alone"
        )
    if changed := problems_with(card, read_checksums(card), only=(FILES["oof"],)):
        raise CardError(f"{card} cannot be trusted: {'; '.join(changed)}")
    rows = rows_of(card, "oof")
    place = {name: k for k, name in enumerate(config.classes)}
    columns = class_columns(config.classes)
    try:
        labels = np.array([place[row["true_class"]] for row in rows], np.int64)
        values = np.array([[float(row[name]) for name in columns] for row in rows], np.float64)
        numbers = [int(row[GROUP]) for row in rows if GROUP in row]
    except (KeyError, ValueError) as error:
        raise CardError(f"{path} does not fit its card: {error}") from None
    if not len(labels):
        raise CardError(f"{path} is empty: there are no labels to judge")
    groups = np.unique(numbers, return_inverse=True)[1] if numbers else None
    chances = natural_mix(values, config, tempered=False)
    found = judged(labels, chances)
    share = expected(labels, chances, groups=groups, seed=seed)
    suspects = tuple(
        Suspect(
            rank,
            rows[cell]["id"],
            rows[cell]["source"],
            int(rows[cell]["object_number"]),
            config.classes[labels[cell]],
            config.classes[found.suggested[cell]],
            float(found.scores[cell]),
            dict(zip(config.classes, chances[cell].tolist(), strict=True)),
        )
        for rank, cell in enumerate(found.ranked.tolist(), start=1)
    )
    given = Counter(config.classes[label] for label in labels.tolist())
    pairs = Counter((each.given, each.suggested) for each in suspects)
    return LabelIssues(
        run,
        len(labels),
        None if groups is None else int(groups.max()) + 1,
        config.classes,
        suspects,
        tuple(PairCount(*pair, count, given[pair[0]]) for pair, count in pairs.most_common()),
        share.disagreements,
        share.surprises,
    )


def _number(estimate: Estimate) -> str:
    """``120 (95 to 150)``; without an interval where all cells are of one group."""
    found = estimate.interval
    span = "no interval" if found is None else f"{found.low:,.0f} to {found.high:,.0f}"
    return f"{estimate.value:,.0f} ({span})"
