"""One-against-rest curves: their areas, what is left out, and what the card keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cellsearch.card import curve_plots, plots
from cellsearch.card.metrics import Figures
from cellsearch.card.tables import class_table
from cellsearch.data.dataset import CellDataset
from cellsearch.stats.bootstrap import bootstrap_intervals
from cellsearch.stats.curves import (
    MOST_POINTS,
    _areas,
    _bootstrap,
    curves_as_json,
    one_against_rest,
)
from cellsearch.stats.evaluation import as_json, evaluate
from cellsearch.stats.intervals import clopper_pearson
from cellsearch.stats.metrics import per_class
from cellsearch.util.markdown import table

from card_cases import Made, made


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def guesses(labels: np.ndarray, k: int, *, sure: float, seed: int = 0) -> np.ndarray:
    """(n, k) probabilities that lean to the truth."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(1.0, size=(len(labels), k)) + sure * np.eye(k)[labels] * rng.random(
        (len(labels), 1)
    )
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


# -- specificity


def test_specificity_is_of_the_other_classes_cells() -> None:
    counts = np.array([[8, 2, 0], [1, 4, 0], [3, 0, 0]])
    figures = per_class(counts)
    assert [f.specificity for f in figures] == [1 - 4 / 8, 1 - 2 / 13, 1.0]
    alone = per_class(np.array([[5, 0], [0, 0]]))
    assert alone[0].specificity is None
    assert alone[1].specificity == 1.0


def test_specificity_has_the_exact_interval() -> None:
    labels = np.repeat([0, 1, 2], [10, 5, 3])
    predicted = np.array([0] * 8 + [1] * 2 + [0] + [1] * 4 + [0] * 3)
    rows = bootstrap_intervals(labels, predicted, 3, repeats=50).per_class
    assert rows[0].specificity == clopper_pearson(4, 8)
    assert rows[2].specificity == clopper_pearson(15, 15)
    assert bootstrap_intervals(labels * 0, predicted * 0, 2).per_class[0].specificity is None


def test_the_card_states_specificity(case: Made) -> None:
    stated = case.card.metrics["hold_out"]["winner"]
    counts = np.array(stated["confusion"])
    for index, name in enumerate(case.dataset.classes):
        others = counts.sum() - counts[index].sum()
        false = counts[:, index].sum() - counts[index, index]
        found = stated["per_class"][name]["specificity"]
        assert found["value"] == pytest.approx(1 - false / others, abs=1e-6)
        assert found["low"] <= found["value"] <= found["high"]
    header = "| class | cells | precision (PPV) | recall (sensitivity) | specificity | F1 |"
    assert case.card.readme.count(header) == 2
    evaluation = evaluate(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), ("a", "b"))
    assert as_json(evaluation)["per_class"]["a"]["specificity"]["value"] == 0.5
    shown = class_table(Figures.model_validate(as_json(evaluation)))
    assert "| 0.500 (0.013 to 0.987) |" in table(shown)


# -- areas


def test_a_perfect_ranking_of_few_cells_is_not_certain() -> None:
    labels = np.repeat([0, 1, 2], [40, 8, 2])
    probabilities = np.full((50, 3), 0.1, np.float32)
    probabilities[np.arange(50), labels] = 0.8
    for one in one_against_rest(labels, probabilities, ("a", "b", "c")).classes:
        for area in (one.roc_auc, one.average_precision):
            assert (area.value, area.high) == (1.0, 1.0)
            assert area.low < 0.995
        least, most = {"a": (0.9, 0.97), "b": (0.6, 0.85), "c": (0.05, 0.5)}[one.name]
        assert least < one.roc_auc.low < most
    worst = one_against_rest(labels, 1 - probabilities, ("a", "b", "c")).classes[0]
    assert worst.roc_auc.value == 0.0


def test_areas_are_those_of_scikit_learn_also_in_the_bootstrap() -> None:
    labels = np.random.default_rng(1).choice(3, 300, p=[0.8, 0.15, 0.05])
    probabilities = np.round(guesses(labels, 3, sure=2.0), 2)  # with ties
    curves = one_against_rest(labels, probabilities, ("a", "b", "c"))
    for index, one in enumerate(curves.classes):
        truth, scores = labels == index, probabilities[:, index]
        assert one.roc_auc.value == pytest.approx(roc_auc_score(truth, scores))
        assert one.average_precision.value == pytest.approx(average_precision_score(truth, scores))
        assert one.roc_auc.low < one.roc_auc.value < one.roc_auc.high
        assert one.positives == truth.sum()
        assert one.prevalence == pytest.approx(truth.mean())
        # Every cell drawn once is the sample itself.
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        hits = truth[order].cumsum()[ends][None].astype(float)
        found = _areas(hits, (ends + 1.0)[None])[:, 0]
        assert found == pytest.approx([one.roc_auc.value, one.average_precision.value])


