"""One contract for every layout, then what each of them must refuse, and how."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from cellsearch.data.crop_sizes import pad, resize
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers import RawCells, cif
from cellsearch.data.readers.images import read_image
from cellsearch.data.readers.registry import VERSIONS, detect, layout
from cellsearch.data.unlabelled import read_unlabelled
from cellsearch.errors import ConfigError, DataError, ReadError

from cif_writer import write_cif

LABELS = ["a", "a", "a", "b", "b"]


def crops(channels: int = 1, dtype: str = "uint8") -> np.ndarray:
    """(5, channels, 6, 8), every pixel of every cell known."""
    rng = np.random.default_rng(3)
    high = 255 if dtype == "uint8" else 4095
    return rng.integers(0, high, (5, channels, 6, 8)).astype(dtype)


def save(path: Path, planes: np.ndarray) -> None:
    """(C, H, W) as TIFF pages or as grey or RGB of another format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, planes if len(planes) > 1 else planes[0], photometric="minisblack")
    elif len(planes) == 3:
        Image.fromarray(np.moveaxis(planes, 0, 2)).save(path)
    else:
        Image.fromarray(planes[0]).save(path)


def make_folders(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    planes = crops(3)
    for k, label in enumerate(LABELS):
        save(root / label / f"cell{k + 8}.png", planes[k])
    (root / "a" / ".hidden.png").write_bytes(b"no image")
    (root / "a" / "notes.txt").write_text("not an image")
    return root, {}, planes


def make_table(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    planes = crops(2, "uint16")
    rows = ["path,label,object_number"]
    for k, label in enumerate(LABELS):
        save(root / "images" / f"{k}.tif", planes[k])
        rows.append(f"images/{k}.tif,{label},{k + 1}")
    (root / "labels.csv").write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    return root / "labels.csv", {}, planes


def make_channel_files(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    planes = crops(2, "uint16")
    for k, label in enumerate(LABELS):
        save(root / label / f"{k + 8}_Ch3.ome.tif", planes[k, :1])
        save(root / label / f"{k + 8}_Ch11.ome.tif", planes[k, 1:])
        (root / label / f"{k + 8}_merged.jpg").write_bytes(b"a picture for people")
    return root, {}, planes


def make_montage(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    planes = crops(2, "uint16")
    for label, cells in (("a", planes[:3]), ("b", planes[3:])):
        for channel, code in enumerate(("Ch3", "Ch4")):
            grid = np.tile(np.arange(2 * 8, dtype="uint16"), (2 * 6, 1)) % 8
            for k, cell in enumerate(cells):
                row, column = k % 2, k // 2
                grid[row * 6 : row * 6 + 6, column * 8 : column * 8 + 8] = cell[channel]
            save(root / label / f"{code}_1.tif", grid[None])
    return root, {"layout": "montage", "tile": "6x8", "codes": "Ch3,Ch4"}, planes


def make_npz(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    root.mkdir(exist_ok=True)
    planes = crops(3)
    last, labels = np.moveaxis(planes, 1, 3), np.array([[ord(name)] for name in LABELS])
    np.savez(
        root / "cells.npz",
        train_images=np.repeat(np.repeat(last[:3], 3, 1), 2, 2),
        train_labels=labels[:3],
        test_images=np.repeat(np.repeat(last[3:], 3, 1), 2, 2),
        test_labels=labels[3:],
    )
    options = {"class_names": "97=a,98=b"}
    return root / "cells.npz", options, np.repeat(np.repeat(planes, 3, 2), 2, 3)


def make_hdf5(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    root.mkdir(exist_ok=True)
    planes = crops(2, "uint16")
    with h5py.File(root / "cells.h5", "w") as file:
        file["crops/images"] = np.moveaxis(planes, 1, 3)
        file["labels"] = np.array([[ord(name)] for name in LABELS])
    return root / "cells.h5", {"class_names": "97=a,98=b", "layout_axes": "NHWC"}, planes


def make_ome_tiff(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    root.mkdir(exist_ok=True)
    planes = crops(2, "uint16")
    metadata = {"axes": "TCYX", "Channel": {"Name": ["brightfield", "DAPI"]}}
    path = root / "cells.ome.tif"
    tifffile.imwrite(path, planes, photometric="minisblack", metadata=metadata)
    (root / "cells.csv").write_text("phase\n" + "\n".join(LABELS))
    return path, {"label_column": "phase"}, planes


def make_ome_zarr(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    planes = crops(2, "uint16")
    group = zarr.open_group(root / "cells.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=planes, chunks=(2, 1, 6, 8))
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": list("tcyx"), "datasets": [{"path": "0"}]}
    ]
    group.attrs["labels"] = LABELS
    return root / "cells.zarr", {}, planes


def make_cif(root: Path) -> tuple[Path, dict[str, Any], np.ndarray]:
    try:
        cif.bioformats_jar()
    except DataError as error:
        pytest.skip(str(error))
    root.mkdir(exist_ok=True)
    planes = crops(2, "uint16")
    mask = np.ones((2, 6, 8), np.uint8)
    write_cif(root / "cells.cif", [(k, p, mask) for k, p in enumerate(planes)], ["a", "b"])
    (root / "cells.csv").write_text("phase\n" + "\n".join(LABELS))
    return root / "cells.cif", {"label_column": "phase"}, planes


MAKERS = {
    "folders": make_folders,
    "table": make_table,
    "channel_files": make_channel_files,
    "montage": make_montage,
    "npz": make_npz,
    "hdf5": make_hdf5,
    "ome_tiff": make_ome_tiff,
    "ome_zarr": make_ome_zarr,
    "cif": make_cif,
}
READERS = [pytest.param(n, marks=[pytest.mark.slow] if n == "cif" else []) for n in MAKERS]


OWN_TESTS = {"rtdc": "test_rtdc.py", "synthetic": "test_synthetic.py"}
"""Readers that no maker can write for, and where they are tested."""


def test_every_reader_is_in_the_contract_suite() -> None:
    assert MAKERS.keys() | OWN_TESTS.keys() == VERSIONS.keys()


def read(path: Path, **options: Any) -> RawCells:
    reader = options.pop("layout", None) or detect(path)
    return layout(reader, options).read(path)


@pytest.mark.parametrize("name", READERS)
def test_every_layout_gives_the_same_cells(name: str, tmp_path: Path) -> None:
    path, options, planes = MAKERS[name](tmp_path / "set")
    if "layout" not in options:
        assert detect(path) == name
    raw = read(path, **options)
    cells = CellDataset.from_raw(raw)
    np.testing.assert_array_equal(cells.images, planes)
    assert cells.images.dtype == planes.dtype
    assert [cells.classes[label] for label in cells.labels] == LABELS
    assert len(set(raw.ids)) == 5
    assert all((path.parent / s).exists() or (path / s).exists() for s in raw.sources)


@pytest.mark.parametrize("name", READERS)
def test_every_layout_lists_its_files_and_reports_progress(name: str, tmp_path: Path) -> None:
    path, options, _ = MAKERS[name](tmp_path / "set")
    bound = layout(options.pop("layout", name), options)
    assert bound.files(path)
    assert all(file.is_file() for file in bound.files(path))
    told: list[tuple[str, int, int]] = []
    bound.read(path, lambda what, done, total: told.append((what, done, total)))
    assert told
    assert all(0 <= done <= total for _, done, total in told)


@pytest.mark.parametrize("name", MAKERS)
def test_every_layout_names_an_unknown_option(name: str) -> None:
    with pytest.raises(ConfigError, match=r"option chanels: .* did you mean 'channels'") as caught:
        layout(name, {"chanels": "a", "tile": "6", "codes": "Ch3"})
    assert "options: channels" in str(caught.value)


def test_options_come_as_text_and_are_all_checked_at_once() -> None:
    options = layout("folders", {"size": "40x50", "classes": "a, b"}).options
    assert options.model_dump(include={"size", "classes"}) == {
        "size": (40, 50),
        "classes": "a, b",
    }
    with pytest.raises(ConfigError) as caught:
        layout("folders", {"size": "large", "fit": "crop"})
    assert "option size: expected HEIGHTxWIDTH" in str(caught.value)
    assert "option fit: expected one of 'pad', 'resize', 'shrink'" in str(caught.value)
    with pytest.raises(ConfigError, match="no reader 'folder'; did you mean 'folders'"):
        layout("folder", {})


# Image files


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_keep_their_pixels(suffix: str, channels: int, tmp_path: Path) -> None:
    planes = crops(channels)[0]
    save(tmp_path / f"x.{suffix}", planes)
    np.testing.assert_array_equal(read_image(tmp_path / f"x.{suffix}"), planes)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept(suffix: str, tmp_path: Path) -> None:
    planes = crops(1, "uint16")[0]
    save(tmp_path / f"x.{suffix}", planes)
    image = read_image(tmp_path / f"x.{suffix}")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, planes)


def test_colour_tiff_and_compressed_tiff(tmp_path: Path) -> None:
    planes = crops(3)[0]
    colour = np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.tif"), planes)
    Image.fromarray(colour).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(tmp_path / "lzw.tif"), planes)
    grey = crops(1, "uint16")[0]
    Image.fromarray(grey[0]).save(tmp_path / "grey.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.tif"), grey)


def test_alpha_is_dropped_only_where_it_says_nothing(tmp_path: Path) -> None:
    planes = np.concatenate([crops(3)[0], np.full((1, 6, 8), 255, np.uint8)])
    Image.fromarray(np.moveaxis(planes, 0, 2).copy(), "RGBA").save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), planes[:3])
    planes[3, 0, 0] = 0
    Image.fromarray(np.moveaxis(planes, 0, 2).copy(), "RGBA").save(tmp_path / "x.png")
    with pytest.raises(ReadError, match="transparent"):
        read_image(tmp_path / "x.png")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def not_a_number(path: Path) -> None:
    image = np.ones((6, 8), np.float32)
    image[2, 2] = np.nan
    tifffile.imwrite(path, image)


BREAKERS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "text": ("x.png", lambda p: p.write_text("hello"), "not an image"),
    "text tif": ("x.tif", lambda p: p.write_text("hello"), "not an image"),
    "empty": ("x.bmp", lambda p: p.write_bytes(b""), "not an image, or an empty file"),
    "empty tif": ("x.tif", lambda p: p.write_bytes(b""), "not an image, or an empty file"),
    "cut png": ("x.png", cut_short, "cannot be decoded"),
    "cut jpg": ("x.jpg", cut_short, "cannot be decoded"),
    "cut bmp": ("x.bmp", cut_short, "cannot be decoded"),
    "cut tif": ("x.tif", cut_short, "truncated|cannot be decoded|not an image"),
    "nan": ("x.tif", not_a_number, "NaN or infinite"),
    "absent": ("x.png", Path.unlink, "no such file"),
    "folder": ("x.png", lambda p: (p.unlink(), p.mkdir()), "is a directory"),
}


@pytest.mark.parametrize("name", BREAKERS)
def test_broken_images_have_one_plain_reason(name: str, tmp_path: Path) -> None:
    file, breaker, reason = BREAKERS[name]
    save(tmp_path / file, np.tile(crops()[0], (1, 10, 10)))
    breaker(tmp_path / file)
    with pytest.raises(ReadError, match=reason) as caught:
        read_image(tmp_path / file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", range(1, 40))
def test_a_changed_tiff_never_escapes_as_another_error(length: int, tmp_path: Path) -> None:
    save(tmp_path / "x.tif", crops(2, "uint16")[0])
    content = bytearray((tmp_path / "x.tif").read_bytes())
    rng = np.random.default_rng(length)
    for place in rng.integers(0, len(content), length):
        content[place] = rng.integers(0, 256)
    (tmp_path / "x.tif").write_bytes(bytes(content))
    with contextlib.suppress(ReadError):
        assert read_image(tmp_path / "x.tif").ndim == 3


def test_deep_colour_png_is_not_silently_reduced(tmp_path: Path) -> None:
    planes = crops(3, "uint16")[0]
    deep = imagecodecs.png_encode(np.ascontiguousarray(np.moveaxis(planes, 0, 2)))
    (tmp_path / "x.png").write_bytes(deep)
    image = read_image(tmp_path / "x.png")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, planes)


def test_frames_are_not_channels_outside_tiff(tmp_path: Path) -> None:
    frames = [Image.fromarray(plane) for plane in crops(2)[0]]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ReadError, match="several frames"):
        read_image(tmp_path / "x.gif")


# Folders


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    root, _, _ = make_folders(tmp_path / "set")
    for k in range(47):
        (root / "b" / f"bad{k}.png").write_text("broken")
    with pytest.raises(ReadError, match=r"47 unreadable files: b/bad0.png: not an image") as caught:
        read(root)
    assert str(caught.value).endswith("and 37 more")
    assert "\n" not in str(caught.value)


def test_folders_are_refused_with_what_was_expected(tmp_path: Path) -> None:
    root, _, planes = make_folders(tmp_path / "set")
    (root / "c").mkdir()
    with pytest.raises(DataError, match="no images in the class folder c"):
        read(root)
    assert read(root, classes="b,a").classes == ("b", "a")
    with pytest.raises(DataError, match="no class folder d; there are a, b, c"):
        read(root, classes=("a", "d"))
    with pytest.raises(ConfigError, match="classes: no class folder 'd'; there are a, b, c"):
        read(root, classes="a,d")
    save(tmp_path / "splits" / "train" / "x.png", planes[0])
    save(tmp_path / "splits" / "test" / "x.png", planes[0])
    with pytest.raises(DataError, match="splits, not classes"):
        read(tmp_path / "splits")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="no class folders in it; expected a folder with"):
        detect(tmp_path / "bare")
    with pytest.raises(ReadError, match="no such file or folder"):
        detect(tmp_path / "nowhere")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match="not a data set; expected"):
        detect(tmp_path / "x.txt")


