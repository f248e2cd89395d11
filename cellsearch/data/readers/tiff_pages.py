"""Pages of a TIFF as a viewer shows them; what cannot be shown for certain is refused by name."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.readers import tiff_lost
from cellsearch.data.readers.tiff_lost import JPEG
from cellsearch.errors import ReadError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Photometric interpretations, compressions and tags by their numbers in the standard.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
JPEG2000 = frozenset({33004, 33005, 34712})
UNREAD_COMPRESSIONS = {
    6: "old-style JPEG",
    22610: "JPEG XR, whose decoder does not notice lost data",
    34934: "JPEG XR, whose decoder does not notice lost data",
    33003: "Aperio JPEG 2000 in YCbCr",
}
COLOURS = {
    4: "a transparency mask",
    5: "CMYK colours",
    8: "CIE L*a*b* colours",
    9: "ICC L*a*b* colours",
    10: "ITU L*a*b* colours",
    32803: "a camera's colour filter array",
    32844: "LogL light",
    32845: "LogLuv colours",
    34892: "raw light of a camera",
    51177: "a depth map",
}
ORIENTATION, NO_DATA = 274, 42113


class Alone(io.BufferedIOBase):
    """An open file without a name or a place, so that a TIFF in it stands alone.

    An OME text may name other files as parts of the image. tifffile opens them, wherever they lie,
    unless what it reads is no file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        return self._file.read(-1 if size is None else size)

    def readinto(self, buffer: Any, /) -> int:
        """As of any file."""
        data = memoryview(buffer).cast("B")
        found = self._file.read(len(data))
        data[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()


@contextlib.contextmanager
def opened_alone(path: Path) -> Iterator[Any]:
    """As ``opened``, but no other file that its metadata name is looked at.

    Raises:
        ReadError: not a TIFF.
    """
    with path.open("rb") as file, opened(Alone(file)) as tiff:
        yield tiff


@contextlib.contextmanager
def opened(file: Path | BinaryIO | Alone) -> Iterator[Any]:
    """A ``tifffile.TiffFile``, silent: its warnings would reach the terminal through logging.

    Raises:
        ReadError: not a TIFF.
    """
    # 0.3 s to import, and a cached data set needs it not.
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        tiff = tifffile.TiffFile(file)
    except tifffile.TiffFileError:
        raise ReadError("not an image, or an empty file") from None
    except TypeError:
        raise ReadError("samples of several kinds (SampleFormat), or a damaged TIFF") from None
    with tiff, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield tiff


def require_known(page: Any) -> None:
    """Refuse a page, by what its tags say, that cannot be decoded to what a viewer shows.

    Raises:
        ReadError: the kind that it is, and what to save instead.
    """
    page = page.keyframe
    kind, packing = int(page.photometric), int(page.compression)
    if page.is_mask:
        raise ReadError("a page is a transparency mask of another; save it without masks")
    if kind in COLOURS:
        raise ReadError(f"{COLOURS[kind]} in a TIFF; save it as grey or RGB")
    if kind not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise ReadError(f"photometric interpretation {kind} is not known; save it as grey or RGB")
    if packing in UNREAD_COMPRESSIONS:
        raise ReadError(f"a TIFF packed as {UNREAD_COMPRESSIONS[packing]}; save it as LZW")
    if kind == YCBCR and (packing not in JPEG or int(page.planarconfig) != 1):
        raise ReadError("YCbCr colours without JPEG; save it as RGB")
    if packing == 1 and int(page.predictor) != 1:
        raise ReadError("a predictor without compression, which programmes read differently")
    bits = page.bitspersample
    # Of other widths it is not agreed in which order their bytes stand.
    usual = isinstance(bits, int) and (bits <= 16 or bits in (32, 64, 128))
    if not usual or page.dtype is None:
        raise ReadError(
            f"samples of {bits} bits (SampleFormat {int(page.sampleformat)}) are not read; save "
            "them as integers of 8 or 16 bits"
        )
    if packing in JPEG2000 and bits > 16:
        raise ReadError(f"JPEG 2000 of {bits} bits, which its decoder alters; save it as LZW")
    if packing in JPEG2000 and bits > 8 and page.parent.byteorder == ">":
        raise ReadError(
            f"JPEG 2000 of {bits} bits in a big-endian TIFF, where some writers (tifffile) "
            "exchange the bytes; save it as LZW"
        )
    if page.dtype.kind not in "biuf":
        raise ReadError(f"pixels of {page.dtype} (complex numbers); save their magnitude")
    if set(page.axes) - set("YXS"):
        raise ReadError(f"axes {page.axes} of a TIFF page are not read; save one plane a page")


def decoded(page: Any) -> NDArray[Any]:
    """(S, H, W) of one page, as a viewer shows it.

    Raises:
        ReadError: as ``require_known``, ``tiff_lost.refuse_unsound`` and ``shown``.
    """
    require_known(page)
    tiff_lost.refuse_unsound(page)
    planes: NDArray[Any] = shown(page.asarray()[None], page)[0]
    return planes


def shown(array: NDArray[Any], page: Any) -> NDArray[Any]:
    """What a viewer shows of pages that are alike.

    Args:
        array: (P, *page.shape), as tifffile decodes it.
        page: one of them.

    Returns:
        (P, S, H, W): upright, black at zero; a palette gives RGB (or grey where it is a ramp),
        opaque alpha is left out.

    Raises:
        ReadError: transparent or missing pixels, or samples whose meaning is not known.
    """
    page = page.keyframe
    if page.axes == "YX":
        array = array[:, None]
    elif page.axes == "YXS":
        array = np.moveaxis(array, 3, 1)
    _refuse_missing(array, page)
    kind = int(page.photometric)
    array = _coloured(array, page) if kind == PALETTE else _without_alpha(array, page)
    if kind == WHITE_IS_ZERO:
        array = _inverted(array, page)
    array = turned(array, int(page.tags.valueof(ORIENTATION, 1)))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(..., H, W) upright, by the orientation (1 to 8) of the TIFF and EXIF standards.

    Raises:
        ReadError: another number.
    """
    if orientation == 1:
        return array
    if not 1 <= orientation <= 8:
        raise ReadError(f"orientation {orientation}; 1 to 8 are defined")
    if orientation >= 5:
        array = np.swapaxes(array, -1, -2)
    if orientation in (3, 4, 7, 8):
        array = array[..., ::-1, :]
    if orientation in (2, 3, 6, 7):
        array = array[..., ::-1]
    return np.ascontiguousarray(array)


def calibrated(array: NDArray[Any], tiff: Any) -> NDArray[Any]:
    """The values that ImageJ shows: it holds signed numbers of 16 bits as unsigned ones.

    Args:
        array: pixels as they are stored.
        tiff: the open ``TiffFile`` that they are of.

    Raises:
        ReadError: another function from stored numbers to values.
    """
    text = tiff.pages.first.description
    if not text.startswith("ImageJ="):
        return array
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if "cf" not in said:
        return array
    straight = said["cf"] == "0" and {"c0", "c1"} <= said.keys()
    line = (float(said["c0"]), float(said["c1"])) if straight else None
    if line == (0.0, 1.0):
        return array
    if line == (-32768.0, 1.0) and array.dtype == np.uint16:
        return (array.astype(np.int32) - 32768).astype(np.int16)
    raise ReadError(
        "values that ImageJ calibrates (a function of the stored numbers); in ImageJ Image > Type "
        "> 32-bit applies it"
    )


def _refuse_missing(array: NDArray[Any], page: Any) -> None:
    """GDAL names a value that stands for no measurement."""
    named = page.tags.valueof(NO_DATA)
    if named is None:
        return
    try:
        value = float(str(named).strip("\0 "))
    except ValueError:
        raise ReadError(f"the tag GDAL_NODATA holds {named!r}, no number") from None
    missing = int((array == value).sum())
    if missing:
        raise ReadError(
            f"{missing:,} pixels of {value:g}, which the tag GDAL_NODATA says are missing; fill "
            "them, or leave the tag out"
        )


def _inverted(array: NDArray[Any], page: Any) -> NDArray[Any]:
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind != "u":
        raise ReadError(
            f"{array.dtype} pixels of which white is zero (MinIsWhite), for which no inversion is "
            "defined; save them with black as zero"
        )
    inverted: NDArray[Any] = np.array(2 ** int(page.bitspersample) - 1, array.dtype) - array
    return inverted


def _coloured(array: NDArray[Any], page: Any) -> NDArray[Any]:
    """(P, 1, H, W) numbers of colours as (P, 3, H, W) uint8, or as grey."""
    table = page.colormap
    depth = int(page.bitspersample)
    if table is None or table.shape != (3, 2**depth) or array.shape[1] != 1 or depth > 16:
        raise ReadError("a colour-mapped TIFF without its colours; save it as grey or RGB")
    # Some programmes write 8 bits where the standard says 16.
    colours = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    if depth == 8 and (colours == np.arange(256)).all():
        return array
    picked: NDArray[Any] = np.moveaxis(colours[:, array[:, 0].astype(np.intp)], 0, 1)
    return picked


def _without_alpha(array: NDArray[Any], page: Any) -> NDArray[Any]:
    depth = array.shape[1]
    colours = 3 if int(page.photometric) in (RGB, YCBCR) else 1
    if depth < colours:
        raise ReadError(f"colours of {depth} samples; save it as grey or RGB")
    extra = tuple(int(each) for each in page.extrasamples)
    # Grey planes beside each other are channels, where the file does not say that one is alpha.
    meanings = (0,) * (depth - len(extra)) + extra if depth > len(extra) else (0,) * depth
    keep = [k for k in range(depth) if k < colours or (colours == 1 and meanings[k] not in (1, 2))]
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    for k in range(depth):
        if k in keep or (array[:, k] == opaque).all():
            continue
        if meanings[k] in (1, 2):
            raise ReadError("transparent pixels; save it without an alpha channel")
        raise ReadError(
            f"RGB with {depth - 3} more samples whose meaning the file does not say; save them as "
            "grey pages, one a channel"
        )
    return array if len(keep) == depth else array[:, keep]
