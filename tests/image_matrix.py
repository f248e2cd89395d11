"""Image files of known pixels, of every kind that the formats allow: what must be read, and how.

Each cell is written by a way of its own: tifffile's and Pillow's writers (libtiff), the codecs of
imagecodecs, or bytes made here from the formats' standards. ``python tests/image_matrix.py`` prints
the count of cells that are read right, refused and wrong, and ``--without MODULE,MODULE`` does so
where these cannot be imported.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 21, 35
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
DTYPES = ("bool", *INTEGERS, "float16", "float32", "float64", "complex64")
OPTIONAL = ("anndata", "bioimageio", "dclab", "fastapi", "h5py", "hdf5plugin", "jpype", "ome_zarr")
OPTIONAL += ("optuna_dashboard", "psycopg", "uvicorn", "zarr")


@dataclass(frozen=True, eq=False)
class Cell:
    """One file and what is right.

    Attributes:
        name: of the cell; its first word is the suffix of the file.
        data: the file's bytes.
        pixels: (C, H, W) that must be read; None where it must be refused.
        refusal: regular expression of the refusal's own name.
        within: how far lossy pixels may be off.
    """

    name: str
    data: bytes
    pixels: np.ndarray | None = None
    refusal: str = ""
    within: float = 0

    @property
    def suffix(self) -> str:
        return self.name.split()[0]


def outcome(cell: Cell, folder: Path) -> str:
    """``right``, ``refused``, or ``wrong: ...``."""
    from cellsearch.data.readers.images import read_image
    from cellsearch.errors import ReadError

    path = folder / f"x.{cell.suffix}"
    path.write_bytes(cell.data)
    try:
        found = read_image(path)
    except ReadError as error:
        if cell.pixels is not None:
            return f"wrong: refused, and should be read: {error}"
        if not re.search(cell.refusal, str(error)) or "\n" in str(error):
            return f"wrong: refused by another name than {cell.refusal!r}: {error}"
        return "refused"
    except Exception as error:  # any other is the fault that is looked for
        return f"wrong: {error!r}"
    if cell.pixels is None:
        return f"wrong: read as {found.dtype} {found.shape}, and should be refused"
    if found.dtype != cell.pixels.dtype or found.shape != cell.pixels.shape:
        wanted = f"{cell.pixels.dtype} {cell.pixels.shape}"
        return f"wrong: read as {found.dtype} {found.shape}, and is {wanted}"
    if cell.within:
        off = np.abs(found.astype(np.float64) - cell.pixels).max()
        return "right" if off <= cell.within else f"wrong: off by {off}"
    return "right" if np.array_equal(found, cell.pixels) else "wrong: other pixels"


def run(cells: Sequence[Cell]) -> dict[str, str]:
    """Outcome of each cell by its name."""
    with tempfile.TemporaryDirectory() as folder:
        return {cell.name: outcome(cell, Path(folder)) for cell in cells}


def counts(outcomes: Mapping[str, str]) -> dict[str, int]:
    """How many were read right, refused, and wrong."""
    found = Counter(each.split(":")[0] for each in outcomes.values())
    return {what: found[what] for what in ("right", "refused", "wrong")}


# Pixels


def noise(dtype: str, shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> np.ndarray:
    """All the values that a dtype has, low and high."""
    rng = np.random.default_rng(5)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    if kind == "c":
        return (rng.normal(0, 50, shape) + 1j * rng.normal(0, 50, shape)).astype(dtype)
    return rng.normal(0, 500, shape).astype(dtype)


def smooth(top: int = 250, dtype: str = "uint8", planes: int = 0) -> np.ndarray:
    """A ramp, (H, W) or (H, W, planes), which lossy compression keeps within a few units."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = [x / WIDTH, y / HEIGHT, 1 - x / WIDTH, 1 - y / HEIGHT][: planes or 1]
    image = (np.stack(ramps, axis=2) * top).astype(dtype)
    return image if planes else image[:, :, 0]


def planes_of(image: np.ndarray) -> np.ndarray:
    """(C, H, W) of (H, W) or (H, W, C)."""
    return image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)


# TIFF, by tifffile's writer

LOSSLESS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "lzw": {"compression": "lzw"},
    "lzw-predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "deflate-predictor": {"compression": "zlib", "predictor": True},
    "zstd": {"compression": "zstd"},
    "zstd-predictor": {"compression": "zstd", "predictor": True},
    "lzma": {"compression": "lzma"},
    "packbits": {"compression": "packbits"},
    "lerc": {"compression": "lerc"},
    "png": {"compression": "png"},
    "jpeg2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "jpegxl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "webp": {"compression": "webp", "compressionargs": {"lossless": True}},
}
SEGMENTS: Mapping[str, Mapping[str, Any]] = {
    "strip": {},
    "strips": {"rowsperstrip": 8},
    "tiles": {"tile": (16, 16)},
}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "BlackIsZero": {"photometric": "minisblack"},
    "WhiteIsZero": {"photometric": "miniswhite"},
    "RGB": {"photometric": "rgb", "planarconfig": "contig"},
    "RGB-planes": {"photometric": "rgb", "planarconfig": "separate"},
    "channels": {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [0, 0]},
    "channels-planes": {
        "photometric": "minisblack",
        "planarconfig": "separate",
        "extrasamples": [0, 0],
    },
    "CMYK": {"photometric": "separated", "planarconfig": "contig"},
}


def saved(image: np.ndarray, **options: Any) -> bytes | None:
    """By tifffile; None where it cannot write such a file."""
    file = io.BytesIO()
    try:
        tifffile.imwrite(file, image, metadata=None, **options)
    except Exception:  # it refuses in many ways
        return None
    return file.getvalue()


def tiff_lossless() -> Iterator[Cell]:
    for dtype, packing, kind in itertools.product(DTYPES, LOSSLESS, KINDS):
        depth = 4 if kind == "CMYK" else 1 if kind.endswith("Zero") else 3
        first = kind.endswith("planes")
        shape = (HEIGHT, WIDTH) if depth == 1 else (HEIGHT, WIDTH, depth)
        image = noise(dtype, shape)
        given = np.ascontiguousarray(np.moveaxis(image, 2, 0)) if first else image
        if dtype == "bool" and depth > 1:
            continue
        segments = SEGMENTS if kind in ("BlackIsZero", "RGB", "RGB-planes") else ("strips",)
        for segment, order in itertools.product(segments, "<>"):
            options = {**LOSSLESS[packing], **KINDS[kind], **SEGMENTS[segment]}
            data = saved(given, byteorder=order, **options)
            if data is None:
                continue
            name = f"tif {dtype} {kind} {packing} {segment} {order}"
            pixels, refusal = planes_of(image), ""
            if kind == "CMYK":
                pixels, refusal = None, "CMYK colours in a TIFF"
            elif dtype == "complex64":
                pixels, refusal = None, "complex numbers"
            elif packing == "jpeg2000" and image.dtype.itemsize > 2:
                pixels, refusal = None, "JPEG 2000 of 32 bits"
            elif packing == "jpeg2000" and image.dtype.itemsize == 2 and order == ">":
                pixels, refusal = None, "JPEG 2000 of 16 bits in a big-endian TIFF"
            elif kind == "WhiteIsZero" and dtype == "bool":
                pixels = ~pixels
            elif kind == "WhiteIsZero" and dtype.startswith("u"):
                pixels = np.iinfo(dtype).max - pixels
            elif kind == "WhiteIsZero":
                pixels, refusal = None, "white is zero"
            yield Cell(name, data, pixels, refusal)


