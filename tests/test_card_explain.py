"""Saliency, the embedding of the hold-out, and generated cells in a card."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.card import embedding, saliency
from cellsearch.card.card import load_card
from cellsearch.card.checksums import write_checksums
from cellsearch.card.embedding import laid_out
from cellsearch.card.evidence import Evidence, write_evidence
from cellsearch.card.explain import NotExplained, features
from cellsearch.card.explain import saliency as attributions
from cellsearch.card.export import Fitted
from cellsearch.card.generated import (
    GeneratorFigures,
    draw_generated,
    file_names,
)
from cellsearch.card.readme import write_readme
from cellsearch.card.write import write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.learn.normalise import Normalise

from card_cases import Made, made, story_of


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


class Module(nn.Module):
    """As ``CellModule``: normalisation, a network to logits, test flips, softmax."""

    def __init__(self, network: nn.Module, *, test_flips: bool = False, how: str = "channel"):
        super().__init__()
        self.normalise = Normalise(2, how)  # type: ignore[arg-type]
        self.network = network
        self.test_flips = test_flips

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.normalise(images)
        views = [seen, seen.flip(2), seen.flip(3)] if self.test_flips else [seen]
        return torch.stack([self.network(v).softmax(dim=1) for v in views]).mean(dim=0)


class Corner(nn.Module):
    """Looks at one pixel of the first channel and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(1, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.dense(images[:, 0, 2, 3, None] / 50)


class Steps(nn.Module):
    """Logits that no gradient reaches, as a forest's."""

    def __init__(self, *, says_so: bool) -> None:
        super().__init__()
        self.differentiable = not says_so

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.mean(dim=(2, 3)) > 60
        return torch.cat([bright, ~bright[:, :1]], dim=1).float()


def cells(n: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 2, 8, 8), dtype=np.uint8)


# -- saliency


@pytest.mark.parametrize("test_flips", [False, True])
def test_saliency_lies_where_the_network_looks(test_flips: bool) -> None:
    torch.manual_seed(0)
    module = Module(Corner(), test_flips=test_flips)
    maps, steps = attributions(module, cells(), np.array([0, 1, 2, 0, 1, 2]))
    assert steps == 32
    assert maps.shape == (6, 2, 8, 8)
    assert (np.abs(maps[:, 0, 2, 3]) > 0).all()
    maps[:, 0, 2, 3] = 0
    assert not maps.any()
    assert module.test_flips is test_flips  # what was given stays as it was


@pytest.mark.parametrize("how", ["channel", "image"])
def test_a_map_adds_up_to_the_gain_in_log_probability(how: str) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.Tanh(), nn.Linear(16, 3))
    module = Module(network, how=how).eval()
    images = cells(4)
    module.normalise.fit(images, np.arange(4))
    targets = np.array([0, 1, 2, 1])
    maps, _ = attributions(module, images, targets)
    flat = module.normalise.mean.expand(4, 2, 8, 8)
    with torch.no_grad():
        here, there = (
            module(x).log().numpy()[np.arange(4), targets]
            for x in (torch.from_numpy(images.astype(np.float32)), flat)
        )
    if how == "channel":  # by image, a flat crop has no slope to begin with
        np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), here - there, atol=0.02)
    assert np.isfinite(maps).all()


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten()).append(
            nn.Linear(256, 3)
        ),
        nn.Sequential(nn.Flatten(), nn.Linear(128, 3)),
        nn.Sequential(
            nn.Conv2d(2, 8, 4, stride=4),
            nn.Flatten(2),
            nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True),
            nn.Flatten(),
            nn.Linear(32, 3),
        ),
        nn.Sequential(nn.Conv2d(2, 3, 8), nn.Flatten()),
    ],
    ids=["convolutions", "dense", "attention", "no dense layer"],
)
def test_any_network_can_be_explained(network: nn.Module) -> None:
    maps, _ = attributions(Module(network), cells(), np.zeros(6, np.int64))
    assert np.isfinite(maps).all()
    assert maps.any(axis=(1, 2, 3)).all()


def test_a_plain_module_of_probabilities_will_do() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(128, 3), nn.Softmax(dim=1))
    plain[1].weight.data /= 1000
    maps, _ = attributions(plain, cells(), np.zeros(6, np.int64))
    assert maps.any()


@pytest.mark.parametrize(
    ("says_so", "why"), [(True, "this kind of model has no gradient"), (False, "no gradient could")]
)
def test_what_has_no_gradient_is_told(says_so: bool, why: str) -> None:
    with pytest.raises(NotExplained, match=why):
        attributions(Module(Steps(says_so=says_so)), cells(), np.zeros(6, np.int64))
    with pytest.raises(NotExplained, match="is not a network"):
        attributions(object(), cells(), np.zeros(6, np.int64))


