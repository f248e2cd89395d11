"""Crops of many sizes: brought to one by one rule, told, and done again to new crops."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from cellsearch.card.checksums import write_checksums
from cellsearch.card.inputs import prepare, size_note
from cellsearch.card.predict import CardPredictor
from cellsearch.data.check import check_dataset
from cellsearch.data.crop_sizes import (
    Fitting,
    bring,
    choose_fitting,
    lost_scale,
    pad,
    ragged,
    resize,
    shrink,
    sizes_of,
    square_side,
)
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.registry import layout
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict, read_unlabelled
from cellsearch.data.writers.registry import write_cells
from cellsearch.errors import CardError, DataError, InputError
from cellsearch.scan.choices import choose_size
from cellsearch.scan.facts import lines
from cellsearch.scan.look import first_look
from cellsearch.scan.write import write
from cellsearch.sklearn.classifier import CellClassifier
from cellsearch.util.wording import as_option

from card_cases import Made, made
from command_cases import cellsearch

CHOICE = '; choose otherwise with size="SIDE" and fit="RULE"'


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def crop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(h, w) uint8: a bright cell on a dim ground of 20."""
    image = np.full((height, width), 20, np.uint8)
    inner = image[1:-1, 1:-1]
    inner[:] = rng.integers(60, 250, inner.shape)
    return image


def many(root: Path, sizes: list[tuple[int, int]], classes: str = "ab") -> list[np.ndarray]:
    """Crops of these sizes, in turn of each class; in the order in which they are read."""
    rng = np.random.default_rng(0)
    found: dict[str, list[np.ndarray]] = {name: [] for name in classes}
    for number, (height, width) in enumerate(sizes):
        name = classes[number % len(classes)]
        (root / name).mkdir(parents=True, exist_ok=True)
        image = crop(rng, height, width)
        Image.fromarray(image).save(root / name / f"{number:04d}.png")
        found[name].append(image)
    return [image[None] for images in found.values() for image in images]


