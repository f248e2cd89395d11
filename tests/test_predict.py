"""Prediction from a card: right, light, and particular about its images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import CardConfig
from cellsearch.card.inputs import prepare
from cellsearch.card.predict import CardPredictor, to_rows
from cellsearch.card.whole_files import write_csv
from cellsearch.data.crop_sizes import pad_or_cut
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError

from card_cases import Made, made
from command_cases import cellsearch


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def predictor(case: Made) -> CardPredictor:
    return CardPredictor.load(case.card.folder)


def changed(config: CardConfig, **changes: Any) -> CardConfig:
    return CardConfig.model_validate(config.model_dump() | changes)


def test_gives_the_probabilities_of_the_trained_network(
    case: Made, predictor: CardPredictor
) -> None:
    images = case.dataset.images[case.splits.holdout]
    found = predictor.predict(images)
    assert (predictor.classes, predictor.channels) == (case.dataset.classes, case.dataset.channels)
    assert predictor.size == (16, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, case.served(case.probabilities), atol=1e-4)
    np.testing.assert_allclose(predictor.predict(images, batch=1), found, rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(predictor.predict(list(images)), found)


def test_loads_neither_torch_nor_ray_nor_plots(case: Made) -> None:
    script = (
        "import sys, numpy\n"
        "from cellsearch.card.predict import CardPredictor\n"
        "folder = sys.argv[1]\n"
        "p = CardPredictor.load(folder).predict(numpy.load(folder + '/test_input.npy'))\n"
        "heavy = {'torch', 'ray', 'onnx', 'onnxscript', 'optuna', 'sklearn', 'matplotlib',\n"
        "         'huggingface_hub', 'scipy', 'pandas'}\n"
        "print(len(p), sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(case.card.folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{len(np.load(case.card.folder / 'test_input.npy'))} []\n"
    assert done.stderr == ""


def test_another_number_of_channels(case: Made, predictor: CardPredictor) -> None:
    images = case.dataset.images[:3]
    with pytest.raises(CardError, match=r"2 channels \(brightfield, darkfield\).* have 1$"):
        predictor.predict(images[:, :1])
    with pytest.raises(CardError, match="channels seem to come last"):
        predictor.predict(np.moveaxis(images, 1, 3))
    with pytest.raises(CardError, match=r"got shape \(3, 16, 16\)"):
        predictor.predict(images[:, 0])
    with pytest.raises(CardError, match="no images"):
        predictor.predict(images[:0])


def test_another_dtype(case: Made, predictor: CardPredictor) -> None:
    images = case.dataset.images[:3]
    with pytest.raises(CardError, match=r"trained on uint8 .* these are uint16"):
        predictor.predict(images.astype(np.uint16))
    with pytest.raises(CardError, match="these are float64"):
        predictor.predict(images / 255.0)


def test_another_size_is_refused_with_the_two_ways_out(
    case: Made, predictor: CardPredictor
) -> None:
    images = case.dataset.images[:2]
    larger = np.pad(images, ((0, 0), (0, 0), (3, 3), (2, 2)), mode="edge")
    with pytest.raises(CardError, match=r"16 x 16 .* have 22 x 20; .*fit=.pad.*fit=.resize"):
        predictor.predict(larger)
    np.testing.assert_array_equal(predictor.predict(larger, fit="pad"), predictor.predict(images))
    doubled = images.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(
        prepare([doubled[0], images[1]], predictor.config, fit="resize")[1], images[1]
    )
    halved = prepare(doubled, predictor.config, fit="resize")
    assert halved.dtype == np.uint8
    inner = np.abs(halved.astype(float) - images)
    assert inner.mean() < 0.5 * np.abs(images - images.mean()).mean()
    with pytest.raises(
        CardError, match="fit: must be one of refuse, pad, resize, shrink; got 'crop'"
    ):
        predictor.predict(larger, fit="crop")


def test_padding_keeps_the_cell_in_the_middle_and_takes_the_edges_median() -> None:
    image = np.full((2, 4, 4), 5, np.uint16)
    image[1] = 9
    image[0, 0, 0] = 60_000  # one bright corner must not become the background
    image[:, 1:3, 1:3] = 100
    padded = pad_or_cut(image, (8, 6))
    assert padded.shape == (2, 8, 6)
    assert padded.dtype == np.uint16
    np.testing.assert_array_equal(padded[:, 2:6, 1:5], image)
    assert (padded[0, :2] == 5).all()
    assert (padded[1, :, 0] == 9).all()
    np.testing.assert_array_equal(pad_or_cut(padded, (4, 4)), image)
    mixed = pad_or_cut(image, (2, 8))
    assert mixed.shape == (2, 2, 8)
    np.testing.assert_array_equal(mixed[:, :, 2:6], image[:, 1:3])


def test_the_cards_own_rule_for_sizes_is_followed(case: Made) -> None:
    config = changed(case.card.config, fit="pad")
    image = np.pad(case.dataset.images[:1], ((0, 0), (0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(prepare(image, config), case.dataset.images[:1])
    with pytest.raises(CardError, match="choose"):
        prepare(image, config, fit="refuse")


def test_the_command_brings_sizes_to_the_cards_as_in_training(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = tmp_path / "new"
    crops.mkdir()
    tifffile.imwrite(crops / "a.tif", case.dataset.images[0])
    tifffile.imwrite(crops / "b.tif", case.dataset.images[1, :, 1:13, 2:16])
    code, _, error = cellsearch(capsys, monkeypatch, "predict", case.card.folder, crops)
    assert code == 2
    assert "--fit shrink" in error
    card = case.copy(tmp_path)
    config = json.loads((card / "config.json").read_text())
    (card / "config.json").write_text(json.dumps(config | {"fit": "pad"}))
    write_checksums(card)
    code, out, error = cellsearch(capsys, monkeypatch, "predict", card, crops, "--json")
    assert code == 0, error
    found = [list(cell["probabilities"].values()) for cell in json.loads(out)["cells"]]
    expected = CardPredictor.load(card).predict(
        [case.dataset.images[0], case.dataset.images[1, :, 1:13, 2:16]]
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
    code, _, error = cellsearch(capsys, monkeypatch, "predict", card, crops, "--fit", "refuse")
    assert code == 2
    assert "2 sizes" in error


@pytest.mark.parametrize("kind", ["npz", "ome.tif"])
def test_larger_crops_are_cut_whatever_file_they_come_in(
    case: Made,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    images = case.dataset.images[:2]
    larger = np.pad(images, ((0, 0), (0, 0), (2, 2), (3, 3)))
    path = tmp_path / f"new.{kind}"
    if kind == "npz":
        np.savez(path, images=larger)
    else:
        tifffile.imwrite(path, larger, photometric="minisblack", metadata={"axes": "TCYX"})
    asked = ("predict", case.card.folder, path, "--fit", "pad", "--json")
    code, out, error = cellsearch(capsys, monkeypatch, *asked)
    assert code == 0, error
    found = [list(cell["probabilities"].values()) for cell in json.loads(out)["cells"]]
    expected = CardPredictor.load(case.card.folder).predict(images)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def as_floats(config: CardConfig, factor: float) -> CardConfig:
    return changed(
        config,
        dtype="float32",
        dtype_range=None,
        ranges=[
            {
                name: value if name == "channel" else value * factor
                for name, value in part.model_dump().items()
            }
            for part in config.ranges
        ],
    )


def test_floats_of_another_scale_are_refused_with_both_ranges(case: Made) -> None:
    images = case.dataset.images[:6].astype(np.float32)
    unit = as_floats(case.card.config, 1 / 255)
    np.testing.assert_array_equal(prepare(images / 255, unit), images / 255)
    low, high = unit.ranges[0].low, unit.ranges[0].high
    with pytest.raises(CardError) as caught:
        prepare(images, unit)
    assert f"brightfield {low:g} to {high:g}" in str(caught.value)
    assert f"brightfield {images[:, 0].min():g} to {images[:, 0].max():g}" in str(caught.value)
    bytes_ = as_floats(case.card.config, 1.0)
    with pytest.raises(CardError, match="another scale"):
        prepare(images / 255, bytes_)


def test_another_exposure_or_a_blank_image_is_no_other_scale(case: Made) -> None:
    config = as_floats(case.card.config, 1.0)
    images = case.dataset.images[:6].astype(np.float32)
    prepare(images * 0.4, config)
    prepare(images * 1.7, config)
    prepare(np.full_like(images, 60.0), config)
    hot = images.copy()
    hot[0, 0, 3, 3] = 1e6  # one hot pixel
    prepare(hot, config)


def test_sixteen_bits_beyond_the_camera_are_refused(case: Made) -> None:
    config = changed(
        case.card.config,
        dtype="uint16",
        dtype_range=(0, 65_535),
        ranges=[
            {"channel": name, "low": 0, "typical_low": 10, "typical_high": 2000, "high": 4095}
            for name in case.card.config.channels
        ],
    )
    images = case.dataset.images[:6].astype(np.uint16)
    prepare(images * 10, config)
    with pytest.raises(CardError, match="brightfield 0 to 4095"):
        prepare(images * 250, config)


def test_slices_are_channels_for_prediction_only_where_they_are_named(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("predict", case.card.folder, tmp_path)
    for k in range(3):
        tifffile.imwrite(
            tmp_path / f"{k}.tif", case.dataset.images[k], imagej=True, metadata={"axes": "ZYX"}
        )
    code, _, error = cellsearch(capsys, monkeypatch, *asked)
    assert code == 2
    assert "2 slices (Z) in one file" in error
    assert "name them with --option channels=NAME1,NAME2" in error
    names = ",".join(case.card.config.channels)
    code, out, error = cellsearch(capsys, monkeypatch, *asked, "--option", f"channels={names}")
    assert (code, "3 cells" in out + error) == (0, True)


def test_files_of_other_numbers_are_named_by_their_own_dtype(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(3):
        image = case.dataset.images[k].astype(np.int16)
        tifffile.imwrite(tmp_path / f"{k}.tif", image, photometric="minisblack")
    code, _, error = cellsearch(capsys, monkeypatch, "predict", case.card.folder, tmp_path)
    assert code == 2
    assert "images of int16, and uint8 is needed, as the card was trained on" in error
    assert "float32" not in error


def test_nan_is_refused_by_image(case: Made) -> None:
    images = case.dataset.images[:6].astype(np.float32)
    images[4, 1, 2, 3] = np.nan
    with pytest.raises(CardError, match=r"NaN or infinite pixels in 1 of 6 .*: 4\)"):
        prepare(images, as_floats(case.card.config, 1.0))


@pytest.mark.parametrize("name", ["model.onnx", "config.json"])
def test_changed_bytes_are_noticed_before_use(case: Made, tmp_path: Path, name: str) -> None:
    folder = case.copy(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data = data.replace(b"class-0", b"class-9") if name == "config.json" else data
    data[-1] ^= 0 if name == "config.json" else 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(CardError, match=f"{name} has changed"):
        CardPredictor.load(folder)


def test_a_model_that_contradicts_its_config(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["classes"] = config["classes"][:2]
    del config["prevalence"]
    path.write_text(json.dumps(config))
    write_checksums(folder)
    with pytest.raises(CardError, match="2 classes, but its model gives"):
        CardPredictor.load(folder).predict(case.dataset.images[:1])


def test_rows_name_cell_class_and_every_probability(case: Made, tmp_path: Path) -> None:
    dataset = CellDataset.from_arrays(
        case.dataset.images[:2],
        np.array([-1, 2]),
        classes=case.dataset.classes,
        sources=np.array(["a,b.tif", "c.tif"]),
        object_numbers=np.array([7, 8]),
    )
    probabilities = np.array([[0.25, 0.7, 0.05], [0.1, 0.2, 0.7]], np.float32)
    rows = to_rows(dataset, probabilities, ("G1", "id", "S"), truth=True)
    write_csv(tmp_path / "out.csv", rows)
    assert (tmp_path / "out.csv").read_bytes().count(b"\r") == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = list(csv.DictReader(file))
    assert list(first) == [
        *("id", "source", "object_number", "true_class", "predicted_class", "confidence"),
        *("G1", "p(id)", "S"),
    ]
    assert first["id"] == str(dataset.ids[0])
    assert (first["source"], first["object_number"]) == ("a,b.tif", "7")
    assert (first["true_class"], second["true_class"]) == ("", case.dataset.classes[2])
    assert (first["predicted_class"], first["confidence"]) == ("id", "0.700000")
    assert [float(second[name]) for name in ("G1", "p(id)", "S")] == [0.1, 0.2, 0.7]
    with pytest.raises(CardError, match="3 classes"):
        to_rows(dataset, probabilities[:1], ("a", "b", "c"))


def test_a_table_is_written_wholly_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("older")
    with pytest.raises(CardError, match="no rows"):
        write_csv(path, [])
    with pytest.raises(ValueError, match="dict contains fields"):
        write_csv(path, [{"a": "1"}, {"b": "2"}])
    assert path.read_text() == "older"
    with pytest.raises(CardError, match="cannot write"):
        write_csv(tmp_path / "none" / "out.csv", [{"a": "1"}])
    write_csv(path, [{"a": "1"}])
    assert path.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [path]
