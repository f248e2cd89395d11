"""What share of a sample each class has, corrected for the classifier's own mistakes.

Counting predicted classes is biased as soon as the mix differs from that of training (Forman 2008,
section 2.1). Two corrections are made, both on the assumption that cells of a class look as they
did in the data set and only the shares have changed ("label shift"):

- adjusted count: solves raw = rates^T shares, with the rates P(predicted | true) of the
  out-of-fold confusion matrix (Forman 2008, eq. 1; for K classes Saerens et al. 2002, eq. 2.1);
- EM: the shares of greatest likelihood given the probabilities (Saerens, Latinne & Decaestecker
  2002, eq. 2.7-2.9), made right for the mix of the data set by a temperature and a bias for each
  class (Alexandari, Kundaje & Shrikumar 2020, section 3). The biases undo what weighted or
  resampled training did to the priors. They are used here alone: in the graph they would change
  which class is predicted.

In ``benchmarks/prevalence_error.py`` EM's error is the smaller one, but its interval, which knows
nothing of errors in the shape of the probabilities, holds the truth too rarely where the mix has
shifted far; that of the adjusted count holds it about as often as it says.

The cells of another donor look otherwise. How much the rates differ between donors is seen out of
fold, and both intervals allow for one more donor (``donor_draws``). Where no donors were known they
cannot, and a note says so (``benchmarks/new_donor.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import CardConfig
from cellsearch.card.prior import PriorFacts, log_probabilities, posterior
from cellsearch.stats.evaluation import LEVEL, Estimate

ADJUSTED_DRAWS = 2000
EM_DRAWS = 200
MOST_CELLS = 5000
"""Cells in one draw of the EM's bootstrap; its intervals are wider than need be beyond."""

WORST_CONDITION = 1e3
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassFraction:
    """One class in a sample.

    Attributes:
        name: of the class.
        count: cells predicted as it.
        raw: that over all cells.
        adjusted: corrected share by adjusted count; None where it cannot be found.
        em: corrected share by EM; None for a class without out-of-fold cells.
    """

    name: str
    count: int
    raw: float
    adjusted: Estimate | None
    em: Estimate | None


@dataclass(frozen=True)
class Fractions:
    """Shares of a whole sample, and what should be known of them."""

    cells: int
    classes: tuple[ClassFraction, ...]
    notes: tuple[str, ...]


def adjusted_count(rates: Floats, raw: Floats) -> Floats:
    """Shares p >= 0 of sum 1 with rates^T p nearest to the raw shares.

    Where the inverse gives no negative share it is taken; else constrained least squares.

    Args:
        rates: (..., K, K) P(predicted | true), rows true, each of sum 1.
        raw: (..., K) shares of the predicted classes.

    Returns:
        (..., K) float64.
    """
    turned = np.swapaxes(rates, -1, -2)
    shares = (np.linalg.pinv(turned) @ raw[..., None])[..., 0]
    for place in zip(*np.nonzero((shares < 0).any(axis=-1)), strict=True) if raw.ndim > 1 else ():
        shares[place] = _constrained(turned[place], raw[place])
    if raw.ndim == 1 and (shares < 0).any():
        shares = _constrained(turned, raw)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _constrained(turned: Floats, raw: Floats) -> Floats:
    from scipy.optimize import nnls

    # A heavy last row makes the sum 1.
    heavy = 1e3
    system = np.vstack([turned, np.full(turned.shape[1], heavy)])
    return np.asarray(nnls(system, np.append(raw, heavy))[0])


def donor_draws(
    by_group: NDArray[np.int64], shares: Floats, *, draws: int, rng: np.random.Generator
) -> Floats:
    """What another donor moves the counted shares by, as far as the known donors differ.

    Counted in a sample of the given mix, donor g's rates give the deviation e_g from those of all.
    One more is drawn as a prediction interval has it, t with G - 1 degrees of freedom and 1 + 1 / G
    times the covariance, which is that of the e_g less what their number of cells alone makes. So
    few donors are known to tell little.

    Args:
        by_group: (G, K, K) counts, rows true; each row has cells in some group. G is 2 or more.
        shares: (K,) of the sample's classes.
        draws: R.
        rng: source of chance.

    Returns:
        (R, K) float64, each of sum 0.
    """
    groups, k = by_group.shape[:2]
    cells = by_group.sum(axis=2)
    pooled = by_group.sum(axis=0) / cells.sum(axis=0)[:, None]
    # A donor without cells of a class tells nothing of it: it counts as all do.
    known = cells > 0
    rates = np.where(known[..., None], by_group / np.maximum(cells, 1)[..., None], pooled)
    moved = np.einsum("i,gij->gj", shares, rates - pooled)
    moved -= moved.mean(axis=0)
    chance = np.einsum(
        "gi,ijl->jl",
        np.where(known, shares**2 / np.maximum(cells, 1), 0.0) / groups,
        pooled[:, :, None] * (np.eye(k) - pooled[:, None, :]),
    )
    between = moved.T @ moved / (groups - 1) - chance
    values, vectors = np.linalg.eigh(between)
    root = vectors * np.sqrt(np.maximum(values, 0.0) * (1.0 + 1.0 / groups))
    heavy = np.sqrt((groups - 1) / rng.chisquare(groups - 1, draws))
    return np.asarray(heavy[:, None] * (rng.normal(size=(draws, k)) @ root.T))