def sizes_between(low: int, high: int, count: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(1)
    return [(int(h), int(w)) for h, w in rng.integers(low, high + 1, (count, 2))]


def test_the_square_holds_99_of_100() -> None:
    assert square_side({(20, 30): 10}) == 32
    assert square_side({(20, 30): 9, (90, 10): 1}) == 96, "few cells are all held"
    assert square_side({(20, 30): 98, (90, 10): 1}) == 96, "99 cells have no hundredth"
    assert square_side({(20, 30): 99, (90, 10): 1}) == 32
    assert square_side({(20, 30): 198, (90, 10): 2}) == 32
    assert square_side({(20, 30): 197, (90, 10): 3}) == 96
    assert square_side({(32, 32): 5, (31, 32): 5}) == 32, "a multiple of 8 stays"
    assert square_side({(300, 20): 9, (20, 20): 9}) == 256
    assert square_side({(250, 20): 9, (20, 20): 9}) == 256
    assert square_side({(3, 3): 2, (4, 3): 1}) == 8


def test_a_real_folder_is_brought_to_one_size_and_told(tmp_path: Path) -> None:
    """As the public set of 3,363 cells: 1 % is larger, and shrunk."""
    sizes = [*sizes_between(12, 90, 396), (180, 96), (100, 50), (50, 111), (97, 97)]
    crops = many(tmp_path / "set", sizes)
    cells = load_dataset(tmp_path / "set", cache=tmp_path / "cache")
    assert cells.images.shape == (400, 1, 96, 96)
    there = len(set(sizes))
    note = (
        f"400 crops of {there} sizes (12x12 to 180x111 px): padded to 96x96, 4 larger ones shrunk"
    )
    (noted,) = cells.notes_of("crop-sizes")
    assert (noted.text, cells.provenance.notes) == (note, note)
    assert str(noted.message) == f"{note}{CHOICE}"
    assert cells.provenance.fit == "shrink"
    for found, image in zip(cells.images, crops, strict=True):
        height, width = image.shape[1:]
        if max(height, width) <= 96:
            top, left = (96 - height) // 2, (96 - width) // 2
            np.testing.assert_array_equal(found[:, top : top + height, left : left + width], image)
            rest = found.copy()
            rest[:, top : top + height, left : left + width] = 20
            assert (rest == 20).all(), "scale is kept, and the ground goes on"
    report = check_dataset(cells)
    (finding,) = [each for each in report.findings if each.kind == "crop-sizes"]
    assert (finding.severity, str(finding.message)) == ("note", f"{note}{CHOICE}")
    looked = first_look(tmp_path / "set")
    assert any(f"note: {note}" in str(line) for line in lines(looked))


def test_what_is_larger_keeps_its_aspect() -> None:
    image = np.full((1, 200, 100), 7, np.uint16)
    image[:, 20:180, 10:90] = 1000
    small = shrink(image, (50, 50))
    assert small.shape == (1, 50, 25)
    assert small[0, 25, 12] == 1000
    fitted = Fitting((50, 50), "shrink").apply(image)
    assert fitted.shape == (1, 50, 50)
    assert (fitted[0, :, 0] == 7).all()
    np.testing.assert_array_equal(fitted[:, :, 12:37], small)
    assert shrink(image, (300, 300)) is image, "nothing is enlarged"


def test_shrinking_is_anti_aliased() -> None:
    """Every other column bright: a mean, and no stripes."""
    image = np.zeros((1, 64, 64), np.uint8)
    image[:, :, ::2] = 200
    small = shrink(image, (16, 16))
    assert np.abs(small[:, 2:-2, 2:-2].astype(int) - 100).max() <= 15


@pytest.mark.parametrize("size", [(900, 3), (3, 900), (1000, 1), (257, 256), (1, 1), (3, 3)])
def test_odd_shapes_come_out_whole(size: tuple[int, int]) -> None:
    image = np.full((2, *size), 9, np.uint8)
    for fit in ("shrink", "pad", "resize"):
        fitted = Fitting((96, 96), fit, cut=True).apply(image)
        assert fitted.shape == (2, 96, 96)
        assert (fitted == 9).all()


def test_sets_of_one_size_are_untouched(tmp_path: Path) -> None:
    crops = many(tmp_path / "set", [(20, 31)] * 12)
    cells = load_dataset(tmp_path / "set", cache=tmp_path / "cache")
    np.testing.assert_array_equal(cells.images, np.stack(crops))
    assert (cells.provenance.fit, cells.provenance.notes) == ("", "")
    plain = CellDataset.from_arrays(
        np.stack(crops),
        cells.labels,
        classes=cells.classes,
        channels=cells.channels,
        ids=cells.ids,
    )
    assert plain.sha256 == cells.sha256
    for fit in ("pad", "resize", "shrink", "refuse"):
        again = load_dataset(tmp_path / "set", cache=tmp_path / "cache", fit=fit)
        assert again.sha256 == cells.sha256


def test_two_sizes_as_of_herlev(tmp_path: Path) -> None:
    crops = many(tmp_path / "set", [(224, 224), (200, 200)] * 3)
    cells = CellDataset.from_folder(tmp_path / "set")
    assert cells.images.shape[2:] == (224, 224)
    np.testing.assert_array_equal(cells.images[0], crops[0])
    assert "6 crops of 2 sizes (200x200 to 224x224 px): padded to 224x224" in (
        cells.provenance.notes
    )
    look = first_look(tmp_path / "set")
    assert look.size is not None
    assert (look.size.size, look.size.fit) == ((96, 96), "shrink"), "as init does with large crops"
    assert "6 of 6 are larger" in look.size.why


def test_whoever_wants_it_otherwise(tmp_path: Path) -> None:
    many(tmp_path / "set", [(20, 30), (40, 10), (24, 24), (60, 50)])

    def read(**options: Any) -> CellDataset:
        return CellDataset.from_folder(tmp_path / "set", **options)

    assert read(fit="pad").images.shape[2:] == (60, 50), "to the largest, and nothing is shrunk"
    assert read(fit="pad").provenance.fit == "pad"
    assert read(fit="resize").images.shape[2:] == (64, 64)
    assert read(fit="pad", cut=True).images.shape[2:] == (64, 64)
    assert read(fit="pad", cut=True).provenance.fit == "pad"
    small = read(size="32x32", fit="shrink")
    assert small.images.shape[2:] == (32, 32)
    assert small.notes_of("crop-sizes")[0].text == (
        "4 crops of 4 sizes (20x10 to 60x50 px): padded to 32x32, 2 larger ones shrunk"
    )
    cut = read(size="32x32", cut=True)
    assert cut.provenance.notes.endswith("padded to 32x32, 2 larger ones cut")
    assert read(size="64").provenance.fit == "pad", "as before"
    with pytest.raises(DataError, match="2 images are larger than") as caught:
        read(size="32x32")
    worded = caught.value.message.worded(as_option)
    assert "--option size=32x32, and --option fit=pad cannot shrink" in worded
    assert "--option fit=shrink" in worded
    assert "--option cut=true" in worded
    with pytest.raises(DataError, match="images of 4 sizes") as caught:
        read(fit="refuse")
    assert "choose --option fit=shrink" in caught.value.message.worded(as_option)
    with pytest.raises(DataError, match="takes 20x30 px alone"):
        read(fit="refuse", size="20x30")


def test_a_field_of_view_is_named_and_never_made_a_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path / "set", [*sizes_between(30, 40, 300), (2000, 1500)])
    field = "a/0300.png 2000x1500"
    for options in ({}, {"fit": "pad"}, {"fit": "resize"}, {"fit": "shrink", "size": "40"}):
        with pytest.raises(DataError, match="1 of 301 images is more than 1000 px") as caught:
            CellDataset.from_folder(tmp_path / "set", **options)
        assert field in str(caught.value)
    meant = CellDataset.from_folder(tmp_path / "set", size="40", fit="resize")
    assert meant.images.shape == (301, 1, 40, 40)
    code, _, error = cellsearch(capsys, monkeypatch, "datasets", "describe", str(tmp_path / "set"))
    assert code == 2
    assert "choose --option size=HEIGHTxWIDTH and --option fit=resize" in error
    assert "0300.png 2000x1500" in str(first_look(tmp_path / "set").problems[0])
    near = choose_fitting([(40, 40)] * 300 + [(520, 696)], ["c.png"] * 300 + ["field.png"])
    assert near is not None
    assert "(the largest, field.png, of 520x696 px, may be a field of view" in near.note


