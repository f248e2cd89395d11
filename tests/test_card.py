"""A card is written wholly or not at all, says what it was made of, and proves itself."""

from __future__ import annotations

import csv
import errno
import json
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cellsearch
from cellsearch.card import parts, plots
from cellsearch.card.card import ModelCard, load_card
from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import MODEL
from cellsearch.card.predict import CardPredictor
from cellsearch.card.write import write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import CardError
from cellsearch.interop.push import push
from cellsearch.space.recipe import Recipe
from cellsearch.stats.comparison import compare, compare_counts
from cellsearch.stats.evaluation import BaselineFigures, evaluate
from cellsearch.stats.metrics import METRICS
from cellsearch.stats.predictions import Predictions
from cellsearch.terminal.results import card_figures
from cellsearch.util.yaml_files import read_yaml

from card_cases import COMMAND, FACTS, RECIPE, Made, made


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def spoil(folder: Path, name: str, old: bytes, new: bytes, *, sums: bool = True) -> None:
    """Change bytes of a file, and its checksum too where ``sums``."""
    path = folder / name
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    if sums:
        write_checksums(folder)


# -- what lies in it


def test_config_says_what_a_program_needs(case: Made) -> None:
    config = case.card.config
    facts = json.loads((case.card.folder / "config.json").read_text())
    assert facts["format_version"] == 1
    assert config.cellsearch_version == cellsearch.__version__
    assert config.classes == case.dataset.classes
    assert config.shape == (2, 16, 16)
    assert (config.dtype, config.dtype_range) == ("uint8", (0, 255))
    assert (config.onnx.input, config.onnx.output) == ("image", "probabilities")
    assert config.dataset.sha256 == case.dataset.sha256
    assert config.splits_sha256 == case.splits.sha256
    assert Recipe.from_params(config.recipe) == RECIPE
    assert config.parameters == case.predictor.parameters
    assert datetime.fromisoformat(config.created).utcoffset() is not None
    trained = case.dataset.images[case.splits.development]
    for channel, part in enumerate(config.ranges):
        assert part.low == trained[:, channel].min()
        assert part.high == trained[:, channel].max()
        assert part.low < part.typical_low < part.typical_high < part.high


@pytest.mark.slow
def test_ranges_are_those_of_training_cells_alone(case: Made, tmp_path: Path) -> None:
    images = np.array(case.dataset.images)
    images[case.splits.holdout] = 255  # were they looked at, high would be 255
    fitted = replace(case.dataset.provenance, fit="pad")
    marked = replace(case.dataset, images=images, provenance=fitted)
    probabilities = case.predictor.predict_proba(marked, case.splits.holdout)
    card = write_card(
        tmp_path / "card",
        **case.ingredients(dataset=marked, probabilities=probabilities),
    )
    assert [part.high for part in card.config.ranges] == [
        part.high for part in case.card.config.ranges
    ]
    assert (case.card.config.fit, card.config.fit) == ("refuse", "pad")
    assert "padded to it about their centre" in (card.folder / "README.md").read_text()


