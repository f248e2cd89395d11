"""One image file to one (C, H, W) array; whatever goes wrong becomes one reason in plain words."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from cellsearch.data.readers import lost, netpbm, tiff_pages, tiff_stack
from cellsearch.errors import ReadError
from cellsearch.util.messages import first_line

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
SUFFIXES = TIFF_SUFFIXES | {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp"}
RGB = ("red", "green", "blue")
NOT_AN_IMAGE = "not an image, or an empty file"

MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
}
"""What a file begins with says what it is, by Pillow's name; its own name may be another."""
# A start of frame: process, length, bits a sample.
_JPEG_FRAME = re.compile(
    rb"\xff([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf])\0[\x08-\x20]([\x02-\x10])", re.S
)
_UNREAD = {
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"II\xbc": "JPEG XR",
    b"P7": "PAM (netpbm)",
    b"PF": "PFM (netpbm)",
    b"Pf": "PFM (netpbm)",
}


def is_image(path: Path) -> bool:
    """Whether the name is that of a visible image file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(
    path: Path, *, pages: int | None = None, named: bool = False, finite: bool = True
) -> NDArray[Any]:
    """Decode one file: what it is, its first bytes say.

    Args:
        path: TIFF, PNG, JPEG, BMP, GIF, PGM, PPM or WebP.
        pages: number of channels that a multi-page TIFF must have; None takes any.
        named: whether the user named the channels, so that slices and times may be channels.
        finite: whether NaN and infinite pixels are refused.

    Returns:
        (C, H, W) in the file's own dtype, as a viewer shows it: upright, black at zero, a palette
        as its colours. Numbers are those that the file holds, and are not stretched to the range
        of the dtype. RGB gives 3 channels, grey gives 1, and the pages of a TIFF are channels.

    Raises:
        ReadError: missing, truncated, not an image, a kind that is not read, slices or times
            that are no channels, NaN pixels; the message names no file.
    """
    with in_plain_words():
        image = _decode(path, pages, named=named)
    if finite and image.dtype.kind == "f":
        _refuse_not_finite(image)
    return image


def read_pages(path: Path) -> NDArray[Any]:
    """As ``read_image``, whatever the axes of a TIFF's pages mean; (pages * samples, H, W).

    Raises:
        ReadError: as ``read_image``.
    """
    with in_plain_words(), tiff_pages.opened_alone(path) as tiff:
        image = tiff_stack.planes(tiff)
    if image.dtype.kind == "f":
        _refuse_not_finite(image)
    return image


@contextlib.contextmanager
def in_plain_words() -> Iterator[None]:
    """Make whatever a decoder raises one ``ReadError`` that names no file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError:
        raise ReadError("no such file") from None
    except UnidentifiedImageError:
        raise ReadError(NOT_AN_IMAGE) from None
    except ReadError:
        raise
    except Exception as error:  # a decoder raises anything when bytes are changed
        raise ReadError(_plain(error)) from None


def _plain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"cannot be decoded ({first_line(error)})"


def _refuse_not_finite(image: NDArray[Any]) -> None:
    bad = int(image.size - np.isfinite(image).sum())
    if not bad:
        return
    raise ReadError(
        f"NaN or infinite pixels: {bad:,} of {image.size:,}; fill a background of NaN with a "
        "number, such as the lowest value of the image"
    )


def _decode(path: Path, pages: int | None, *, named: bool) -> NDArray[Any]:
    with path.open("rb") as file:
        start = file.read(32)
        file.seek(0)
        if not start.startswith(tiff_pages.MAGIC):
            return _decode_other(file, start)
        with tiff_pages.opened(tiff_pages.Alone(file)) as tiff:
            return tiff_stack.channels(tiff, pages, named=named)


def _decode_other(file: BinaryIO, start: bytes) -> NDArray[Any]:
    if netpbm.MAGIC.match(start):
        return netpbm.decode(file.read())
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        kind = "WEBP"
    if kind is None:
        unread = [name for magic, name in _UNREAD.items() if start.startswith(magic)]
        if start[4:8] == b"ftyp":
            unread.append("HEIF or AVIF")
        if unread:
            raise ReadError(f"{unread[0]} is not read; save it as TIFF or PNG")
        raise ReadError(NOT_AN_IMAGE)
    if kind == "BMP":
        lost.refuse_short_bmp(file)
    with _whole_files(), _opened(file, kind) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise ReadError("several frames in one file; only one image per file is read")
        planes = _planes(image, file, start)
        if kind == "PNG":
            lost.refuse_short_png(file)
        if kind == "JPEG":
            lost.refuse_short_jpeg(file, image)
        orientation = 1
        if kind in ("PNG", "JPEG", "WEBP"):
            orientation = int(image.getexif().get(tiff_pages.ORIENTATION, 1))
    return tiff_pages.turned(planes, orientation)