def test_the_surest_cells_and_mistakes_of_each_class_are_chosen() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    sure = np.array([0.5, 0.9, 0.6, 0.8, 0.7, 0.9, 0.8, 0.6])
    called = np.array([0, 0, 0, 0, 1, 0, 2, 2])
    probabilities = np.full((8, 3), 0.05, np.float32)
    probabilities[np.arange(8), called] = sure
    found = saliency.choose(labels, probabilities, called)
    assert found.rows.tolist() == [1, 3, 2, 4, 5, 7]
    assert found.true.tolist() == [0, 0, 0, 0, 1, 2]
    assert found.predicted.tolist() == [0, 0, 0, 1, 0, 2]
    each = np.repeat(np.arange(40), 5)
    many = saliency.choose(each, np.repeat(np.eye(40), 5, axis=0), each)
    assert len(many.rows) == 40


def test_the_card_keeps_maps_and_says_of_which_cells(case: Made) -> None:
    with np.load(case.card.folder / "saliency.npz", allow_pickle=False) as kept:
        assert kept["maps"].dtype == np.float16
        assert kept["maps"].shape == (len(kept["ids"]), 16, 16)
        np.testing.assert_array_equal(kept["maps"].max(axis=(1, 2)), 1)
        held = case.splits.holdout
        place = {name: row for row, name in enumerate(case.dataset.ids[held].tolist())}
        rows = [place[name] for name in kept["ids"].tolist()]
        np.testing.assert_array_equal(case.dataset.labels[held][rows], kept["true"])
        np.testing.assert_array_equal(case.probabilities[rows].argmax(axis=1), kept["predicted"])
        assert kept["channel_shares"].sum() == pytest.approx(1, abs=1e-5)
    assert "![saliency](plots/saliency.png)" in case.card.readme


# -- embedding


def test_features_are_what_enters_the_last_dense_layer() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(128, 5), nn.ReLU())
    module = Module(nn.Sequential(body, nn.Dropout(0.5), nn.Linear(5, 3)), test_flips=True)
    images = cells(9)
    found = features(module, images, 3)
    with torch.no_grad():
        expected = body(module.normalise(torch.from_numpy(images.astype(np.float32)))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for network in (nn.Sequential(nn.Conv2d(2, 3, 8), nn.Flatten()), body):
        with pytest.raises(NotExplained, match="no dense layer gives the logits"):
            features(Module(network), images, 3)


def test_classes_that_differ_lie_apart() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 20])
    values = rng.normal(size=(80, 12)).astype(np.float32) + 8 * labels[:, None].astype(np.float32)
    places, method = laid_out(values)
    assert method == "t-SNE"
    np.testing.assert_array_equal(places, laid_out(values)[0])
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.97


def test_few_cells_or_features_are_laid_out_by_pca() -> None:
    rng = np.random.default_rng(0)
    for shape in ((49, 12), (200, 2), (200, 1), (1, 4)):
        places, method = laid_out(rng.normal(size=shape).astype(np.float32))
        assert method == "PCA"
        assert places.shape == (shape[0], 2)
    # A dead network gives all cells the same features.
    places, method = laid_out(np.ones((80, 12), np.float32))
    assert (method, places.any()) == ("PCA", False)


def test_rare_classes_stay_whole_among_2000_cells() -> None:
    labels = np.repeat([0, 1, 2, 3], [9000, 3000, 40, 3])
    rows = embedding.choose(labels, seed=1)
    counts = np.bincount(labels[rows])
    assert counts[2:].tolist() == [40, 3]
    assert 1990 <= len(rows) <= 2000
    assert counts[0] > counts[1] > 400
    assert (np.diff(rows) > 0).all()
    assert len(embedding.choose(labels[:100], seed=1)) == 100