def test_predictions_hold_every_hold_out_cell(case: Made) -> None:
    with (case.card.folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held, classes = case.splits.holdout, case.dataset.classes
    assert [row["id"] for row in rows] == case.dataset.ids[held].tolist()
    assert [row["true_class"] for row in rows] == [classes[k] for k in case.dataset.labels[held]]
    found = np.array([[float(row[name]) for name in classes] for row in rows])
    np.testing.assert_allclose(found, case.served(case.probabilities), atol=1e-6)
    best = case.probabilities.argmax(axis=1)
    assert [row["predicted_class"] for row in rows] == [classes[k] for k in best]
    with (case.card.folder / "out_of_fold.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [
            str(case.dataset.ids[cell]) for part in case.splits.folds for cell in part
        ]


def test_test_cells_are_of_every_class_and_of_the_hold_out(case: Made) -> None:
    images = np.load(case.card.folder / "test_input.npy", allow_pickle=False)
    expected = np.load(case.card.folder / "test_output.npy", allow_pickle=False)
    assert images.dtype == case.dataset.images.dtype
    held = {
        image.tobytes(): cell
        for cell in case.splits.holdout
        for image in [case.dataset.images[cell]]
    }
    cells = np.array([held[image.tobytes()] for image in images])
    assert set(case.dataset.labels[cells]) == {0, 1, 2}
    assert expected.dtype == np.float32
    np.testing.assert_allclose(
        expected, case.served(case.predictor.predict_proba(case.dataset, cells)), atol=1e-4
    )


def test_recipe_splits_and_versions_can_be_read_back(case: Made) -> None:
    folder = case.card.folder
    assert Recipe.from_params(read_yaml(folder / "recipe.yaml").data) == RECIPE
    assert Splits.load(folder / "splits.json", case.dataset).sha256 == case.splits.sha256
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["packages"]["torch"] == torch.__version__.split("+")[0]
    assert versions["python"].count(".") == 2


def test_metrics_are_those_of_the_predictions(case: Made) -> None:
    held = case.card.metrics["hold_out"]
    labels = case.dataset.labels[case.splits.holdout]
    predicted = case.probabilities.argmax(axis=1)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, predicted), 1)
    assert held["winner"]["confusion"] == counts.tolist()
    recall = np.diag(counts) / counts.sum(axis=1)
    balanced = held["winner"]["metrics"]["balanced_accuracy"]
    assert balanced["value"] == pytest.approx(recall.mean(), abs=1e-6)
    assert balanced["low"] <= balanced["value"] <= balanced["high"]
    assert held["baseline"]["metrics"]["balanced_accuracy"]["value"] == pytest.approx(
        1 / 3, abs=1e-6
    )
    assert held["difference"]["balanced_accuracy"]["value"] == pytest.approx(
        recall.mean() - 1 / 3, abs=2e-6
    )
    assert held["baseline"]["per_class"]["class-2"]["precision"] is None
    assert set(held["winner"]["metrics"]) == set(METRICS)
    assert case.card.metrics["search"]["winner"] == 2


# -- figures


def test_a_paired_interval_knows_what_both_models_share() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    baseline = np.where(rng.random(200) < 0.7, labels, 1 - labels)
    winner = baseline.copy()
    winner[:5] = labels[:5]  # differs from the baseline in a few cells only
    paired = compare(labels, winner, baseline, ("a", "b"))
    counts = np.zeros((2, 2), np.int64)
    np.add.at(counts, (labels, baseline), 1)
    apart = compare_counts(labels, winner, counts, ("a", "b"))
    one, other = paired.differences["accuracy"], apart.differences["accuracy"]
    assert one.value == other.value == pytest.approx((winner != baseline).mean())
    assert paired.baseline is not None
    np.testing.assert_array_equal(paired.baseline.confusion, counts)
    assert one.high - one.low < 0.3 * (other.high - other.low)
    assert one.low <= one.value <= one.high
    assert other.low < 0 < other.high


def test_what_cannot_be_estimated_is_in_no_figure() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    predicted = np.array([0, 0, 2, 1, 1, 1])
    evaluation = evaluate(labels, predicted, ("a", "b", "rare"), not_estimable=("rare",))
    assert evaluation.metrics["balanced_accuracy"].value == pytest.approx((2 / 3 + 1) / 2)
    assert evaluation.estimate(2, "recall") is None
    assert evaluation.estimate(2, "precision") is None
    assert evaluation.estimate(0, "recall") is not None


# -- all or nothing


@pytest.mark.slow
def test_a_failure_leaves_nothing_and_an_older_card_as_it_was(
    case: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = case.copy(tmp_path)
    before = (folder / "checksums.json").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plots, "save", full)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(CardError, match=r"cannot write the card .*No space left on device"):
            write_card(
                target,
                **case.ingredients(predictors=[tiny(0)], probabilities=of(tiny(0), case)),
            )
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "checksums.json").read_bytes() == before


