"""Cells cropped out of whole images by label images: what comes out, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from cellsearch import crop_cells, load_dataset
from cellsearch.cli import app
from cellsearch.data.cropping.label_images import objects_in
from cellsearch.data.cropping.pairs import find_pairs
from cellsearch.data.cropping.windows import cut, default_margin, side_for
from cellsearch.data.splits import draw_splits
from cellsearch.data.unlabelled import cells_to_predict
from cellsearch.errors import CellsearchError, ConfigError, DataError, ReadError

from field_cases import CENTRES, image_of, labels_of, make_fields

WHOLE = len(CENTRES) - 1
"""Objects of a field that do not reach its border."""


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    return make_fields(tmp_path, 2)


def lay(folder: Path, labels: NDArray[np.generic], name: str = "a") -> Path:
    """One image with its label image, both TIFF, in a folder of their own each."""
    for each in ("images", "masks"):
        (folder / each).mkdir(exist_ok=True)
    tifffile.imwrite(folder / f"images/{name}.tif", image_of(np.asarray(labels) > 0)[0])
    tifffile.imwrite(folder / f"masks/{name}.tif", labels)
    return folder


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(CellsearchError) as found:
        crop_cells(folder / "images", folder / "masks", **settings)
    return str(found.value)


def test_each_object_is_in_the_middle_of_its_crop_with_its_own_pixels(fields: Path) -> None:
    cells = crop_cells(fields / "images", fields / "masks").cells
    assert len(cells) == 2 * WHOLE
    assert cells.images.dtype == np.uint16
    side = cells.images.shape[2]
    for cell in range(len(cells)):
        number = int(cells.object_numbers[cell])
        field = int(str(cells.groups[cell]).removeprefix("field_"))
        labels, image = labels_of(field), image_of(labels_of(field), seed=field)
        rows, columns = np.nonzero(labels == number)
        top = (rows.min() + rows.max() + 1 - side) // 2
        left = (columns.min() + columns.max() + 1 - side) // 2
        if top < 0 or left < 0 or top + side > labels.shape[0] or left + side > labels.shape[1]:
            continue
        here = image[:, top : top + side, left : left + side]
        np.testing.assert_array_equal(cells.images[cell], here)
    assert cells.ids[0] == "field_1.tif#1"
    assert cells.sources[0] == "field_1.tif"
    assert cells.classes == ()
    assert (cells.labels == -1).all()


def test_the_side_holds_the_95th_percentile_with_a_margin() -> None:
    extents = [20] * 95 + [80] * 5
    assert default_margin(extents) == 2
    assert side_for([20] * 99 + [80], 2) == 24
    assert side_for([41] * 10, 4) == 56


def test_size_and_margin_are_heeded(fields: Path) -> None:
    small = crop_cells(fields / "images", fields / "masks", size=16)
    assert small.cells.images.shape[2:] == (16, 16)
    assert small.counts.larger > 0
    wide = crop_cells(fields / "images", fields / "masks", margin=20)
    assert wide.cells.images.shape[2] >= 20 + 2 * 20
    held = crop_cells(fields / "images", fields / "masks", size=small.counts.side_for_all(2))
    assert held.counts.larger == 0


def test_border_and_tiny_objects_are_left_out_and_counted(tmp_path: Path) -> None:
    labels = labels_of()
    labels[60, 60] = 90
    folder = lay(tmp_path, labels)
    found = crop_cells(folder / "images", folder / "masks")
    assert (found.counts.on_border, found.counts.tiny) == (1, 1)
    assert found.counts.objects == WHOLE + 2
    assert 90 not in found.cells.object_numbers
    kept = crop_cells(folder / "images", folder / "masks", border="keep", least_area=1)
    assert kept.counts.cells == WHOLE + 2


def test_beyond_the_image_stands_the_median_of_the_background() -> None:
    labels = labels_of()
    image = np.where(labels > 0, 2000, 1000).astype(np.uint16)[None]
    image[0, 40:, :] = 3000
    one = next(each for each in objects_in(labels) if each.number == len(CENTRES))
    crop = cut(image, labels, one, 32, "keep")
    assert crop.shape == (1, 32, 32)
    assert (crop[0, 0] == 1000).all()


def test_a_masked_background_is_its_median_and_neighbours_are_gone() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[10:20, 10:20], labels[10:20, 22:30] = 1, 2
    image = np.where(labels > 0, 200, 50).astype(np.uint8)[None].repeat(2, axis=0)
    image[1] //= 2
    one = objects_in(labels)[0]
    crop = cut(image, labels, one, 24, "mask")
    assert set(np.unique(crop[0])) == {50, 200}
    assert set(np.unique(crop[1])) == {25, 100}
    assert (crop[0] == 200).sum() == 100
    assert (cut(image, labels, one, 24, "keep")[0] == 200).sum() > 100


def test_where_all_is_objects_the_rim_gives_the_level() -> None:
    labels = np.ones((20, 20), np.uint8)
    labels[5:12, 5:12] = 2
    image = np.full((1, 20, 20), 7, np.uint8)
    image[0, 5:12, 5:12] = 90
    crop = cut(image, labels, objects_in(labels)[1], 16, "mask")
    assert set(np.unique(crop)) == {7, 90}


def test_numbers_of_any_height_are_kept() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[2:6, 2:6], labels[10:15, 10:15] = 4_000_000_000, 7
    assert [(each.number, each.area) for each in objects_in(labels)] == [
        (7, 25),
        (4_000_000_000, 16),
    ]
    assert [each.number for each in objects_in(np.full((3, 3), 5, np.uint8))] == [5]


def test_images_are_groups_and_no_split_tears_them_apart(tmp_path: Path) -> None:
    folder = make_fields(tmp_path)
    cells = crop_cells(folder / "images", folder / "masks", labels=folder / "labels.csv").cells
    assert sorted(set(cells.groups.tolist())) == [f"field_{k}" for k in range(1, 7)]
    splits = draw_splits(cells, folds=2, holdout=0.3)
    held = set(cells.groups[splits.holdout].tolist())
    assert held
    assert not held & set(np.delete(cells.groups, splits.holdout).tolist())


def test_one_image_has_no_groups(tmp_path: Path) -> None:
    folder = lay(tmp_path, labels_of())
    assert crop_cells(folder / "images", folder / "masks").cells.groups is None


def test_a_table_gives_labels_and_objects_without_a_row_are_left_out(fields: Path) -> None:
    table = fields / "some.csv"
    table.write_text(
        "image,object,label,group\nfield_1.tif,1,mitosis,d1\nfield_1,7,rest,d1\n"
        "field_2.tif,3,rest,d2\n"
    )
    found = crop_cells(fields / "images", fields / "masks", labels=table)
    assert found.cells.ids.tolist() == ["field_1.tif#1", "field_2.tif#3"]
    assert found.cells.classes == ("mitosis", "rest")
    assert found.cells.groups.tolist() == ["d1", "d2"]
    assert found.counts.unlabelled == 2 * len(CENTRES) - 3
    assert found.counts.on_border == 1


def test_a_row_without_an_object_is_named(fields: Path) -> None:
    (fields / "some.csv").write_text("image,object,label\nfield_1.tif,99,a\nfield_9.tif,1,a\n")
    told = refusal(fields, labels=fields / "some.csv")
    assert "line 2: no cell 99 of field_1.tif" in told
    assert "line 3: no cell 1 of field_9.tif" in told


def test_folders_of_images_are_classes_where_asked(tmp_path: Path) -> None:
    for kind in ("treated", "control"):
        for place in ("images", "masks"):
            (tmp_path / place / kind).mkdir(parents=True)
        tifffile.imwrite(tmp_path / f"images/{kind}/a.tif", image_of(labels_of())[0])
        tifffile.imwrite(tmp_path / f"masks/{kind}/a_masks.tif", labels_of())
    found = crop_cells(tmp_path / "images", tmp_path / "masks", class_folders=True).cells
    assert found.classes == ("control", "treated")
    assert found.counts.tolist() == [WHOLE, WHOLE]
    assert sorted(set(found.groups.tolist())) == ["control/a", "treated/a"]
    assert crop_cells(tmp_path / "images", tmp_path / "masks").cells.classes == ()
    (tmp_path / "images/treated/a.tif").rename(tmp_path / "images/a.tif")
    (tmp_path / "masks/treated/a_masks.tif").rename(tmp_path / "masks/a_masks.tif")
    assert "a.tif" in refusal(tmp_path, class_folders=True)


@pytest.mark.parametrize(
    "name",
    [
        "a_cp_masks.png",
        "a_masks.tif",
        "a-labels.tif",
        "a_Object Identities.tiff",
        "a.tif",
        "a.png",
        "a_label.tif",
        "a_mask.png",
    ],
)
def test_label_images_are_found_by_the_names_programmes_give(name: str, tmp_path: Path) -> None:
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
    (tmp_path / "images/a.ome.tif").touch()
    (tmp_path / "masks" / name).touch()
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [pair.mask.name for pair in pairs.found] == [name]
    assert pairs.found[0].name == "a"


def test_one_folder_may_hold_both_and_what_else_cellpose_writes(tmp_path: Path) -> None:
    for name in ("a.tif", "a_cp_masks.tif", "a_flows.tif", "b.tif", "b_cp_masks.png", "a_seg.npy"):
        (tmp_path / name).touch()
    pairs = find_pairs(tmp_path)
    assert [(p.image.name, p.mask.name) for p in pairs.found] == [
        ("a.tif", "a_cp_masks.tif"),
        ("b.tif", "b_cp_masks.png"),
    ]
    assert not pairs.problems
    alone = find_pairs(tmp_path / "b.tif")
    assert [p.mask.name for p in alone.found] == ["b_cp_masks.png"]


@pytest.mark.parametrize("places", [("all", "all/masks"), ("all/images", "all")])
def test_one_folder_may_lie_in_the_other(places: tuple[str, str], tmp_path: Path) -> None:
    images, masks = (tmp_path / place for place in places)
    for path in (images / "a.tif", masks / "a_masks.tif", images / "d/b.tif", masks / "d/b.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pairs = find_pairs(images, masks)
    assert [(p.source, p.mask.name) for p in pairs.found] == [
        ("a.tif", "a_masks.tif"),
        ("d/b.tif", "b.png"),
    ]
    assert not pairs.problems


def test_label_images_may_lie_flat_where_names_are_of_one_image_each(tmp_path: Path) -> None:
    for name in ("images/d1/a.tif", "images/d2/b.tif", "images/d3/b.tif", "masks/a.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "masks/b.tif").touch()
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [pair.source for pair in pairs.found] == ["d1/a.tif"]
    told = " ".join(map(str, pairs.problems))
    assert "d2/b.tif" in told
    assert "d3/b.tif" in told


def test_files_without_a_partner_are_listed_in_one_error(fields: Path) -> None:
    (fields / "images/alone.tif").write_bytes((fields / "images/field_1.tif").read_bytes())
    (fields / "masks/lonely.png").write_bytes((fields / "masks/field_1_cp_masks.png").read_bytes())
    told = refusal(fields)
    assert "1 without a label image: alone.tif" in told
    assert "lonely.png" in told


def test_two_label_images_for_one_image_are_refused(fields: Path) -> None:
    (fields / "masks/field_1.png").write_bytes((fields / "masks/field_1_cp_masks.png").read_bytes())
    assert "2 label images" in refusal(fields)


WRONG = {
    "size": (np.ones((50, 60), np.uint16), "120 x 150 px, but its label image has 50 x 60"),
    "turned": (labels_of().T.copy(), "height and width are exchanged"),
    "float": (labels_of().astype(np.float32), "floats (float32)"),
    "colours": (np.dstack([labels_of().astype(np.uint8)] * 3), "colours (3 channels)"),
    "negative": (labels_of().astype(np.int16) - 1, "negative numbers (down to -1)"),
    "foreground": ((labels_of() > 0).astype(np.uint8) * 255, "7 parts, but 1 number"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_label_image_of_the_image_is_one_line(kind: str, tmp_path: Path) -> None:
    mask, words = WRONG[kind]
    folder = lay(tmp_path, labels_of())
    colours = {"photometric": "rgb"} if kind == "colours" else {}
    tifffile.imwrite(folder / "masks/a.tif", mask, **colours)
    told = refusal(folder)
    assert words in told
    assert "\n" not in told


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    for name, (mask, _) in WRONG.items():
        lay(tmp_path, labels_of(), name)
        colours = {"photometric": "rgb"} if name == "colours" else {}
        tifffile.imwrite(tmp_path / f"masks/{name}.tif", mask, **colours)
    tifffile.imwrite(tmp_path / "images/alone.tif", image_of(labels_of())[0])
    told = refusal(tmp_path)
    assert all(words in told for _, words in WRONG.values())
    assert "alone.tif" in told
    assert told.count("\n") == len(WRONG) + 1


def test_label_images_in_a_lossy_format_are_refused(fields: Path) -> None:
    Image.fromarray(labels_of().astype(np.uint8)).save(fields / "masks/field_1_cp_masks.jpg")
    (fields / "masks/field_1_cp_masks.png").unlink()
    assert ".jpg changes numbers" in refusal(fields)


def test_no_objects_at_all_are_refused_and_an_empty_field_is_not(fields: Path) -> None:
    empty = np.zeros_like(labels_of())
    Image.fromarray(empty).save(fields / "masks/field_1_cp_masks.png")
    assert crop_cells(fields / "images", fields / "masks").counts.images == 2
    Image.fromarray(empty).save(fields / "masks/field_2_cp_masks.png")
    assert "no objects in 2 label images" in refusal(fields)


def test_nothing_left_says_why(fields: Path) -> None:
    told = refusal(fields, least_area=5000)
    assert "no object is left: 14 of 14 are smaller than least_area=5000" in told


def test_images_of_two_kinds_or_scales_are_not_mixed(tmp_path: Path) -> None:
    folder = make_fields(tmp_path, 2)
    labels = labels_of(2)
    tifffile.imwrite(
        folder / "images/field_2.tif",
        image_of(labels, 2).astype(np.uint8),
        imagej=True,
        resolution=(1.0, 1.0),
        metadata={"unit": "micron", "axes": "CYX"},
    )
    told = refusal(folder)
    assert "different channels or dtypes" in told
    assert "different scales (0.5 um a pixel: field_1.tif; 1 um a pixel: field_2.tif)" in told
    tifffile.imwrite(folder / "images/field_2.tif", image_of(labels))
    assert "no scale: field_2.tif" in refusal(folder)
    found = crop_cells(folder / "images", folder / "masks", scale=0.4).cells
    assert found.provenance.pixel_size_um == 0.4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 32, "margin": 3}, "a margin is that of a size found by the objects"),
        ({"size": 4}, "size=4"),
        ({"margin": -1}, "margin=-1"),
        ({"scale": float("nan")}, "scale"),
        ({"least_area": 0}, "least_area=0"),
        ({"labels": "labels.csv", "class_folders": True}, "each names the classes"),
        ({"options": {"fit": "pad"}}, "without the option fit"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], words: str, fields: Path) -> None:
    with pytest.raises(ConfigError) as found:
        crop_cells(fields / "images", fields / "masks", **settings)
    assert words in str(found.value)


@pytest.mark.parametrize("kind", ["ome", "pages", "last", "png"])
def test_channels_first_or_last_8_and_16_bit(kind: str, tmp_path: Path) -> None:
    labels = labels_of()
    folder = lay(tmp_path, labels)
    image = image_of(labels, 3)
    path = folder / "images/a.tif"
    names: tuple[str, ...] = ("channel-1", "channel-2", "channel-3")
    if kind == "ome":
        names = ("DAPI", "GFP", "brightfield")
        facts = {"Channel": {"Name": names}, "PhysicalSizeX": 325, "PhysicalSizeXUnit": "nm"}
        tifffile.imwrite(path, image, ome=True, metadata={"axes": "CYX", **facts})
    elif kind == "pages":
        tifffile.imwrite(path, image, photometric="minisblack")
    elif kind == "last":
        # Without a colour interpretation, rows are written as pages.
        image = image_of(labels, 5)
        names = tuple(f"channel-{k}" for k in range(1, 6))
        tifffile.imwrite(path, np.moveaxis(image, 0, 2), photometric="minisblack")
    else:
        path.unlink()
        image = (image // 16).astype(np.uint8)
        Image.fromarray(np.moveaxis(image, 0, 2)).save(folder / "images/a.png")
        names = ("red", "green", "blue")
    cells = crop_cells(folder / "images", folder / "masks").cells
    assert cells.channels == names
    assert cells.images.dtype == image.dtype
    one = next(each for each in objects_in(labels) if each.number == 5)
    side = cells.images.shape[2]
    here = cut(image, labels, one, side, "keep")
    np.testing.assert_array_equal(cells.images[cells.object_numbers.tolist().index(5)], here)
    assert cells.provenance.pixel_size_um == (pytest.approx(0.325) if kind == "ome" else None)


def test_slices_are_refused_in_words_that_fit(fields: Path) -> None:
    stack = np.stack([image_of(labels_of(1))[0]] * 3)
    tifffile.imwrite(fields / "images/field_1.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    told = refusal(fields)
    assert "save one plane or a projection" in told
    assert "layout" not in told


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no such file or folder"):
        crop_cells(tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize("name", ["set", "set.npz", "set.ome.tif"])
def test_what_is_written_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    folder = make_fields(tmp_path, 3, channels=2)
    out = tmp_path / name
    command = ["crop", str(folder / "images"), "--masks", str(folder / "masks"), "-o", str(out)]
    more = ["--labels", str(folder / "labels.csv"), "--json"]
    done = CliRunner().invoke(app, [*command, *more])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["counts"]["on_border"] == 3
    assert told["classes"] == {"large": 9, "small": 9}
    assert told["groups"] == 3
    again = load_dataset(told["read_as"])
    first = crop_cells(folder / "images", folder / "masks", labels=folder / "labels.csv").cells
    np.testing.assert_array_equal(again.images, first.images)
    for column in ("ids", "sources", "object_numbers", "groups", "labels"):
        np.testing.assert_array_equal(getattr(again, column), getattr(first, column))
    assert again.provenance.pixel_size_um == 0.5


def test_without_labels_a_table_is_written_to_predict_and_to_label(tmp_path: Path) -> None:
    folder = make_fields(tmp_path, 2)
    out = tmp_path / "cells"
    command = ["crop", str(folder / "images"), "--masks", str(folder / "masks"), "-o", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "left out: 2 that reach the border" in done.output
    assert "12 um" in done.output
    table = out / "cells.csv"
    assert len(cells_to_predict(str(table), channels=["any"])) == 2 * WHOLE
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "label"])
        writer.writeheader()
        writer.writerows({**row, "label": "ab"[k % 2]} for k, row in enumerate(rows))
    cells = load_dataset(str(table))
    assert cells.classes == ("a", "b")
    assert cells.groups.tolist() == [row["group"] for row in rows]
    assert cells.object_numbers.tolist() == [int(row["object_number"]) for row in rows]
    again = CliRunner().invoke(app, command)
    assert again.exit_code != 0
    assert isinstance(again.exception, ConfigError)
    assert "exists already" in str(again.exception)


def test_what_is_read_is_not_written_into(fields: Path) -> None:
    command = ["crop", str(fields / "images"), "--masks", str(fields / "masks")]
    done = CliRunner().invoke(app, [*command, "-o", str(fields / "masks/cells")])
    assert isinstance(done.exception, CellsearchError)
    assert "is the input" in str(done.exception)


def test_large_crops_are_not_made_by_chance(tmp_path: Path) -> None:
    labels = np.zeros((1200, 1200), np.uint8)
    labels[50:1100, 50:1100] = 1
    folder = lay(tmp_path, labels)
    with pytest.raises(DataError, match="1000 px are taken"):
        crop_cells(folder / "images", folder / "masks")