def test_one_size_beyond_a_crop_is_refused_as_before(tmp_path: Path) -> None:
    many(tmp_path / "set", [(1200, 1100)] * 2)
    with pytest.raises(DataError, match="1200x1100 px are large for single cells") as caught:
        CellDataset.from_folder(tmp_path / "set")
    worded = caught.value.message.worded(as_option)
    assert "--option layout=montage and --option tile=HEIGHTxWIDTH" in worded
    assert "--option size=1200x1100 or smaller with --option fit=resize" in worded


@pytest.mark.slow
def test_a_class_that_loses_its_scale_is_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    many(root, [(20, 20)] * 590 + [(24, 20)] * 4, classes="ab")
    rng = np.random.default_rng(3)
    (root / "giant").mkdir()
    for number in range(5):
        Image.fromarray(crop(rng, 70, 60)).save(root / "giant" / f"{number}.png")
    cells = CellDataset.from_folder(root)
    _, lost = cells.notes_of("crop-sizes")
    assert str(lost.message) == (
        "crops were shrunk of giant (5 of 5): how large these cells are cannot be learnt; a larger "
        'size="SIDE" keeps it'
    )
    kinds = {(f.kind, f.severity) for f in check_dataset(cells).findings}
    assert {("crop-sizes", "note"), ("crop-sizes", "warning")} <= kinds
    look = first_look(root)
    assert look.size is not None
    assert look.size.size == (72, 72), "init keeps how large the giants are"
    everyone = Fitting((8, 8), "shrink", larger=(0, 1), cells=2)
    assert lost_scale(everyone, ["a", "b"]) == ""


def test_init_writes_the_rule_and_its_reason(tmp_path: Path) -> None:
    many(tmp_path / "set", [*sizes_between(20, 60, 299), (120, 80)])
    look = first_look(tmp_path / "set")
    assert look.size is not None
    assert (look.size.size, look.size.fit) == ((64, 64), "shrink")
    assert "64x64 px holds 299 of 300" in look.size.why
    manifest = write(look, tmp_path / "cells.yaml")[-1]
    assert "fit: shrink" in manifest.read_text()
    by_default = CellDataset.from_folder(tmp_path / "set")
    by_manifest = load_dataset(manifest, cache=tmp_path / "cache")
    np.testing.assert_array_equal(by_manifest.images, by_default.images)
    assert by_manifest.provenance.fit == "shrink"
    assert "padded to 64x64, 1 larger one shrunk" in by_manifest.provenance.notes
    asked = first_look(tmp_path / "set", {"fit": "resize"})
    assert asked.size is not None
    assert (asked.size.size, asked.size.fit) == ((64, 64), "resize")
    assert choose_size({(20, 20): 4}) is None
    capped = choose_size({(100, 100): 90, (300, 300): 10})
    assert capped is not None
    assert capped.size == (128, 128), "no larger than the built-in spaces bear"