def tiff_lossy() -> Iterator[Cell]:
    # Whole tiles: an encoder that fills up the last ones blurs its filling into them.
    grey, colour = smooth()[:16, :32], smooth(planes=3)[:16, :32]
    deep = smooth(4000, "uint16")[:16, :32]
    for segment, order in itertools.product(SEGMENTS, "<>"):
        where = {**SEGMENTS[segment], "byteorder": order}
        segment = f"{segment} {order}"
        for name, image, options, within in (
            ("jpeg grey", grey, {"photometric": "minisblack", "compression": "jpeg"}, 4),
            ("jpeg RGB", colour, {"photometric": "rgb", "compression": "jpeg"}, 12),
            (
                "jpeg 12 bits",
                deep,
                {
                    "photometric": "minisblack",
                    "compression": "jpeg",
                    "compressionargs": {"bitspersample": 12, "level": 98},
                },
                40,
            ),
            (
                "jpeg2000 lossy",
                grey,
                {
                    "photometric": "minisblack",
                    "compression": "jpeg2000",
                    "compressionargs": {"level": 45},
                },
                8,
            ),
            (
                "lerc 0.5",
                noise("float32"),
                {
                    "photometric": "minisblack",
                    "compression": "lerc",
                    "compressionargs": {"level": 0.5},
                },
                0.51,
            ),
        ):
            data = saved(image, **options, **where)
            if data is not None:
                yield Cell(f"tif {name} {segment}", data, planes_of(image), within=within)
        white = saved(grey, photometric="miniswhite", compression="jpeg", **where)
        if white is not None:
            yield Cell(f"tif jpeg WhiteIsZero {segment}", white, planes_of(255 - grey), within=4)
        jxr = saved(grey, photometric="minisblack", compression="jpegxr", **where)
        if jxr is not None:
            yield Cell(f"tif jpegxr {segment}", jxr, None, "JPEG XR")


def tiff_by_libtiff() -> Iterator[Cell]:
    """By Pillow, which writes with libtiff."""
    rng = np.random.default_rng(6)
    grey = Image.fromarray(noise("uint8"))
    rgb = Image.fromarray(noise("uint8", (HEIGHT, WIDTH, 3)))
    bits = Image.fromarray(noise("uint8")).convert("1")
    palette = Image.fromarray(noise("uint8"), "P")
    palette.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())
    images: dict[str, tuple[Image.Image, np.ndarray | None, str]] = {
        "grey": (grey, planes_of(np.asarray(grey)), ""),
        "RGB": (rgb, planes_of(np.asarray(rgb)), ""),
        "bits": (bits, planes_of(np.asarray(bits)), ""),
        "palette": (palette, planes_of(np.asarray(palette.convert("RGB"))), ""),
        "uint16": (
            Image.fromarray(noise("uint16")),
            planes_of(noise("uint16")),
            "",
        ),
        "int32": (Image.fromarray(noise("int32")), planes_of(noise("int32")), ""),
        "float32": (Image.fromarray(noise("float32")), planes_of(noise("float32")), ""),
        "CMYK": (rgb.convert("CMYK"), None, "CMYK"),
        "Lab": (Image.fromarray(noise("uint8", (HEIGHT, WIDTH, 3)), "LAB"), None, "L.a.b"),
        "YCbCr": (rgb.convert("YCbCr"), None, "YCbCr colours without JPEG"),
        "opaque": (rgb.convert("RGBA"), planes_of(np.asarray(rgb)), ""),
        "opaque grey": (grey.convert("LA"), planes_of(np.asarray(grey)), ""),
    }
    clear = rgb.convert("RGBA")
    clear.putpixel((3, 4), (9, 9, 9, 0))
    images["clear"] = (clear, None, "transparent pixels")
    half = Image.merge("LA", (grey, Image.new("L", grey.size, 128)))
    images["half clear"] = (half, None, "transparent pixels")
    for kind, packing in itertools.product(
        images, (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")
    ):
        image, pixels, refusal = images[kind]
        file = io.BytesIO()
        try:
            image.save(file, "TIFF", compression=packing)
        except (OSError, ValueError):
            continue
        yield Cell(f"tif libtiff {kind} {packing}", file.getvalue(), pixels, refusal)
    soft = Image.fromarray(smooth(planes=3))
    for options in ({}, {"quality": 95}):
        data = by_pillow(soft, "TIFF", compression="jpeg", **options)
        yield Cell(
            f"tif libtiff YCbCr jpeg {options}", data, planes_of(smooth(planes=3)), within=30
        )
    for packing in ("group3", "group4", "tiff_ccitt"):
        file = io.BytesIO()
        bits.save(file, "TIFF", compression=packing)
        yield Cell(f"tif libtiff fax {packing}", file.getvalue(), planes_of(np.asarray(bits)))


# TIFF, from bytes

TYPES = {1: "B", 3: "H", 4: "I", 2: "s"}


def tiff(
    strips: Sequence[bytes],
    tags: Mapping[int, Any],
    *,
    order: str = "<",
    height: int = HEIGHT,
    width: int = WIDTH,
    rows: int | None = None,
    after: int = 0,
    big: bool = False,
) -> bytes:
    """A classic TIFF (or BigTIFF) of one page; ``tags`` replace those that pixels need."""
    size = 8 if big else 4
    head = 16 if big else 8
    offsets = [head + sum(len(strip) for strip in strips[:k]) for k in range(len(strips))]
    values: dict[int, Any] = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        273: offsets,
        277: 1,
        278: rows or height,
        279: [len(strip) for strip in strips],
        **tags,
    }
    pixels = b"".join(strips)
    pixels += bytes(len(pixels) % 2)
    directory = head + len(pixels)
    entry = 20 if big else 12
    held = {tag: value for tag, value in values.items() if value is not None}
    room = directory + (8 if big else 2) + entry * len(held) + size
    entries, extra = b"", b""
    for tag in sorted(held):
        value = held[tag]
        if isinstance(value, bytes):
            kind, count, data = 2, len(value), value
        else:
            numbers = list(value) if isinstance(value, list | tuple) else [value]
            kind = 3 if max(numbers) < 65536 and tag not in (273, 279) else 4
            count, data = len(numbers), struct.pack(f"{order}{len(numbers)}{TYPES[kind]}", *numbers)
        if len(data) > size:
            place = struct.pack(order + ("Q" if big else "I"), room + len(extra))
            extra += data + bytes(len(data) % 2)
        else:
            place = data.ljust(size, b"\0")
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + place
    mark = {"<": b"II", ">": b"MM"}[order]
    start = struct.pack(order + "H", 43 if big else 42)
    start += (
        struct.pack(order + "HHQ", 8, 0, directory) if big else struct.pack(order + "I", directory)
    )
    number = struct.pack(order + ("Q" if big else "H"), len(held))
    last = struct.pack(order + ("Q" if big else "I"), after)
    return mark + start + pixels + number + entries + last + extra


