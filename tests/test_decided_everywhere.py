"""A whole run on rare classes: every place that names a class names the same one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from cellsearch import CellDataset, SearchResult, load_card, resume
from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import CardConfig, read_config
from cellsearch.card.prevalence import fractions_of
from cellsearch.card.replay import verify
from cellsearch.card.rules import rules_for
from cellsearch.cli import app
from cellsearch.data.splits import Splits
from cellsearch.errors import CardError
from cellsearch.report.mistakes import mistakes
from cellsearch.run.folder import read_record
from cellsearch.serve.desk import open_desk
from cellsearch.serve.limits import Limits
from cellsearch.serve.queries import Query
from cellsearch.serve.uploads import Received
from cellsearch.stats.decision import Decision, decided
from cellsearch.stats.metrics import confusion, score
from cellsearch.tune.job import finished_folds
from cellsearch.tune.rule import DECISION_FILE, StudyRule

from run_cases import Stopper, tiny_search


def rare_cells() -> CellDataset:
    """Three classes of 200, 40 and 20 cells that overlap, so that the prior decides many."""
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [200, 40, 20])
    images = rng.normal(100.0, 12.0, (260, 1, 12, 12))
    images[labels == 1, :, 3:9, 3:9] += 9.0
    images[labels == 2, :, 3:9, 3:9] -= 9.0
    return CellDataset.from_arrays(
        np.clip(images, 0, 255).astype(np.uint8),
        labels,
        classes=("common", "brighter", "darker"),
        channels=("grey",),
        name="rare",
        layout="NCHW",
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return tiny_search(
        tmp_path_factory.mktemp("rare") / "run",
        rare_cells(),
        abstain="coverage=0.8",
        final="single",
    )


@pytest.fixture(scope="module")
def held(found: SearchResult) -> tuple[CellDataset, NDArray[np.int64]]:
    cells = CellDataset.open(read_record(found.folder).dataset_folder)
    return cells, Splits.load(found.folder / "splits.json", cells).holdout


def by_hand(config: CardConfig, served: NDArray[np.float32]) -> NDArray[np.int64]:
    """Balanced, on probabilities brought back to a temperature of 1."""
    assert config.decision is not None
    cold = served.astype(np.float64) ** (config.temperature or 1.0)
    return np.asarray((cold / np.array(config.decision.priors.effective)).argmax(axis=1))


def test_the_card_holds_rule_and_priors_of_its_own_training(found, held) -> None:
    cells, _ = held
    splits = Splits.load(found.folder / "splits.json", cells)
    decision = found.card.config.decision
    assert decision is not None
    assert decision.tau == 1.0
    counts = np.bincount(cells.labels[splits.development], minlength=3)
    assert decision.priors.natural == pytest.approx(counts / counts.sum())
    raw = {"none": counts, "sqrt": counts**0.5, "inv": np.ones(3)}
    expected = raw[found.best.recipe.loss.weighting]
    assert decision.priors.effective == pytest.approx(expected / expected.sum(), abs=1e-5)


def test_rule_and_greatest_probability_differ_here(found) -> None:
    rows = finished_folds(found.folder, 0, range(2))
    plain = np.concatenate([fold.probabilities.argmax(axis=1) for fold in rows])
    ours = np.concatenate([StudyRule.load(found.folder).decided(fold) for fold in rows])
    assert (plain != ours).sum() >= 5


def test_csv_graph_desk_and_report_name_the_same_class(found, held) -> None:
    cells, where = held
    card = found.card
    images = cells.images[where]
    p = card.predict(images)
    ours = card.decide(p)
    np.testing.assert_array_equal(ours, by_hand(card.config, p))
    session = onnxruntime.InferenceSession(str(card.folder / "model.onnx"))
    graph_p, graph_class = session.run(
        ["probabilities", card.config.onnx.decided], {"image": images.astype(np.float32)}
    )
    assert graph_class.dtype == np.int64
    np.testing.assert_array_equal(graph_class, ours)
    np.testing.assert_allclose(graph_p, p, atol=1e-5)
    with (card.folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted_class"] for row in rows] == [card.classes[k] for k in ours]
    np.testing.assert_allclose(
        [float(row["confidence"]) for row in rows], p[np.arange(len(p)), ours], atol=1e-5
    )
    counts = confusion(cells.labels[where], ours, 3)
    winner = card.figures.hold_out.winner
    assert winner.confusion == counts.tolist()
    assert winner.metrics["balanced_accuracy"].value == pytest.approx(
        float(score("balanced_accuracy", counts)), abs=1e-6
    )
    assert winner.confusion == card.figures.decisions["balanced"].confusion
    shown = mistakes(card.folder, None)
    for pair in shown.pairs:
        true, predicted = (card.classes.index(name) for name in (pair.true, pair.predicted))
        assert pair.counts.get("hold-out", (0, 0))[0] == counts[true, predicted]
    assert shown.all_pairs >= 2


def test_trials_scores_and_the_baseline_follow_the_rule(found, held) -> None:
    cells, _ = held
    for row in found.leaderboard():
        folds = finished_folds(found.folder, row.number, range(2))
        counts = np.zeros((3, 3), np.int64)
        for fold in folds:
            assert fold.priors is not None
            called = (fold.probabilities / np.array(fold.priors.effective)).argmax(axis=1)
            counts += confusion(cells.labels[fold.cells], called, 3)
        assert row.score == pytest.approx(float(score("balanced_accuracy", counts)), abs=1e-9)
        for name, number in (("winner", found.best.number), ("baseline", 0)):
            if row.number == number:
                side = getattr(found.card.figures.out_of_fold, name)
                assert side.confusion == counts.tolist()


def test_served_cells_are_those_of_the_table(found, held, tmp_path: Path) -> None:
    cells, where = held
    np.save(tmp_path / "held.npy", cells.images[where])
    desk = open_desk(found.card.folder, limits=Limits(), threads=1)
    ours = found.card.decide(found.card.predict(cells.images[where]))
    sample = desk.store.new()
    content = (tmp_path / "held.npy").read_bytes()
    desk.add([Received("held.npy", len(content), io.BytesIO(content))], sample)
    names = [desk.config.classes[k] for k in ours]
    told = desk.cells(sample, Query(), offset=0, limit=len(ours)).cells
    assert [cell.predicted_class for cell in told] == names
    counted = {name: names.count(name) for name in desk.config.classes}
    assert desk.summary(sample).counts == counted
    assert desk.cells(sample, Query(kind="darker"), offset=0, limit=1).total == counted["darker"]
    table = csv.DictReader(desk.table(sample).decode().splitlines())
    assert [row["predicted_class"] for row in table] == names
    desk.store.close()


def test_predict_decides_as_it_is_asked(found, held, tmp_path: Path) -> None:
    cells, where = held
    crops = tmp_path / "crops"
    crops.mkdir()
    for cell in where:
        Image.fromarray(cells.images[cell, 0]).save(crops / f"cell-{cell:03d}.png")
    card = found.card
    p = card.predict(cells.images[np.sort(where)])
    counts = {}
    for decide in (None, "balanced", "natural"):
        out = tmp_path / f"{decide}.csv"
        asked = [] if decide is None else ["--decide", decide]
        done = CliRunner().invoke(
            app, ["predict", str(card.folder), str(crops), "-o", str(out), *asked]
        )
        assert done.exit_code == 0, done.output
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        given = [row["predicted_class"] for row in rows]
        assert given == [card.classes[k] for k in card.decide(p, decide)]
        assert all(row["decision"] in (row["predicted_class"], "uncertain") for row in rows)
        counts[decide] = given.count("common")
    assert counts[None] == counts["balanced"] < counts["natural"]
    wrong = CliRunner().invoke(app, ["predict", str(card.folder), "x", "--decide", "fair"])
    assert wrong.exit_code == 2


def test_thresholds_belong_to_the_way_that_classes_are_decided(found) -> None:
    folder, config = found.card.folder, found.card.config
    own, _ = rules_for(folder, config)
    natural, _ = rules_for(folder, config, decide="natural")
    assert own == config.abstention
    assert natural is not None
    assert (natural.rule, natural.level) == (own.rule, own.level)
    assert natural.thresholds != own.thresholds


def test_shares_are_counted_by_the_rule_whose_mistakes_are_known(found, held) -> None:
    cells, where = held
    p = found.card.predict(cells.images[where])
    ours = found.card.decide(p)
    shares = fractions_of(p, found.card.config).classes
    assert [one.count for one in shares] == np.bincount(ours, minlength=3).tolist()
    prevalence = found.card.config.prevalence
    assert prevalence is not None
    pooled = found.card.figures.out_of_fold.winner.confusion
    assert [list(row) for row in prevalence.confusion] == pooled


def test_the_readme_shows_both_confusion_matrices(found) -> None:
    text = found.card.readme
    assert "## How a cell gets its class" in text
    for name, part in found.card.figures.decisions.items():
        assert f"**{name.capitalize()} decision** on the hold-out" in text
        for label, line in zip(found.card.classes, part.confusion, strict=True):
            assert f"| **{label}** | " + " | ".join(map(str, line)) + " |" in text
    balanced, natural = (
        found.card.figures.decisions[name].metrics for name in ("balanced", "natural")
    )
    assert balanced["balanced_accuracy"].value >= natural["balanced_accuracy"].value - 0.05
    assert natural["accuracy"].value >= balanced["accuracy"].value - 0.05


def test_a_graph_that_contradicts_its_rule_is_found(found, tmp_path: Path) -> None:
    copy = found.card.save(tmp_path / "copy").folder
    assert verify(copy).cells > 0
    path = copy / "config.json"
    facts = json.loads(path.read_text())
    facts["decision"]["priors"]["effective"] = [0.98, 0.01, 0.01]
    path.write_text(json.dumps(facts))
    write_checksums(copy)
    with pytest.raises(CardError, match="gives test cells other classes than the rule"):
        verify(copy)


def test_an_older_card_decides_as_before(found, held, tmp_path: Path) -> None:
    cells, where = held
    copy = found.card.save(tmp_path / "copy").folder
    facts = json.loads((copy / "config.json").read_text())
    del facts["decision"], facts["onnx"]["decided"]
    (copy / "config.json").write_text(json.dumps(facts))
    write_checksums(copy)
    card = load_card(copy)
    p = card.predict(cells.images[where])
    np.testing.assert_array_equal(card.decide(p), p.argmax(axis=1))
    assert card.verify().cells > 0
    with pytest.raises(CardError, match=r'does not hold the prior .* leave out decide="natural"'):
        card.decide(p, "natural")
    done = CliRunner().invoke(app, ["predict", str(copy), str(copy), "--decide", "natural"])
    assert isinstance(done.exception, CardError)


def test_priors_of_another_length_are_refused(found, tmp_path: Path) -> None:
    copy = found.card.save(tmp_path / "copy").folder
    facts = json.loads((copy / "config.json").read_text())
    facts["decision"]["priors"] = {"effective": [0.5, 0.5], "natural": [0.5, 0.5]}
    (copy / "config.json").write_text(json.dumps(facts))
    with pytest.raises(CardError, match=r"decision\.priors: one entry a class"):
        read_config(copy)


def test_a_run_of_an_older_version_goes_on_with_the_greatest_probability(tmp_path: Path) -> None:
    first = tiny_search(tmp_path / "run", rare_cells(), observer=Stopper(3), budget=2)
    assert first.interrupted
    (tmp_path / "run" / DECISION_FILE).unlink()
    after = resume(tmp_path / "run")
    assert not (tmp_path / "run" / DECISION_FILE).exists()
    assert after.card is not None
    assert after.card.config.decision is None
    assert after.card.figures.decisions == {}
    late = after.trials[-1] if after.trials[-1].number else after.trials[0]
    cells = CellDataset.open(read_record(after.folder).dataset_folder)
    counts = np.zeros((3, 3), np.int64)
    for fold in finished_folds(after.folder, late.number, range(2)):
        counts += confusion(cells.labels[fold.cells], fold.probabilities.argmax(axis=1), 3)
    assert late.score == pytest.approx(float(score("balanced_accuracy", counts)))


def test_a_chosen_rule_is_kept_with_the_run_and_told(tmp_path: Path) -> None:
    done = tiny_search(tmp_path / "run", rare_cells(), metric="macro_f1", budget=2)
    rule = StudyRule.load(done.folder)
    assert (rule.settled, rule.looks) == (True, 1)
    assert done.card.config.decision is not None
    assert done.card.config.decision.tau == rule.tau
    cells = CellDataset.open(read_record(done.folder).dataset_folder)
    for row in done.leaderboard():
        counts = np.zeros((3, 3), np.int64)
        for fold in finished_folds(done.folder, row.number, range(2)):
            assert fold.priors is not None
            own = Decision(rule.taus[fold.fold], fold.priors)
            counts += confusion(cells.labels[fold.cells], decided(fold.probabilities, own), 3)
        assert row.score == pytest.approx(float(score("macro_f1", counts)))
