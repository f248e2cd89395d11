"""An ensemble of trials, picked on some folds and judged on the others.

Trials of different families err on different cells, so that the mean of their probabilities is
often better than any of them. Members are picked greedily, with replacement (Caruana et al. 2004,
"Ensemble selection from libraries of models"), by the log loss in which every class counts alike:
it moves smoothly, where one rare cell more moves balanced accuracy by a twelfth of a class. What
each fold is judged by was picked on the other folds, so the score of an ensemble knows nothing of
its own cells' labels beyond what the scores of single trials know.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import RunError
from cellsearch.stats.comparison import Gain, gain
from cellsearch.stats.decision import Decision, Priors, aimed_at, natural_again
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.groups import Codes, group_codes
from cellsearch.stats.log_loss import MIX, class_shares
from cellsearch.stats.metrics import Metric, confusion, score
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.job import finished_folds
from cellsearch.tune.rule import StudyRule
from cellsearch.util.atomic import write_whole_text

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.learn.fold_result import FoldResult
    from cellsearch.tune.study import TrialRow

MOST_CANDIDATES = 12
MOST_VALUES = 250_000_000
"""Probabilities of all candidates together: 1 GB of float32."""
SAME = 0.99
"""Of two trials of a family that agree on more cells than this share, one is a candidate."""

ENSEMBLE_FILE = "ensemble.json"

MOST_MEMBERS = 3
"""Each is trained again for the card, and takes its time at every prediction."""

PICKS = 5
BAGS = 20
IN_BAG = 0.7
"""Chance of a candidate to be in a bag. Each bag also draws its own weights of the cells (Bayesian
bootstrap): on five real sets no way of picking without both was as good on each of them."""

ALL = slice(None)

LEAST_GAIN = 0.005
LEAST_CHANCE = 0.9
"""Of being better than the best single trial, by which an ensemble is taken instead."""

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
    """(J,) shares of the trials in an ensemble: means over bags, at most ``MOST_MEMBERS`` above 0.

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
        drawn = weights * rng.standard_gamma(1.0, len(weights))
        if len(bag):
            votes[bag] += _greedy(true[bag], drawn / drawn.sum(), classes)
    kept = np.argsort(-votes, kind="stable")[:MOST_MEMBERS]
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
    folder: Path,
    rows: Sequence[TrialRow],
    cells: CellDataset,
    splits: Splits,
    *,
    only: Container[int] | None = None,
) -> Candidates | None:
    """The complete trials of a run that may be joined; None where there are fewer than two.

    The best of each family come first, then the best of all, at most ``MOST_CANDIDATES``. A trial
    that says what a better one of its family says is left out, and so is one without the priors
    of its training, which older versions did not keep, or whose folds are lost.

    Args:
        folder: of the run.
        rows: its trials.
        cells: the data set.
        splits: of the run.
        only: numbers of the trials to look at; None looks at all.
    """
    rule = StudyRule.load(folder)
    if splits.k < 2 or not rule.taus:
        return None
    complete = sorted(
        (
            row
            for row in rows
            if row.state == "COMPLETE"
            and row.score is not None
            and (only is None or row.number in only)
        ),
        key=lambda row: (-(row.score or 0.0), row.number),
    )
    leaders = {row.recipe.model.family + _features(row): row for row in reversed(complete)}
    ordered = [row for row in complete if row in leaders.values()]
    ordered += [row for row in complete if row not in ordered]
    kept: list[TrialRow] = []
    aimed: list[NDArray[np.float32]] = []
    called: list[NDArray[np.int64]] = []
    first: list[FoldResult] = []
    values = len(splits.development) * len(cells.classes)
    most = max(2, min(MOST_CANDIDATES, MOST_VALUES // values))
    for row in ordered:
        if len(kept) == most:
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
        decisions=tuple(natural_decision(_of(rule, fold)) for fold in first),
        shares=class_shares(labels, estimable, tau=rule.tau),
    )


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trials joined, and what that is worth out-of-fold.

    Attributes:
        members: heaviest first.
        pool: numbers of the trials that they were picked from.
        predictions: of each fold by the members picked on the other folds.
        gain: over the best single trial, chosen on the other folds, too: the score of the best of
            many, on the cells that it was chosen by, is flattered.
        optimism: score of the members picked on all folds, less that of ``predictions``.
    """

    members: tuple[Member, ...]
    pool: tuple[int, ...]
    predictions: Predictions
    gain: Gain
    optimism: float

    @property
    def accepted(self) -> bool:
        """Whether it is better than the best single trial, with confidence and by enough."""
        enough = self.gain.estimate.value >= LEAST_GAIN and self.gain.chance >= LEAST_CHANCE
        return len(self.members) > 1 and enough


@dataclass(frozen=True)
class Choice:
    """``ensemble.json``: what was joined before the hold-out was scored.

    Attributes:
        members: heaviest first.
        pool: numbers of the trials that they were picked from.
        gain: over the best single trial, and its interval.
        chance: of being better at all.
        optimism: of the members picked on all folds.
        accepted: whether the card is made of them.
    """

    members: tuple[Member, ...]
    pool: tuple[int, ...]
    gain: Estimate
    chance: float
    optimism: float
    accepted: bool

    @classmethod
    def of(cls, found: Ensemble) -> Self:
        """What is kept of an ensemble."""
        return cls(
            found.members,
            found.pool,
            found.gain.estimate,
            found.gain.chance,
            found.optimism,
            found.accepted,
        )

    def save(self, folder: Path) -> None:
        """Write the file at once and durably."""
        write_whole_text(folder / ENSEMBLE_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """That of a run; None where none was looked for.

        Raises:
            RunError: the file is damaged.
        """
        path = folder / ENSEMBLE_FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            members = tuple(Member(**each) for each in facts["members"])
            more = {"pool": tuple(facts["pool"]), "gain": Estimate(**facts["gain"])}
            return cls(**(facts | more | {"members": members}))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path} is damaged: {error}") from None


def join_run(
    folder: Path,
    rows: Sequence[TrialRow],
    cells: CellDataset,
    splits: Splits,
    metric: Metric,
    *,
    only: Container[int] | None = None,
    seed: int = 0,
) -> Ensemble | None:
    """The ensemble of a run's complete trials; None where fewer than two can be joined.

    Arguments as for ``candidates`` and ``join_trials``.
    """
    pool = candidates(folder, rows, cells, splits, only=only)
    if pool is None:
        return None
    counts = np.bincount(pool.labels, minlength=len(cells.classes))
    known = np.array([name not in splits.not_estimable for name in cells.classes])
    return join_trials(
        pool,
        metric,
        cells.classes,
        estimable=known & (counts > 0),
        groups=None if cells.groups is None else group_codes(cells.groups[pool.cells]),
        seed=seed,
    )


def join_trials(
    pool: Candidates,
    metric: Metric,
    classes: tuple[str, ...],
    *,
    estimable: NDArray[np.bool_],
    groups: Codes | None = None,
    seed: int = 0,
) -> Ensemble:
    """The ensemble of a pool, judged by cross-fitting.

    Args:
        pool: of ``candidates``.
        metric: of the study.
        classes: K names.
        estimable: (K,) bool, as ``score`` takes it.
        groups: (n,) codes of the pool's cells; None where cells are independent.
        seed: of bags and bootstrap.
    """
    k = len(classes)
    counts = np.maximum(np.bincount(pool.labels, minlength=k), 1)
    weights = (pool.shares / counts)[pool.labels]
    true = pool.aimed[:, np.arange(len(pool.labels)), pool.labels].astype(np.float64)
    shares = picked(true, weights, k, seed=seed)
    says = pool.aimed.argmax(axis=2)

    def reached(given: NDArray[np.int64], cells: slice | NDArray[np.bool_] = ALL) -> float:
        counts = confusion(pool.labels[cells], given[cells], k)
        return float(score(metric, counts, classes=estimable))

    crossed, single = np.empty(pool.aimed.shape[1:]), np.empty(len(pool.labels), np.int64)
    for fold in np.unique(pool.fold):
        own = pool.fold == fold
        others = picked(true[:, ~own], weights[~own], k, seed=seed)
        crossed[own] = np.tensordot(others, pool.aimed[:, own], 1)
        best = max(range(len(says)), key=lambda at: reached(says[at], ~own))
        single[own] = says[best, own]
    called = crossed.argmax(axis=1)
    in_sample = np.tensordot(shares, pool.aimed, 1).argmax(axis=1)
    natural = np.empty_like(crossed)
    for fold, decision in enumerate(pool.decisions):
        own = pool.fold == fold
        natural[own] = natural_again(crossed[own], decision)
    order = [int(at) for at in np.argsort(-shares, kind="stable") if shares[at] > 0.0]
    return Ensemble(
        members=tuple(Member(pool.numbers[at], float(shares[at])) for at in order),
        pool=pool.numbers,
        predictions=Predictions(
            classes,
            pool.labels,
            called,
            natural.astype(np.float32),
            estimable=estimable,
            cells=pool.cells,
            groups=groups,
        ),
        gain=gain(metric, pool.labels, called, single, classes=estimable, groups=groups, seed=seed),
        optimism=reached(in_sample) - reached(called),
    )


def joined_probabilities(
    members: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
    decisions: Sequence[Decision],
    whole: Decision,
) -> NDArray[np.float32]:
    """(n, K) natural probabilities of an ensemble, as its graph gives them.

    Args:
        members: (n, K) of each.
        weights: of each; they add up to 1.
        decisions: of each, with the prior of its training.
        whole: of the ensemble, whose prior is the natural one.
    """
    aimed = [aimed_at(each, own) for each, own in zip(members, decisions, strict=True)]
    mean = np.tensordot(np.array(weights), np.stack(aimed), 1)
    return np.asarray(natural_again(mean, whole), dtype=np.float32)


def natural_decision(decision: Decision) -> Decision:
    """The same rule for a model whose prior is the natural one, as an ensemble's is."""
    natural = decision.priors.natural
    return Decision(decision.tau, Priors(natural, natural), decision.natural_always)


def _features(row: TrialRow) -> str:
    return str(row.recipe.to_params().get("model.features", ""))


def _of(rule: StudyRule, fold: FoldResult) -> Decision:
    if fold.priors is None:
        raise ValueError("a fold without priors")
    return Decision(rule.taus[fold.fold], fold.priors, rule.natural_always)
