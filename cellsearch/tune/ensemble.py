"""An ensemble of trials, chosen on some folds and judged on the others.

Trials of different families err on different cells, so that the mean of their probabilities is
often better than any of them. Members are picked greedily, with replacement (Caruana et al. 2004,
"Ensemble selection from libraries of models"), by the log loss in which every class counts alike:
it moves smoothly, where one rare cell more moves balanced accuracy by a twelfth of a class. What
each fold is judged by was picked on the other folds, so the score of an ensemble knows nothing of
its own cells' labels beyond what the scores of single trials know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import RunError
from cellsearch.stats.decision import Decision, Priors, aimed_at
from cellsearch.stats.log_loss import MIX, class_shares
from cellsearch.tune.job import finished_folds
from cellsearch.tune.rule import StudyRule

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.learn.fold_result import FoldResult
    from cellsearch.tune.study import TrialRow

MOST_CANDIDATES = 12
SAME = 0.99
"""Of two trials of a family that agree on more cells than this share, one is a candidate."""

PICKS = 5
BAGS = 20
IN_BAG = 0.5
"""Chance of a candidate to be in a bag."""

NEW_MEMBER = 0.002
"""Nats by which a pick must lower the loss to bring in a new member."""


@dataclass(frozen=True)
class Member:
    """A trial in an ensemble, and its share of the mean; shares add up to 1."""

    trial: int
    weight: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """What J trials gave for the same n cells, each fold's as its own training made it.

    Attributes:
        numbers: (J,) of the trials, best first.
        labels: (n,) int64 true classes.
        cells: (n,) int64 positions in the data set.
        fold: (n,) int64 number of the fold that a cell was validated in.
        aimed: (J, n, K) float32 probabilities under the mix of classes that decisions aim at.
        decisions: one a fold, of a model whose prior is the natural one.
        shares: (K,) weight of each class in the loss.
    """

    numbers: tuple[int, ...]
    labels: NDArray[np.int64]
    cells: NDArray[np.int64]
    fold: NDArray[np.int64]
    aimed: NDArray[np.float32]
    decisions: tuple[Decision, ...]
    shares: NDArray[np.float64]


def picked(
    true: NDArray[np.float64], weights: NDArray[np.float64], classes: int, *, seed: int
) -> NDArray[np.float64]:
    """(J,) shares of the trials in an ensemble: the mean over bags, at most ``PICKS`` above 0.

    Args:
        true: (J, n) probability that each trial gives the true class of a cell.
        weights: (n,) of the cells in the loss.
        classes: K.
        seed: of the bags.
    """
    rng = np.random.default_rng(seed)
    count = len(true)
    votes = np.zeros(count)
    for _ in range(BAGS):
        bag = np.flatnonzero(rng.random(count) < IN_BAG)
        if len(bag):
            votes[bag] += _greedy(true[bag], weights, classes)
    kept = np.argsort(-votes, kind="stable")[:PICKS]
    shares = np.zeros(count)
    shares[kept] = votes[kept]
    return np.asarray(shares / shares.sum())


def _greedy(
    true: NDArray[np.float64], weights: NDArray[np.float64], classes: int
) -> NDArray[np.float64]:
    """(J,) how often each is picked, as shares."""
    times, total = np.zeros(len(true)), np.zeros(true.shape[1])
    least = np.inf
    for pick in range(PICKS):
        mixed = (1.0 - MIX) * (total + true) / (pick + 1) + MIX / classes
        losses = -np.log(mixed) @ weights
        losses = losses + np.where(times > 0, 0.0, NEW_MEMBER if pick else 0.0)
        best = int(losses.argmin())
        if losses[best] >= least:
            break
        least = float(losses[best])
        times[best] += 1
        total += true[best]
    return np.asarray(times / times.sum())


def candidates(
    folder: Path, rows: Sequence[TrialRow], cells: CellDataset, splits: Splits
) -> Candidates | None:
    """The complete trials of a run that may be joined; None where there are fewer than two.

    The best of each family come first, then the best of all, at most ``MOST_CANDIDATES``. A trial
    that says what a better one of its family says is left out, and so is one without the priors
    of its training, which older versions did not keep.
    """
    rule = StudyRule.load(folder)
    complete = [row for row in rows if row.state == "COMPLETE" and row.score is not None]
    leaders = {row.recipe.model.family + _features(row): row for row in reversed(complete)}
    ordered = [row for row in complete if row in leaders.values()]
    ordered += [row for row in complete if row not in ordered]
    kept: list[TrialRow] = []
    aimed: list[NDArray[np.float32]] = []
    called: list[NDArray[np.int64]] = []
    first: list[FoldResult] = []
    for row in ordered:
        if len(kept) == MOST_CANDIDATES:
            break
        try:
            folds = finished_folds(folder, row.number, range(splits.k))
        except RunError:
            continue
        if any(fold.priors is None for fold in folds):
            continue
        says = np.concatenate([rule.decided(fold) for fold in folds])
        if any(
            row.recipe.model.family == other.recipe.model.family and (says == others).mean() > SAME
            for other, others in zip(kept, called, strict=True)
        ):
            continue
        kept.append(row)
        called.append(says)
        aimed.append(
            np.concatenate([aimed_at(f.probabilities, _of(rule, f)) for f in folds]).astype(
                np.float32
            )
        )
        first = first or folds
    if len(kept) < 2:
        return None
    best_first = sorted(range(len(kept)), key=lambda at: complete.index(kept[at]))
    seen = np.concatenate([fold.cells for fold in first])
    labels = cells.labels[seen].astype(np.int64)
    estimable = np.array([name not in splits.not_estimable for name in cells.classes])
    return Candidates(
        numbers=tuple(kept[at].number for at in best_first),
        labels=labels,
        cells=seen,
        fold=np.concatenate([np.full(len(fold.cells), fold.fold) for fold in first]),
        aimed=np.stack([aimed[at] for at in best_first]),
        decisions=tuple(_natural(_of(rule, fold)) for fold in first),
        shares=class_shares(labels, estimable, tau=rule.tau),
    )


def _features(row: TrialRow) -> str:
    return str(row.recipe.to_params().get("model.features", ""))


def _of(rule: StudyRule, fold: FoldResult) -> Decision:
    if fold.priors is None:
        raise ValueError("a fold without priors")
    return Decision(rule.taus[fold.fold], fold.priors, rule.natural_always)


def _natural(decision: Decision) -> Decision:
    natural = decision.priors.natural
    return Decision(decision.tau, Priors(natural, natural), decision.natural_always)
