"""One uploaded file to cells: its kind is told by its bytes, its size before it is decoded.

Which planes make a cell is decided by the C channels of the card:

- PNG, JPEG, BMP: one cell; grey has 1 channel, RGB 3.
- TIFF with C samples a page (RGB): a cell a page.
- TIFF of grey pages: C pages are one cell. n x C pages are n cells, the channels of a cell one
  after the other; where OME or ImageJ metadata name a channel axis, that axis is the channels.
- .npy and .npz: (N, C, H, W), or (N, H, W, C); (C, H, W) is one cell, (N, H, W) are N cells of a
  card of one channel. Of an .npz ``images`` is taken, or ``train_``, ``val_`` and ``test_images``,
  or its only array.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import CardConfig
from cellsearch.data.readers import images, tiff_pages
from cellsearch.errors import ReadError
from cellsearch.serve.limits import Limits, size
from cellsearch.serve.tiff import axes_of, look_at, require_bounded, slices_of

PILLOW = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp"}
MAGIC = {
    **{start: PILLOW[kind] for start, kind in images.MAGIC.items() if kind in PILLOW},
    **dict.fromkeys(tiff_pages.MAGIC, ".tif"),
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".zip",
    b"PK\x05\x06": ".zip",
}
"""What is taken of all that the readers know: no decoder but these sees an upload."""
KINDS = "PNG, JPEG, BMP, TIFF, .npy, .npz or a zip of these"


def kind_of(path: Path) -> str:
    """The suffix that suits a file's first bytes.

    Raises:
        ReadError: nothing that is read.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise ReadError("an empty file")
    for magic, suffix in MAGIC.items():
        if start.startswith(magic):
            return suffix
    text = all(byte in (9, 10, 13) or 32 <= byte < 127 for byte in start)
    what = "it holds text" if text else "its bytes are of another kind"
    raise ReadError(f"{what}; {KINDS} is read, and a file's name does not matter")


def cells_of(path: Path, kind: str, config: CardConfig, limits: Limits) -> NDArray[Any]:
    """(n, C, h, w) raw cells of one file, in the card's dtype where no value changes by it.

    Args:
        path: of our own naming, with the suffix ``kind``.
        kind: as ``kind_of`` told it, no archive.
        config: of the card.
        limits: of what a file may declare.

    Raises:
        ReadError: damaged, too large, or of other channels; the message names no file.
    """
    if kind == ".npy":
        cells = _of_array(path, config, limits)
    elif kind == ".tif":
        cells = _of_tiff(path, config, limits)
    else:
        _require_small(path, kind, limits)
        planes = images.read_image(path)
        if len(planes) != len(config.channels):
            raise _other_channels(len(planes), config)
        cells = planes[None]
    return as_card(cells, config)


def as_card(cells: NDArray[Any], config: CardConfig) -> NDArray[Any]:
    """The cells in the card's dtype where that changes no value; else as they are.

    Integers of 32 or 64 bits whose values fit, bool, and floats of another precision are taken
    over; 8 bits are not made 16 nor 16 made 8, since that is another scale.
    """
    wanted = np.dtype(config.dtype)
    cells = cells if cells.dtype.isnative else cells.astype(cells.dtype.newbyteorder("="))
    if cells.dtype == bool:
        cells = cells.astype(np.uint8)
    if wanted.kind == "f" and cells.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return cells.astype(wanted, copy=False)
    # 16 bits whose values happen to fit 8 are a dim picture of another camera, no container.
    container = cells.dtype.kind in "iu" and cells.dtype.itemsize >= 4
    if wanted.kind == "u" and container and cells.size:
        facts = np.iinfo(wanted)
        if cells.min() >= facts.min and cells.max() <= facts.max:
            return cells.astype(wanted)
    return cells