def test_files_are_in_natural_order(tmp_path: Path) -> None:
    root, _, _ = make_folders(tmp_path / "set")
    assert list(read(root).ids) == ["a/cell8", "a/cell9", "a/cell10", "b/cell11", "b/cell12"]


def test_mixed_sizes_are_listed_or_made_alike(tmp_path: Path) -> None:
    root, _, planes = make_folders(tmp_path / "set")
    save(root / "b" / "small.png", planes[0][:, :4, :5])
    with pytest.raises(DataError, match=r"2 sizes .*: 6x8 \(5 images.*4x5 \(1 image,") as caught:
        read(root, fit="refuse")
    assert 'choose fit="shrink"' in str(caught.value)
    raw = read(root, size="6x8")
    assert raw.provenance is not None
    assert raw.provenance.fit == "pad", "a card that learns from them must do the same"
    padded = np.asarray(raw.images)
    np.testing.assert_array_equal(padded[-1, :, 1:5, 1:6], planes[0][:, :4, :5])
    assert read(root, size="3", fit="resize").images[0].shape == (3, 3, 3)
    with pytest.raises(DataError, match='5 images are larger than size="5x5"'):
        read(root, size="5x5")


def test_fields_of_view_are_not_taken_for_cells(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a" / "x.png", np.zeros((1, 30, 1200), np.uint8))
    with pytest.raises(
        DataError, match="30x1200 px are large for single cells; to read montages, use"
    ):
        read(tmp_path / "set")
    assert np.shape(read(tmp_path / "set", size="30x1200").images) == (1, 1, 30, 1200)


def test_a_table_among_folders_is_ambiguous(tmp_path: Path) -> None:
    root, _, planes = make_folders(tmp_path / "set")
    (root / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"give the table itself, .*labels\.csv, or option layout"):
        detect(root)
    np.testing.assert_array_equal(CellDataset.from_folder(root).images, planes)


def test_mixed_dtypes_and_channels_are_listed(tmp_path: Path) -> None:
    root, _, _ = make_table(tmp_path / "set")
    save(root.parent / "images" / "1.tif", crops(2)[0])
    with pytest.raises(DataError, match=r"2 dtypes: uint16 \(4 images.*uint8 \(1 images"):
        read(root)
    save(root.parent / "images" / "1.tif", crops(3, "uint16")[0])
    with pytest.raises(DataError, match="2 channel counts"):
        read(root)
    with pytest.raises(ReadError, match="3 pages, but 2 channels"):
        read(root, channels="x,y")


def test_padding_is_centred_on_the_borders_median() -> None:
    crop = np.full((1, 3, 3), 7, np.uint16)
    crop[0, 1, 1] = 900
    padded = pad(crop, (6, 5))
    assert padded.dtype == np.uint16
    np.testing.assert_array_equal(padded[:, 1:4, 1:4], crop)
    assert (padded == 7).sum() == 29


def test_resizing_keeps_levels_and_dtype() -> None:
    crop = np.full((2, 9, 9), 60_000, np.uint16)
    assert resize(crop, (4, 20)).shape == (2, 4, 20)
    assert (resize(crop, (4, 20)) == 60_000).all()
    assert resize(crop, (4, 4)).dtype == np.uint16


def test_groups_are_caught_in_paths(tmp_path: Path) -> None:
    planes = crops()
    for k, label in enumerate(LABELS):
        save(tmp_path / "set" / label / f"donor{k % 2}" / f"{k}.png", planes[k])
    assert read(tmp_path / "set", group_pattern=r"donor(\d)").groups == ["0", "0", "1", "0", "1"]
    with pytest.raises(DataError, match=r"catches nothing in a/donor0/0\.png"):
        read(tmp_path / "set", group_pattern=r"plate(\d)")
    with pytest.raises(ConfigError, match="needs one \\(group\\)"):
        read(tmp_path / "set", group_pattern="donor")
    with pytest.raises(ConfigError, match="option group_pattern: "):
        read(tmp_path / "set", group_pattern="(")


# Tables


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    for k, planes in enumerate(crops()):
        save(root / "images" / f"{k:03d}.bmp", planes)
    (root / name).write_text(text)
    return root / name


def test_numbers_find_zero_padded_files(tmp_path: Path) -> None:
    path = table(tmp_path, "image ID,class label\n0,2\n4,10\n2,2\n")
    raw = read(path)
    assert list(raw.sources) == ["images/000.bmp", "images/004.bmp", "images/002.bmp"]
    assert raw.classes == ("2", "10")
    given = {"path_column": "image ID", "label_column": "class label"}
    again = read(path, **given, path_format="images/{:03d}.bmp", class_names="10=ten,2=two")
    assert list(again.labels) == ["two", "ten", "two"]
    assert again.classes == ("ten", "two")
    assert list(again.ids) == list(raw.ids)


def test_tables_with_tabs_groups_splits_and_numbers(tmp_path: Path) -> None:
    text = "File\tPhase\tgroup\tsplit\tobject_number\n"
    text += "".join(
        f"images/00{k}.bmp\tG{k % 2}\td{k}\t{'train' if k else 'test'}\t{k + 5}\n" for k in range(4)
    )
    path = table(tmp_path, text, "cells.tsv")
    raw = read(path)
    assert raw.groups == ["d0", "d1", "d2", "d3"]
    assert list(raw.object_numbers) == [5, 6, 7, 8]
    assert len(read(path, use_split="train").labels) == 3
    with pytest.raises(ConfigError, match="option use_split: no val; there are test, train"):
        read(path, use_split="val")


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("path,label\nimages/000.bmp,\n", {}, ReadError, "line 2: no label in column 'label'"),
        ("path,label\nimages/000.bmp\n", {}, ReadError, "fewer values in every row.* in line 2"),
        ("path,label\n,a\n", {}, ReadError, "line 2: no path"),
        ("path,label\nx.bmp,a\n", {}, ReadError, "line 2: no such file: x.bmp"),
        ("path,label\n0,a\n000,b\n", {}, ReadError, "named twice: 000.bmp in lines 2 and 3"),
        ("path,label\n0,a,b\n", {}, ReadError, "more values than the 2 columns in line 2"),
        ("path,path\n0,a\n", {}, ReadError, "columns have the same name: path"),
        ("path,label\n", {}, ReadError, "a table without rows"),
        ("", {}, ReadError, "a table without rows"),
        ("a,b\n0,1\n", {}, ConfigError, 'give path_column="COLUMN".*columns: a, b'),
        ("id,class,type\n0,1,2\n", {}, ConfigError, "columns class, type could be the class"),
        ("id,class\n0,1\n", {"path_column": "Id"}, ConfigError, "no column 'Id'"),
        ("id,class\n0,1\n", {"path_format": "{:03d"}, ConfigError, "option path_format"),
        ("id,class\n0,1\n", {"path_format": "no/{}.bmp"}, ReadError, "no such file: no/0.bmp"),
        ("id,class\n0,1\n", {"class_names": "2=x"}, DataError, "no name for the label 1"),
        ("id,class\n0,1\n", {"class_names": "x"}, ConfigError, "option class_names: expected"),
        ("id,class,group\n0,1,\n", {}, ReadError, "no group in line 2"),
        ("id,class,object_number\n0,1,x\n", {}, ReadError, "not a whole number: 'x'"),
    ],
)
def test_tables_are_refused_with_the_row(text, options, error, message, tmp_path: Path) -> None:
    path = table(tmp_path, text)
    with pytest.raises(error, match=message) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def test_a_number_that_fits_two_files_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "id,class\n3,1\n")
    save(tmp_path / "more" / "3.bmp", crops()[0])
    save(tmp_path / "other" / "3.bmp", crops()[0])
    with pytest.raises(
        ReadError, match=r"could be more/3.bmp, other/3.bmp; give option path_format"
    ):
        read(path)


