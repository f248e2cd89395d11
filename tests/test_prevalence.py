"""A known mix is found again from predictions that are often wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cellsearch.card.prevalence import (
    adjusted_count,
    donor_draws,
    em_shares,
    fraction_rows,
    fractions,
)
from cellsearch.card.prior import PriorFacts, fit_prior_facts, log_probabilities, posterior

CLASSES = ("a", "b", "c")
PRIOR = np.array([0.75, 0.2, 0.05])
SHIFTED = np.array([0.3, 0.4, 0.3])
RATES = np.array([[0.9, 0.07, 0.03], [0.2, 0.75, 0.05], [0.1, 0.3, 0.6]])


def sample(shares: np.ndarray, n: int, seed: int, *, trained_for: np.ndarray) -> tuple:
    """Labels, and (n, 3) posteriors of Gaussian clouds for the mix ``trained_for``."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n, p=shares)
    centres = np.array([[0.0, 0.0], [1.8, 0.0], [0.9, 1.6]])
    cells = centres[labels] + rng.normal(0, 1, (n, 2))
    logits = -0.5 * ((cells[:, None] - centres) ** 2).sum(axis=2) + np.log(trained_for)
    p = np.exp(logits)
    return labels, p / p.sum(axis=1, keepdims=True)


def known(cells: tuple) -> PriorFacts:
    labels, p = cells
    return fit_prior_facts(labels, p, p.argmax(axis=1))


def test_adjusted_count_recovers_a_known_mix() -> None:
    np.testing.assert_allclose(adjusted_count(RATES, RATES.T @ SHIFTED), SHIFTED, atol=1e-9)
    many = np.stack([RATES.T @ SHIFTED, RATES.T @ PRIOR])
    np.testing.assert_allclose(
        adjusted_count(np.stack([RATES, RATES]), many), [SHIFTED, PRIOR], atol=1e-9
    )


def test_adjusted_count_stays_a_share() -> None:
    raw = np.array([0.02, 0.02, 0.96])  # more of c than c itself would give
    found = adjusted_count(RATES, raw)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)
    grid = [np.array([i, j, 100 - i - j]) / 100 for i in range(101) for j in range(101 - i)]
    best = min(grid, key=lambda p: float(((RATES.T @ p - raw) ** 2).sum()))
    np.testing.assert_allclose(found, best, atol=0.011)
    stack = adjusted_count(np.stack([RATES] * 2), np.stack([raw, RATES.T @ PRIOR]))
    np.testing.assert_allclose(stack, [found, PRIOR], atol=1e-6)


@pytest.mark.slow
def test_em_recovers_a_known_mix_and_reaches_the_greatest_likelihood() -> None:
    _, p = sample(SHIFTED, 20_000, 0, trained_for=PRIOR)
    found = em_shares(p, PRIOR)
    np.testing.assert_allclose(found, SHIFTED, atol=0.02)
    ratio = p / PRIOR
    plain = PRIOR.copy()
    for _ in range(3000):  # Saerens et al. 2002, eq. 2.9, without any extrapolation
        joint = ratio * plain
        plain = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found, plain, atol=1e-5)
    np.testing.assert_allclose(
        em_shares(p[:, :2] / p[:, :2].sum(1)[:, None], PRIOR[:2] / 0.95).sum(), 1
    )


def test_biases_undo_weighted_training() -> None:
    labels, p = sample(PRIOR, 8000, 1, trained_for=np.full(3, 1 / 3))
    facts = fit_prior_facts(labels, p, p.argmax(axis=1))
    right = posterior(log_probabilities(p), facts.slope, np.array(facts.bias), np.ones(3, bool))
    np.testing.assert_allclose(right.mean(axis=0), np.bincount(labels) / 8000, atol=2e-3)
    expected = np.log(PRIOR * 3)
    np.testing.assert_allclose(
        facts.bias, expected - expected[0], atol=4 * np.sqrt(np.diag(facts.covariance)[1:]).max()
    )
    assert facts.slope == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("trained_for", [PRIOR, np.full(3, 1 / 3)], ids=["plain", "weighted"])
def test_corrected_shares_are_nearer_than_counts(trained_for: np.ndarray) -> None:
    facts = known(sample(PRIOR, 4000, 2, trained_for=trained_for))
    _, p = sample(SHIFTED, 1500, 3, trained_for=trained_for)
    found = fractions(p, CLASSES, facts, called=p.argmax(axis=1))
    raw = np.array([one.raw for one in found.classes])
    assert sum(one.count for one in found.classes) == 1500
    for name in ("adjusted", "em"):
        parts = [getattr(one, name) for one in found.classes]
        value = np.array([part.value for part in parts])
        assert value.sum() == pytest.approx(1)
        assert np.abs(value - SHIFTED).max() < 0.06
        assert all(part.low <= true <= part.high for part, true in zip(parts, SHIFTED, strict=True))
        if trained_for is PRIOR:
            assert np.abs(value - SHIFTED).sum() < 0.4 * np.abs(raw - SHIFTED).sum()
    assert fractions(p, CLASSES, facts, called=p.argmax(axis=1)) == found


def test_what_is_known_of_few_cells_widens_the_interval() -> None:
    _, p = sample(SHIFTED, 800, 3, trained_for=PRIOR)
    widths = {}
    for n in (200, 20_000):
        facts = known(sample(PRIOR, n, 2, trained_for=PRIOR))
        rare = fractions(p, CLASSES, facts, called=p.argmax(axis=1)).classes[2]
        assert rare.adjusted is not None
        assert rare.em is not None
        widths[n] = (rare.adjusted.high - rare.adjusted.low, rare.em.high - rare.em.low)
    assert widths[200][0] > 1.5 * widths[20_000][0]
    assert widths[200][1] > 1.2 * widths[20_000][1]