def packed(values: np.ndarray, bits: int, *, reverse: bool = False) -> bytes:
    """Rows of samples, most significant bit first, each row from a whole byte on."""
    spread = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1)
    return flipped(rows.tobytes()) if reverse else rows.tobytes()


def flipped(data: bytes) -> bytes:
    """Each byte with its bits in the other order."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8)[:, None], axis=1)
    return np.packbits(bits, axis=1, bitorder="little").tobytes()


def tiff_by_hand() -> Iterator[Cell]:
    rng = np.random.default_rng(7)
    grey, deep = noise("uint8"), noise("uint16")
    raw = grey.tobytes()
    for bits, order, reverse in itertools.product((1, 2, 4, 6, 10, 12, 14), "<>", (False, True)):
        samples = rng.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.uint16)
        dtype = bool if bits == 1 else np.uint8 if bits < 8 else np.uint16
        name = f"tif {bits} bits {order} FillOrder {1 + reverse}"
        tags = {258: bits, 266: 1 + reverse}
        data = packed(samples, bits, reverse=reverse)
        yield Cell(name, tiff([data], tags, order=order), samples.astype(dtype)[None])
        white = (2**bits - 1 - samples).astype(dtype)[None]
        yield Cell(f"{name} white", tiff([data], {**tags, 262: 0}, order=order), white)
        strip = zlib.compress(packed(samples, bits))
        strip = flipped(strip) if reverse else strip
        zipped = tiff([strip], {**tags, 259: 8}, order=order)
        yield Cell(f"{name} deflate", zipped, samples.astype(dtype)[None])
    for reverse in (False, True):
        data = deep.astype("<u2").tobytes()
        data = flipped(data) if reverse else data
        tags = {258: 16, 266: 1 + reverse}
        yield Cell(f"tif 16 bits FillOrder {1 + reverse}", tiff([data], tags), deep[None])
    for bits, style in itertools.product((1, 2, 4, 8, 16), ("257", "256", "1")):
        number = 2**bits
        samples = rng.integers(0, number, (HEIGHT, WIDTH)).astype(np.uint16)
        colours = rng.integers(0, 256, (3, number)).astype(np.uint8)
        colours[0, -1] = 255
        table = (colours.astype(np.int64) * int(style)).ravel().tolist()
        data = samples.astype("<u2").tobytes() if bits == 16 else packed(samples, bits)
        pixels = colours[:, samples]
        name = f"tif palette {bits} bits times {style}"
        yield Cell(name, tiff([data], {258: bits, 262: 3, 320: table}), pixels)
    ramp = (np.tile(np.arange(256), 3) * 257).tolist()
    yield Cell("tif palette of greys", tiff([raw], {262: 3, 320: ramp}), grey[None])
    yield Cell("tif palette without colours", tiff([raw], {262: 3}), None, "without its colours")
    rgb = noise("uint8", (HEIGHT, WIDTH, 3))
    for orientation, kind in itertools.product(range(1, 9), ("grey", "RGB", "planes", "deflate")):
        image = grey if kind in ("grey", "deflate") else rgb
        upright = oriented(planes_of(image), orientation)
        tags: dict[int, Any] = {274: orientation}
        if image is rgb:
            tags |= {258: [8, 8, 8], 262: 2, 277: 3, 284: 2 if kind == "planes" else 1}
        strips = [plane.tobytes() for plane in planes_of(rgb)]
        strips = strips if kind == "planes" else [image.tobytes()]
        if kind == "deflate":
            tags[259], strips = 8, [zlib.compress(strips[0])]
        yield Cell(f"tif orientation {orientation} {kind}", tiff(strips, tags), upright)
    yield Cell("tif orientation 9", tiff([raw], {274: 9}), None, "orientation 9")
    yield Cell("tif BigTIFF", tiff([raw], {}, big=True), grey[None])
    yield Cell("tif BigTIFF >", tiff([raw], {}, big=True, order=">"), grey[None])
    for code, words in {
        4: "transparency mask",
        5: "CMYK",
        6: "YCbCr colours without JPEG",
        8: "L.a.b",
        9: "L.a.b",
        10: "L.a.b",
        32803: "colour filter",
        32844: "LogL",
        32845: "LogLuv",
        34892: "raw light",
        51177: "depth map",
        77: "photometric interpretation 77",
    }.items():
        yield Cell(f"tif photometric {code}", tiff([raw], {262: code}), None, words)
    yield Cell("tif mask page", tiff([raw], {254: 4}), None, "transparency mask")
    four = noise("uint8", (HEIGHT, WIDTH, 4))
    opaque = four.copy()
    opaque[..., 3] = 255
    dim = four.copy()
    dim[..., 3] = 128
    colour = {258: [8] * 4, 262: 2, 277: 4}
    for meaning, word in ((1, "associated"), (2, "unassociated")):
        tags = {**colour, 338: meaning}
        yield Cell(
            f"tif alpha {word} opaque", tiff([opaque.tobytes()], tags), planes_of(opaque[..., :3])
        )
        yield Cell(f"tif alpha {word}", tiff([four.tobytes()], tags), None, "transparent")
        yield Cell(f"tif alpha {word} even", tiff([dim.tobytes()], tags), None, "transparent")
    yield Cell("tif extra sample", tiff([four.tobytes()], {**colour, 338: 0}), None, "meaning")
    yield Cell("tif extra sample untold", tiff([four.tobytes()], colour), None, "meaning|samples")
    grey4 = {258: [8] * 4, 262: 1, 277: 4, 338: [0, 0, 0]}
    yield Cell("tif four channels", tiff([four.tobytes()], grey4), planes_of(four))
    grey4 = {258: [8] * 4, 262: 1, 277: 4, 338: [0, 0, 2]}
    yield Cell(
        "tif three channels and opaque", tiff([opaque.tobytes()], grey4), planes_of(opaque[..., :3])
    )
    yield Cell("tif three channels and alpha", tiff([four.tobytes()], grey4), None, "transparent")
    yield Cell("tif RGB of 1 sample", tiff([raw], {262: 2}), None, "colours of 1 sample|not read")
    yield Cell("tif predictor alone", tiff([raw], {317: 2}), None, "predictor without compression")
    mixed = {258: [5, 6, 5], 262: 2, 277: 3}
    yield Cell("tif 565", tiff([deep.tobytes()], mixed), None, r"samples of \(5, 6, 5\) bits")
    tags = {258: [16, 8, 8], 262: 2, 277: 3}
    yield Cell("tif mixed bits", tiff([four.tobytes()], tags), None, "samples of")
    tags = {258: [8] * 3, 262: 2, 277: 3, 339: [1, 2, 1]}
    yield Cell("tif mixed formats", tiff([rgb.tobytes()], tags), None, "several kinds")
    tags = {258: 32, 339: 5}
    words = "complex numbers"
    yield Cell("tif complex integers", tiff([raw * 4], tags), None, words)
    yield Cell("tif 24-bit integers", tiff([raw * 3], {258: 24}), None, "samples of 24 bits")
    yield Cell("tif SampleFormat 7", tiff([raw], {339: 7}), None, "samples of 8 bits|SampleFormat")
    for code, words in {
        6: "old-style JPEG",
        22610: "JPEG XR",
        33003: "Aperio",
        50123: "decoded",
    }.items():
        tags = {259: code, 262: 2, 258: [8] * 3, 277: 3}
        yield Cell(f"tif compression {code}", tiff([rgb.tobytes()], tags), None, words)
    low = deep.copy()
    low[3, 4] = 77
    tags = {258: 16, 42113: b"77\0"}
    data = low.astype("<u2").tobytes()
    yield Cell("tif nodata there", tiff([data], tags), None, "GDAL_NODATA")
    tags = {258: 16, 42113: b"-9999\0"}
    yield Cell("tif nodata not there", tiff([data], tags), low[None])
    tags = {258: 16, 42113: b"none\0"}
    yield Cell("tif nodata no number", tiff([data], tags), None, "GDAL_NODATA")
    tags = {258: 16, 281: 4095}
    narrow = (deep >> 4).astype("<u2")
    yield Cell("tif 12 bits in 16", tiff([narrow.tobytes()], tags), narrow.astype(np.uint16)[None])
    yield from tiff_gaps(raw)


def oriented(planes: np.ndarray, orientation: int) -> np.ndarray:
    """Upright planes, by what Pillow does with each of the eight."""
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    if turn is None:
        return planes
    return np.stack([np.asarray(Image.fromarray(plane).transpose(turn)) for plane in planes])


def tiff_gaps(raw: bytes) -> Iterator[Cell]:
    """Pixels that are not in the file, which decoders fill with zeros or with noise."""
    strips = [raw[k * 7 * WIDTH : (k + 1) * 7 * WIDTH] for k in range(3)]
    pixels = np.frombuffer(raw, np.uint8).reshape(1, HEIGHT, WIDTH)
    whole = tiff(strips, {}, rows=7)
    yield Cell("tif three strips", whole, pixels)
    starts = [8 + 7 * WIDTH * k for k in range(3)]
    counts_ = [7 * WIDTH] * 3
    for name, tags, words in (
        ("count 0", {279: [counts_[0], 0, counts_[2]]}, "sparse"),
        ("offset 0", {273: [starts[0], 0, starts[2]]}, "sparse"),
        ("overlap", {273: [starts[0], starts[0] + 9, starts[2]]}, "overlap"),
        ("one thrice", {273: [starts[0]] * 3}, "overlap"),
        ("beyond", {273: [starts[0], 10**6, starts[2]]}, "beyond the end"),
        ("two offsets", {273: starts[:2], 279: counts_[:2]}, "2 of 3 strips"),
        ("short strip", {279: [counts_[0], counts_[1] - 9, counts_[2]]}, "shorter|reshaped"),
        ("no counts", {279: None}, "strips|damaged|truncated"),
    ):
        yield Cell(f"tif gap {name}", tiff(strips, tags, rows=7), None, words)
    yield Cell("tif gap short", tiff([raw], {279: len(raw) - 3}), None, "shorter than its pixels")
    yield Cell("tif gap next page", tiff([raw], {}, after=10**6), None, "last page")
    for share in (0.2, 0.5, 0.9, 0.99):
        yield Cell(
            f"tif gap cut at {share}",
            whole[: int(len(whole) * share)],
            None,
            "truncated|not an image",
        )
    for packing, code, encode in (
        ("lzw", 5, imagecodecs.lzw_encode),
        ("deflate", 8, imagecodecs.zlib_encode),
        ("packbits", 32773, imagecodecs.packbits_encode),
        ("zstd", 50000, imagecodecs.zstd_encode),
        ("lzma", 34925, imagecodecs.lzma_encode),
    ):
        strip = encode(raw)
        cut = strip[: len(strip) * 2 // 3]
        yield Cell(f"tif gap {packing}", tiff([cut], {259: code}), None, "decoded|truncated")
        late = encode(raw[: -2 * WIDTH])
        yield Cell(f"tif gap late {packing}", tiff([late], {259: code}), None, "decoded|reshaped")
    image = pixels[0]
    for packing, code, strip in (
        ("jpeg", 7, imagecodecs.jpeg8_encode(image, level=90)),
        ("jpeg2000", 34712, imagecodecs.jpeg2k_encode(image, level=0)),
        ("jpegxl", 50002, imagecodecs.jpegxl_encode(image, lossless=True)),
        ("png", 34933, imagecodecs.png_encode(image)),
        ("lerc", 34887, imagecodecs.lerc_encode(image)),
    ):
        cut = strip[: len(strip) * 2 // 3]
        yield Cell(f"tif gap {packing}", tiff([cut], {259: code}), None, "decoded|truncated")
    seen = np.ones(image.shape, bool)
    seen[4, 5] = False
    masked = imagecodecs.lerc_encode(image.astype(np.float32), masks=seen)
    tags = {259: 34887, 258: 32, 339: 3}
    yield Cell("tif gap lerc mask", tiff([masked], tags), None, "LERC masks")
    tiles = {322: 16, 323: 16, 278: None, 273: None, 279: None}
    blocks = np.zeros((32, 48), np.uint8)
    blocks[:HEIGHT, :WIDTH] = image
    cells = [
        blocks[y : y + 16, x : x + 16].tobytes() for y in range(0, 32, 16) for x in range(0, 48, 16)
    ]
    places = [8 + 256 * k for k in range(6)]
    good = {**tiles, 324: places, 325: [256] * 6}
    yield Cell("tif tiles by hand", tiff(cells, good), pixels)
    for name, tags, words in (
        ("sparse", {**good, 325: [256, 0, 256, 256, 256, 256]}, "sparse"),
        ("overlap", {**good, 324: [8, 9, *places[2:]]}, "overlap"),
        ("beyond", {**good, 324: [*places[:5], 10**6]}, "beyond"),
        ("few", {**good, 324: places[:4], 325: [256] * 4}, "4 of 6"),
        ("short", {**good, 325: [100, *[256] * 5]}, "reshaped|shorter"),
    ):
        yield Cell(f"tif gap tiles {name}", tiff(cells, tags), None, words)


def tiff_pages() -> Iterator[Cell]:
    """Several pages, and what their metadata say that they are."""
    three = noise("uint16", (3, HEIGHT, WIDTH))
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for plane in three:
            writer.write(plane, photometric="minisblack", metadata=None)
    yield Cell("tif three pages", file.getvalue(), three)
    for name, photometric in (("one white", "miniswhite"),):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(three[0], photometric="minisblack", metadata=None)
            writer.write(three[1], photometric=photometric, metadata=None)
        yield Cell(f"tif pages {name}", file.getvalue(), np.stack([three[0], 65535 - three[1]]))
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(three[0], photometric="minisblack", metadata=None, subifds=1)
        writer.write(three[0][::2, ::2], photometric="minisblack", metadata=None, subfiletype=1)
    yield Cell("tif pyramid in a SubIFD", file.getvalue(), three[:1])
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(three[0], photometric="minisblack", metadata=None)
        writer.write(three[0][::2, ::2], photometric="minisblack", metadata=None, subfiletype=1)
    yield Cell("tif reduced page", file.getvalue(), three[:1])
    for name, pages, words in (
        ("sizes", [three[0], three[0][:9]], "different sizes"),
        ("dtypes", [three[0], three[0].astype(np.uint8)], "different dtypes"),
    ):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for page in pages:
                writer.write(page, photometric="minisblack", metadata=None)
        yield Cell(f"tif pages of {name}", file.getvalue(), None, words)
    six = noise("uint16", (2, 3, HEIGHT, WIDTH))
    for how in ("imagej", "ome", "shaped"):
        for axes, image, words in (
            ("CYX", three, ""),
            ("ZYX", three, r"3 slices \(Z\)"),
            ("TYX", three, r"3 times \(T\)"),
            ("ZCYX", six, r"2 slices \(Z\)"),
            ("TCYX", six, r"2 times \(T\)"),
            ("TZYX", six, r"2 times \(T\) and 3 slices"),
        ):
            file = io.BytesIO()
            options = {} if how == "shaped" else {how: True}
            tifffile.imwrite(
                file, image, photometric="minisblack", metadata={"axes": axes}, **options
            )
            pixels = None if words else image
            yield Cell(f"tif {how} {axes}", file.getvalue(), pixels, words)
    file = io.BytesIO()
    tifffile.imwrite(file, three, photometric="minisblack", metadata={"axes": "CYX"}, truncate=True)
    yield Cell("tif planes behind one page", file.getvalue(), None, "behind one page")
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as writer:
        for plane in three[:2]:
            writer.write(plane, photometric="minisblack", metadata={"axes": "YX"})
    signed = (three[0].astype(np.int32) - 32768).astype(np.int16)[None]
    for name, text, pixels, words in (
        ("signed", "cf=0\nc0=-32768.0\nc1=1.0\nvunit=gray value\n", signed, ""),
        ("none", "cf=0\nc0=0.0\nc1=1.0\n", three[:1], ""),
        ("density", "cf=0\nc0=0.2\nc1=0.01\n", None, "ImageJ calibrates"),
        ("curve", "cf=3\nc0=0.2\nc1=0.01\nc2=5\n", None, "ImageJ calibrates"),
    ):
        data = tiff(
            [three[0].astype(">u2").tobytes()],
            {258: 16, 270: b"ImageJ=1.54f\n" + text.encode() + b"\0"},
            order=">",
        )
        yield Cell(f"tif ImageJ calibration {name}", data, pixels, words)
    below = io.BytesIO()
    with tifffile.TiffWriter(below) as writer:
        writer.write(three[0], photometric="minisblack", metadata=None, subifds=1)
        writer.write(three[1], photometric="minisblack", metadata=None)
    yield Cell("tif image in a SubIFD", below.getvalue(), None, "SubIFDs")
    yield Cell("tif ome of two images", file.getvalue(), None, "2 images in one file")


# PNG, from bytes


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    samples: np.ndarray,
    bits: int,
    colour: int,
    *,
    interlaced: bool = False,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
) -> bytes:
    """Of (H, W) or (H, W, S) samples, unfiltered; chunks ``before`` and ``after`` the pixels."""
    height, width = samples.shape[:2]
    passes = (
        [
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]
        if interlaced
        else [(0, 0, 1, 1)]
    )
    rows = b""
    for y, x, down, right in passes:
        part = samples[y::down, x::right]
        if part.size:
            part = part.reshape(len(part), -1)
            data = packed(part.astype(np.uint16), bits)
            each = len(data) // len(part)
            rows += b"".join(b"\0" + data[k * each : (k + 1) * each] for k in range(len(part)))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *before,
            chunk(b"IDAT", zlib.compress(rows)),
            *after,
            chunk(b"IEND", b""),
        )
    )


def png_cells() -> Iterator[Cell]:
    rng = np.random.default_rng(8)
    for interlaced in (False, True):
        way = "interlaced" if interlaced else "rows"
        for bits in (1, 2, 4, 8, 16):
            samples = rng.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.uint16)
            scale = 255 // (2**bits - 1) if bits < 8 else 1
            pixels = (samples * scale).astype(np.uint16 if bits == 16 else np.uint8)[None]
            name = f"png grey {bits} {way}"
            yield Cell(name, png(samples, bits, 0, interlaced=interlaced), pixels)
            value = int(samples[2, 2])
            clear = chunk(b"tRNS", struct.pack(">H", value))
            data = png(samples, bits, 0, interlaced=interlaced, before=[clear])
            yield Cell(f"{name} tRNS", data, None, "transparent")
            if bits > 1:
                absent = np.where(samples == 0, 1, samples)
                clear = chunk(b"tRNS", struct.pack(">H", 0))
                data = png(absent, bits, 0, interlaced=interlaced, before=[clear])
                pixels = (absent * scale).astype(pixels.dtype)[None]
                yield Cell(f"{name} tRNS of no pixel", data, pixels)
            if bits <= 8:
                colours = rng.integers(0, 256, (2**bits, 3)).astype(np.uint8)
                table = chunk(b"PLTE", colours.tobytes())
                pixels = np.moveaxis(colours[samples], 2, 0)
                name = f"png palette {bits} {way}"
                data = png(samples, bits, 3, interlaced=interlaced, before=[table])
                yield Cell(name, data, pixels)
                clear = chunk(b"tRNS", bytes([255] * value + [7]))
                data = png(samples, bits, 3, interlaced=interlaced, before=[table, clear])
                yield Cell(f"{name} tRNS", data, None, "transparent")
                opaque = chunk(b"tRNS", bytes([255]))
                data = png(samples, bits, 3, interlaced=interlaced, before=[table, opaque])
                yield Cell(f"{name} opaque", data, pixels)
                if bits > 1:
                    short = chunk(b"PLTE", colours[: 2**bits // 2].tobytes())
                    data = png(samples, bits, 3, interlaced=interlaced, before=[short])
                    yield Cell(f"{name} too short", data, None, "beyond its palette|decoded")
        for bits, (colour, depth) in itertools.product((8, 16), ((2, 3), (4, 2), (6, 4))):
            dtype = "uint8" if bits == 8 else "uint16"
            samples = noise(dtype, (HEIGHT, WIDTH, depth))
            name = f"png colour {colour} {bits} {way}"
            data = png(samples, bits, colour, interlaced=interlaced)
            if bits == 16 and interlaced:
                yield Cell(name, data, None, "interlaced colours of 16 bits")
                continue
            if colour == 2:
                yield Cell(name, data, planes_of(samples))
                clear = chunk(b"tRNS", samples[3, 3].astype(">u2").tobytes())
                data = png(samples, bits, 2, interlaced=interlaced, before=[clear])
                yield Cell(f"{name} tRNS", data, None, "transparent")
                continue
            yield Cell(name, data, None, "transparent")
            samples[..., -1] = np.iinfo(dtype).max
            data = png(samples, bits, colour, interlaced=interlaced)
            yield Cell(f"{name} opaque", data, planes_of(samples[..., :-1]))
    grey, rgb16 = noise("uint8"), noise("uint16", (HEIGHT, WIDTH, 3))
    for gamma, right in ((45455, True), (45000, True), (100000, False), (55556, False)):
        bend = chunk(b"gAMA", struct.pack(">I", gamma))
        words = "" if right else "gamma"
        data = png(grey, 8, 0, before=[bend])
        yield Cell(f"png gamma {gamma}", data, grey[None] if right else None, words)
        data = png(rgb16, 16, 2, before=[bend])
        yield Cell(f"png gamma {gamma} RGB 16", data, planes_of(rgb16) if right else None, words)
    srgb = [chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 45455))]
    yield Cell("png sRGB", png(grey, 8, 0, before=srgb), grey[None])
    few = chunk(b"sBIT", bytes([6]))
    yield Cell("png sBIT", png(grey, 8, 0, before=[few]), grey[None])
    for orientation in range(1, 9):
        exif = chunk(b"eXIf", exif_of(orientation))
        for bits, image, colour in ((8, grey, 0), (16, rgb16, 2)):
            pixels = oriented(planes_of(image), orientation)
            data = png(image, bits, colour, before=[exif])
            yield Cell(f"png EXIF orientation {orientation} of {bits} bits", data, pixels)
    good = png(grey, 8, 0)
    for share in (0.05, 0.3, 0.6, 0.95):
        data = good[: int(len(good) * share)]
        yield Cell(f"png cut at {share}", data, None, "decoded|not an image")
    deep = png(rgb16, 16, 2)
    for share in (0.3, 0.6, 0.95):
        data = deep[: int(len(deep) * share)]
        yield Cell(f"png 16 cut at {share}", data, None, "decoded|not an image")
    wrong = bytearray(good)
    wrong[len(good) // 2] ^= 255
    yield Cell("png damaged", bytes(wrong), None, "decoded")
    short = png(grey[:-4], 8, 0)
    tall = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0))
    yield Cell("png too few rows", short[:8] + tall + short[33:], None, "truncated")
    frames = [Image.fromarray(grey), Image.fromarray(255 - grey)]
    yield Cell("png animated", by_pillow(frames[0], "PNG", frames[1:]), None, "several frames")


def exif_of(orientation: int) -> bytes:
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + bytes(4)


def by_pillow(
    image: Image.Image, kind: str, more: Sequence[Image.Image] = (), **options: Any
) -> bytes:
    file = io.BytesIO()
    if more:
        options |= {"save_all": True, "append_images": list(more)}
    image.save(file, kind, **options)
    return file.getvalue()


# BMP, from bytes


def bmp(
    rows: bytes,
    bits: int,
    *,
    packing: int = 0,
    palette: bytes = b"",
    masks: bytes = b"",
    top_down: bool = False,
    height: int = HEIGHT,
    colours: int = 0,
) -> bytes:
    start = 54 + len(masks) + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start)
    header += struct.pack(
        "<IiiHHIIiiII",
        40,
        WIDTH,
        -height if top_down else height,
        1,
        bits,
        packing,
        len(rows),
        0,
        0,
        colours,
        0,
    )
    return header + masks + palette + rows


def padded(rows: np.ndarray) -> bytes:
    """Rows of bytes, bottom up, each filled to four."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[::-1].tobytes()