def test_a_folder_of_other_things_is_not_replaced(case: Made, tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "thesis.txt").write_text("years")
    with pytest.raises(CardError, match="is not a card; name another folder"):
        write_card(tmp_path / "card", **case.ingredients())
    assert (tmp_path / "card" / "thesis.txt").read_text() == "years"
    with pytest.raises(CardError, match="is not a card; name another folder"):
        write_card(tmp_path / "card" / "thesis.txt", **case.ingredients())


class Tiny(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(2, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(image.mean(dim=(2, 3)) / 50.0).softmax(dim=1)


def tiny(seed: int) -> SimpleNamespace:
    history = [{"epoch": float(epoch), "loss": 1.0 / epoch} for epoch in (1, 2)]
    return SimpleNamespace(module=Tiny(seed), history=history)


def of(predictor: SimpleNamespace, case: Made) -> np.ndarray:
    images = torch.from_numpy(case.dataset.images[case.splits.holdout].astype(np.float32))
    return predictor.module(images).detach().numpy()


@pytest.mark.slow
def test_hold_out_probabilities_of_another_model_or_order_are_refused(
    case: Made, tmp_path: Path
) -> None:
    turned = np.ascontiguousarray(case.probabilities[::-1])
    for wrong in (of(tiny(1), case), turned):
        with pytest.raises(CardError, match="of another model, or their rows"):
            write_card(tmp_path / "card", **case.ingredients(probabilities=wrong))
    with pytest.raises(CardError, match=r"must be finite and of shape"):
        write_card(tmp_path / "card", **case.ingredients(probabilities=case.probabilities[:3]))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_ensemble_replaces_an_older_card(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    members = [tiny(seed) for seed in range(2)]
    mean = np.mean([of(member, case) for member in members], axis=0)
    card = write_card(
        folder,
        **case.ingredients(predictors=members, probabilities=mean, baseline=None),
    )
    assert card.config.members == 2
    assert card.metrics["hold_out"]["baseline"] is None
    assert card.verify().cells > 0
    np.testing.assert_allclose(
        card.predict(case.dataset.images[case.splits.holdout]), case.served(mean), atol=1e-4
    )
    assert "2 networks of the winner's folds" in card.readme
    assert "no baseline to compare with" in card.readme
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.slow
def test_counts_alone_will_do_for_a_baseline(case: Made, tmp_path: Path) -> None:
    predictor = tiny(0)
    counts = np.zeros((3, 3), np.int64)
    counts[:, 0] = np.bincount(case.oof.labels)
    card = write_card(
        tmp_path / "card",
        **case.ingredients(
            predictors=[predictor],
            probabilities=of(predictor, case),
            oof=Predictions(case.oof.classes, case.oof.labels, case.oof.predicted),
            baseline=BaselineFigures(confusion=counts),
        ),
    )
    assert card.metrics["out_of_fold"]["baseline"]["confusion"] == counts.tolist()
    assert card.metrics["hold_out"]["baseline"] is None
    assert not (card.folder / "out_of_fold.csv").exists()
    assert "out_of_fold.csv" not in card.readme


# -- load and verify


@pytest.mark.slow
def test_a_baseline_that_won_is_not_held_against_itself(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = FACTS | {"winner": 0, "baseline_trial": 0}
    won = write_card(tmp_path / "card", **case.ingredients(facts=facts))
    card_figures(won)
    said = capsys.readouterr().out
    score = won.metrics["hold_out"]["winner"]["metrics"]["balanced_accuracy"]["value"]
    assert f"hold-out balanced accuracy {score:.3f} (" in said
    assert "baseline" not in said
    assert "recall of the baseline" not in won._repr_html_()
    card_figures(case.card)
    assert "; baseline 0." in capsys.readouterr().out
    assert "recall of the baseline" in case.card._repr_html_()


def test_a_card_verifies_and_loads(case: Made) -> None:
    report = load_card(str(case.card.folder)).verify()
    assert report.files == len(json.loads((case.card.folder / "checksums.json").read_text()))
    assert report.cells == len(np.load(case.card.folder / "test_input.npy"))
    assert report.largest_difference <= 1e-4
    found = case.card.predict(case.dataset.images[case.splits.holdout])
    np.testing.assert_allclose(found, case.served(case.probabilities), atol=1e-4)


def test_every_changed_missing_and_foreign_file_is_named(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    spoil(folder, "predictions.csv", b"class-0", b"class-1", sums=False)
    (folder / "plots" / "history.svg").unlink()
    (folder / "plots" / "more.png").write_bytes(b"")
    (folder / ".gitattributes").write_text("a clone of the Hub holds this")
    with pytest.raises(CardError) as caught:
        ModelCard.load(folder).verify()
    assert str(caught.value).splitlines()[1:] == [
        "  plots/history.svg is missing",
        "  predictions.csv has changed since the card was written",
        "  plots/more.png does not belong to the card",
    ]


@pytest.mark.parametrize("name", ["README.md", "model.onnx", "plots/history.png", "splits.json"])
def test_one_flipped_bit_is_found(case: Made, tmp_path: Path, name: str) -> None:
    folder = case.copy(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(CardError, match=f"{name} has changed"):
        ModelCard.load(folder).verify()


def test_a_model_that_gives_something_else_is_found(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    expected = np.load(folder / "test_output.npy")
    np.save(folder / "test_output.npy", expected + np.float32(0.001))
    write_checksums(folder)
    with pytest.raises(CardError, match=r"differ by up to 0\.001"):
        ModelCard.load(folder).verify()
    np.save(folder / "test_output.npy", expected * np.float32(np.nan))
    write_checksums(folder)
    with pytest.raises(CardError, match="differ by up to nan"):
        ModelCard.load(folder).verify()


def test_front_matter_that_does_not_parse_is_found(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    spoil(folder, "README.md", b"\nlibrary_name: cellsearch", b"\nlibrary_name: [cellsearch")
    with pytest.raises(CardError, match=r"front matter .* does not parse"):
        ModelCard.load(folder).verify()
    spoil(folder, "README.md", b"\nlibrary_name: [cellsearch", b"")
    with pytest.raises(CardError, match="lacks library_name"):
        ModelCard.load(folder).verify()


def test_missing_files_are_all_named_at_loading(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    for name in ("model.onnx", "README.md"):
        (folder / name).unlink()
    with pytest.raises(CardError, match=r"not a complete card: model\.onnx, README\.md missing"):
        ModelCard.load(folder)


def test_what_is_no_card(case: Made, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="is not a folder"):
        load_card(tmp_path / "nowhere")
    with pytest.raises(CardError, match=r"holds no config\.json"):
        load_card(tmp_path)


def test_a_newer_card_asks_for_a_newer_cellsearch(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    spoil(folder, "config.json", b'"format_version": 1', b'"format_version": 2, "new": []')
    with pytest.raises(CardError, match=r"newer cellsearch \(card format 2; this one reads 1\)"):
        load_card(folder)


def test_every_problem_of_a_config_is_located(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["height"] = 0
    config["dtype"] = "uint32"
    del config["classes"]
    path.write_text(json.dumps(config))
    with pytest.raises(CardError) as caught:
        load_card(folder)
    text = str(caught.value)
    assert "$.height: Input should be greater than or equal to 1, got 0" in text
    assert "$.dtype" in text
    assert "$.classes: Field required" in text
    path.write_text("{")
    with pytest.raises(CardError, match=r"config\.json is damaged"):
        load_card(folder)


def test_a_card_can_be_saved_elsewhere(case: Made, tmp_path: Path) -> None:
    copy = case.card.save(tmp_path / "copy")
    assert copy.verify().files == case.card.verify().files
    with pytest.raises(CardError, match="exists"):
        case.card.save(tmp_path / "copy")


# -- pictures


@pytest.mark.parametrize("kind", ["folder", "file", "model", "config"])
def test_a_link_in_a_card_is_refused_and_not_followed(
    case: Made, tmp_path: Path, kind: str
) -> None:
    folder = case.copy(tmp_path)
    secrets = tmp_path / "ssh"
    secrets.mkdir()
    (secrets / "id").write_text("secret")
    names = {"folder": "extras", "file": "plots/x.txt", "model": MODEL, "config": "config.json"}
    link = folder / names[kind]
    if link.exists():
        link.rename(secrets / link.name)
    target = secrets if kind == "folder" else secrets / ("id" if kind == "file" else link.name)
    link.symlink_to(target)
    for use in (
        lambda: case.card.load(folder).verify(),
        lambda: case.card.load(folder).save(tmp_path / "saved"),
        lambda: CardPredictor.load(folder),
        lambda: push(case.card.load(folder), "a/b", dry_run=True),
    ):
        with pytest.raises(CardError, match="is a link"):
            use()
    assert not (tmp_path / "saved").exists()
    assert (secrets / "id").read_text() == "secret"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_in_a_card_hangs_nobody(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(CardError, match="neither a file nor a folder"):
        case.card.load(folder)


def test_only_what_the_checksums_list_is_copied(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("token")
    (tmp_path / "mine.tmp").write_text("the user's own")
    saved = case.card.load(folder).save(tmp_path / "mine")
    assert not (saved.folder / ".git").exists()
    assert (tmp_path / "mine.tmp").read_text() == "the user's own"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card", "mine", "mine.tmp"]


def test_pictures_are_there_and_not_blank(case: Made) -> None:
    names = {path.stem for path in (case.card.folder / "plots").glob("*.png")}
    assert names == {
        *("confusion_hold_out", "confusion_out_of_fold", "history"),
        *("per_class_hold_out", "per_class_out_of_fold"),
        *("roc_hold_out", "roc_out_of_fold", "saliency", "embedding"),
        *("precision_recall_hold_out", "precision_recall_out_of_fold", "reliability_hold_out"),
    }
    for name in names:
        with Image.open(case.card.folder / "plots" / f"{name}.png") as picture:
            assert min(picture.size) > 400
            assert np.asarray(picture.convert("L")).std() > 10
        assert f"plots/{name}.png" in case.card.readme
    text = (case.card.folder / "plots" / "confusion_hold_out.svg").read_text()
    assert f"n = {len(case.splits.holdout)} cells" in text
    assert "<dc:date>" not in text


def test_a_confusion_matrix_shows_counts_and_row_percent() -> None:
    labels, predicted = np.array([0] * 4 + [1] * 2), np.array([0, 0, 0, 1, 1, 1])
    figure = plots.confusion_matrix(evaluate(labels, predicted, ("a", "b")), title="T")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["3\n75 %", "1\n25 %", "0", "2\n100 %"]
    assert figure.axes[0].get_title() == "T (n = 6 cells)"


def test_bars_say_where_nothing_can_be_estimated() -> None:
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    evaluation = evaluate(labels, predicted, ("a", "b", "c"))
    figure = plots.per_class_bars(evaluation, None, title="T", caption="C")
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["n/e"]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [1.0, 0.5]


def test_no_history_no_picture() -> None:
    assert plots.history([[], []], title="T") is None


def test_values_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    parts.write_json(tmp_path / "a.json", {"n": np.int64(3), "p": Path("x")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 3, "p": "x"}
    for value in (float("nan"), {1, 2}):
        with pytest.raises(CardError, match=r"b\.json cannot be written"):
            parts.write_json(tmp_path / "b.json", {"x": value})


def test_the_command_is_told(case: Made) -> None:
    assert f"```sh\n{COMMAND}\n```" in case.card.readme