def test_white_blood_cells(wbc_root: Path) -> None:
    names = "1=neutrophil,2=lymphocyte,3=monocyte,4=eosinophil,5=basophil"
    cells = CellDataset.from_table(wbc_root / "labels.csv", size="120x120", class_names=names)
    assert cells.images.shape == (300, 3, 120, 120)
    assert cells.channels == ("red", "green", "blue")
    assert dict(zip(cells.classes, cells.counts.tolist(), strict=True)) == {
        "neutrophil": 176,
        "lymphocyte": 53,
        "monocyte": 48,
        "eosinophil": 22,
        "basophil": 1,
    }
    first = np.asarray(Image.open(wbc_root / "images" / "001.bmp"))
    np.testing.assert_array_equal(cells.images[0], np.moveaxis(first, 2, 0))
    given = CellDataset.from_table(
        wbc_root / "labels.csv",
        path_column="image ID",
        label_column="class label",
        path_format="images/{:03d}.bmp",
        size="120x120",
        class_names=names,
    )
    assert given.sha256 == cells.sha256


# Channel files


def test_channel_files_are_complete_or_refused(tmp_path: Path) -> None:
    root, _, planes = make_channel_files(tmp_path / "set")
    raw = read(root)
    assert raw.channels == ("Ch3", "Ch11")
    assert list(raw.object_numbers) == [8, 9, 10, 11, 12]
    chosen = read(root, codes="Ch11", channels="dna")
    assert chosen.channels == ("dna",)
    np.testing.assert_array_equal(np.asarray(chosen.images), planes[:, 1:])
    (root / "b" / "11_Ch11.ome.tif").unlink()
    with pytest.raises(ReadError, match=r"missing channel files \(1\): b/11 has no Ch11"):
        read(root)
    save(root / "b" / "11_Ch11.tif", crops(1, "uint16")[0][:, :3])
    with pytest.raises(ReadError, match=r"b/11_Ch3.ome.tif: its channel files differ in size"):
        read(root)
    save(root / "b" / "11_Ch3.png", crops(1, "uint16")[0])
    with pytest.raises(DataError, match="two files for one channel"):
        read(root)