def test_memory_holds_the_array_once() -> None:
    crops = [np.zeros((3, 20, 20), np.uint8)] * 400
    fitting = Fitting((256, 256), "shrink")
    whole = 400 * 3 * 256 * 256
    tracemalloc.start()
    bring(crops, fitting)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whole <= peak < 1.1 * whole


def save_many_celled(kind: str, place: Path, crops: list[np.ndarray]) -> Path:
    if kind == "ome_tiff":
        path = place / "x.ome.tif"
        with tifffile.TiffWriter(path, ome=True) as tiff:
            for image in crops:
                tiff.write(image, photometric="minisblack", metadata={"axes": "CYX"})
        return path
    if kind == "table":
        path = place / "labels.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label"])
            for number, image in enumerate(crops):
                tifffile.imwrite(place / f"{number}.tif", image[0])
                writer.writerow([f"{number}.tif", "ab"[number % 2]])
        return path
    for number, image in enumerate(crops):
        for channel in (1, 2):
            (place / "set" / "a").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(place / "set" / "a" / f"{number}_Ch{channel}.tif", image[0] + channel)
    return place / "set"


@pytest.mark.parametrize("kind", ["table", "channel_files", "ome_tiff"])
def test_every_reader_of_single_images_keeps_the_rule(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    crops = [crop(rng, *size)[None] for size in [(20, 31), (44, 12), (44, 12), (9, 9)]]
    path = save_many_celled(kind, tmp_path, crops)
    raw = layout(kind, {}).read(path)
    assert np.asarray(raw.images).shape[2:] == (48, 48)
    assert raw.provenance is not None
    assert raw.provenance.fit == "shrink"
    assert raw.provenance.notes.startswith("4 crops of 3 sizes (9x9 to 44x31 px): padded to 48x48")
    first = np.asarray(raw.images)[0, :1]
    np.testing.assert_array_equal(first, pad(crops[0] + (kind == "channel_files"), (48, 48)))


def test_a_table_of_labels_keeps_count_of_what_was_shrunk(tmp_path: Path) -> None:
    """Cells without a row are left out, and the class is named by those that are left."""
    rng = np.random.default_rng(0)
    crops = [crop(rng, 10, 10)[None] for _ in range(298)] + [crop(rng, 30, 30)[None]] * 2
    path = save_many_celled("ome_tiff", tmp_path, crops)
    rows = ["object_number,label", "299,big", *(f"{number},small" for number in range(200))]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    raw = layout("ome_tiff", {}).read(path)
    assert np.asarray(raw.images).shape == (201, 1, 16, 16)
    assert raw.provenance is not None
    assert "crops were shrunk of big (1 of 1)" in raw.provenance.notes


def test_hdf5_of_another_size_tells_it_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((4, 1, 30, 20), np.uint8)
        file["labels"] = [0, 1, 0, 1]
    cells = load_dataset(tmp_path / "x.h5", cache=tmp_path / "cache", size="24", fit="shrink")
    assert cells.images.shape[2:] == (24, 24)
    assert cells.provenance.fit == "shrink"
    assert cells.provenance.notes == (
        "4 crops of 1 size (30x20 px): padded to 24x24, 4 larger ones shrunk"
    )


def with_rule(case: Made, tmp_path: Path, fit: str) -> Path:
    card = case.copy(tmp_path)
    config = json.loads((card / "config.json").read_text())
    (card / "config.json").write_text(json.dumps(config | {"fit": fit}))
    write_checksums(card)
    return card


def other_sizes(case: Made) -> list[np.ndarray]:
    """The card's crops are 16 x 16: as they are, smaller, larger, and of another aspect."""
    images = case.dataset.images
    return [
        images[0],
        images[1, :, 1:13, 2:16],
        images[2].repeat(3, axis=1).repeat(2, axis=2),
        images[3, :, :3, :3],
    ]


def test_new_crops_are_changed_as_those_of_the_training(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = with_rule(case, tmp_path, "shrink")
    crops, new = other_sizes(case), tmp_path / "new"
    new.mkdir()
    for number, image in enumerate(crops):
        tifffile.imwrite(new / f"{number}.tif", image, photometric="minisblack")
    trained = CellDataset.from_arrays(crops, list("abab"))
    assert trained.images.shape[2:] == (48, 48)
    fitting = choose_fitting(sizes_of(crops), [""] * 4, size=(16, 16), fit="shrink")
    assert fitting is not None
    predictor = CardPredictor.load(card)
    np.testing.assert_array_equal(prepare(crops, predictor.config), bring(crops, fitting))
    expected = predictor.predict(bring(crops, fitting))
    np.testing.assert_allclose(predictor.predict(crops), expected, atol=1e-6)
    code, out, error = cellsearch(capsys, monkeypatch, "predict", card, new, "--json")
    assert code == 0, error
    told = json.loads(out)
    found = [list(cell["probabilities"].values()) for cell in told["cells"]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    line = "4 crops of 4 sizes (3x3 to 48x32 px): padded to 16x16, 1 larger one shrunk"
    assert told["sizes"] == [line]
    code, out, error = cellsearch(capsys, monkeypatch, "predict", card, new)
    assert code == 0, error
    assert out.splitlines()[0] == line
    # One array of another size, as an .npz holds it.
    whole = np.stack([crops[2]] * 2)
    np.savez(tmp_path / "new.npz", images=whole)
    code, out, error = cellsearch(capsys, monkeypatch, "predict", card, tmp_path / "new.npz")
    assert code == 0, error
    assert "2 crops of 1 size (48x32 px): padded to 16x16, 2 larger ones shrunk" in out
    assert size_note(case.dataset.images[:2], predictor.config) == ""


def test_a_card_refuses_what_was_refused_in_training(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = with_rule(case, tmp_path, "shrink")
    field = np.zeros((len(case.dataset.channels), 1200, 900), case.dataset.images.dtype)
    predictor = CardPredictor.load(card)
    with pytest.raises(CardError, match=r"1 of 2 images is more than 1000 px .*image 1 1200x900"):
        predictor.predict([case.dataset.images[0], field])
    new = tmp_path / "new"
    new.mkdir()
    tifffile.imwrite(new / "cell.tif", case.dataset.images[0], photometric="minisblack")
    tifffile.imwrite(new / "field.tif", field, photometric="minisblack")
    code, _, error = cellsearch(capsys, monkeypatch, "predict", card, new)
    assert code == 2
    assert "field.tif 1200x900" in error
    assert "choose --fit resize" in error


def test_a_card_of_one_size_takes_no_crops_of_several(
    case: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The readers' rule must not bring them to the card's size behind its back."""
    card = with_rule(case, tmp_path, "refuse")
    new = tmp_path / "new"
    new.mkdir()
    for number in range(3):
        image = case.dataset.images[number, :, : 16 - number]
        tifffile.imwrite(new / f"{number}.tif", image, photometric="minisblack")
    code, _, error = cellsearch(capsys, monkeypatch, "predict", card, new)
    assert code == 2
    assert "images of 3 sizes" in error
    assert "choose --fit shrink" in error
    code, out, error = cellsearch(capsys, monkeypatch, "predict", card, new, "--fit", "shrink")
    assert code == 0, error
    assert "3 crops of 3 sizes (14x16 to 16x16 px): padded to 16x16" in out


def test_a_manifest_keeps_its_own_size_before_a_card_that_refuses(tmp_path: Path) -> None:
    many(tmp_path / "set", [*sizes_between(12, 30, 40)])
    manifest = write(first_look(tmp_path / "set"), tmp_path / "cells.yaml")[-1]
    cells = cells_to_predict(str(manifest), channels=["channel-1"], defaults={"fit": "refuse"})
    assert cells.images.shape[2:] == (32, 32)


def test_unlabelled_images_and_their_conversion(tmp_path: Path) -> None:
    crops = many(tmp_path / "set", [(20, 31), (25, 12), (20, 31)], classes="a")
    cells = read_unlabelled(tmp_path / "set" / "a", channels=1)
    np.testing.assert_array_equal(cells.images[0], pad(crops[0], (32, 32)))
    note = "3 crops of 2 sizes (20x12 to 25x31 px): padded to 32x32"
    (noted,) = cells.notes_of("crop-sizes")
    assert (str(noted), str(noted.message)) == (note, f"{note}{CHOICE}")
    assert cells.provenance.notes == note
    out = write_cells(cells, tmp_path / "cells.npz")
    again = read_unlabelled(out.readable, channels=1)
    np.testing.assert_array_equal(again.images, cells.images)
    assert again.notes_of("crop-sizes") == (replace(noted, remedy=None),)


def test_lists_of_arrays_in_python() -> None:
    rng = np.random.default_rng(0)
    flat = [crop(rng, 20, 20), crop(rng, 12, 31), crop(rng, 24, 20)]
    cells = CellDataset.from_arrays(flat, ["a", "b", "a"])
    assert cells.images.shape == (3, 1, 32, 32)
    assert cells.provenance.fit == "shrink"
    assert cells.provenance.notes == "3 crops of 3 sizes (12x20 to 24x31 px): padded to 32x32"
    last = [np.stack([each] * 3, axis=2) for each in flat]
    colour = CellDataset.from_arrays(last, ["a", "b", "a"], layout="NHWC")
    np.testing.assert_array_equal(colour.images[:, 1:2], cells.images)
    with pytest.raises(DataError, match='where they come last, give layout="NHWC"'):
        CellDataset.from_arrays(last, ["a", "b", "a"])
    objects = np.empty(3, object)
    objects[:] = flat
    assert CellDataset.from_arrays(objects, ["a", "b", "a"]).sha256 == cells.sha256
    same = CellDataset.from_arrays([flat[0], flat[0].copy()], ["a", "b"])
    assert same.provenance.notes == ""
    with pytest.raises(DataError, match=r"2 dtypes"):
        CellDataset.from_arrays([flat[0], flat[1].astype(np.uint16)], ["a", "b"])
    with pytest.raises(DataError, match=r"fields of view .*image 1 1001x4"):
        CellDataset.from_arrays([flat[0], np.zeros((1001, 4), np.uint8)], ["a", "b"])
    assert ragged([[1, 2], [3]]) is None
    assert ragged([np.zeros(3), np.zeros(4)]) is None


def test_a_classifier_takes_lists_of_several_sizes() -> None:
    rng = np.random.default_rng(0)
    side = rng.integers(9, 24, (40, 2))
    X = [crop(rng, int(h), int(w)) for h, w in side]
    for number in range(0, 40, 2):
        X[number] = X[number] // 4 + 15
    y = np.array(["dim", "bright"] * 20)
    fast = {"model.family": "logreg"}
    classifier = CellClassifier(recipe=fast).fit(X, y)
    assert classifier.image_shape_ == (1, 24, 24)
    assert classifier.size_rule_ == "shrink"
    found = classifier.predict_proba(X)
    fitted = CellDataset.from_arrays(X, y).images
    np.testing.assert_array_equal(found, classifier.predict_proba(fitted))
    larger = [resize(X[0][None], (60, 40))[0], X[1]]
    expected = Fitting((24, 24), "shrink")
    by_hand = np.stack([expected.apply(image[None]) for image in larger])
    np.testing.assert_array_equal(
        classifier.predict_proba(larger), classifier.predict_proba(by_hand)
    )
    alike = np.stack([larger[0], larger[0]])
    assert classifier.predict_proba(alike).shape == (2, 2)
    strict = CellClassifier(recipe=fast).fit(fitted, y)
    assert strict.size_rule_ == "refuse"
    with pytest.raises(InputError, match="fitted on cells of 24 x 24 px; these are images of 2"):
        strict.predict(larger)


def test_the_page_does_as_the_card(case: Made, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    import io

    from fastapi.testclient import TestClient

    from cellsearch.serve.app import create_app

    card = with_rule(case, tmp_path, "shrink")
    crops = other_sizes(case)
    files = []
    for number, image in enumerate([*crops, np.zeros((len(crops[0]), 1100, 9), crops[0].dtype)]):
        held = io.BytesIO()
        np.save(held, image)
        files.append(("files", (f"{number}.npy", held.getvalue())))
    with TestClient(create_app(card, threads=1), base_url="http://127.0.0.1") as client:
        answer = client.post("/api/predict", files=files).json()
        assert client.get("/api/card").json()["fit"] == "shrink"
    found = np.array([list(cell["probabilities"].values()) for cell in answer["cells"]])
    np.testing.assert_allclose(found, CardPredictor.load(card).predict(crops), atol=1e-6)
    (refused,) = answer["refused"]
    assert refused["file"] == "4.npy"
    assert "more than 1000 px" in refused["reason"]
    assert "3 cells of another size: padded to 16x16 px, 1 larger one shrunk" in answer["notes"]
