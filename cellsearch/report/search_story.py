"""What racing saved, and the best score so far: from the trials of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellsearch.report.facts import Trial


@dataclass(frozen=True)
class Saving:
    """What the race spared.

    Attributes:
        stopped: trials that were stopped.
        folds: that were not trained.
        all_folds: that all these trials would have had together with those that went through.
        seconds: that the spared folds would have taken, each at the mean of its trial's own
            folds; an estimate.
        spent: seconds of all folds of these trials.
    """

    stopped: int
    folds: int
    all_folds: int
    seconds: float
    spent: float


def saving(trials: Sequence[Trial], k: int) -> Saving:
    """Folds and time that stopped trials were spared; failed and unfinished ones do not count."""
    raced = [each for each in trials if each.row.state == "COMPLETE" or each.stopped]
    stopped = [each for each in raced if each.stopped]
    left = [(each, max(0, k - each.row.folds)) for each in stopped]
    return Saving(
        stopped=len(stopped),
        folds=sum(n for _, n in left),
        all_folds=k * len(raced),
        seconds=sum(each.row.seconds / max(1, each.row.folds) * n for each, n in left),
        spent=sum(each.row.seconds for each in raced),
    )


def best_so_far(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    """Numbers of the trials, and the best complete score up to each; those before the first
    complete one are left out."""
    numbers, best = [], []
    leading: float | None = None
    for each in trials:
        score = each.row.score
        if each.row.state == "COMPLETE" and score is not None:
            leading = score if leading is None else max(leading, score)
        if leading is not None:
            numbers.append(each.number)
            best.append(leading)
    return numbers, best
