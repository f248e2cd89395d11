"""Whether the search helped: the winner against trial 0, corrected for the trials looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.evaluation import LEVEL, REPEATS, Estimate
from cellsearch.stats.groups import drawn_groups, stretched
from cellsearch.stats.intervals import PRIOR
from cellsearch.stats.metrics import TITLES, Metric, confusion, score
from cellsearch.stats.wording import better_by, difference
from cellsearch.tune.findings import Outcome, Verdict
from cellsearch.tune.race import TRAINING_NOISE
from cellsearch.tune.trial_predictions import ENSEMBLE, TrialPredictions

ONE_GROUP = "the hold-out is one group, which tells nothing of others"
CHUNK = 250
"""Bootstrap samples drawn at a time, which bounds memory."""


@dataclass(frozen=True, eq=False)
class Corrected:
    """Differences of J trials from one of them, good for all at once.

    Attributes:
        numbers: (J,) of the trials, without the one they are held against.
        value: (J,) float64.
        low: (J,) of simultaneous intervals.
        high: (J,) of the same.
        p: (J,) corrected, two-sided.
        more_looks: choices on the same cells beside that of the winner, corrected for, too.
    """

    numbers: tuple[int, ...]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]
    more_looks: int = 0

    def of(self, number: int) -> tuple[Estimate, float]:
        """Difference and p of one trial."""
        at = self.numbers.index(number)
        return Estimate(float(self.value[at]), float(self.low[at]), float(self.high[at])), float(
            self.p[at]
        )


def judge(
    metric: Metric,
    hold_out: Estimate | None,
    corrected: Corrected | None,
    *,
    winner: int,
    baseline: int | None,
    briefly: int = 0,
    also: Sequence[str] = (),
) -> Verdict:
    """The verdict on a search.

    The hold-out is one look and decides, unless it is one group (donor, plate, slide) alone, which
    does not tell what another would show. It compares two trained models; what training them again
    would change is not in its interval. Where it cannot tell, and does not speak against it, the
    out-of-fold difference may, with its interval corrected for every trial looked at. Each of the
    two intervals lies wrongly above 0 at most 2.5 times in 100, so that both together call an
    equal winner better at most 5 times in 100 (Bonferroni).

    Args:
        metric: that the search chose by.
        hold_out: winner minus trial 0 on the hold-out; None where trial 0 was not refitted. One
            without an interval is of one group and is left out.
        corrected: from ``corrected_differences``; None where trial 0 has no folds.
        winner: number of the trial.
        baseline: of trial 0; None where there is none.
        briefly: trials that were only trained briefly, which ``corrected`` counts among its other
            looks.
        also: what else was chosen on the same cells, such as ``the rule of decision``.
    """
    trials = 0 if corrected is None else len(corrected.numbers) + briefly
    trials -= int(corrected is not None and ENSEMBLE in corrected.numbers)
    named = TITLES[metric]
    if baseline is None or (hold_out is None and corrected is None):
        said = "no verdict: there is no baseline to compare with, because trial 0 did not finish"
        return Verdict(metric, "no baseline", said, None, None, None, trials)
    if winner == baseline:
        said = "no evidence that the search helped: the baseline itself won"
        return Verdict(metric, "no evidence", said, None, None, None, trials)
    oof, p = (None, None) if corrected is None else corrected.of(winner)
    looked = f"corrected for the {trials:,} trial{'s' * (trials != 1)} looked at"
    looked += "".join(f" and {each}" for each in also)
    alone = hold_out is not None and hold_out.interval is None
    if alone:
        hold_out = None
    parts = []
    if hold_out is not None:
        parts.append(f"{difference(hold_out)} on the hold-out")
    if oof is not None:
        parts.append(f"{difference(oof)} out-of-fold, {looked}")
    outcome: Outcome = "no evidence"
    if hold_out is not None and hold_out.side:
        outcome = "better" if hold_out.side > 0 else "worse"
        said = f"the card's model against the baseline's: {better_by(hold_out)} {named} on the "
        said += "hold-out"
    elif oof is not None and oof.side > 0 and (hold_out is None or hold_out.value > 0.0):
        outcome = "better"
        said = f"{better_by(oof)} {named} out-of-fold, {looked}"
        if hold_out is not None:
            said += f"; the hold-out is too small to decide: {difference(hold_out)}"
        elif alone:
            said += f"; {ONE_GROUP}"
        return Verdict(metric, outcome, said, hold_out, oof, p, trials)
    else:
        said = "no evidence that the search helped: "
        said += f"{named} differs from trial 0's by {' and '.join(parts)}" if parts else ""
        said += "; " * bool(parts and alone) + ONE_GROUP * alone
        return Verdict(metric, outcome, said, hold_out, oof, p, trials)
    if oof is not None:
        said += f"; out-of-fold, {looked}: {difference(oof)}"
    return Verdict(metric, outcome, said, hold_out, oof, p, trials)


def corrected_differences(
    trials: TrialPredictions,
    metric: Metric,
    *,
    baseline: int,
    repeats: int = REPEATS,
    level: float = LEVEL,
    noise: float | None = None,
    more_looks: int = 0,
    seed: int = 0,
) -> Corrected | None:
    """Out-of-fold difference of every trial from trial 0, with simultaneous intervals.

    The best of many trials looks better than it is. A bootstrap of cells, the same cells for all
    trials, gives the law of the largest studentised difference that chance alone makes, and its
    quantile holds for whichever trial was chosen (White 2000, equation 3.5; studentised as in
    Romano & Wolf 2005, equation 11). Cells are drawn by the smoothed Bayesian bootstrap within
    classes; cells of the same label and the same predictions are drawn as one count. Where cells
    come in groups, those are drawn too and the wider interval counts. What training anew moves a
    score by is not in the cells and enters as a normal term, as in the race. A stopped trial is
    compared on the cells of its folds.

    Args:
        trials: complete and stopped ones, trial 0 among them and complete.
        metric: one of ``METRICS``.
        baseline: number of trial 0.
        repeats: bootstrap samples.
        level: coverage of all intervals at once.
        noise: standard deviation of a score on one fold through training alone; None takes that
            of the metric.
        more_looks: choices made on the same cells beside that of the winner, such as the rule of
            decision; each takes its part of what the intervals may be wrong (Bonferroni).
        seed: of the bootstrap.

    Returns:
        None where trial 0 is not complete, there is no other trial, or all cells are of one group.
    """
    if baseline not in trials.numbers or len(trials.numbers) < 2:
        return None
    base = trials.numbers.index(baseline)
    if not trials.complete[base]:
        return None
    groups = None if trials.groups is None else int(trials.groups.max()) + 1
    if groups == 1:
        return None
    others = [at for at in range(len(trials.numbers)) if at != base]
    looks = len(others) + more_looks
    level = 1.0 - (1.0 - level) * len(others) / looks
    rng = np.random.default_rng(seed)
    value = np.array([_difference(trials, metric, base, at) for at in others])
    spread = TRAINING_NOISE[metric] if noise is None else noise
    sd = spread * np.sqrt(2.0 / np.maximum(1, trials.folds[others]))
    drawn = _drawn(trials, metric, base, others, repeats, rng)
    low, high, p = _simultaneous(drawn + rng.normal(0.0, sd, drawn.shape), value, level)
    if groups is not None:
        of_groups = _drawn_groups(trials, metric, base, others, repeats, rng)
        of_groups = stretched(of_groups, value, groups, level=level)
        noisy = of_groups + rng.normal(0.0, sd, of_groups.shape)
        wide = _simultaneous(noisy, value, level)
        low, high = np.minimum(low, wide[0]), np.maximum(high, wide[1])
        p = np.maximum(p, wide[2])
    p = np.minimum(1.0, p * (looks / len(others)))
    numbers = tuple(trials.numbers[at] for at in others)
    return Corrected(numbers, value, low, high, p, more_looks)


def _difference(trials: TrialPredictions, metric: Metric, base: int, at: int) -> float:
    seen = trials.predicted[at] >= 0
    k, labels = len(trials.classes), trials.labels[seen]
    ours, theirs = (
        score(metric, confusion(labels, trials.predicted[which][seen], k), classes=trials.estimable)
        for which in (at, base)
    )
    return float(ours - theirs)


def _simultaneous(
    drawn: NDArray[np.float64], value: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Low, high and corrected p of (R, J) draws."""
    sd = np.maximum(drawn.std(axis=0, ddof=1), 1e-12)
    largest = (np.abs(drawn - drawn.mean(axis=0)) / sd).max(axis=1)
    reach = float(np.quantile(largest, level)) * sd
    beyond = largest[:, None] >= np.abs(value / sd)
    p = (1.0 + beyond.sum(axis=0)) / (1.0 + len(drawn))
    return value - reach, value + reach, p


