"""What files tell besides their pixels: how each was saved, by what, how large, and when."""

from __future__ import annotations

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from cellsearch.util.progress import Progress

TraitTable = NDArray[np.void]
"""(N,) records, one a cell, whose fields are those of ``FileTraits``; texts are UTF-8 bytes."""

_LONGEST = 80
_MANY = 10_000
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLOUR = {
    "1": "black and white",
    "L": "grey",
    "I": "grey",
    "F": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
}
_PHOTOMETRIC = {
    "MINISWHITE": "MinIsWhite",
    "MINISBLACK": "MinIsBlack",
    "RGB": "RGB",
    "PALETTE": "palette",
    "SEPARATED": "CMYK",
    "YCBCR": "YCbCr",
}
_MODE_PHOTOMETRIC = {"P": "palette", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}
_TIFF_COLOUR = {"MINISWHITE": "grey", "MINISBLACK": "grey", "YCBCR": "RGB"}
_DEFLATE = ("DEFLATE", "ADOBE_DEFLATE")
# Table K.1 of the JPEG standard, sorted: a TIFF holds it in zigzag, Pillow gives it in rows.
# fmt: off
_LUMINANCE = sorted((
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
))
# fmt: on


@dataclass(frozen=True)
class FileTraits:
    """What the header of an image file and the file system say; nothing of it is a pixel.

    Texts are empty where the format has no such thing or does not say.

    Attributes:
        format: by the file's first bytes, not its name: ``TIFF``, ``BigTIFF``, ``PNG`` ...
        suffix: of the name, as it is written.
        colour: ``grey``, ``RGB``, ``palette``, ``RGB with alpha``, ``CMYK`` ...
        photometric: what values mean, such as ``MinIsWhite``; of other formats than TIFF that is
            ``MinIsBlack`` for grey.
        depth: of a sample, such as ``8-bit`` or ``32-bit float``.
        compression: such as ``none``, ``LZW``, ``deflate``.
        jpeg: quality and chroma sampling of JPEG data.
        storage: byte order and the like of a TIFF, interlacing of others.
        pages: images in the file, reduced copies included.
        orientation: of EXIF, 1 to 8.
        camera: maker and model.
        software: that wrote the file.
        resolution: as the file states it.
        profile: checksum of the colour profile.
        height: px, as shown: after the orientation is applied.
        width: px, likewise.
        bytes: size of the file; of a cell of several files, their sum.
        modified: when the file was last changed, seconds since 1970; a copy may renew it.
        taken: date in the header, likewise, without its time zone; 0 where there is none.
    """

    format: str = ""
    suffix: str = ""
    colour: str = ""
    photometric: str = ""
    depth: str = ""
    compression: str = ""
    jpeg: str = ""
    storage: str = ""
    pages: int = 1
    orientation: int = 1
    camera: str = ""
    software: str = ""
    resolution: str = ""
    profile: str = ""
    height: int = 0
    width: int = 0
    bytes: int = 0
    modified: float = 0.0
    taken: float = 0.0


def read_traits(path: Path) -> FileTraits:
    """The traits of one file, from its header; no pixel is decoded and nothing is raised.

    What cannot be read is left empty: whether a file is fit to be read, its reader says.
    """
    found = FileTraits(suffix=path.suffix)
    try:
        status = path.stat()
        found = replace(found, bytes=status.st_size, modified=status.st_mtime)
        with path.open("rb") as file:
            head = file.read(512)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            is_tiff = head[:4] in _TIFF_MARKS
            found = replace(found, **(_of_tiff(path) if is_tiff else _of_others(path, head)))
    except Exception:  # a decoder raises anything when bytes are changed
        return found
    if found.orientation >= 5:
        found = replace(found, height=found.width, width=found.height)
    return found


def traits_of(
    cells: Sequence[Sequence[Path]],
    on_progress: Progress | None = None,
) -> TraitTable:
    """The traits of N cells, each of the files that it was read from.

    Args:
        cells: files of each cell, one for each channel.
        on_progress: told how many cells are done, where it takes more than a second or two.

    Returns:
        (N,) records; of a cell of several files, texts that differ are joined.
    """
    traits = []
    tell = on_progress if len(cells) > _MANY else None
    for done, files in enumerate(cells):
        if tell and done % 1024 == 0:
            tell("reading headers", done, len(cells))
        traits.append(_joined([read_traits(file) for file in files]))
    if tell:
        tell("reading headers", len(cells), len(cells))
    return as_table(traits)