def em_shares(
    probabilities: Floats, prior: Floats, *, start: Floats | None = None, steps: int = 500
) -> Floats:
    """Shares of greatest likelihood, by EM (Saerens et al. 2002, eq. 2.9).

    Steps are extrapolated (SQUAREM; Varadhan & Roland 2008, scheme S3), and an extrapolation that
    lowers the likelihood is not taken, so the likelihood never falls.

    Args:
        probabilities: (n, K) that are right for the mix ``prior``.
        prior: (K,) shares of that mix, all above 0.
        start: (K,) shares to begin with; by default ``prior``.
        steps: extrapolations at most.

    Returns:
        (K,) float64 of sum 1.
    """
    ratio = probabilities / prior

    def once(shares: Floats) -> tuple[Floats, float]:
        joint = ratio @ shares
        return shares * (ratio / joint[:, None]).mean(axis=0), float(np.log(joint).mean())

    shares = np.maximum(prior if start is None else start, 1e-6)
    shares = shares / shares.sum()
    for _ in range(steps):
        first, before = once(shares)
        second, _ = once(first)
        move, bend = first - shares, second - 2 * first + shares
        length = float(np.sqrt((bend**2).sum()))
        if np.abs(move).max() < 1e-8 or length < 1e-12:
            return second
        stride = max(1.0, float(np.sqrt((move**2).sum())) / length)
        far = np.maximum(shares + 2 * stride * move + stride**2 * bend, 1e-12)
        third, reached = once(far / far.sum())
        shares = third if reached >= before else second
    return shares


def fractions(
    probabilities: NDArray[np.floating],
    classes: tuple[str, ...],
    facts: PriorFacts,
    *,
    called: NDArray[np.int64],
    seed: int = 0,
) -> Fractions:
    """Counts, raw shares and corrected shares of a sample with 95 % intervals.

    Intervals are percentile bootstraps over both the sample's cells and what is known of the
    classifier: rows of the confusion matrix are drawn from a Dirichlet with 1 / K added to each
    count (Perks 1947), since a class of which 3 of 3 cells were found is not known to be always
    found; slope and biases from their normal distribution. The sample's shares are drawn with one
    cell of an unknown class added (Ferguson 1973, section 3), since 3 of 3 cells of one class do
    not prove that the others are absent.

    Args:
        probabilities: (n, K) that the card gives for the sample, at least one cell.
        classes: K names.
        facts: of the card.
        called: (n,) classes that the cells are given, by the rule that the facts were found with.
        seed: of the draws.
    """
    n, k = probabilities.shape
    cross = np.array(facts.confusion)
    known = cross.sum(axis=1) > 0
    counts = np.bincount(called, minlength=k)
    rng = np.random.default_rng(seed)
    notes = [
        f"{name}: no out-of-fold cell, so the corrected shares leave it out"
        for name, there in zip(classes, known, strict=True)
        if not there
    ]
    adjusted, moved, note = _adjusted(counts, cross, np.array(facts.by_group), known, rng)
    notes += [note] if note else []
    notes.append(
        f"intervals allow for a new donor, as far as {len(facts.by_group)} donors tell"
        if moved is not None
        else "no groups (donors) were known, so for a new donor the intervals are too narrow"
    )
    em = _em(probabilities, facts, cross.sum(axis=1), rng, moved=moved)
    return Fractions(
        cells=n,
        classes=tuple(
            ClassFraction(name, int(counts[j]), float(counts[j] / n), adjusted[j], em[j])
            for j, name in enumerate(classes)
        ),
        notes=tuple(notes),
    )


def fractions_of(probabilities: NDArray[np.floating], config: CardConfig) -> Fractions:
    """Shares of a sample by the card's own facts; uncorrected where the card has none.

    Cells are counted by the card's own decision, whose mistakes it knows.
    """
    called = config.decide(probabilities)
    if config.prevalence is not None:
        return fractions(probabilities, config.classes, config.prevalence, called=called)
    counts = np.bincount(called, minlength=len(config.classes))
    n = len(probabilities)
    return Fractions(
        n,
        tuple(
            ClassFraction(name, int(count), float(count / n), None, None)
            for name, count in zip(config.classes, counts, strict=True)
        ),
        ("the card does not record its own mistakes, so no share is corrected",),
    )


@dataclass(frozen=True)
class SampleFractions:
    """The shares of the classes in one of several samples."""

    sample: str
    fractions: Fractions