def bmp_cells() -> Iterator[Cell]:
    rng = np.random.default_rng(9)
    for bits in (1, 4, 8):
        samples = rng.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.uint16)
        colours = rng.integers(0, 256, (2**bits, 4)).astype(np.uint8)
        data = np.frombuffer(packed(samples, bits), np.uint8).reshape(HEIGHT, -1)
        pixels = np.moveaxis(colours[samples][..., 2::-1], 2, 0)
        table = colours.tobytes()
        yield Cell(f"bmp {bits}", bmp(padded(data), bits, palette=table), pixels)
        down = bmp(padded(data[::-1]), bits, palette=table, top_down=True)
        yield Cell(f"bmp {bits} top-down", down, pixels)
        short = bmp(padded(data), bits, palette=table[: len(table) // 2], colours=2 ** (bits - 1))
        if bits > 1:
            yield Cell(f"bmp {bits} short palette", short, None, "beyond its palette|decoded")
    grey = noise("uint8")
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 4).tobytes()
    yield Cell("bmp 8 grey", bmp(padded(grey), 8, palette=ramp), grey[None])
    bits = noise("bool")
    data = np.frombuffer(packed(bits.astype(np.uint16), 1), np.uint8).reshape(HEIGHT, -1)
    black = bmp(padded(data), 1, palette=bytes(4) + b"\xff\xff\xff\0")
    yield Cell("bmp 1 black and white", black, np.where(bits, 255, 0).astype(np.uint8)[None])
    white = bmp(padded(data), 1, palette=b"\xff\xff\xff\0" + bytes(4))
    image = np.where(bits, 0, 255).astype(np.uint8)
    yield Cell("bmp 1 white and black", white, np.stack([image] * 3))
    rgb = noise("uint8", (HEIGHT, WIDTH, 3))
    data = rgb[..., ::-1].reshape(HEIGHT, -1)
    yield Cell("bmp 24", bmp(padded(data), 24), planes_of(rgb))
    yield Cell("bmp 24 top-down", bmp(padded(data[::-1]), 24, top_down=True), planes_of(rgb))
    whole = bmp(padded(data), 24)
    for share in (0.01, 0.5, 0.99):
        data = whole[: int(len(whole) * share)]
        yield Cell(f"bmp cut at {share}", data, None, "decoded|not an image")
    four = noise("uint8", (HEIGHT, WIDTH, 4))
    data = np.dstack([four[..., 2::-1], four[..., 3]]).reshape(HEIGHT, -1)
    yield Cell("bmp 32", bmp(padded(data), 32), planes_of(four[..., :3]))
    for red, green, blue, name in (
        (0x7C00, 0x3E0, 0x1F, "555"),
        (0xF800, 0x7E0, 0x1F, "565"),
    ):
        fields = (5, 6 if name == "565" else 5, 5)
        parts = [rng.integers(0, 2**n, (HEIGHT, WIDTH)) for n in fields]
        word = (parts[0] << (fields[1] + 5)) | (parts[1] << 5) | parts[2]
        data = word.astype("<u2").view(np.uint8).reshape(HEIGHT, -1)
        masks = struct.pack("<III", red, green, blue)
        pixels = np.stack(
            [p * 255 // (2**n - 1) for p, n in zip(parts, fields, strict=True)]
        ).astype(np.uint8)
        yield Cell(
            f"bmp 16 {name}", bmp(padded(data), 16, packing=3, masks=masks), pixels, within=1
        )
    yield from bmp_runs(rng)


def bmp_runs(rng: np.random.Generator) -> Iterator[Cell]:
    for bits in (8, 4):
        samples = rng.integers(0, 2**bits, (HEIGHT, 7)).repeat(5, axis=1)
        colours = rng.integers(0, 256, (2**bits, 4)).astype(np.uint8)
        pixels = np.moveaxis(colours[samples][..., 2::-1], 2, 0)
        packing = 1 if bits == 8 else 2

        def coded(row: np.ndarray, bits: int = bits) -> bytes:
            twice = 17 if bits == 4 else 1
            return b"".join(bytes([5, int(value) * twice]) for value in row[::5])

        lines = [coded(row) for row in samples[::-1]]
        table = colours.tobytes()
        good = b"\0\0".join(lines) + b"\0\1"
        name = f"bmp RLE{bits}"
        yield Cell(name, bmp(good, bits, packing=packing, palette=table), pixels)
        first = samples[-1]
        literal = first if bits == 8 else (first[0:34:2] << 4 | first[1:35:2])
        if bits == 4:
            literal = np.append(literal, first[34] << 4)
        row = bytes([0, WIDTH]) + literal.astype(np.uint8).tobytes()
        row += bytes(len(row) % 2)
        data = b"\0\0".join([row, *lines[1:]]) + b"\0\1"
        yield Cell(f"{name} literal", bmp(data, bits, packing=packing, palette=table), pixels)
        for what, data in (
            ("early end of line", b"\0\0".join([lines[0][:-2], *lines[1:]]) + b"\0\1"),
            ("early end", b"\0\0".join(lines[:9]) + b"\0\1"),
            ("skips", b"\0\2\3\0" + good[2:]),
            ("cut", good[: len(good) // 2]),
        ):
            whole = bmp(data, bits, packing=packing, palette=table)
            yield Cell(f"{name} {what}", whole, None, "leaves pixels out")


# PGM and PPM, from bytes


LARGEST = (1, 3, 15, 100, 254, 255, 256, 1023, 4095, 16383, 65535)


def netpbm_cells() -> Iterator[Cell]:
    rng = np.random.default_rng(10)
    head = b"P%d %d %d"
    for largest, depth in itertools.product(
        (1, 3, 15, 100, 254, 255, 256, 1023, 4095, 16383, 65535), (1, 3)
    ):
        samples = rng.integers(0, largest + 1, (HEIGHT, WIDTH, depth))
        dtype = np.uint8 if largest < 256 else np.uint16
        pixels = np.moveaxis(samples, 2, 0).astype(dtype)
        suffix = "pgm" if depth == 1 else "ppm"
        raw = samples.astype(np.uint8 if largest < 256 else ">u2").tobytes()
        kind = 5 if depth == 1 else 6
        start = head % (kind, WIDTH, HEIGHT) + b"\n%d\n" % largest
        yield Cell(f"{suffix} binary {largest}", start + raw, pixels)
        text = b"P%d\n# made by hand\n%d %d\n# 2\n%d\n" % (kind - 3, WIDTH, HEIGHT, largest)
        text += b"\n".join(b" ".join(b"%d" % v for v in row) for row in samples.reshape(HEIGHT, -1))
        yield Cell(f"{suffix} plain {largest}", text + b"\n", pixels)
        yield Cell(f"{suffix} plain {largest} cut", text[: len(text) // 2], None, "truncated")
        for share in (0.3, 0.99):
            data = (start + raw)[: int(len(start + raw) * share)]
            yield Cell(f"{suffix} binary {largest} cut at {share}", data, None, "truncated")
        yield Cell(f"{suffix} twice {largest}", (start + raw) * 2, None, "several images")
        if largest not in (255, 65535):
            over = samples.copy()
            over[0, 0, 0] = largest + 1
            data = start + over.astype(np.uint8 if largest < 256 else ">u2").tobytes()
            if largest != 255:
                yield Cell(f"{suffix} above {largest}", data, None, "above the largest|truncated")
    bits = noise("bool")
    pixels = np.where(bits, 0, 255).astype(np.uint8)[None]
    raw = packed(bits.astype(np.uint16), 1)
    yield Cell("pgm bitmap", head % (4, WIDTH, HEIGHT) + b"\n" + raw, pixels)
    text = b"P1\n%d %d\n" % (WIDTH, HEIGHT) + b"\n".join(
        b"".join(b"01"[v : v + 1] for v in row) for row in bits.astype(int)
    )
    yield Cell("pgm bitmap plain", text, pixels)
    yield Cell("pgm PAM", b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\nENDHDR\n1234", None, "PAM")
    yield Cell("pgm PFM", b"Pf\n1 1\n-1.0\n" + bytes(4), None, "PFM")
    yield Cell("pgm no size", b"P5 0 3 255\n", None, "damaged netpbm header")
    yield Cell("pgm no numbers", b"P2 2 1 255\n1 x", None, "no whole numbers")
    yield Cell("pgm rest", b"P5 2 2 255\n1234rest", None, "4 bytes more")


# GIF, JPEG and WebP


def gif_cells() -> Iterator[Cell]:
    rng = np.random.default_rng(11)
    grey = noise("uint8")
    image = Image.fromarray(grey, "P")
    image.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())
    pixels = planes_of(np.asarray(image.convert("RGB")))
    for interlace in (0, 1):
        yield Cell(f"gif palette {interlace}", by_pillow(image, "GIF", interlace=interlace), pixels)
    whole = by_pillow(Image.fromarray(grey), "GIF")
    yield Cell("gif grey", whole, np.stack([grey] * 3))
    clear = by_pillow(image, "GIF", transparency=int(grey[2, 2]))
    yield Cell("gif clear", clear, None, "transparent")
    frames = by_pillow(image, "GIF", [Image.fromarray(255 - grey)])
    yield Cell("gif frames", frames, None, "several frames")
    small = bytearray(whole)
    small[6:8] = struct.pack("<H", WIDTH + 4)
    yield Cell("gif smaller than its canvas", bytes(small), None, "smaller than its canvas")
    for share in (0.02, 0.3, 0.6, 0.9):
        data = whole[: int(len(whole) * share)]
        yield Cell(f"gif cut at {share}", data, None, "decoded|not an image|no more|damaged")


def jpeg_cells() -> Iterator[Cell]:
    grey, rgb = smooth(), smooth(planes=3)
    for name, options in (
        ("baseline", {}),
        ("progressive", {"progressive": True}),
        ("4:4:4", {"subsampling": 0}),
        ("restart", {"restart_marker_rows": 1}),
    ):
        data = by_pillow(Image.fromarray(rgb), "JPEG", quality=95, **options)
        yield Cell(f"jpg RGB {name}", data, planes_of(rgb), within=12)
        whole = by_pillow(Image.fromarray(grey), "JPEG", quality=95, **options)
        yield Cell(f"jpg grey {name}", whole, grey[None], within=4)
        for share in (0.05, 0.7, 0.95):
            data = whole[: int(len(whole) * share)]
            words = "decoded|not an image|not read|truncated"
            yield Cell(f"jpg grey {name} cut at {share}", data, None, words)
            if share > 0.5 and name != "progressive":
                name_, ended = f"jpg grey {name} cut at {share} and ended", data + b"\xff\xd9"
                yield Cell(name_, ended, None, "truncated|decoded")
    data = imagecodecs.jpeg8_encode(rgb, level=95, colorspace="RGB", outcolorspace="RGB")
    yield Cell("jpg Adobe RGB", data, planes_of(rgb), within=6)
    cmyk = Image.fromarray(rgb).convert("CMYK")
    yield Cell("jpg CMYK", by_pillow(cmyk, "JPEG"), None, "colour mode CMYK")
    ycck = imagecodecs.jpeg8_encode(
        smooth(planes=4), level=95, colorspace="CMYK", outcolorspace="YCCK"
    )
    yield Cell("jpg YCCK", ycck, None, "colour mode CMYK")
    deep = smooth(4000, "uint16")
    yield Cell("jpg 12 bits", imagecodecs.jpeg8_encode(deep, bitspersample=12), None, "of 12 bits")
    lossless = imagecodecs.ljpeg_encode(grey)
    yield Cell("jpg lossless", lossless, grey[None])
    yield Cell("jpg JPEG 2000", imagecodecs.jpeg2k_encode(grey), None, "JPEG 2000 is not read")
    yield Cell("jpg JPEG XL", imagecodecs.jpegxl_encode(grey), None, "JPEG XL is not read")
    yield Cell("jpg JPEG XR", imagecodecs.jpegxr_encode(grey), None, "JPEG XR is not read")
    avif = imagecodecs.avif_encode(rgb)
    yield Cell("jpg AVIF", avif, None, "HEIF or AVIF is not read")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        data = by_pillow(Image.fromarray(rgb), "JPEG", quality=95, exif=exif.tobytes())
        pixels = oriented(planes_of(rgb), orientation)
        yield Cell(f"jpg EXIF orientation {orientation}", data, pixels, within=12)
    frames = by_pillow(Image.fromarray(rgb), "MPO", [Image.fromarray(rgb)])
    yield Cell("jpg of two pictures", frames, None, "several frames|not an image")


def webp_cells() -> Iterator[Cell]:
    rgb = noise("uint8", (HEIGHT, WIDTH, 3))
    whole = by_pillow(Image.fromarray(rgb), "WEBP", lossless=True)
    yield Cell("webp lossless", whole, planes_of(rgb))
    soft = smooth(planes=3)
    yield Cell(
        "webp", by_pillow(Image.fromarray(soft), "WEBP", quality=95), planes_of(soft), within=14
    )
    four = np.dstack([rgb, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    opaque = imagecodecs.webp_encode(four, lossless=True)
    yield Cell("webp opaque", opaque, planes_of(rgb))
    four[3, 4, 3] = 9
    clear = by_pillow(Image.fromarray(four), "WEBP", lossless=True, exact=True)
    yield Cell("webp clear", clear, None, "transparent")
    frames = by_pillow(Image.fromarray(rgb), "WEBP", [Image.fromarray(255 - rgb)], lossless=True)
    yield Cell("webp frames", frames, None, "several frames")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        data = by_pillow(Image.fromarray(rgb), "WEBP", lossless=True, exif=exif.tobytes())
        pixels = oriented(planes_of(rgb), orientation)
        yield Cell(f"webp EXIF orientation {orientation}", data, pixels)
    for share in (0.05, 0.5, 0.95):
        data = whole[: int(len(whole) * share)]
        yield Cell(f"webp cut at {share}", data, None, "decoded|not an image")


def misnamed() -> Iterator[Cell]:
    """A file's first bytes say what it is, whatever its name says."""
    deep, rgb = noise("uint16"), noise("uint8", (HEIGHT, WIDTH, 3))
    for suffix in ("png", "jpg", "bmp", "gif", "pgm", "webp"):
        data = tiff([deep.astype(">u2").tobytes()], {258: 16}, order=">")
        yield Cell(f"{suffix} that is a TIFF", data, deep[None])
    for suffix in ("tif", "jpg", "pgm"):
        yield Cell(f"{suffix} that is a PNG", png(rgb, 8, 2), planes_of(rgb))
        yield Cell(f"{suffix} that is text", b"cell,label\n1,a\n", None, "not an image")
        yield Cell(f"{suffix} that is empty", b"", None, "not an image, or an empty file")


def all_cells() -> list[Cell]:
    """Every cell, each name once."""
    made = (
        tiff_lossless,
        tiff_lossy,
        tiff_by_libtiff,
        tiff_by_hand,
        tiff_pages,
        png_cells,
        bmp_cells,
        netpbm_cells,
        gif_cells,
        jpeg_cells,
        webp_cells,
        misnamed,
    )
    return [cell for each in made for cell in each()]


def main(arguments: Sequence[str]) -> None:
    """Print the count and what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", default="", help="modules that cannot be imported")
    without = [name for name in parser.parse_args(arguments).without.split(",") if name]
    for name in without:
        sys.modules[name] = None  # type: ignore[assignment]
    outcomes = run(all_cells())
    for name, each in outcomes.items():
        if each.startswith("wrong"):
            sys.stdout.write(f"{name}: {each}\n")
    found = ", ".join(f"{number} {what}" for what, number in counts(outcomes).items())
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