def as_table(traits: Sequence[FileTraits]) -> TraitTable:
    """(N,) records of these traits."""
    columns: dict[str, NDArray[Any]] = {}
    for each in fields(FileTraits):
        values = [getattr(one, each.name) for one in traits]
        if isinstance(each.default, str):
            values = [value.encode("utf-8", "replace")[:_LONGEST] for value in values]
            columns[each.name] = np.array(values, np.bytes_)
        else:
            columns[each.name] = np.array(values, type(each.default))
    table = np.empty(len(traits), [(name, array.dtype) for name, array in columns.items()])
    for name, array in columns.items():
        table[name] = array
    return table


def texts(table: TraitTable, name: str) -> NDArray[np.str_]:
    """(N,) one trait of each cell, as text."""
    values = table[name]
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return values.astype(np.str_)


def as_stored(table: NDArray[Any] | None) -> TraitTable | None:
    """The table that lay in a cache; None where it is not one of this version's."""
    if table is None or table.dtype.names is None:
        return None
    whole = {each.name for each in fields(FileTraits)} <= {*table.dtype.names}
    return table if whole else None


def _joined(files: Sequence[FileTraits]) -> FileTraits:
    """One cell's traits from those of its files."""
    first = files[0]
    if len(files) == 1:
        return first
    values: dict[str, Any] = {}
    for each in fields(FileTraits):
        if isinstance(each.default, str):
            there = dict.fromkeys(getattr(file, each.name) for file in files)
            values[each.name] = " and ".join(text or "none" for text in there) if any(there) else ""
    values["bytes"] = sum(file.bytes for file in files)
    values["modified"] = max(file.modified for file in files)
    values["taken"] = max(file.taken for file in files)
    values["pages"] = max(file.pages for file in files)
    return replace(first, **values)


def _of_tiff(path: Path) -> dict[str, Any]:
    # 0.3 s to import, and a cached data set needs it not.
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        photometric = getattr(page.photometric, "name", str(page.photometric))
        compression = getattr(page.compression, "name", str(page.compression))
        colour = _TIFF_COLOUR.get(photometric, _PHOTOMETRIC.get(photometric, photometric))
        if page.extrasamples:
            colour = f"{colour} with alpha"
        tags = {tag.code: tag.value for tag in page.tags.values()}
        order = "little-endian" if tiff.byteorder == "<" else "big-endian"
        planar = ", planes apart" if page.samplesperpixel > 1 and page.planarconfig == 2 else ""
        predictor = int(page.predictor)
        return {
            "format": "BigTIFF" if tiff.is_bigtiff else "TIFF",
            "colour": colour,
            "photometric": _PHOTOMETRIC.get(photometric, photometric),
            "depth": _tiff_depth(page),
            "compression": _compression(compression) + (" with predictor" if predictor > 1 else ""),
            "jpeg": _jpeg_of_tiff(page, path, tags) if compression == "JPEG" else "",
            "storage": f"{order}{planar}{', tiles' if page.is_tiled else ''}",
            "pages": len(tiff.pages),
            "orientation": _orientation(tags.get(274)),
            "camera": _camera(tags.get(271), tags.get(272)),
            "software": _plain(tags.get(305)) or _writer(str(tags.get(270, ""))),
            "resolution": _tiff_resolution(tags),
            "profile": _checksum(tags.get(34675)),
            "height": int(page.imagelength),
            "width": int(page.imagewidth),
            "taken": _seconds(tags.get(306)),
        }


def _tiff_depth(page: Any) -> str:
    bits = page.bitspersample
    bits = max(bits) if isinstance(bits, tuple) else bits
    kind = {2: " signed", 3: " float"}.get(int(page.sampleformat or 1), "")
    return f"{bits}-bit{kind}"


def _compression(name: str) -> str:
    if name in _DEFLATE:
        return "deflate"
    return name.lower() if name == "NONE" else name


def _writer(description: str) -> str:
    """The program whose way of describing an image this is."""
    if description.startswith("ImageJ="):
        return _plain(description.splitlines()[0].replace("=", " "))
    return "OME" if "<OME " in description[:400] else ""


def _tiff_resolution(tags: Mapping[int, Any]) -> str:
    x, y = tags.get(282), tags.get(283)
    if not (isinstance(x, tuple) and isinstance(y, tuple) and x[1] and y[1]):
        return ""
    unit = {2: " per inch", 3: " per cm"}.get(int(tags.get(296, 2)), "")
    if not unit and x == y == (1, 1):
        return ""
    return f"{x[0] / x[1]:.6g} x {y[0] / y[1]:.6g}{unit}"


def _jpeg_of_tiff(page: Any, path: Path, tags: Mapping[int, Any]) -> str:
    """The tables lie in a tag, or in the first strip."""
    data = tags.get(347)
    if not isinstance(data, bytes) or b"\xff\xdb" not in data:
        with path.open("rb") as file:
            file.seek(page.dataoffsets[0])
            data = file.read(min(page.databytecounts[0], 2048))
    start = data.find(b"\xff\xdb")
    table = data[start + 5 : start + 69] if start >= 0 and data[start + 4] < 16 else b""
    return _quality(list(table)) if len(table) == 64 else ""