def fractions_by_sample(
    probabilities: NDArray[np.floating], samples: NDArray[np.str_], config: CardConfig
) -> tuple[SampleFractions, ...]:
    """``fractions_of`` for the cells of each sample, in the order in which samples appear.

    Args:
        probabilities: (n, K).
        samples: (n,) names.
        config: of the card.
    """
    return tuple(
        SampleFractions(name, fractions_of(probabilities[samples == name], config))
        for name in dict.fromkeys(samples.tolist())
    )


def sample_rows(found: tuple[SampleFractions, ...]) -> list[dict[str, str]]:
    """One row a sample and class for a CSV: the sample, then as ``fraction_rows``."""
    return [
        {"sample": each.sample, **row} for each in found for row in fraction_rows(each.fractions)
    ]


def fraction_rows(found: Fractions) -> list[dict[str, str]]:
    """One row a class for a CSV: class, cells, raw, and both corrections with their bounds."""
    rows = []
    for one in found.classes:
        row = {"class": one.name, "cells": str(one.count), "raw": f"{one.raw:.6f}"}
        for name, value in (("adjusted_count", one.adjusted), ("em", one.em)):
            parts = ("", "", "") if value is None else (value.value, value.low, value.high)
            for suffix, number in zip(("", "_low", "_high"), parts, strict=True):
                row[name + suffix] = number if isinstance(number, str) else f"{number:.6f}"
        rows.append(row)
    return rows


def _adjusted(
    counts: NDArray[np.int64],
    cross: NDArray[np.int64],
    by_group: NDArray[np.int64],
    known: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[list[Estimate | None], Floats | None, str]:
    """Shares, what a new donor moves their draws by (None where it is not known), and a note."""
    own = np.flatnonzero(known)
    nothing: list[Estimate | None] = [None] * len(known)
    part = cross[np.ix_(own, own)]
    called = counts[own]
    if len(own) < 2 or not called.sum() or not part.sum(axis=1).all():
        return nothing, None, "too few out-of-fold cells for an adjusted count"
    rates = part / part.sum(axis=1, keepdims=True)
    if np.linalg.cond(rates) > WORST_CONDITION:
        why = (
            "out-of-fold, some classes are confused so often that their shares cannot be separated"
        )
        return nothing, None, f"no adjusted count: {why}"
    raw = called / called.sum()
    drawn_rates = np.stack(
        [rng.dirichlet(row + 1 / len(own), size=ADJUSTED_DRAWS) for row in part], axis=1
    )
    drawn_raw = rng.dirichlet(called + 1 / len(own), size=ADJUSTED_DRAWS)
    draws, value = adjusted_count(drawn_rates, drawn_raw), adjusted_count(rates, raw)
    moved = None
    parts = by_group[:, own][:, :, own] if len(by_group) > 1 else by_group
    if len(parts) > 1 and parts.sum(axis=(0, 2)).all():
        effect = donor_draws(parts, value, draws=ADJUSTED_DRAWS, rng=rng)
        counted = np.maximum(drawn_raw - effect, 0.0)
        moved = adjusted_count(drawn_rates, counted / counted.sum(axis=1, keepdims=True)) - draws
        draws = draws + moved
    return _estimates(value, draws, own, len(known)), moved, ""


def _em(
    probabilities: NDArray[np.floating],
    facts: PriorFacts,
    support: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    moved: Floats | None,
) -> list[Estimate | None]:
    n, k = probabilities.shape
    known = support > 0
    own = np.flatnonzero(known)
    prior = support[own] / support.sum()
    logits = log_probabilities(probabilities)
    centre = np.append(facts.slope, facts.bias)
    right = posterior(logits, facts.slope, np.array(facts.bias), known)[:, own]
    value = em_shares(right, prior)
    thetas = rng.multivariate_normal(centre, np.array(facts.covariance), EM_DRAWS, method="eigh")
    draws = np.empty((EM_DRAWS, len(own)))
    for place, theta in enumerate(thetas):
        cells = rng.integers(n, size=min(n, MOST_CELLS))
        drawn = posterior(logits[cells], max(0.05, theta[0]), theta[1:], known)[:, own]
        draws[place] = em_shares(drawn, prior, start=value, steps=50)
    known_cells = rng.beta(n, 1.0, EM_DRAWS)[:, None]
    unseen = rng.multinomial(1, np.full(len(own), 1 / len(own)), EM_DRAWS)
    draws = known_cells * draws + (1.0 - known_cells) * unseen
    if moved is not None:
        # A donor whose cells look otherwise moves both corrections alike.
        draws = np.maximum(draws + moved[:EM_DRAWS], 0.0)
        draws /= draws.sum(axis=1, keepdims=True)
    return _estimates(value, draws, own, k)


def _estimates(
    values: Floats, draws: Floats, own: NDArray[np.int64], k: int
) -> list[Estimate | None]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, (tail, 1 - tail), axis=0)
    found: list[Estimate | None] = [None] * k
    for place, j in enumerate(own):
        value = float(values[place])
        found[j] = Estimate(value, min(float(low[place]), value), max(float(high[place]), value))
    return found