def test_the_table_and_picture_tell_of_each_cell(case: Made) -> None:
    with (case.card.folder / "embedding.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held, classes = case.splits.holdout, case.dataset.classes
    assert [row["id"] for row in rows] == case.dataset.ids[held].tolist()
    assert [row["true"] for row in rows] == [classes[k] for k in case.dataset.labels[held]]
    best = case.probabilities.argmax(axis=1)
    assert [row["predicted"] for row in rows] == [classes[k] for k in best]
    assert {row["method"] for row in rows} == {"PCA"}  # of 18 cells
    found = embedding.Embedding(np.arange(4), np.zeros((4, 2), np.float32), "PCA", "features")
    figure = embedding.embedding_plot(
        found, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("a", "b")
    )
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["a (n = 2, 1 wrong)", "b (n = 2, 0 wrong)"]
    ringed = [dots for dots in figure.axes[0].collections if not dots.get_facecolor().size]
    assert sum(len(dots.get_offsets()) for dots in ringed) == 1


# -- the whole


def evidence(case: Made, folder: Path, predictors: list[Fitted]) -> tuple[Evidence, str]:
    (folder / "plots").mkdir(parents=True)
    found = write_evidence(
        folder,
        predictors,
        case.dataset,
        case.splits.holdout,
        case.probabilities,
        case.probabilities.argmax(axis=1),
        case.oof,
        not_estimable=(),
        projection="umap",
    )
    return found, write_readme(story_of(case.card, evidence=found))


@pytest.mark.parametrize("measures", [True, False])
def test_trees_and_measured_features_get_no_saliency_but_a_map(
    case: Made, tmp_path: Path, measures: bool
) -> None:
    predictor = SimpleNamespace(module=Module(Steps(says_so=True)), history=[], measures=measures)
    found, told = evidence(case, tmp_path / "a", [predictor])
    assert found.saliency is None
    assert not (tmp_path / "a" / "saliency.npz").exists()
    assert not (tmp_path / "a" / "plots" / "saliency.png").exists()
    why = "the model sees measured features" if measures else "this kind of model has no gradient"
    assert f"None is drawn: {why}" in told
    assert found.embedding.of == "log-probabilities"
    assert ("no dense layer gives the logits" in told) is not measures


def test_of_an_ensemble_the_first_is_shown_and_told(case: Made, tmp_path: Path) -> None:
    first, second = case.predictor, SimpleNamespace(module=None, history=[])
    _, told = evidence(case, tmp_path / "a", [first, second])  # type: ignore[list-item]
    assert told.count("The first of the 2 networks is shown.") == 2


def test_an_older_card_without_these_files_loads_and_verifies(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    for name in ("curves.json", "embedding.csv", "saliency.npz", "plots/roc_hold_out.png"):
        (folder / name).unlink()
    write_checksums(folder)
    assert load_card(folder).verify().cells > 0


# -- generated cells


def made_of(name: str, **changes: object) -> GeneratorFigures:
    plain = GeneratorFigures(
        name,
        "wgan-gp",
        cells(5),
        cells(30, seed=1),
        np.linspace(3, 0, 20, dtype=np.float32),
        0.834,
        ("It learnt from 5 cells.",),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_generated_cells_are_drawn_and_told(case: Made, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (14, 2, 16, 16), dtype=np.uint8)
    ones = [
        made_of("class-2", real=images[:8], generated=images),
        made_of(
            "../a b", real=images[:1], generated=images[:0], nearest_ratio=float("nan"), notes=()
        ),
    ]
    card = write_card(tmp_path / "card", **case.ingredients(generators=ones))
    names = {path.name for path in (card.folder / "plots").glob("generated_*")}
    assert names == {f"generated_{k}.{s}" for k in ("class-2", "a_b") for s in ("png", "svg")}
    assert names <= {Path(n).name for n in json.loads((card.folder / "checksums.json").read_text())}
    assert (
        "- **class-2** (wgan-gp): learned from 8 real cells; nearest-neighbour ratio 0.83; "
        "It learnt from 5 cells." in card.readme
    )
    assert "learned from 1 real cell; nearest-neighbour ratio not known." in card.readme
    assert card.verify().files > 0
    assert "## Generated cells" not in case.card.readme
    ratios = [entry.nearest_ratio for entry in card.figures.generated]
    assert ratios == [pytest.approx(0.834), None]
    assert case.card.figures.generated == []


def test_a_sheet_names_how_many_cells_and_draws_the_critic() -> None:
    critic = np.array([3, 2, np.nan, 1], np.float32)
    figure = draw_generated(made_of("x", critic=critic), ("a", "b"))
    sheet, curve = figure.axes
    assert sheet.get_title() == "x (wgan-gp): 5 of 5 real, 12 of 30 generated"
    assert [text.get_text() for text in sheet.texts] == [
        *("real\na", "real\nb"),
        *("generated\na", "generated\nb"),
    ]
    assert list(curve.lines[0].get_xdata()) == [1, 2, 4]
    assert len(draw_generated(made_of("x", critic=critic[:0]), ("a", "b")).axes) == 1


def test_file_names_are_safe_and_differ() -> None:
    names = file_names([made_of(name) for name in ("A/b", "a b", "日本", "..", "A_b")])
    assert names == [
        *("generated_A_b", "generated_a_b_2"),
        *("generated_class", "generated_class_2", "generated_A_b_3"),
    ]


def test_generated_cells_of_another_size_are_refused() -> None:
    with pytest.raises(CardError, match=r"generated cells of x: .* one C, H and W"):
        made_of("x", generated=np.zeros((3, 2, 9, 8), np.uint8))


def test_colour_channels_are_drawn_as_one_picture() -> None:
    images = np.zeros((2, 3, 8, 8), np.uint8)
    one = made_of("x", real=images, generated=images)
    sheet = draw_generated(one, ("red", "green", "blue")).axes[0]
    assert [text.get_text() for text in sheet.texts] == ["real\ncolour", "generated\ncolour"]