def test_colour_is_no_single_channel(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1_Ch1.png", crops(3)[0])
    with pytest.raises(ReadError, match="3 planes in the file of one channel"):
        read(tmp_path)
    save(tmp_path / "a" / "1_Ch1.png", np.repeat(crops(1)[0], 3, axis=0))
    assert np.shape(read(tmp_path).images) == (1, 1, 6, 8)


# Montages


def test_montage_order_counts_and_padding(tmp_path: Path) -> None:
    root, options, planes = make_montage(tmp_path / "set")
    montages = [{"path": "a/{channel}_1.tif", "label": "x", "cells": 4, "group": "plate"}]
    raw = read(root, **options, montages=montages)
    assert list(raw.object_numbers) == [0, 1, 2, 3]
    assert list(raw.sources) == ["a/Ch3_1.tif"] * 4
    assert raw.groups == ["plate"] * 4
    rows = np.asarray(read(root, **options, order="row-major").images)
    np.testing.assert_array_equal(rows[1], planes[2])
    with pytest.raises(ReadError, match=r"a/Ch3_1\.tif: 5 cells, but 4 tiles"):
        read(root, **options, montages=[montages[0] | {"cells": 5}])
    with pytest.raises(ReadError, match=r"expected 1 x 18 x 24 for 3 x 3 tiles"):
        read(root, **options, grid="3x3")
    with pytest.raises(ReadError, match=r"2 unreadable files: no/Ch3\.tif: no such file"):
        read(root, **options, montages=[{"path": "no/{channel}.tif", "label": "x"}])
    with pytest.raises(DataError, match=r"no montages; expected set/<class>/Ch7_<name>.tif"):
        read(root, **(options | {"codes": "Ch7"}))


def test_read_naively_the_montages_gain_three_duplicates(mlcp_root: Path) -> None:
    options = {"layout": "montage", "tile": "40", "codes": "Ch3,Ch6"}
    raw = read(mlcp_root / "Experiment_1", **options)
    counts = {label: list(raw.labels).count(label) for label in raw.classes or ()}
    assert counts == {
        "Anaphase": 15 + 1,
        "G1": 900,
        "G2": 900,
        "Metaphase": 68 + 1,
        "Prophase": 606,
        "S_phase": 900,
        "Telophase": 27 + 1,
    }
    number = {name: k for k, name in enumerate(raw.ids)}
    duplicates = [number[f"Anaphase/CP0001/{tile:03d}"] for tile in (12, 15)]
    np.testing.assert_array_equal(raw.images[duplicates[0]], raw.images[duplicates[1]])


# npz


def savez(root: Path, **arrays: Any) -> Path:
    np.savez(root / "x.npz", **arrays)
    return root / "x.npz"


def test_npz_of_grey_images_and_named_labels(tmp_path: Path) -> None:
    raw = read(savez(tmp_path, images=crops()[:, 0], labels=np.array(LABELS)))
    assert raw.channels == ("channel-1",)
    assert list(raw.labels) == LABELS
    assert read(savez(tmp_path, images=crops(5), labels=[0] * 5), layout_axes="NCHW").channels[4:]


def test_npz_splits_are_joined_or_chosen(tmp_path: Path) -> None:
    path, options, planes = make_npz(tmp_path)
    raw = read(path, use_split="test", **options)
    np.testing.assert_array_equal(np.asarray(raw.images), planes[3:])
    assert list(raw.ids) == ["test/000000", "test/000001"]
    with pytest.raises(ConfigError, match="has no val; there are train, test"):
        read(path, use_split="val")


def test_what_stands_beside_the_arrays_of_an_npz_is_read(tmp_path: Path) -> None:
    large = np.zeros((5, 20, 20, 3), np.uint8)
    known: dict[str, Any] = {"images": large, "labels": [1, 0, -1, 1, 0]}
    donors = [f"donor-{k}" for k in (1, 1, 2, 2, 3)]
    raw = read(savez(tmp_path, **known, groups=donors, classes=["b", "a"], ids=list("vwxyz")))
    assert (list(raw.labels), raw.classes) == (["a", "b", "", "a", "b"], ("b", "a"))
    assert (list(raw.groups or ()), list(raw.ids)) == (donors, list("vwxyz"))
    assert raw.channels == ("red", "green", "blue")
    named = read(savez(tmp_path, **known, classes=["b", "a"], channels=["DNA", "tubulin", "dark"]))
    assert named.channels == ("DNA", "tubulin", "dark")
    with pytest.raises(DataError, match=r"groups of shape \(4,\) for 5 images"):
        read(savez(tmp_path, **known, groups=donors[:4]))
    with pytest.raises(DataError, match=r"labels -1 .. 1 for 1 classes"):
        read(savez(tmp_path, **known, classes=["a"]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": crops()}, "no array labels; expected images and labels"),
        ({"pixels": crops()}, "it holds pixels"),
        ({"images": crops(), "labels": [0] * 5}, "may be .*give layout_axes="),
        ({"images": crops()[:, 0], "labels": [0] * 4}, "labels of shape"),
        ({"images": crops()[:, 0], "labels": np.zeros((5, 3))}, "one label a cell"),
        ({"images": crops()[:, 0], "labels": np.array([{}] * 5)}, "not an .npz of plain arrays"),
    ],
)
def test_npz_is_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        read(savez(tmp_path, **arrays))


def test_a_truncated_npz_is_told(tmp_path: Path) -> None:
    path = savez(tmp_path, images=crops(), labels=[0] * 5)
    cut_short(path)
    with pytest.raises(ReadError, match=r"not an .npz of plain arrays, or truncated"):
        read(path)


# Without labels


def test_unlabelled_from_a_file_a_folder_and_a_table(tmp_path: Path) -> None:
    root, _, planes = make_folders(tmp_path / "set")
    one = read_unlabelled(root / "a" / "cell8.png", channels=3)
    np.testing.assert_array_equal(one.images, planes[:1])
    assert one.labels.tolist() == [-1]
    assert one.classes == ()
    many = read_unlabelled(root, channels=3)
    np.testing.assert_array_equal(many.images, planes)
    assert many.ids[0] == "a/cell8"
    with pytest.raises(DataError, match=r"3 channels \(red, green, blue\), but 2 are needed"):
        read_unlabelled(root, channels=2)
    with pytest.raises(ConfigError, match="did you mean 'size'"):
        read_unlabelled(root, channels=3, sizes="4")
    path = table(tmp_path / "t", "id\n3\n1\n")
    assert read_unlabelled(path, channels=1).sources.tolist() == [
        "images/003.bmp",
        "images/001.bmp",
    ]
    npz, _, planes = make_npz(tmp_path / "n")
    np.testing.assert_array_equal(read_unlabelled(npz, channels=3).images, planes)
    montages, options, _ = make_montage(tmp_path / "m")
    cells = read_unlabelled(montages, channels=2, **options)
    np.testing.assert_array_equal(cells.images, np.asarray(read(montages, **options).images))
    assert cells.classes == ()
    assert (cells.labels == -1).all()
    with pytest.raises(ReadError, match="no such file or folder"):
        read_unlabelled(tmp_path / "nowhere", channels=1)


def test_unlabelled_channel_files(tmp_path: Path) -> None:
    root, _, planes = make_channel_files(tmp_path / "set")
    for path in root.rglob("*_merged.jpg"):
        path.unlink()
    cells = read_unlabelled(root, channels=2)
    np.testing.assert_array_equal(cells.images, planes)
    one = read_unlabelled(root / "a" / "9_Ch3.ome.tif", channels=2)
    np.testing.assert_array_equal(one.images, planes[1:2])
    assert one.ids.tolist() == ["9"]
    single = read_unlabelled(root / "a" / "9_Ch3.ome.tif", channels=1)
    np.testing.assert_array_equal(single.images, planes[1:2, :1])
    with pytest.raises(DataError, match=r"2 channels \(Ch3, Ch11\), but 3 are needed"):
        read_unlabelled(root, channels=3)
    (root / "a" / "9_Ch11.ome.tif").unlink()
    with pytest.raises(ReadError, match="a/9 has no Ch11"):
        read_unlabelled(root, channels=2)
