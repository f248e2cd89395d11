"""Over-confidence that was planted is found, undone, and baked into the graph."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cellsearch.card.card import load_card
from cellsearch.card.checksums import write_checksums
from cellsearch.card.export import export, whole_module
from cellsearch.card.metrics import ConfidenceMetrics
from cellsearch.card.predict import CardPredictor
from cellsearch.card.reliability_plot import reliability_plot
from cellsearch.card.rules import find_rules
from cellsearch.card.write import write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.stats.calibration import (
    COLDEST,
    FLOOR,
    HOTTEST,
    fit_temperature,
    reliability,
    scaled,
)
from cellsearch.stats.predictions import Predictions
from cellsearch.terminal.results import decided_lines

from card_cases import Made, made

CLASSES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def honest(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the very probabilities that are given with them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 4)) + np.array([1.5, 0.5, 0.0, -1.0])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return labels, p


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.5])
def test_a_planted_temperature_is_recovered(planted: float) -> None:
    labels, p = honest(6000)
    spoilt = scaled(p, 1 / planted)
    found = fit_temperature(labels, spoilt)
    assert found.value == pytest.approx(planted, rel=0.06)
    assert found.low < planted < found.high
    assert found.high / found.low < 1.25
    np.testing.assert_allclose(scaled(spoilt, planted), p, atol=2e-4)


def test_the_interval_of_the_temperature_holds_it() -> None:
    hits = 0
    for seed in range(40):
        labels, p = honest(400, seed)
        found = fit_temperature(labels, scaled(p, 0.5), seed=seed)
        hits += found.low <= 2.0 <= found.high
    assert hits >= 35


def test_the_error_is_that_of_the_planted_gap_and_goes_away() -> None:
    labels, p = honest(6000)
    spoilt = scaled(p, 1 / 3)
    before = reliability(labels, spoilt, CLASSES)
    right = spoilt.argmax(axis=1) == labels
    gap = spoilt.max(axis=1).mean() - right.mean()
    assert before.error.value == pytest.approx(gap, abs=0.01)
    assert before.error.low > 5 * before.chance
    after = reliability(labels, scaled(spoilt, fit_temperature(labels, spoilt).value), CLASSES)
    assert after.error.value < 2.5 * after.chance
    assert after.log_loss < before.log_loss
    assert after.brier < before.brier
    assert sum(one.cells for one in after.bins) == 6000
    assert {one.cells for one in after.bins} == {400}
    called = {one.name: one for one in before.classes}
    assert called["a"].called == (spoilt.argmax(axis=1) == 0).sum()
    assert called["a"].error is not None
    assert called["a"].error.value > 0.05


def test_error_by_chance_is_what_honest_probabilities_show() -> None:
    found = [reliability(*honest(800, seed), CLASSES, seed=seed) for seed in range(30)]
    shown = np.mean([one.error.value for one in found])
    assert shown == pytest.approx(np.mean([one.chance for one in found]), rel=0.15)
    assert all(one.error.low <= one.error.value <= one.error.high for one in found)


def test_groups_that_err_together_widen_the_interval() -> None:
    labels, p = honest(2000)
    spoilt = scaled(p, 1 / 3)
    bad = np.arange(2000) // 200 % 2 == 0
    labels = np.where(bad, spoilt.argmax(axis=1), labels)
    alone = reliability(labels, spoilt, CLASSES).error
    together = reliability(
        labels, spoilt, CLASSES, groups=(np.arange(2000) // 200).astype(str)
    ).error
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_bins_of_groups_are_as_wide_as_these_tell() -> None:
    labels, p = honest(2000)
    groups = np.arange(2000) % 8
    # One of the groups is always wrong.
    labels = np.where(groups == 0, (p.argmax(axis=1) + 1) % 4, labels)
    alone, together = (reliability(labels, p, CLASSES, groups=own) for own in (None, groups))
    for one, other in zip(alone.bins, together.bins, strict=True):
        assert one.right == other.right
        assert other.high - other.low > 1.2 * (one.high - one.low)
    one, other = alone.classes[0].right, together.classes[0].right
    assert other.high - other.low > 2.0 * (one.high - one.low)
    single = reliability(labels, p, CLASSES, groups=np.zeros(2000, int))
    assert all(each.low is None for each in single.bins)
    assert single.error.interval is None
    assert single.error.value == alone.error.value
    assert reliability_plot(single, single, temperature=1.0, title="one donor")


def test_the_temperature_of_groups_that_differ_is_known_less_well() -> None:
    labels, p = honest(2000)
    groups = np.arange(2000) % 6
    spoilt = scaled(p, 0.5)
    # Half of the groups are less sure of themselves.
    spoilt = np.where((groups < 3)[:, None], scaled(spoilt, 3.0), spoilt)
    alone, together, single = (
        fit_temperature(labels, spoilt, groups=own)
        for own in (None, groups, np.zeros(2000, np.int64))
    )
    assert alone.value == together.value == single.value
    assert together.high / together.low > 1.5 * alone.high / alone.low
    assert (single.low, single.high) == pytest.approx((COLDEST, HOTTEST))


def test_few_cells_get_no_error_of_their_own() -> None:
    labels, p = honest(120)
    found = reliability(labels, p, CLASSES)
    rare = found.classes[3]
    assert 0 < rare.called < 50
    assert rare.error is None
    assert rare.right is not None
    assert rare.right.low < rare.right.value < rare.right.high


def test_no_mistake_no_temperature() -> None:
    labels = np.array([0, 1] * 20)
    found = fit_temperature(labels, np.eye(2)[labels] * 0.8 + 0.1)
    assert found.value == 1.0
    assert "no out-of-fold cell is called wrongly" in found.note


def test_a_probability_of_zero_is_no_infinite_mistake() -> None:
    labels, p = honest(500)
    p[:3] = 0.0
    p[:3, 0] = 1.0
    labels[:3] = 1
    found = fit_temperature(labels, p)
    assert 1.0 < found.value < 3.0
    assert np.isfinite(scaled(p, found.value)).all()
    assert np.isfinite(reliability(labels, p, CLASSES).log_loss)


def test_a_temperature_changes_no_predicted_class() -> None:
    p = honest(3000)[1]
    for temperature in (0.2, 0.7, 3.0, 10.0):
        hot = scaled(p, temperature)
        np.testing.assert_array_equal(hot.argmax(axis=1), p.argmax(axis=1))
        np.testing.assert_allclose(hot.sum(axis=1), 1.0, atol=1e-6)
    assert scaled(np.array([[1.0, 0.0]]), 2.0)[0, 1] == pytest.approx(FLOOR**0.5, rel=0.01)


# -- in a card


def wrong_often(case: Made) -> Predictions:
    """Out-of-fold predictions of a network that is too sure of itself."""
    rng = np.random.default_rng(1)
    labels = case.oof.labels
    sure = np.where(rng.random(len(labels)) < 0.3, rng.integers(0, 3, len(labels)), labels)
    p = (np.eye(3)[sure] * 0.97 + 0.01).astype(np.float32)
    return Predictions.of(case.oof.classes, labels, p, cells=case.oof.cells)


@pytest.fixture(scope="module")
def hot(case: Made, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("hot") / "card"
    return write_card(
        folder, **case.ingredients(oof=wrong_often(case), abstain="coverage=0.8", sets=0.8)
    )


def test_the_graph_itself_gives_calibrated_probabilities(case: Made, hot: Any) -> None:
    temperature = hot.config.temperature
    oof = wrong_often(case)
    assert temperature == pytest.approx(fit_temperature(oof.labels, oof.probabilities).value)
    assert temperature > 2.0
    images = case.dataset.images[case.splits.holdout].astype(np.float32)
    session = onnxruntime.InferenceSession(str(hot.folder / "model.onnx"))
    found, called = session.run(None, {"image": images})
    np.testing.assert_allclose(found, scaled(case.probabilities, temperature), atol=1e-4)
    assert np.abs(found - case.probabilities).max() > 0.01
    np.testing.assert_array_equal(found.argmax(axis=1), case.probabilities.argmax(axis=1))
    np.testing.assert_array_equal(called, found.argmax(axis=1))
    assert hot.verify().largest_difference <= 1e-4


@pytest.mark.slow
def test_ensembles_are_scaled_after_their_mean(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.linear = nn.Linear(2, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.linear(image.mean(dim=(2, 3)) / 30.0).softmax(dim=1)

    members = [SimpleNamespace(module=Net(seed), history=[]) for seed in range(2)]
    images = np.random.default_rng(0).integers(0, 255, (5, 2, 4, 4)).astype(np.uint8)
    module = whole_module(members)
    export(module, {"image": images}, tmp_path, temperature=2.5)
    floats = images.astype(np.float32)
    mean = module(torch.from_numpy(floats)).detach().numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    found, called = session.run(None, {"image": floats})
    np.testing.assert_allclose(found, scaled(mean, 2.5), atol=1e-5)
    np.testing.assert_array_equal(called, mean.argmax(axis=1))
    assert set(load_file(tmp_path / "model.safetensors")) == set(module.state_dict())


def test_the_card_shows_before_and_after(case: Made, hot: Any) -> None:
    facts = json.loads((hot.folder / "calibration.json").read_text())
    labels = case.dataset.labels[case.splits.holdout]
    held = facts["hold_out"]
    assert held["before"]["log_loss"] == pytest.approx(
        reliability(labels, case.probabilities, case.dataset.classes).log_loss
    )
    assert held["before"]["log_loss"] != held["after"]["log_loss"]
    assert facts["out_of_fold"]["after"]["log_loss"] < facts["out_of_fold"]["before"]["log_loss"]
    assert facts["temperature"]["value"] == hot.config.temperature
    assert f"**T = {hot.config.temperature:.2f}**" in hot.readme
    assert "plots/reliability_hold_out.png" in hot.readme
    assert (hot.folder / "plots" / "reliability_hold_out.svg").is_file()
    confidence = hot.metrics["confidence"]
    coverage = confidence["abstention"]["hold_out"]["coverage"]["value"]
    assert coverage <= 1
    assert confidence["sets"]["hold_out"]["level"] == 0.8
    assert "## Abstention" in hot.readme
    abstaining, in_sets, *_ = decided_lines(hot.figures)
    assert f"(coverage 0.8): {coverage:.3f} (" in abstaining
    assert f"{confidence['sets']['hold_out']['mean_size']:.2f} classes" in in_sets
    assert decided_lines(hot.figures.model_copy(update={"confidence": ConfidenceMetrics()})) == []
    assert "## Prediction sets" in hot.readme


def test_rules_are_those_of_out_of_fold_cells_alone(case: Made, hot: Any) -> None:
    rules = find_rules(
        wrong_often(case), case.dataset.classes, abstain="coverage=0.8", sets=0.8, seed=3
    )
    assert rules.temperature.value == hot.config.temperature
    assert rules.abstention == hot.config.abstention
    assert rules.sets == hot.config.sets
    assert rules.prevalence == hot.config.prevalence
    assert rules.prevalence is not None
    assert np.sum(rules.prevalence.confusion) == len(case.oof.labels)


def test_an_old_card_without_the_keys_loads_and_predicts(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name in ("temperature", "abstention", "sets", "prevalence"):
        del config[name]
    path.write_text(json.dumps(config))
    write_checksums(folder)
    card = load_card(folder)
    assert card.config.temperature is None
    images = case.dataset.images[:4]
    np.testing.assert_array_equal(
        CardPredictor.load(folder).predict(images), case.card.predict(images)
    )