def _of_others(path: Path, head: bytes) -> dict[str, Any]:
    with Image.open(path) as image:
        exif = _exif(image.info.get("exif"))
        within = exif.get_ifd(0x8769) if len(exif) else {}
        info = image.info
        mode = "I" if image.mode.startswith("I;") else image.mode
        found: dict[str, Any] = {
            "format": str(image.format),
            "colour": _COLOUR.get(mode, mode),
            "photometric": _MODE_PHOTOMETRIC.get(image.mode, "MinIsBlack"),
            "depth": "1-bit" if image.mode == "1" else "8-bit",
            "pages": int(getattr(image, "n_frames", 1)),
            "orientation": _orientation(exif.get(274)),
            "camera": _camera(exif.get(271), exif.get(272)),
            "software": _plain(exif.get(305) or info.get("Software") or info.get("comment")),
            "resolution": _dpi(info.get("dpi")),
            "profile": _checksum(info.get("icc_profile")),
            "height": image.height,
            "width": image.width,
            "taken": _seconds(within.get(36867) or exif.get(306) or info.get("date:create")),
        }
        if image.format == "GIF":
            found["compression"] = "LZW"
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            sampling = JpegImagePlugin.get_sampling(image)
            chroma = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(sampling, "")
            tables = getattr(image, "quantization", {})
            parts = [_quality(list(tables.get(0, ()))), chroma if image.mode != "L" else ""]
            found["jpeg"] = ", ".join(part for part in parts if part)
            found["storage"] = "progressive" if info.get("progressive") else "baseline"
            found["compression"] = "JPEG"
    by_header = _BY_FORMAT.get(found["format"])
    return found if by_header is None else found | by_header(head)


def _png(head: bytes) -> dict[str, Any]:
    interlaced = "interlaced" if head[28] else ""
    return {"depth": f"{head[24]}-bit", "compression": "deflate", "storage": interlaced}


def _bmp(head: bytes) -> dict[str, Any]:
    bits, packed = struct.unpack("<HI", head[28:34])
    packing = {0: "none", 1: "run-length", 2: "run-length", 3: "none"}.get(packed, str(packed))
    return {
        "depth": f"{min(bits, 8)}-bit",
        "compression": packing,
        "storage": f"{bits} bits a pixel",
    }


def _pnm(head: bytes) -> dict[str, Any]:
    words = re.sub(rb"#[^\n]*", b"", head).split()
    plain = words[0] in (b"P1", b"P2", b"P3")
    bits = 1 if words[0] in (b"P1", b"P4") else int(words[3]).bit_length()
    kind = {b"1": "PBM", b"2": "PGM", b"3": "PPM", b"4": "PBM", b"5": "PGM", b"6": "PPM"}
    return {
        "format": kind.get(words[0][1:], "PNM"),
        "depth": f"{bits}-bit",
        "compression": "none",
        "storage": "text" if plain else "",
    }


def _webp(head: bytes) -> dict[str, Any]:
    lossless = b"VP8L" in head[12:64]
    return {"compression": "WebP lossless" if lossless else "WebP lossy"}


_BY_FORMAT: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    "PNG": _png,
    "BMP": _bmp,
    "PPM": _pnm,
    "WEBP": _webp,
}


@cache
def _qualities() -> Mapping[tuple[int, ...], int]:
    """Quality of the tables that libjpeg, and what is built on it, makes for each."""
    found = {}
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        found[tuple(min(255, max(1, (v * scale + 50) // 100)) for v in _LUMINANCE)] = quality
    return found


def _quality(table: Sequence[int]) -> str:
    if not table:
        return ""
    values = tuple(sorted(table))
    if values in _qualities():
        return f"quality {_qualities()[values]}"
    return f"own tables {_checksum(bytes(min(value, 255) for value in table))}"


def _exif(data: object) -> Image.Exif:
    exif = Image.Exif()
    if isinstance(data, bytes):
        exif.load(data)
    return exif


def _orientation(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _camera(maker: object, model: object) -> str:
    return " ".join(part for part in (_plain(maker), _plain(model)) if part)


def _dpi(value: object) -> str:
    if not (isinstance(value, tuple) and len(value) == 2):
        return ""
    return f"{float(value[0]):.6g} x {float(value[1]):.6g} per inch"


def _plain(value: object) -> str:
    """One short line without control characters."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return " ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", text).split())[:_LONGEST]


def _checksum(value: object) -> str:
    return f"{zlib.crc32(value):08x}" if isinstance(value, bytes) and value else ""


def _seconds(value: object) -> float:
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", str(value or ""))
    if match is None:
        return 0.0
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