def test_a_class_without_cells_is_said_and_left_out() -> None:
    labels, p = sample(PRIOR, 2000, 2, trained_for=PRIOR)
    there = labels < 2
    facts = known((labels[there], p[there]))
    p = sample(SHIFTED, 300, 3, trained_for=PRIOR)[1]
    found = fractions(p, CLASSES, facts, called=p.argmax(axis=1))
    assert found.classes[2].adjusted is None
    assert found.classes[2].em is None
    assert found.classes[0].em is not None
    assert any(note.startswith("c: no out-of-fold cell") for note in found.notes)
    assert fraction_rows(found)[2]["em"] == ""


def test_classes_that_are_called_alike_get_no_adjusted_count() -> None:
    facts = PriorFacts(
        confusion=((50, 50, 0), (50, 50, 0), (0, 0, 100)),
        slope=1.0,
        bias=(0.0, 0.0, 0.0),
        covariance=((0.0,) * 4,) * 4,
    )
    p = sample(PRIOR, 200, 3, trained_for=PRIOR)[1]
    found = fractions(p, CLASSES, facts, called=p.argmax(axis=1))
    assert all(one.adjusted is None for one in found.classes)
    assert any("cannot be separated" in note for note in found.notes)


def test_never_mistaken_is_no_infinite_certainty() -> None:
    labels = np.repeat([0, 1, 2], (60, 20, 3))
    facts = known((labels, np.eye(3)[labels] * 0.97 + 0.01))
    p = np.eye(3)[np.repeat([0, 1, 2], (50, 30, 20))] * 0.97 + 0.01
    found = fractions(p, CLASSES, facts, called=p.argmax(axis=1))
    rare = found.classes[2]
    assert rare.adjusted is not None
    assert rare.adjusted.value == pytest.approx(0.2)
    # Finding 3 of 3 leaves room for a class of which some are missed.
    assert rare.adjusted.high > 0.3


# -- donors


def by_donor(rates: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """(G, K, K) counts, as the (G, K, K) rates have them, of so many cells of a class each."""
    return np.round(rates * np.array(cells)[None, :, None]).astype(np.int64)


def test_donors_that_differ_move_the_counted_shares_as_far_as_they_do() -> None:
    rng = np.random.default_rng(0)
    # Of class a, some donors' cells are called b more often than others'.
    missed = np.linspace(0.0, 0.2, 11)
    rates = np.stack([np.array([[1.0 - m, m, 0.0], [0.0, 1.0, 0.0], [0, 0, 1.0]]) for m in missed])
    counts = by_donor(rates, (100_000, 100_000, 100_000))
    drawn = donor_draws(counts, np.array([0.5, 0.3, 0.2]), draws=20_000, rng=rng)
    np.testing.assert_allclose(drawn.sum(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(drawn[:, 2], 0.0, atol=1e-6)
    # Half of the cells are of a; t with 10 degrees of freedom, and one donor more.
    wanted = 0.5 * missed.std(ddof=1) * np.sqrt(12 / 11) * np.sqrt(10 / 8)
    assert drawn[:, 1].std() == pytest.approx(wanted, rel=0.05)
    none = donor_draws(counts, np.array([0.0, 0.6, 0.4]), draws=100, rng=rng)
    np.testing.assert_allclose(none, 0.0, atol=1e-6)
    few = donor_draws(counts[::5], np.array([0.5, 0.3, 0.2]), draws=20_000, rng=rng)
    narrow, wide = (np.ptp(np.quantile(each[:, 1], (0.025, 0.975))) for each in (drawn, few))
    assert wide > 2.0 * narrow


def test_donors_that_differ_by_their_few_cells_alone_move_little() -> None:
    rng = np.random.default_rng(0)
    counts = np.stack([[rng.multinomial(20, row) for row in RATES] for _ in range(40)])
    drawn = donor_draws(counts, SHIFTED, draws=4000, rng=rng)
    of_cells = np.einsum("i,gij->gj", SHIFTED, counts / 20.0).std(axis=0)
    assert (drawn.std(axis=0) < 0.6 * of_cells).all()


def test_intervals_allow_for_a_new_donor_or_say_that_they_do_not() -> None:
    labels, p = sample(PRIOR, 4000, 2, trained_for=PRIOR)
    donors = np.arange(4000) % 8
    odd = donors < 4
    # The cells of half of the donors look more like class b.
    moved = np.where(odd[:, None], p * [1.0, 4.0, 1.0], p)
    moved /= moved.sum(axis=1, keepdims=True)
    called = moved.argmax(axis=1)
    _, new = sample(SHIFTED, 800, 3, trained_for=PRIOR)
    widths, notes = {}, {}
    for name, groups in (("cells", None), ("one", np.zeros(4000, int)), ("donors", donors)):
        facts = fit_prior_facts(labels, moved, called, groups=groups)
        found = fractions(new, CLASSES, facts, called=new.argmax(axis=1))
        notes[name] = found.notes
        parts = [getattr(found.classes[1], kind) for kind in ("adjusted", "em")]
        assert all(part.low <= part.value <= part.high for part in parts)
        widths[name] = [part.high - part.low for part in parts]
    for wide, narrow in zip(widths["donors"], widths["cells"], strict=True):
        assert wide > 1.5 * narrow
    assert widths["one"] == widths["cells"]
    for name in ("one", "cells"):
        assert notes[name] == (
            "no groups (donors) were known, so for a new donor the intervals are too narrow",
        )
    assert notes["donors"] == ("intervals allow for a new donor, as far as 8 donors tell",)
