"""One image file to one (C, H, W) array; whatever goes wrong becomes one reason in plain words."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cellsearch.errors import ReadError

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
SUFFIXES = TIFF_SUFFIXES | {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp"}
RGB = ("red", "green", "blue")


def is_image(path: Path) -> bool:
    """Whether the name is that of a visible image file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(path: Path, *, pages: int | None = None) -> NDArray[Any]:
    """Decode one file.

    Args:
        path: TIFF (read by tifffile), or anything that Pillow reads.
        pages: number of channels that a multi-page TIFF must have; None takes any.

    Returns:
        (C, H, W) in the file's own dtype; RGB gives 3 channels, grey gives 1, and the pages of a
        TIFF are channels.

    Raises:
        ReadError: missing, truncated, not an image, NaN pixels; the message names no file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix.lower() in TIFF_SUFFIXES:
                image = _read_tiff(path, pages)
            else:
                image = _read_pillow(path)
    except FileNotFoundError:
        raise ReadError("no such file") from None
    except UnidentifiedImageError:
        raise ReadError("not an image, or an empty file") from None
    except ReadError:
        raise
    except Exception as error:  # a decoder raises anything when bytes are changed
        raise ReadError(_plain(error)) from None
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ReadError("NaN or infinite pixels")
    return image


def _plain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    lines = str(error).strip().splitlines()
    return f"cannot be decoded ({lines[0] if lines else type(error).__name__})"


def _read_pillow(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".png":
        _refuse_deep_colour(path)
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise ReadError("several frames in one file; one image a file is read")
        image.load()
        return _pillow_planes(image)


def _pillow_planes(image: Image.Image) -> NDArray[Any]:
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA"):
        if image.getchannel("A").getextrema() != (255, 255):
            raise ReadError("transparent pixels; save it without an alpha channel")
        image = image.convert(image.mode[:-1])
    if image.mode == "1":
        image = image.convert("L")
    array = np.asarray(image)
    if image.mode == "RGB":
        return np.ascontiguousarray(np.moveaxis(array, 2, 0))
    if image.mode == "I" and array.min() >= 0 and array.max() <= 65535:
        array = array.astype(np.uint16)
    if image.mode not in ("L", "F", "I", "I;16", "I;16B", "I;16L"):
        raise ReadError(f"colour mode {image.mode} is not read; save it as grey or RGB")
    return array.astype(array.dtype.newbyteorder("="))[None]


def _refuse_deep_colour(path: Path) -> None:
    # Pillow silently reduces these to 8 bits.
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) == 26 and header[24] == 16 and header[25] in (2, 4, 6):
        raise ReadError("PNG of 16 bits and several channels; save it as TIFF")


def _read_tiff(path: Path, pages: int | None) -> NDArray[Any]:
    # 0.3 s to import, and a cached data set needs it not.
    import tifffile

    # Its warnings would reach the terminal through logging: what matters is raised.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    length = path.stat().st_size
    try:
        opened = tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        raise ReadError("not an image, or an empty file") from None
    with opened as tiff:
        # A reduced copy for viewers is no channel.
        frames = [page for page in tiff.pages if not page.is_reduced]
        if not frames:
            raise ReadError("a TIFF without an image")
        # tifffile fills what is missing with zeros where a file was cut.
        for frame in frames:
            ends = [a + b for a, b in zip(frame.dataoffsets, frame.databytecounts, strict=True)]
            if not ends or max(ends) > length or 0 in frame.databytecounts:
                raise ReadError("truncated")
        try:
            planes = np.concatenate([_tiff_planes(frame) for frame in frames])
        except ValueError as error:
            if "imagecodecs" not in str(error):
                if len({frame.shape for frame in frames}) > 1:
                    raise ReadError("pages of different sizes") from None
                raise
            planes = _tiff_by_pillow(path, frames)
    if len(frames) > 1 and pages is not None and len(planes) != pages:
        raise ReadError(
            f"{len(frames)} pages, but {pages} channels: pages are read as channels; a file of "
            "many cells is read with --option layout=ome_tiff and axes=TCYX (TYX for one channel, "
            "TYXS for colour)"
        )
    return planes


def _tiff_planes(page: Any) -> NDArray[Any]:
    if page.photometric.name == "PALETTE":
        raise ReadError("colour-mapped TIFF; save it as grey or RGB")
    array: NDArray[Any] = page.asarray()
    axes = page.axes
    if array.ndim == 2:
        return array[None]
    if axes == "YXS":
        array = np.moveaxis(array, 2, 0)
    elif axes != "SYX":
        raise ReadError(f"axes {axes} of a TIFF page are not read; save one plane a page")
    if page.photometric.name == "RGB" and len(array) == 4:
        if (array[3] != array[3].max()).any():
            raise ReadError("transparent pixels; save it without an alpha channel")
        array = array[:3]
    return array


def _tiff_by_pillow(path: Path, frames: Sequence[Any]) -> NDArray[Any]:
    """LZW, JPEG and deflate with predictors, which tifffile leaves to imagecodecs."""
    planes = []
    with Image.open(path) as image:
        for frame in frames:
            if frame.dtype.itemsize > 1 and frame.samplesperpixel > 1:
                raise ReadError("compressed TIFF of several 16-bit samples; save it uncompressed")
            image.seek(frame.index)
            image.load()
            planes.append(_pillow_planes(image))
    return np.concatenate(planes)