def _drawn(
    trials: TrialPredictions,
    metric: Metric,
    base: int,
    others: list[int],
    repeats: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(R, J) differences of drawn cells."""
    k = len(trials.classes)
    stacked = np.vstack([trials.labels, trials.predicted]).T.astype(np.int16)
    patterns, times = np.unique(stacked, axis=0, return_counts=True)
    labels, said = patterns[:, 0], patterns[:, 1:].astype(np.int64)
    out = np.empty((repeats, len(others)))
    covers = _by_cover(said, others)
    for start in range(0, repeats, CHUNK):
        size = min(CHUNK, repeats - start)
        weights = []
        for label in range(k):
            counts = times[labels == label].astype(np.float64)
            n = counts.sum()
            own = counts * ((n - 1) / n) if n else counts
            shape = np.concatenate([own, np.full(4, PRIOR / 2.0)])
            weights.append(rng.standard_gamma(shape, (size, len(shape))).astype(np.float32))
        for seen, members in covers:
            columns = [base, *[others[at] for at in members]]
            counts = np.zeros((size, len(columns), k, k))
            for label in range(k):
                of_class = labels == label
                if not times[of_class & seen].sum():
                    continue
                hot = _one_hot(said[of_class][:, columns], seen[of_class], label, k)
                found = (weights[label] @ hot).reshape(size, len(columns), k)
                cells = times[of_class & seen].sum()
                counts[:, :, label] = found * (cells / found.sum(axis=2, keepdims=True))
            figures = score(metric, counts, classes=trials.estimable)
            out[start : start + size, members] = figures[:, 1:] - figures[:, :1]
    return out


def _by_cover(
    said: NDArray[np.int64], others: list[int]
) -> list[tuple[NDArray[np.bool_], list[int]]]:
    """Trials that saw the same cells, at their places in ``others``."""
    found: dict[bytes, tuple[NDArray[np.bool_], list[int]]] = {}
    for place, at in enumerate(others):
        seen = said[:, at] >= 0
        found.setdefault(seen.tobytes(), (seen, []))[1].append(place)
    return list(found.values())


def _one_hot(
    said: NDArray[np.int64], seen: NDArray[np.bool_], label: int, k: int
) -> NDArray[np.float32]:
    """(patterns + 4, J * K): what each trial said; the last rows are the prior's four cells.

    They are right for both, for trial 0 (the first column) alone, for the others alone, for none.
    """
    patterns, columns = said.shape
    hot = np.zeros((patterns + 4, columns, k), np.float32)
    rows = np.flatnonzero(seen)
    for column in range(columns):
        hot[rows, column, said[rows, column]] = 1.0
        right = (1.0, 1.0, 0.0, 0.0) if column == 0 else (1.0, 0.0, 1.0, 0.0)
        for row, hit in enumerate(right, start=patterns):
            hot[row, column] = (1.0 - hit) / max(1, k - 1)
            hot[row, column, label] = hit
    return hot.reshape(patterns + 4, columns * k)


def _drawn_groups(
    trials: TrialPredictions,
    metric: Metric,
    base: int,
    others: list[int],
    repeats: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(R, J) differences of drawn groups."""
    groups = trials.groups
    if groups is None:
        raise ValueError("cells without groups")
    k, count = len(trials.classes), int(groups.max()) + 1
    times = drawn_groups(count, repeats=repeats, rng=rng)

    def figures(at: int, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        codes = (groups[seen] * k + trials.labels[seen]) * k + trials.predicted[at][seen]
        flat = np.bincount(codes, minlength=count * k * k).reshape(count, k * k)
        drawn = (times @ flat.astype(np.float64)).reshape(repeats, k, k)
        return score(metric, drawn, classes=trials.estimable)

    found = [
        figures(at, seen) - figures(base, seen)
        for at in others
        for seen in (trials.predicted[at] >= 0,)
    ]
    return np.stack(found, axis=1)