def _of_array(path: Path, config: CardConfig, limits: Limits) -> NDArray[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, OverflowError, MemoryError):
        raise ReadError("not a .npy of plain numbers, or truncated") from None
    if array.dtype.kind not in "biuf":
        raise ReadError(f"an array of {array.dtype}; numbers are needed")
    c, shape = len(config.channels), array.shape
    if 0 in shape:
        raise ReadError(f"an array of shape {shape} holds no pixels")
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim == 3 and c == 1:
        array = array[:, None] if shape[2] != 1 or shape[0] == 1 else array[None, ..., 0][:, None]
    elif array.ndim == 3:
        array = array[None] if shape[0] == c else np.moveaxis(array, 2, 0)[None]
    elif array.ndim == 4 and shape[1] != c:
        array = np.moveaxis(array, 3, 1)
    if array.ndim != 4 or array.shape[1] != c:
        raise ReadError(
            f"an array of shape {shape}; this card takes (cells, {c}, height, width), the channels "
            f"being {', '.join(config.channels)}"
        )
    if max(array.shape[2:]) > limits.side:
        raise _too_wide(array.shape[2], array.shape[3], limits)
    return array


def _of_tiff(path: Path, config: CardConfig, limits: Limits) -> NDArray[Any]:
    c = len(config.channels)
    facts = look_at(path)
    if facts.pages > limits.pages:
        raise ReadError(
            f"{facts.pages:,} pages; {limits.pages:,} are taken: send several files, or an .npz"
        )
    if max(facts.height, facts.width) > limits.side:
        raise _too_wide(facts.height, facts.width, limits)
    if facts.bytes > limits.decoded_bytes:
        raise ReadError(
            f"it declares {size(facts.bytes)} of pixels; {size(limits.decoded_bytes)} are taken"
        )
    require_bounded(path, most_bytes=limits.decoded_bytes)
    if facts.pages > 1 and (slices := slices_of(path)) > 1:
        raise ReadError(
            f"{slices} slices (Z) in one file, which may be planes of one cell or cells: of planes "
            "send one, or a projection of them (ImageJ: Image > Stacks > Z Project); cells are "
            "sent as times (ImageJ: Image > Properties, slices 1), or as a file each"
        )
    planes = images.read_pages(path)
    if facts.samples > 1:
        each = len(planes) // facts.pages
        if each != c:
            raise _other_channels(each, config)
        return planes.reshape(facts.pages, c, *planes.shape[1:])
    axes = axes_of(path) if facts.pages > 1 else None
    if axes is not None and np.prod(axes.lengths) == len(planes):
        if axes.lengths[axes.channel] != c:
            raise _other_channels(axes.lengths[axes.channel], config)
        whole = planes.reshape(*axes.lengths, *planes.shape[1:])
        return np.moveaxis(whole, axes.channel, -3).reshape(-1, c, *planes.shape[1:])
    if len(planes) % c:
        raise ReadError(
            f"{len(planes)} {'page' if len(planes) == 1 else 'pages'}; this card takes {c} "
            f"channels ({', '.join(config.channels)}), so pages come in multiples of {c}"
        )
    return planes.reshape(-1, c, *planes.shape[1:])


def _require_small(path: Path, kind: str, limits: Limits) -> None:
    """Refuse what its header declares to be huge, before a pixel is decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            formats = [name for name, suffix in PILLOW.items() if suffix == kind]
            with Image.open(path, formats=formats) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise ReadError("it declares far too many pixels for a cell") from None
    except Exception:  # a decoder raises anything when bytes are changed
        raise ReadError("not an image, or truncated") from None
    if max(height, width) > limits.side or 4 * height * width > limits.decoded_bytes:
        raise _too_wide(height, width, limits)


def _too_wide(height: int, width: int, limits: Limits) -> ReadError:
    return ReadError(
        f"it declares {height} x {width} px (height x width); crops of cells of at most "
        f"{limits.side} px a side are taken: cut a field of view into cells first"
    )


def _other_channels(found: int, config: CardConfig) -> ReadError:
    wanted = len(config.channels)
    return ReadError(
        f"{found} channel{'s' * (found > 1)}; this card takes {wanted} "
        f"({', '.join(config.channels)})"
    )
