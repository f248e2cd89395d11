"""A known mix is found again from predictions that are often wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cellsearch.card.prevalence import adjusted_count, em_shares, fraction_rows, fractions
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