def _opened(file: BinaryIO, kind: str) -> ImageFile.ImageFile:
    try:
        return Image.open(file, formats=[kind])
    except UnidentifiedImageError:
        frame = _JPEG_FRAME.search(file.read()) if kind == "JPEG" and not file.seek(0) else None
        if frame is None:
            raise
        process, bits = frame[1][0] - 0xC0, frame[2][0]
        what = f"of {bits} bits" if bits != 8 else f"of process {process}"
        what = "without loss" if process in (3, 11) else what
        raise ReadError(f"a JPEG {what} is not read; save it as TIFF or PNG") from None


@contextlib.contextmanager
def _whole_files() -> Iterator[None]:
    """A program may have asked Pillow to fill what is cut; here it must not."""
    asked = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = asked


def _planes(opened: ImageFile.ImageFile, file: BinaryIO, start: bytes) -> NDArray[Any]:
    image: Image.Image = opened
    depth = start[24] if image.format == "PNG" else 8
    if depth == 16 and start[25] in (2, 4, 6):
        _refuse_gamma(image)
        if start[28]:
            raise ReadError("interlaced colours of 16 bits; save it without interlacing")
        return _deep_colour(file)
    if image.format == "GIF" and opened.tile and opened.tile[0][1] != (0, 0, *image.size):
        raise ReadError("a frame that is smaller than its canvas: the rest is no picture")
    image.load()
    _refuse_gamma(image)
    clear = image.info.get("transparency")
    if image.mode == "P":
        colours = image.palette.palette if image.palette else b""
        if int(image.getextrema()[1]) >= len(colours) // 3:  # type: ignore[arg-type]
            raise ReadError("colour numbers beyond its palette")
        image = image.convert("RGB" if clear is None else "RGBA")
        clear = None
    if image.mode in ("RGBA", "LA"):
        if image.getchannel("A").getextrema() != (255, 255):
            raise _transparent()
        image = image.convert(image.mode[:-1])
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("L", "RGB", "I;16", "I;16B", "I;16L"):
        raise ReadError(f"colour mode {image.mode} is not read; save it as grey or RGB")
    array = np.asarray(image)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    planes = np.ascontiguousarray(np.moveaxis(array, 2, 0)) if array.ndim == 3 else array[None]
    if clear is not None:
        # Pillow stretches grey of 2 and 4 bits to 8, but not the value that is clear.
        scale = 255 // (2**depth - 1) if 1 < depth < 8 else 1
        value = np.array(clear).reshape(-1, 1, 1) * scale
        if (planes == value).all(axis=0).any():
            raise _transparent()
    return planes


def _refuse_gamma(image: Image.Image) -> None:
    """A PNG may say that its numbers are to be bent before they are shown, which nothing here does.

    Up to 5 % from the usual 1 / 2.2 makes no difference, as the standard's own library holds.
    """
    gamma = image.info.get("gamma")
    if gamma and not image.info.keys() & {"srgb", "icc_profile"} and abs(2.2 * gamma - 1) > 0.05:
        raise ReadError(
            f"a PNG of gamma {gamma:g} (chunk gAMA), which viewers show brighter or darker than "
            "its numbers; save it without, or as TIFF"
        )


def _transparent() -> ReadError:
    return ReadError("transparent pixels; save it without an alpha channel")


def _deep_colour(file: BinaryIO) -> NDArray[Any]:
    """PNG of 16 bits and several samples, which Pillow reduces to 8 bits."""
    import imagecodecs

    file.seek(0)
    array: NDArray[Any] = imagecodecs.png_decode(lost.bare_png(file.read()))
    planes = np.moveaxis(array, 2, 0)
    if len(planes) in (2, 4):
        if (planes[-1] != np.iinfo(array.dtype).max).any():
            raise _transparent()
        planes = planes[:-1]
    return np.ascontiguousarray(planes)