def test_a_bootstrap_draws_within_classes_and_repeats_itself() -> None:
    labels = np.repeat([0, 1], [60, 4])
    probabilities = guesses(labels, 2, sure=1.0)
    first, again = (
        _bootstrap(labels, probabilities, [1], groups=None, seed=5)[1][0] for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    # Were classes drawn together, a sample without any of the four cells would give NaN.
    assert np.isfinite(first).all()
    assert first.std() > 0


def test_cells_of_one_donor_widen_the_intervals() -> None:
    rng = np.random.default_rng(3)
    labels = np.tile([0] * 30 + [1] * 10, 6)
    donors = np.repeat([f"donor-{k}" for k in range(6)], 40)
    skill = np.repeat(rng.uniform(-1.0, 3.0, 6), 40)
    scores = 1 / (1 + np.exp(-(skill * (labels - 0.5) + rng.normal(size=240))))
    probabilities = np.stack([1 - scores, scores], axis=1).astype(np.float32)
    alone = one_against_rest(labels, probabilities, ("a", "b")).classes[1]
    grouped = one_against_rest(labels, probabilities, ("a", "b"), groups=donors).classes[1]
    for one, other in (
        (alone.roc_auc, grouped.roc_auc),
        (alone.average_precision, grouped.average_precision),
    ):
        assert one.value == other.value
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_a_class_without_positives_or_negatives_is_left_out() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    probabilities = guesses(labels, 4, sure=3.0)
    curves = one_against_rest(labels, probabilities, tuple("abcd"), not_estimable=("c",))
    assert [one.name for one in curves.classes] == ["a", "b"]
    assert curves.left_out == {"c": "not estimable (1 cells)", "d": "no cell of this class"}
    alone = one_against_rest(labels[:2], probabilities[:2], tuple("abcd"))
    assert not alone.classes
    assert alone.left_out["a"] == "no cell of another class"
    picture = curve_plots.roc(curves, title="T")
    assert any("d: no cell of this class" in text.get_text() for text in picture.texts)


# -- thinning and the pictures


def test_curves_are_thinned_and_keep_their_shape() -> None:
    labels = np.random.default_rng(2).choice(2, 5000, p=[0.9, 0.1])
    one = one_against_rest(labels, guesses(labels, 2, sure=2.0), ("a", "b")).classes[1]
    for x, y in (
        (one.false_positive_rate, one.true_positive_rate),
        (one.recall, one.precision),
    ):
        assert 100 < len(x) == len(y) <= MOST_POINTS
    assert (one.false_positive_rate[0], one.true_positive_rate[0]) == (0, 0)
    assert (one.false_positive_rate[-1], one.true_positive_rate[-1]) == (1, 1)
    assert (one.recall[-1], one.precision[-1]) == (0, 1)
    area = np.trapezoid(one.true_positive_rate, one.false_positive_rate)
    assert area == pytest.approx(one.roc_auc.value, abs=0.005)


def test_pictures_name_each_class_with_its_cells_and_area() -> None:
    labels = np.repeat([0, 1], [30, 10])
    curves = one_against_rest(labels, guesses(labels, 2, sure=2.0), ("a", "b"))
    roc = curve_plots.roc(curves, title="T")
    told = [text.get_text() for text in roc.legends[0].get_texts()]
    assert told[1] == f"b (n = 10): {curves.classes[1].roc_auc.value:.3f}"
    picture = curve_plots.precision_recall(curves, title="T")
    level = {
        tuple(line.get_ydata()) for line in picture.axes[0].lines if len(line.get_ydata()) == 2
    }
    assert level >= {(0.75, 0.75), (0.25, 0.25)}
    assert len({curve_plots.style(place) for place in range(21)}) == 21


def test_the_card_keeps_its_curves(case: Made) -> None:
    stored = json.loads((case.card.folder / "curves.json").read_text())
    sums = json.loads((case.card.folder / "checksums.json").read_text())
    assert {"curves.json", "plots/roc_out_of_fold.svg"} <= set(sums)
    labels = case.dataset.labels[case.splits.holdout]
    for index, name in enumerate(case.dataset.classes):
        one = stored["hold_out"]["classes"][name]
        expected = roc_auc_score(labels == index, case.probabilities[:, index])
        assert one["roc_auc"]["value"] == pytest.approx(expected, abs=1e-6)
        assert one["positives"] == (labels == index).sum()
        assert one["roc"]["threshold"][0] is None
        assert f"{one['roc_auc']['value']:.3f} (" in case.card.readme
    assert stored["out_of_fold"]["cells"] == len(case.oof.labels)
    assert curves_as_json(None) is None


def test_what_was_watched_is_drawn_under_the_loss(tmp_path: Path) -> None:
    run = [{"epoch": e, "loss": 1.0 / e, "watched": 0.5 + 0.1 * e, "lr": 0.1} for e in (1.0, 2.0)]
    figure = plots.history([run], title="T")
    assert figure is not None
    assert [axes.get_ylabel().split(",")[0] for axes in figure.axes] == [
        "training loss",
        "balanced accuracy",
    ]
    assert list(figure.axes[1].lines[0].get_ydata()) == pytest.approx([0.6, 0.7])
