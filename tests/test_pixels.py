"""Pixels of image files through the readers: what tags and metadata make of them, and remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from cellsearch.data.readers.images import read_image, read_pages
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict
from cellsearch.errors import DataError, ReadError

RNG = np.random.default_rng(12)
CROPS = RNG.integers(0, 4000, (4, 10, 14)).astype(np.uint16)
STACKS = RNG.integers(0, 4000, (4, 3, 10, 14)).astype(np.uint16)


def write(path: Path, image: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, **options)
    return path


def folders(root: Path, images: np.ndarray, **options: Any) -> Path:
    """Half of the images in each of two class folders."""
    for k, image in enumerate(images):
        write(root / "ab"[k * 2 // len(images)] / f"{k}.tif", image, **options)
    return root


def test_int16_is_read_alike_in_both_byte_orders(tmp_path: Path) -> None:
    image = RNG.integers(-3827, 12873, (10, 14)).astype(np.int16)
    image[0, :2] = -3827, 12872
    for order in "<>":
        path = write(tmp_path / "x.tif", image, byteorder=order, compression="lzw")
        found = read_image(path)
        assert (found.min(), found.max(), found.dtype) == (-3827, 12872, np.int16)
        np.testing.assert_array_equal(found, image[None])


def test_a_class_whose_white_is_zero_is_read_as_the_other(tmp_path: Path) -> None:
    for k, crop in enumerate(CROPS):
        write(tmp_path / "a" / f"{k}.tif", crop, photometric="minisblack")
        write(tmp_path / "b" / f"{k}.tif", 65535 - crop, photometric="miniswhite")
    cells = load_dataset(tmp_path)
    np.testing.assert_array_equal(cells.images, np.concatenate([CROPS, CROPS])[:, None])


def test_a_pgm_keeps_its_numbers(tmp_path: Path) -> None:
    image = np.full((6, 7), 3136, ">u2")
    (tmp_path / "x.pgm").write_bytes(b"P5 7 6 4095\n" + image.tobytes())
    found = read_image(tmp_path / "x.pgm")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.full((1, 6, 7), 3136))


def test_a_program_that_lets_pillow_fill_what_is_cut_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (40, 50)).astype(np.uint8))
    for suffix in ("png", "jpg", "bmp", "gif", "webp"):
        path = tmp_path / f"x.{suffix}"
        image.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        with pytest.raises(ReadError, match=r"decoded|truncated"):
            read_image(path)
        assert ImageFile.LOAD_TRUNCATED_IMAGES


# Backgrounds of NaN


@pytest.fixture
def cut_out(tmp_path: Path) -> Path:
    images = CROPS.astype(np.float32) + 7
    images[:, :2] = np.nan
    images[3, :2] = 0
    return folders(tmp_path / "cells", images)


def test_a_background_of_nan_names_its_remedy(cut_out: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(cut_out)
    assert str(caught.value) == (
        "3 of 4 images (a/0.tif, a/1.tif, b/2.tif): 84 of their 420 pixels are NaN: fill the "
        'background with nan="lowest" (the lowest value of each channel of an image), or with a '
        "number, such as nan=0"
    )


def test_a_background_of_nan_is_filled_as_asked(cut_out: Path) -> None:
    wanted = (CROPS.astype(np.float32) + 7)[:, None]
    wanted[3, :, :2] = 0
    low = load_dataset(cut_out, nan="lowest").images
    for k in range(3):
        wanted[k, :, :2] = wanted[k, :, 2:].min()
    np.testing.assert_array_equal(low, wanted)
    wanted[:3, :, :2] = -1.5
    np.testing.assert_array_equal(load_dataset(cut_out, nan="-1.5").images, wanted)
    found = cells_to_predict(str(cut_out), channels=("channel-1",), nan="-1.5")
    np.testing.assert_array_equal(found.images, wanted)


def test_nan_of_channel_files_and_of_many_cells_is_filled_too(tmp_path: Path) -> None:
    images = CROPS.astype(np.float32)
    images[:, 0] = np.nan
    for k, image in enumerate(images):
        write(tmp_path / "set" / "ab"[k % 2] / f"{k // 2}_Ch1.tif", image)
        write(tmp_path / "set" / "ab"[k % 2] / f"{k // 2}_Ch2.tif", image + 1)
    many = write(tmp_path / "many.ome.tif", images, metadata={"axes": "TYX"})
    for path in (tmp_path / "set", many):
        with pytest.raises(DataError, match=r"4 of 4 (images|cells).* NaN.*nan=.lowest"):
            load_dataset(path)
        assert (load_dataset(path, nan=5).images[:, 0, 0] == 5).all()


def test_no_number_stands_for_infinity_nor_for_a_channel_of_nan(tmp_path: Path) -> None:
    images = CROPS.astype(np.float32)
    images[1, 3, 3] = np.inf
    with pytest.raises(DataError, match=r"1 of 4 images \(a/1.tif\): 1 of their 140 .* infinite"):
        load_dataset(folders(tmp_path / "infinite", images), nan=0)
    images[1] = np.nan
    root = folders(tmp_path / "empty", images)
    with pytest.raises(DataError, match=r"1 images have a channel of NaN alone.*: a/1.tif"):
        load_dataset(root, nan="lowest")
    assert (load_dataset(root, nan=2).images[1] == 2).all()


# Stacks


@pytest.mark.parametrize("how", ["imagej", "ome"])
def test_channels_of_a_stack_are_read_and_slices_are_not(how: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {how: True, "photometric": "minisblack"}
    channels = folders(tmp_path / "c", STACKS, metadata={"axes": "CYX"}, **options)
    np.testing.assert_array_equal(load_dataset(channels, layout="folders").images, STACKS)
    slices = folders(tmp_path / "z", STACKS, metadata={"axes": "ZYX"}, **options)
    with pytest.raises(ReadError) as caught:
        load_dataset(slices, layout="folders")
    message = str(caught.value)
    assert message.startswith(
        "4 unreadable files: a/0.tif, a/1.tif, b/2.tif, b/3.tif: 3 slices (Z) in one file"
    )
    assert message.count("projection") == 1
    assert 'name them with channels="NAME1,NAME2,NAME3"' in message
    named = load_dataset(slices, layout="folders", channels="x,y,z")
    np.testing.assert_array_equal(named.images, STACKS)
    with pytest.raises(ReadError, match="3 slices"):
        cells_to_predict(str(slices), channels=("x", "y", "z"))


def test_slices_of_channels_are_refused_even_where_they_are_named(tmp_path: Path) -> None:
    image = RNG.integers(0, 99, (2, 3, 10, 14)).astype(np.uint16)
    root = folders(tmp_path, np.stack([image] * 4), imagej=True, metadata={"axes": "ZCYX"})
    for options in ({}, {"channels": "a,b,c,d,e,f"}, {"channels": "a,b,c"}):
        with pytest.raises(ReadError, match=r"2 slices \(Z\) in one file"):
            load_dataset(root, layout="folders", **options)
    cells = load_dataset(root, layout="ome_tiff")
    assert cells.images.shape == (8, 3, 10, 14)


def test_slices_in_the_file_of_one_channel_are_too_many_planes(tmp_path: Path) -> None:
    for k in range(4):
        for code in ("Ch1", "Ch2"):
            path = tmp_path / "ab"[k % 2] / f"{k}_{code}.tif"
            write(path, STACKS[k], imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(ReadError, match=r"a/0_Ch1.tif: 3 planes in the file of one channel"):
        load_dataset(tmp_path)


def test_a_first_file_that_cannot_be_read_is_named_in_prediction(tmp_path: Path) -> None:
    for k in range(2):
        (tmp_path / f"{k}_Ch1.tif").write_bytes(b"not an image")
    with pytest.raises(ReadError, match=r"0_Ch1\.tif: not an image"):
        cells_to_predict(str(tmp_path), channels=("x", "y"))


def test_a_page_that_is_read_by_itself_keeps_every_plane(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", STACKS[0], imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_pages(path), STACKS[0])


# Files of many cells are shown as others are


def test_many_cells_of_a_file_are_shown_as_a_viewer_does(tmp_path: Path) -> None:
    white = write(
        tmp_path / "white.tif", 65535 - CROPS, photometric="miniswhite", metadata={"axes": "TYX"}
    )
    np.testing.assert_array_equal(load_dataset(white).images, CROPS[:, None])
    turned = write(
        tmp_path / "turned.tif",
        CROPS,
        photometric="minisblack",
        metadata={"axes": "TYX"},
        extratags=[(274, 3, 1, 6, False)],
    )
    upright = np.rot90(CROPS, -1, axes=(1, 2))[:, None]
    np.testing.assert_array_equal(load_dataset(turned).images, upright)
    colours = RNG.integers(0, 256, (4, 10, 14, 4)).astype(np.uint8)
    clear = write(tmp_path / "clear.tif", colours, photometric="rgb", metadata={"axes": "TYXS"})
    with pytest.raises(ReadError, match="transparent pixels"):
        load_dataset(clear)
    colours[..., 3] = 255
    write(clear, colours, photometric="rgb", metadata={"axes": "TYXS"})
    np.testing.assert_array_equal(load_dataset(clear).images, np.moveaxis(colours[..., :3], 3, 1))


def test_a_file_of_many_cells_without_some_of_them_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.ome.tif",
        np.stack([CROPS] * 2),
        photometric="minisblack",
        metadata={"axes": "TCYX"},
        compression="zlib",
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags[279].overwrite(0)
    with pytest.raises(ReadError, match="sparse TIFF: 1 of 1"):
        load_dataset(path)


# Dtypes of what is predicted


@pytest.mark.parametrize("dtype", ["int16", "int32", "float64"])
def test_other_numbers_than_a_cards_are_named_as_the_files_hold_them(
    dtype: str, tmp_path: Path
) -> None:
    path = str(folders(tmp_path, CROPS.astype(dtype)))
    with pytest.raises(DataError, match=f"images of {dtype}, and uint16 is needed"):
        cells_to_predict(path, channels=("x",), dtype="uint16")
    found = cells_to_predict(path, channels=("x",), dtype="float32")
    np.testing.assert_array_equal(found.images, CROPS[:, None])
