"""Malformed inputs for the command line: seeded changes of small valid files, and what is right.

    python tests/malformed.py [--count 200] [--seed 0] [--case N ...] [--keep FOLDER]

Each case changes one valid input (a flipped bit, a shortened file, a header that lies, a wrong
type, a path that leads elsewhere), gives it to a command and judges what comes back: a right
reading, or a refusal in one message. Whether a reading is right is told by another decoder
(Pillow, tifffile, numpy, h5py, zarr, csv), by the valid input itself, or by the kind of the change.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from cellsearch import CellDataset, cli, load_dataset
from cellsearch.data.writers.registry import write_cells

Expected = Literal["refused", "same", "either"]
Verdict = Literal["read right", "refused", "traceback", "wrong", "slow"]
VERDICTS: tuple[Verdict, ...] = ("read right", "refused", "traceback", "wrong", "slow")
SECONDS = 5.0
"""Processor time that a case may take."""
MEMORY = 1_500_000_000
"""Bytes by which the process may grow, whatever a header says."""

Judge = Callable[[str], str | None]
"""From what was printed to what is wrong with what was read; None where nothing is."""


@dataclass(frozen=True)
class Case:
    """A malformed input and the command it is given to.

    Attributes:
        change: what was done to a valid input.
        words: of the command, or the bytes and name of a file sent to a served card.
        expected: ``refused``, ``same`` (read as the valid one), or ``either`` (the judge decides).
        judge: of a reading.
    """

    change: str
    words: tuple[str, ...]
    expected: Expected
    judge: Judge
    sent: tuple[str, bytes] | None = None


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    number: int
    kind: str
    change: str
    words: tuple[str, ...]
    verdict: Verdict
    why: str
    printed: str
    seconds: float


@dataclass(frozen=True)
class Valid:
    """The inputs that are changed: cells, files of them, a card and a run."""

    folder: Path
    cells: CellDataset
    card: Path
    run: Path
    answer: dict[str, Any]
    predicted: str


def eight_cells() -> CellDataset:
    """Two classes of four: too few for any search, so that ``run`` ends after reading."""
    rng = np.random.default_rng(5)
    images = rng.integers(1, 250, (8, 2, 16, 16)).astype(np.uint8)
    return CellDataset.from_arrays(
        images, [0, 0, 0, 0, 1, 1, 1, 1], classes=("live", "dead"), channels=("bf", "df"), name="c"
    )


FORMATS = {"table": "table", "cells.npz": "npz", "cells.h5": "hdf5", "cells.zarr": "zarr",
           "cells.ome.tif": "tiff"}  # fmt: skip
PICTURES = ("png", "tif", "deflate.tif", "jpg", "bmp", "pgm", "16.png", "16.tif", "float.tif")


def make_valid(folder: Path, card: Path, run: Path) -> Valid:
    """Write every valid input once."""
    cells = eight_cells()
    for name, to in FORMATS.items():
        write_cells(cells, folder / name, to=to)
    for picture in PICTURES:
        for index, label in enumerate(cells.labels):
            place = folder / f"pictures-{picture}" / cells.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            _picture(
                place / f"{index}.{picture.rsplit('.', maxsplit=1)[-1]}", picture, cells, index
            )
    events = folder / "events"
    with contextlib.suppress(ImportError):
        from test_rtdc import write

        write(events / "live" / "a.rtdc", events=4)
        write(events / "dead" / "b.rtdc", events=4)
    from cif_writer import write_cif

    planes = cells.images.astype(np.uint16) * 9
    masks = np.ones((8, 2, 16, 16), np.uint8)
    objects = [(k, planes[k], masks[k]) for k in range(8)]
    write_cif(folder / "cells.cif", objects, ("bf", "df"))
    named = enumerate(["live"] * 4 + ["dead"] * 4)
    rows = [("object_number", "label"), *named]
    (folder / "cells.csv").write_text("".join(f"{number},{name}\n" for number, name in rows))
    (folder / "space.yaml").write_text(SPACE)
    (folder / "dataset.yaml").write_text(MANIFEST)
    (folder / "answers.csv").write_text(_answers(run))
    shutil.copytree(folder / "pictures-tif", folder / "cells")
    new = folder / "new.npz"
    np.savez(new, images=cells.images)
    code, _, _ = call(("predict", str(card), str(new), "-o", str(folder / "good.csv")))
    assert code == 0
    good = (folder / "good.csv").read_text()
    answer = _send(card, "new.npz", new.read_bytes())
    return Valid(folder, cells, card, run, answer, good)


SPACE = """\
name: mine
parameters:
  model.depth: {int: [1, 3]}
  model.width: {int: [8, 32], log: true}
  loss.weighting: {choice: [none, sqrt, inv]}
  optim.lr: {float: [1.0e-3, 1.0e-2], log: true}
  train.batch_size: 64
  train.epochs: {int: [4, 10]}
"""
MANIFEST = """\
name: mine
title: Eight cells
licence: CC0-1.0
source: {folder: cells}
layout:
  reader: folders
  options: {}
classes:
  - {name: live, count: 4}
  - {name: dead, count: 4}
channels:
  - {name: grey, label_free: true}
"""


def _picture(path: Path, kind: str, cells: CellDataset, index: int) -> None:
    plane = cells.images[index, 0]
    if kind.startswith("16."):
        plane = plane.astype(np.uint16) * 200
    if kind == "float.tif":
        plane = plane.astype(np.float32) / 7
    if kind.endswith("tif"):
        tifffile.imwrite(path, plane, compression="zlib" if kind == "deflate.tif" else None)
    else:
        Image.fromarray(plane).save(path)


def _answers(run: Path) -> str:
    with (run / "card" / "predictions.csv").open(newline="") as file:
        rows = [("id", "class"), *((row["id"], row["true_class"]) for row in csv.DictReader(file))]
    return "".join(f"{cell},{name}\n" for cell, name in rows)


# --- Changes that suit any bytes ---------------------------------------------------------------


def flip(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    changed = bytearray(data)
    places = rng.integers(0, len(data), int(rng.integers(1, 4)))
    for place in places:
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed), f"bits flipped at {', '.join(map(str, places))}"


def flip_head(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    changed, place = bytearray(data), int(rng.integers(0, min(len(data), 200)))
    changed[place] = int(rng.choice([0, 0x7F, 0x80, 0xFF]))
    return bytes(changed), f"byte {place} of the header set to {changed[place]}"


def shorten(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    length = int(rng.integers(1, len(data)))
    return data[:length], f"cut to {length} of {len(data)} bytes"


def swap_blocks(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    size = max(1, len(data) // 8)
    first, second = sorted(int(k) * size for k in rng.choice(7, 2, replace=False))
    changed = bytearray(data)
    changed[first : first + size], changed[second : second + size] = (
        data[second : second + size], data[first : first + size])  # fmt: skip
    return bytes(changed), f"blocks of {size} bytes at {first} and {second} swapped"


def empty(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    return b"", "an empty file"


def noise(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    return rng.bytes(len(data)), "random bytes"


def trailing(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    return data + rng.bytes(100), "100 random bytes at the end"


def zeros(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    at = int(rng.integers(0, len(data)))
    return data[:at] + bytes(len(data) - at), f"zeros from byte {at} on"


def zipped(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner", data)
    return out.getvalue(), "packed into a zip under the same name"


def header_numbers(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Some aligned 32-bit number of the first kilobyte becomes huge or negative."""
    at = 4 * int(rng.integers(1, min(256, len(data) // 4 - 1)))
    value = int(rng.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x40000000, 0x80000000]))
    order: Literal["little", "big"] = "little" if rng.integers(2) else "big"
    return data[:at] + value.to_bytes(4, order) + data[at + 4 :], f"{value:#x} written at {at}"


BYTES = (flip, flip, flip_head, shorten, shorten, swap_blocks, empty, noise, trailing, zeros,
         zipped, header_numbers, header_numbers)  # fmt: skip


def _change_file(path: Path, rng: np.random.Generator) -> str:
    how = BYTES[int(rng.integers(len(BYTES)))]
    data, change = how(path.read_bytes(), rng)
    path.write_bytes(data)
    return f"{path.name}: {change}"


def command_for(target: Path, folder: Path, rng: np.random.Generator) -> tuple[str, ...]:
    """One of the commands that read a data set."""
    named = str(target)
    commands = (
        ("datasets", "describe", named),
        ("datasets", "check", named),
        ("init", named, "-o", str(folder / "out.yaml"), "--no-estimate"),
        ("run", "--dataset", named, "--out", str(folder / "run"), "--budget", "1"),
        ("convert", named, "-o", str(folder / "out.npz")),
    )
    return commands[int(rng.integers(len(commands)))]


# --- What is right -----------------------------------------------------------------------------


def nothing_to_judge(printed: str) -> str | None:
    return None


def same_cells(target: Path, wanted: NDArray[Any], labels: list[str]) -> Judge:
    """The cells, as pairs of pixels and class, are those wanted."""

    def judge(printed: str) -> str | None:
        return differing(target, list(zip(wanted, labels, strict=True)))

    return judge


def differing(target: Path, wanted: list[tuple[NDArray[Any], str]]) -> str | None:
    found = load_dataset(str(target))
    names = [found.classes[label] for label in found.labels]
    if len(found) != len(wanted):
        return f"{len(found)} cells were read, {len(wanted)} are there"
    one = Counter((image.tobytes(), name) for image, name in zip(found.images, names, strict=True))
    kind = found.images.dtype
    other = Counter((image.astype(kind).tobytes(), name) for image, name in wanted)
    missing = sum((other - one).values())
    return f"{missing} of {len(wanted)} cells differ from another decoder's" if missing else None


def by(target: Path, decode: Callable[[], list[tuple[NDArray[Any], str]]]) -> Judge:
    """The cells are what another decoder reads; what it refuses must not be read."""

    def judge(printed: str) -> str | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = decode()
        except Exception as error:
            return f"read, though another decoder refuses it: {type(error).__name__}: {error}"
        return differing(target, wanted)

    return judge


# --- Kinds of inputs ---------------------------------------------------------------------------


def images(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """One picture of a folder of eight."""
    picture = PICTURES[int(rng.integers(len(PICTURES)))]
    root = Path(shutil.copytree(valid.folder / f"pictures-{picture}", folder / "cells"))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    chosen = files[int(rng.integers(8))]
    before = {path: _decoded(path) for path in files}
    change = _change_file(chosen, rng)
    checked = picture.endswith("png") or picture == "deflate.tif"

    def decode() -> list[tuple[NDArray[Any], str]]:
        # Every byte of a picture with checksums is as it was, or the picture is refused.
        now = before | ({} if checked else {chosen: _decoded(chosen)})
        return [(plane, path.parent.name) for path, plane in now.items()]

    return Case(f"{picture} {change}", command_for(root, folder, rng), "either", by(root, decode))


def _decoded(path: Path) -> NDArray[Any]:
    if path.suffix == ".tif":
        plane = np.asarray(tifffile.imread(path))
    else:
        with Image.open(path) as image:
            plane = np.asarray(image)
    if plane.ndim != 2:
        raise ValueError(f"an array of {plane.shape}")
    return plane[None]


def structured_images(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """A picture of another meaning among seven."""
    root = Path(shutil.copytree(valid.folder / "pictures-tif", folder / "cells"))
    one = root / "live" / "0.tif"
    plane = valid.cells.images[0, 0]
    writers: dict[str, tuple[Callable[[], Any], Expected]] = {
        "a picture of floats with NaN": (
            lambda: tifffile.imwrite(one, np.full((16, 16), np.nan, np.float32)), "refused"),
        "a picture of infinite floats": (
            lambda: tifffile.imwrite(one, np.full((16, 16), np.inf, np.float32)), "refused"),
        "a picture of complex numbers": (
            lambda: tifffile.imwrite(one, plane.astype(np.complex64)), "refused"),
        "a picture of 32 bits among 8": (
            lambda: tifffile.imwrite(one, plane.astype(np.uint32)), "refused"),
        "a header of 60,000 x 60,000 px": (
            lambda: _lie(one, 60_000), "refused"),
        "a header of no pixels": (lambda: _lie(one, 0), "refused"),
        "an RGB picture among grey ones": (
            lambda: tifffile.imwrite(one, np.stack([plane] * 3, -1), photometric="rgb"), "refused"),
        "a link to itself": (lambda: (one.unlink(), one.symlink_to(one)), "refused"),
        "a link to nothing": (lambda: (one.unlink(), one.symlink_to("gone")), "refused"),
        "a folder called 0.tif": (lambda: (one.unlink(), one.mkdir()), "either"),
        "a pipe called 0.tif": (lambda: (one.unlink(), os.mkfifo(one)), "refused"),
        "a PNG called 0.tif": (
            lambda: Image.fromarray(plane).save(one, "PNG"), "either"),
        "no right to read": (lambda: one.chmod(0), "either"),
    }  # fmt: skip
    change = list(writers)[int(rng.integers(len(writers)))]
    do, expected = writers[change]
    do()
    judge = nothing_to_judge
    if change in ("no right to read", "a PNG called 0.tif"):
        wanted = [(_decoded(p), p.parent.name) for p in sorted(root.rglob("*.tif")) if p != one]
        judge = by(root, lambda: [(plane[None], "live"), *wanted])
    if change == "a folder called 0.tif":
        wanted = [(_decoded(p), p.parent.name) for p in root.rglob("*.tif") if p.is_file()]
        judge = by(root, lambda: wanted)
    return Case(change, command_for(root, folder, rng), expected, judge)


def _lie(path: Path, side: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[name].overwrite(side)


def tables(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """The text of a table of paths and labels."""
    root = Path(shutil.copytree(valid.folder / "pictures-png", folder / "cells"))
    rows = [(str(path.relative_to(root)), path.parent.name) for path in sorted(root.rglob("*.png"))]
    head, body = "path,label", [f"{path},{label}" for path, label in rows]
    text = "\n".join([head, *body]) + "\n"
    first = rows[0][0]
    outside = folder / "secret.png"
    shutil.copy(root / first, outside)
    changes: dict[str, tuple[bytes, Expected]] = {
        "latin-1 letters": (text.replace("live", "lïve").encode("latin-1"), "either"),
        "UTF-16": (text.encode("utf-16"), "same"),
        "a mark of byte order": (text.encode("utf-8-sig"), "same"),
        "lines that end in a carriage return": (text.replace("\n", "\r").encode(), "same"),
        "a NUL in a path": (text.replace(first, f"a\0{first}").encode(), "refused"),
        "a path out of the folder": (text.replace(first, "../secret.png").encode(), "either"),
        "a path of the system": (text.replace(first, "/etc/passwd").encode(), "refused"),
        "a path that is missing": (text.replace(first, "gone.png").encode(), "refused"),
        "a folder for a path": (text.replace(first, "live").encode(), "refused"),
        "a column twice": (text.replace(head, "path,path").encode(), "refused"),
        "label twice": (text.replace(head, "path,label,label").encode(), "refused"),
        "a row twice": ((text + body[0] + "\n").encode(), "refused"),
        "a row with two classes": ((text + f"{first},other\n").encode(), "refused"),
        "a row that is too long": (text.replace(body[3], body[3] + ",x,y").encode(), "refused"),
        "a row that is too short": (text.replace(body[3], rows[3][0]).encode(), "refused"),
        "an open quotation mark": (text.replace(first, f'"{first}').encode(), "refused"),
        "labels that are nan": (text.replace("live\n", "nan\n").encode(), "either"),
        "an empty label": (text.replace(f"{body[0]}\n", f"{first},\n").encode(), "refused"),
        "a field of 200,000 letters": (text.replace("live\n", "l" * 200_000 + "\n", 1).encode(),
                                       "either"),
        "a header alone": (f"{head}\n".encode(), "refused"),
        "no header": ("\n".join(body).encode(), "refused"),
        "blank lines between": (text.replace("\n", "\n\n").encode(), "same"),
        "10,000 columns": ((",".join([head, *(f"c{k}" for k in range(10_000))]) + "\n"
                            + "\n".join(b + ",1" * 10_000 for b in body)).encode(), "either"),
        "a control character in a class": (text.replace("live\n", "li\x1b[31mve\n").encode(),
                                           "either"),
        "sep=; and commas": (f"sep=;\n{text}".encode(), "either"),
        "semicolons": (text.replace(",", ";").encode(), "same"),
    }  # fmt: skip
    table = root / "table.csv"
    if rng.integers(3) == 0:
        table.write_text(text)
        change, expected = _change_file(table, rng), "either"
    else:
        change = list(changes)[int(rng.integers(len(changes)))]
        data, expected = changes[change]
        table.write_bytes(data)

    def decode() -> list[tuple[NDArray[Any], str]]:
        if expected == "same":
            return [(_decoded(root / path), label) for path, label in rows]
        read = csv.reader(io.StringIO(_text(table.read_bytes()), newline=""))
        lines = [line for line in read if line][1:]
        return [(_decoded(root / path), _label(label)) for path, label, *_ in lines]

    judge = nothing_to_judge if change in UNJUDGED else by(table, decode)
    return Case(change, command_for(table, folder, rng), expected, judge)


UNJUDGED = ("sep=; and commas", "a control character in a class", "latin-1 letters",
            "labels that are nan")  # fmt: skip


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig")


def _label(text: str) -> str:
    return text.strip()


DEEP = "[" * 5_000 + "]" * 5_000
LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}, *a{k - 1}, *a{k - 1}, *a{k - 1}]\n" for k in range(1, 14)
)


def manifests(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """The YAML of a data set."""
    shutil.copytree(valid.folder / "cells", folder / "cells")
    path = folder / "mine.yaml"
    text = MANIFEST
    changes: dict[str, tuple[str | bytes, Expected]] = {
        "an unknown key": (text + "colour: red\n", "refused"),
        "a key twice": (text + "name: other\n", "refused"),
        "a count of text": (text.replace("count: 4", "count: four", 1), "refused"),
        "a negative count": (text.replace("count: 4", "count: -4", 1), "refused"),
        "a huge count": (text.replace("count: 4", "count: " + "9" * 400, 1), "refused"),
        "a count of NaN": (text.replace("count: 4", "count: .nan", 1), "refused"),
        "no classes": (text.replace("classes:", "klasses:"), "refused"),
        "classes as a text": (re.sub(r"classes:\n.*\n.*\n", "classes: live\n", text), "refused"),
        "an unknown reader": (text.replace("reader: folders", "reader: folder"), "refused"),
        "an unknown option": (text.replace("options: {}", "options: {colour: 1}"), "refused"),
        "a size below zero": (text.replace("options: {}", "options: {size: [-1, 4]}"), "refused"),
        "a size of 10^9": (text.replace("options: {}", "options: {size: 1000000000}"), "refused"),
        "a folder above": (text.replace("folder: cells", "folder: ../../../../etc"), "refused"),
        "a folder of the system": (text.replace("folder: cells", "folder: /proc"), "refused"),
        "a NUL in the folder": (text.replace("folder: cells", 'folder: "a\\0b"'), "refused"),
        "a list at the top": ("- a\n- b\n", "refused"),
        "a text at the top": ("hello\n", "refused"),
        "lists 5,000 deep": (text + f"notes: {DEEP}\n", "refused"),
        "a billion laughs": (text + LAUGHS, "refused"),
        "a tag of Python": (text + "notes: !!python/object/apply:os.system [id]\n", "refused"),
        "a tab for spaces": (text.replace("  reader", "\treader"), "refused"),
        "UTF-16": (text.encode("utf-16"), "either"),
        "latin-1": (text.replace("Eight", "Härte").encode("latin-1"), "refused"),
        "two documents": (text + "---\n" + text, "refused"),
        "a class that is missing": (text.replace("name: dead", "name: dread"), "refused"),
        "a class twice": (text.replace("name: dead", "name: live"), "refused"),
        "a pixel size of inf": (text + "pixel_size_um: .inf\n", "refused"),
        "two channels for one": (text + "  - {name: other}\n", "refused"),
        "a date for a name": (text.replace("name: mine", "name: 2020-01-01"), "either"),
        "an address of a file": (text.replace("{folder: cells}", "{url: 'file:///etc/passwd'}"),
                                 "refused"),
    }  # fmt: skip
    if rng.integers(4) == 0:
        path.write_text(text)
        change, expected = _change_file(path, rng), "either"
    else:
        change = list(changes)[int(rng.integers(len(changes)))]
        data, expected = changes[change]
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    def decode() -> list[tuple[NDArray[Any], str]]:
        files = sorted((folder / "cells").rglob("*.tif"))
        return [(_decoded(each), each.parent.name) for each in files]

    return Case(change, command_for(path, folder, rng), expected, by(path, decode))


def spaces(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """The YAML of a search space."""
    text, path = SPACE, folder / "space.yaml"
    changes: dict[str, tuple[str | bytes, Expected]] = {
        "bounds the wrong way round": (text.replace("[1, 3]", "[3, 1]"), "refused"),
        "bounds of text": (text.replace("[1, 3]", "[one, 3]"), "refused"),
        "three bounds": (text.replace("[1, 3]", "[1, 2, 3]"), "refused"),
        "a logarithm of 0": (text.replace("[8, 32]", "[0, 32]"), "refused"),
        "bounds of NaN": (text.replace("[1.0e-3, 1.0e-2]", "[.nan, 1.0]"), "refused"),
        "bounds of inf": (text.replace("[1.0e-3, 1.0e-2]", "[1.0, .inf]"), "refused"),
        "a huge whole number": (text.replace("[4, 10]", "[4, 1" + "0" * 30 + "]"), "refused"),
        "a step of 0": (text.replace("[1, 3]}", "[1, 3], step: 0}"), "refused"),
        "an unknown parameter": (text + "  model.colour: 3\n", "refused"),
        "a parameter twice": (text + "  model.depth: 3\n", "refused"),
        "no choice": (text.replace("[none, sqrt, inv]", "[]"), "refused"),
        "an unknown choice": (text.replace("sqrt", "square"), "refused"),
        "a choice twice": (text.replace("sqrt", "none"), "either"),
        "a condition on itself": (text.replace("[1, 3]}", "[1, 3], when: {model.depth: 1}}"),
                                  "refused"),
        "a condition on nothing": (text.replace("[1, 3]}", "[1, 3], when: {a.b: 1}}"), "refused"),
        "a negative batch": (text.replace("size: 64", "size: -64"), "refused"),
        "lists 5,000 deep": (text + f"title: {DEEP}\n", "refused"),
        "a billion laughs": (LAUGHS + text, "refused"),
        "a key twice": (text + "parameters: {}\n", "refused"),
        "no parameters": ("name: mine\n", "either"),
        "an unknown key": ("limit: 3\n" + text, "refused"),
        "latin-1": (("title: Härte\n" + text).encode("latin-1"), "refused"),
        "100,000 choices": (text.replace("[none, sqrt, inv]", str(list(range(100_000)))),
                            "refused"),
        "a list at the top": ("- a\n", "refused"),
        "two documents": (text + "---\n" + text, "refused"),
        "a tag of Python": (text + "title: !!python/name:os.system\n", "refused"),
    }  # fmt: skip
    if rng.integers(3) == 0:
        path.write_text(text)
        change, expected = _change_file(path, rng), "either"
    else:
        change = list(changes)[int(rng.integers(len(changes)))]
        data, expected = changes[change]
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    words = ("spaces", "validate", str(path))
    if rng.integers(3) == 0:
        words = ("run", "--dataset", str(valid.folder / "cells.npz"), "--space", str(path),
                 "--out", str(folder / "run"), "--budget", "1")  # fmt: skip
    return Case(change, words, expected, nothing_to_judge)


def npz(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """An archive of arrays."""
    pixels, names = valid.cells.images, np.array(["live"] * 4 + ["dead"] * 4)
    path = folder / "cells.npz"
    wrong: dict[str, tuple[Mapping[str, Any], Expected]] = {
        "images of objects": ({"images": np.array([None] * 8), "labels": names}, "refused"),
        "labels of objects": ({"images": pixels, "labels": names.astype(object)}, "refused"),
        "too many labels": ({"images": pixels, "labels": np.r_[names, names]}, "refused"),
        "too few labels": ({"images": pixels, "labels": names[:5]}, "refused"),
        "labels of two axes": ({"images": pixels, "labels": names[:, None]}, "either"),
        "labels of NaN": ({"images": pixels, "labels": np.full(8, np.nan)}, "refused"),
        "labels of halves": ({"images": pixels, "labels": np.arange(8) % 2 / 2}, "either"),
        "negative labels": ({"images": pixels, "labels": np.arange(8) % 2 - 1}, "either"),
        "no labels": ({"images": pixels}, "refused"),
        "no images": ({"labels": names}, "refused"),
        "no cells": ({"images": pixels[:0], "labels": names[:0]}, "refused"),
        "no pixels": ({"images": pixels[..., :0], "labels": names}, "refused"),
        "images of five axes": ({"images": pixels[None], "labels": names}, "refused"),
        "an image of no axes": ({"images": np.float32(3), "labels": names}, "refused"),
        "images of text": ({"images": pixels.astype(str), "labels": names}, "refused"),
        "images of NaN": ({"images": pixels * np.float32("nan"), "labels": names}, "refused"),
        "images with one inf": ({"images": _with_inf(pixels), "labels": names}, "refused"),
        "complex images": ({"images": pixels * 1j, "labels": names}, "refused"),
        "images of dates": ({"images": pixels.astype("M8[s]"), "labels": names}, "refused"),
        "order of Fortran": ({"images": np.asfortranarray(pixels), "labels": names}, "same"),
        "big-endian": ({"images": pixels.astype(">u2"), "labels": names}, "either"),
    }  # fmt: skip
    raw: dict[str, tuple[Mapping[str, bytes], Expected]] = {
        "a header of 10^15 cells": ({"images": _npy(pixels, (10**15, 2, 16, 16))}, "refused"),
        "a header of too many cells": ({"images": _npy(pixels, (9, 2, 16, 16))}, "refused"),
        "a header of too few cells": ({"images": _npy(pixels, (7, 2, 16, 16))}, "refused"),
        "a header of -1 cells": ({"images": _npy(pixels, (-1, 2, 16, 16))}, "refused"),
        "a header that is a call": ({"images": _npy(pixels, "__import__('os')")}, "refused"),
        "a header of true": ({"images": _npy(pixels, (True, 2, 16, 16))}, "refused"),
        "an array that is a zip": ({"images": zipped(b"x", rng)[0]}, "refused"),
        "an array that is text": ({"images": b"hello"}, "refused"),
        "an empty array": ({"images": b""}, "refused"),
        "a name above": ({"../images": _npy(pixels, pixels.shape)}, "refused"),
    }  # fmt: skip
    expected: Expected
    pick = int(rng.integers(4))
    if pick == 0:
        (np.savez_compressed if rng.integers(2) else np.savez)(path, images=pixels, labels=names)
        change, expected = _change_file(path, rng), "either"
    elif pick < 3:
        change = list(wrong)[int(rng.integers(len(wrong)))]
        arrays, expected = wrong[change]
        np.savez(path, **arrays)
    else:
        change = list(raw)[int(rng.integers(len(raw)))]
        members, expected = raw[change]
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {"labels": _npy(names, names.shape), **members}.items():
                archive.writestr(f"{name}.npy", data)

    def decode() -> list[tuple[NDArray[Any], str]]:
        with np.load(path) as arrays:
            held, labels = arrays["images"], arrays["labels"]
        return list(zip(held, map(str, np.ravel(labels)), strict=True))

    judge = nothing_to_judge if change == "labels of halves" else by(path, decode)
    return Case(change, command_for(path, folder, rng), expected, judge)


def _with_inf(pixels: NDArray[Any]) -> NDArray[np.float32]:
    changed = pixels.astype(np.float32)
    changed[3, 0, 2, 2] = np.inf
    return changed


def _npy(array: NDArray[Any], shape: object) -> bytes:
    head = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head.encode() + array.tobytes()


def hdf5(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """A file of HDF5."""
    path = folder / "cells.h5"
    pixels, names = valid.cells.images, ["live"] * 4 + ["dead"] * 4

    def held(**changes: Any) -> None:
        with h5py.File(path, "w") as file:
            for name, value in ({"images": pixels, "labels": names} | changes).items():
                if value is not None:
                    file[name] = value

    def linked() -> None:
        held(images=h5py.ExternalLink("gone.h5", "/images"))

    def soft() -> None:
        held(images=h5py.SoftLink("/images"))

    def unwritten(**how: Any) -> None:
        held(images=None)
        with h5py.File(path, "a") as file:
            file.create_dataset("images", (8, 2, 16, 16), "u1", **how)

    def damaged() -> None:
        held(images=None)
        with h5py.File(path, "a") as file:
            made = file.create_dataset("images", pixels.shape, "u1", chunks=(1, 2, 16, 16),
                                       compression="gzip")  # fmt: skip
            for cell in range(8):
                made.id.write_direct_chunk((cell, 0, 0, 0), b"no chunk")

    def references() -> None:
        held(labels=None)
        with h5py.File(path, "a") as file:
            file.create_dataset("labels", (8,), h5py.ref_dtype)[:] = [file["images"].ref] * 8

    writers: dict[str, tuple[Callable[[], Any], Expected]] = {
        "a link to a file that is gone": (linked, "refused"),
        "a link to itself": (soft, "refused"),
        "images that were never written": (unwritten, "refused"),
        "chunks that were never written": (lambda: unwritten(chunks=(1, 2, 16, 16)), "refused"),
        "chunks that are damaged": (damaged, "refused"),
        "a shape of 10^12 cells": (
            lambda: (held(images=None), _sparse(path, (10**12, 2, 16, 16))), "refused"),
        "too many labels": (lambda: held(labels=names * 2), "refused"),
        "labels of NaN": (lambda: held(labels=np.full(8, np.nan)), "refused"),
        "no labels": (lambda: held(labels=None), "either"),
        "no images": (lambda: held(images=None), "refused"),
        "images of text": (lambda: held(images=["a"] * 8), "refused"),
        "images of three numbers": (lambda: held(images=np.zeros(3)), "refused"),
        "images of NaN": (lambda: held(images=pixels * np.float32("nan")), "refused"),
        "a compound of numbers": (
            lambda: held(images=np.zeros((8, 16, 16), [("a", "u1"), ("b", "f4")])), "refused"),
        "no cells": (lambda: held(images=pixels[:0], labels=np.zeros(0, "i8")), "refused"),
        "an empty dataspace": (lambda: held(images=h5py.Empty("u1")), "refused"),
        "labels of references": (references, "refused"),
        "big-endian": (lambda: held(images=pixels.astype(">u2")), "same"),
    }  # fmt: skip
    expected: Expected
    if rng.integers(2):
        held()
        change, expected = _change_file(path, rng), "either"
    else:
        change = list(writers)[int(rng.integers(len(writers)))]
        do, expected = writers[change]
        do()

    def decode() -> list[tuple[NDArray[Any], str]]:
        with h5py.File(path) as file:
            labels = file["labels"].asstr()[:]
            return list(zip(file["images"][:], labels, strict=True))

    judge = nothing_to_judge if change == "no labels" else by(path, decode)
    return Case(change, command_for(path, folder, rng), expected, judge)


def _sparse(path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("images", shape, "u1", chunks=(1, *shape[1:]))


def zarrs(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """A store of OME-Zarr."""
    root = Path(shutil.copytree(valid.folder / "cells.zarr", folder / "cells.zarr"))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    documents = [path for path in files if path.suffix == ".json" or path.name.startswith(".z")]
    chunks = [path for path in files if path not in documents]
    pick = int(rng.integers(4))
    if pick == 0:
        chosen = chunks[int(rng.integers(len(chunks)))]
        change, expected = _change_file(chosen, rng), "either"
        change = f"{chosen.relative_to(root)}: {change}"
    elif pick == 1:
        chosen = chunks[int(rng.integers(len(chunks)))]
        chosen.unlink()
        change, expected = f"{chosen.relative_to(root)} is gone", "refused"
    elif pick == 2:
        chosen = documents[int(rng.integers(len(documents)))]
        change = f"{chosen.relative_to(root)}: {_change_file(chosen, rng)}"
        expected = "either"
    else:
        chosen = documents[int(rng.integers(len(documents)))]
        document = json.loads(chosen.read_text())
        change = f"{chosen.relative_to(root)}: {_change_json(document, rng)}"
        chosen.write_text(json.dumps(document))
        expected = "either"
    first = [(image, valid.cells.classes[k]) for image, k in _pairs(valid.cells)]

    def judge(printed: str) -> str | None:
        found = load_dataset(str(root))
        # Names of channels, classes and sizes may differ by a change of what bears no checksum.
        if len(found) != 8:
            return f"{len(found)} cells were read, 8 are there"
        kind = found.images.dtype
        before = Counter(image.astype(kind).tobytes() for image, _ in first)
        after = Counter(image.tobytes() for image in found.images)
        named = Counter(found.classes[label] for label in found.labels)
        if before != after:
            return "pixels are others than were written"
        return None if sorted(named.values()) == [4, 4] else f"classes are {dict(named)}"

    if chosen in chunks and pick == 0:
        judge = _unless_library(root, first, judge)
    return Case(change, command_for(root, folder, rng), expected, judge)


def _unless_library(root: Path, first: Any, judge: Judge) -> Judge:
    """Chunks bear no checksum: what the library reads is right."""

    def judged(printed: str) -> str | None:
        wrong = judge(printed)
        if wrong is None:
            return None
        group = zarr.open_group(str(root), mode="r")
        array = np.asarray(group["0"][:])
        found = load_dataset(str(root))
        right = np.array_equal(np.sort(array.ravel()), np.sort(found.images.ravel()))
        return None if right else wrong

    return judged


def _pairs(cells: CellDataset) -> Iterator[tuple[NDArray[Any], int]]:
    yield from zip(cells.images, map(int, cells.labels), strict=True)


JUNK: tuple[Any, ...] = (
    None, -1, 0, 10**15, 1.5, "", "x", [], {}, [[]], True, "../..", float("nan"), "\0", [-1, 2],
)  # fmt: skip


def _change_json(document: Any, rng: np.random.Generator) -> str:
    """Another value somewhere, a key more, or one less."""
    node, path = document, []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = keys[int(rng.integers(len(keys)))]
        path.append(str(key))
        if isinstance(node[key], dict | list) and node[key] and rng.integers(4):
            node = node[key]
            continue
        what = int(rng.integers(4))
        if what == 0:
            del node[key]
            return f"{'.'.join(path)} taken away"
        junk = JUNK[int(rng.integers(len(JUNK)))]
        node[key] = junk
        return f"{'.'.join(path)} set to {junk!r}"
    return "as it was"


def cards(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """One file of a card."""
    card = Path(shutil.copytree(valid.card, folder / "card"))
    files = sorted(path for path in card.rglob("*") if path.is_file())
    chosen = files[int(rng.integers(len(files)))]
    config = card / "config.json"
    before = chosen.read_bytes()
    pick = int(rng.integers(4))
    out = folder / "out.csv"
    if pick == 0:
        document = json.loads(config.read_text())
        change = f"config.json: {_change_json(document, rng)}"
        config.write_text(json.dumps(document))
        chosen = config
    elif pick == 1:
        chosen.unlink()
        change = f"{chosen.name} is gone"
    else:
        change = _change_file(chosen, rng)
    changed = not chosen.exists() or chosen.read_bytes() != before
    verify = bool(rng.integers(2))

    def judge(printed: str) -> str | None:
        if verify:
            return f"verified, though {chosen.name} is another file" if changed else None
        if chosen.name.endswith((".md", ".png", ".svg")):
            return None if out.read_text() == valid.predicted else "other predictions"
        return None if out.read_text() == valid.predicted else "other predictions"

    words = ("predict", str(card), str(valid.folder / "new.npz"), "-o", str(out))
    return Case(change, ("verify", str(card)) if verify else words, "either", judge)


def predictions(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """New cells for a sound card."""
    pixels = valid.cells.images
    path = folder / "new.npz"
    out = folder / "out.csv"
    wrong: dict[str, tuple[Any, Expected]] = {
        "cells of one channel": (pixels[:, :1], "refused"),
        "cells of 16 bits": (pixels.astype(np.uint16) * 200, "either"),
        "floats from 0 to 1": ((pixels / 255).astype(np.float32), "refused"),
        "NaN": (pixels * np.float32("nan"), "refused"),
        "objects": (np.array([pixels, None], dtype=object), "refused"),
        "no cells": (pixels[:0], "refused"),
        "negative numbers": (pixels.astype(np.int16) - 300, "either"),
        "text": (pixels.astype(str), "refused"),
        "a number": (np.uint8(3), "refused"),
        "crops of 3,000 px": (np.zeros((1, 2, 3000, 3000), np.uint8), "either"),
        "channels last": (np.moveaxis(pixels, 1, -1), "either"),
    }
    judge: Judge = nothing_to_judge
    expected: Expected
    if rng.integers(3) == 0:
        np.savez(path, images=pixels)
        change, expected = _change_file(path, rng), "either"

        def judge(printed: str) -> str | None:
            return None if out.read_text() == valid.predicted else "other predictions"

    else:
        change = list(wrong)[int(rng.integers(len(wrong)))]
        array, expected = wrong[change]
        np.savez(path, images=array)
    return Case(change, ("predict", str(valid.card), str(path), "-o", str(out)), expected, judge)


def uploads(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """A file sent to a served card: a zip of cells, or one file of them."""
    pixels = valid.cells.images
    kinds: dict[str, bytes] = {}
    for name, data in (("a.npy", _npy(pixels, pixels.shape)), ("a.tif", _pages(pixels))):
        kinds[name] = data
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        kinds[f"{name}.zip"] = out.getvalue()
    held = io.BytesIO()
    np.savez(held, images=pixels)
    kinds["a.npz"] = held.getvalue()
    bombs: dict[str, bytes] = {
        "a zip of a zip": zipped(kinds["a.npy.zip"], rng)[0],
        "a bomb": _packed({"a.npy": bytes(60_000_000)}),
        "a name above": _packed({"../../a.npy": kinds["a.npy"]}),
        "an absolute name": _packed({"/etc/a.npy": kinds["a.npy"]}),
        "a member that is no image": _packed({"a.npy": b"hello"}),
        "no members": _packed({}),
        "a header of 10^15 cells": _npy(pixels, (10**15, 2, 16, 16)),
        "a header of -8 cells": _npy(pixels, (-8, 2, 16, 16)),
        "objects": _npy(np.zeros(3), (3,)).replace(b"<f8", b"|O8"),
        "10,000 members": _packed({f"{k}.txt": b"x" for k in range(10_000)}),
    }
    if rng.integers(3):
        name = list(kinds)[int(rng.integers(len(kinds)))]
        how = BYTES[int(rng.integers(len(BYTES)))]
        data, change = how(kinds[name], rng)
        change = f"{name}: {change}"
    else:
        change = list(bombs)[int(rng.integers(len(bombs)))]
        name, data = "sent.zip", bombs[change]
    bare = name in ("a.npy", "a.tif")

    def judge(printed: str) -> str | None:
        answer = json.loads(printed)
        if answer["cells"] and not bare and answer["cells"] != valid.answer["cells"]:
            rows = [{k: v for k, v in row.items() if k in ("probabilities", "predicted_class")}
                    for row in answer["cells"]]  # fmt: skip
            first = [{k: v for k, v in row.items() if k in ("probabilities", "predicted_class")}
                     for row in valid.answer["cells"]]  # fmt: skip
            return None if rows == first else "other cells than were packed"
        return None if answer["cells"] or answer["refused"] else "neither cells nor a refusal"

    return Case(change, ("served", str(valid.card)), "either", judge, sent=(name, data))


def _packed(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _pages(pixels: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for plane in pixels.reshape(-1, 16, 16):
            writer.write(plane, photometric="minisblack", metadata=None)
    return out.getvalue()


def instruments(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """Files of cytometers: .cif by a table, .rtdc by folders, an OME-TIFF of all cells."""
    kinds = ["tiff", "tiff"]
    kinds += ["rtdc"] * (valid.folder / "events").is_dir()
    # Without the decoder every .cif is refused alike.
    kinds += ["cif"] * ("CELLSEARCH_BIOFORMATS_JAR" in os.environ)
    pick = kinds[int(rng.integers(len(kinds)))]
    if pick == "cif":
        shutil.copy(valid.folder / "cells.csv", folder)
        target = changed = Path(shutil.copy(valid.folder / "cells.cif", folder))
        wanted = valid.cells.images.astype(np.uint16) * 9
    elif pick == "tiff":
        target = changed = Path(shutil.copy(valid.folder / "cells.ome.tif", folder))
        wanted = valid.cells.images
    else:
        target = Path(shutil.copytree(valid.folder / "events", folder / "events"))
        changed = target / "live" / "a.rtdc"
        wanted = None
    change = _change_file(changed, rng)

    def judge(printed: str) -> str | None:
        found = load_dataset(str(target))
        if len(found) != 8:
            return f"{len(found)} cells were read, 8 are there"
        if wanted is None or "zeros from" in change or "flipped" in change or "swapped" in change:
            return None  # pixels bear no checksum
        same = np.array_equal(np.sort(found.images.ravel()), np.sort(wanted.ravel()))
        return None if same or "written at" in change else "pixels are others than were written"

    return Case(change, command_for(target, folder, rng), "either", judge)


def answers(valid: Valid, folder: Path, rng: np.random.Generator) -> Case:
    """A table of what people answered."""
    text = (valid.folder / "answers.csv").read_text()
    path = folder / "answers.csv"
    first = text.splitlines()[1]
    cell, name = first.rsplit(",", 1)
    changes: dict[str, tuple[bytes, Expected]] = {
        "a cell that is unknown": (text.replace(cell, "gone", 1).encode(), "refused"),
        "a class that is unknown": (text.replace(name, "other").encode(), "refused"),
        "a cell twice": ((text + first + "\n").encode(), "refused"),
        "no answers": (b"id,class\n", "refused"),
        "no class": (text.replace("id,class", "id,klass").encode(), "refused"),
        "an empty answer": (text.replace(first, f"{cell},", 1).encode(), "either"),
        "UTF-16": (text.encode("utf-16"), "same"),
        "a NUL": (text.replace(cell, f"{cell}\0", 1).encode(), "refused"),
        "a column twice": (text.replace("id,class", "id,class,class").encode(), "refused"),
    }
    if rng.integers(2):
        path.write_text(text)
        change, expected = _change_file(path, rng), "either"
    else:
        change = list(changes)[int(rng.integers(len(changes)))]
        data, expected = changes[change]
        path.write_bytes(data)
    words = ("compare", str(valid.run), "--answers", str(path))
    return Case(change, words, expected, nothing_to_judge)


KINDS: Mapping[str, Callable[[Valid, Path, np.random.Generator], Case]] = {
    "images": images,
    "images, by hand": structured_images,
    "tables": tables,
    "manifests": manifests,
    "spaces": spaces,
    "npz": npz,
    "hdf5": hdf5,
    "zarr": zarrs,
    "cards": cards,
    "new cells": predictions,
    "zips": uploads,
    "instruments": instruments,
    "answers": answers,
}


# --- Trying a case -----------------------------------------------------------------------------


def call(words: tuple[str, ...]) -> tuple[int, str, str]:
    """Run a command in this process; exit code, standard output, standard error."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2))
    before = sys.argv
    sys.argv = ["cellsearch", *words]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]
    return (code if isinstance(code, int) else 0), texts[0], texts[1]


_SERVED: dict[str, Any] = {}


def _send(card: Path, name: str, data: bytes) -> dict[str, Any]:
    from starlette.testclient import TestClient

    from cellsearch.serve.app import create_app

    if str(card) not in _SERVED:
        app = create_app(card, threads=1)
        _SERVED[str(card)] = TestClient(app, base_url="http://localhost")
    answer = _SERVED[str(card)].post("/api/predict", files={"files": (name, data)})
    if answer.status_code >= 500:
        raise RuntimeError(f"status {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found if "cells" in found else {"cells": [], "refused": [found]}


def try_case(number: int, valid: Valid, folder: Path, *, seed: int) -> Result:
    """Make a case, give it to its command, and judge what comes back."""
    kind = list(KINDS)[number % len(KINDS)]
    rng = np.random.default_rng([seed, number])
    case = KINDS[kind](valid, folder, rng)
    start, grown = _used(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verdict: Verdict = "read right"
    why = printed = ""
    try:
        if case.sent is not None:
            answer = _send(valid.card, *case.sent)
            printed = json.dumps(answer)
            code = 0 if answer["cells"] else 2
            err = "".join(f"cellsearch: {each.get('reason', each)}\n" for each in answer["refused"])
            out = printed
        else:
            # A contact sheet is written where the command is called.
            with contextlib.chdir(folder):
                code, out, err = call(case.words)
            printed = out + err
        seconds = _used() - start
        if code == 2:
            # A served card names each file that it refuses, at most 500.
            why = "" if case.sent else unhelpful(err, folder) or ""
            verdict = "refused"
            if case.sent is not None and not answer["refused"]:
                why = "neither cells nor a refusal"
            if case.expected == "same":
                why = "refused, though it can be read"
        elif code in (0, 1):
            # A first look and a check end with 1 where they find something, and tell what.
            left_out = case.words[0] == "init" and "cannot be read" in printed
            if case.expected == "refused" and code == 0:
                why = "" if left_out else "read, though it is wrong"
            elif not left_out and (code == 0 or case.words[0] == "datasets"):
                why = case.judge(out) or ""
            elif code == 1:
                verdict = "refused"
        else:
            why = f"exit code {code}"
        if "Traceback" in printed:
            verdict, why = "traceback", printed.strip().splitlines()[-1]
    except Exception:
        seconds = _used() - start
        printed = traceback.format_exc()
        verdict, why = "traceback", printed.strip().splitlines()[-1]
    more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown)
    if verdict != "traceback" and why:
        verdict = "wrong"
    if verdict != "traceback" and (seconds > SECONDS or more > MEMORY):
        verdict, why = "slow", f"{seconds:.1f} s of the processor, {more / 1e6:.0f} MB more"
    return Result(number, kind, case.change, case.words, verdict, why, printed, seconds)


ONE_OF_MANY = re.compile(r"^  |^mend|^fix |^option |^and [\d,]+ more|\([^()]+\.yaml:\d+\)$")
LIBRARY = re.compile(
    r"object at 0x|\b\w+(Error|Exception)\b|numpy\.|<class|errno|\[Errno|ruamel|pydantic"
)


def unhelpful(err: str, folder: Path) -> str | None:
    """What a refusal lacks: one message, without words of a library, that can be read."""
    lines = err.splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("cellsearch: ")]
    if not starts:
        usage = any(line.startswith("Error: ") for line in lines)
        return None if usage else f"no message: {err[:200]!r}"
    message = lines[starts[0] :]
    if any(len(line) > 1200 for line in message):
        return f"a line of {max(map(len, message))} letters"
    # All problems of a file are told at once, a line each, with the line of the file.
    bad = [line for line in message[1:] if line.strip() and not ONE_OF_MANY.search(line)]
    if len(message) > 25 or bad:
        return f"{len(message)} lines: {bad[:1]}"
    text = "\n".join(message)
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in text):
        return f"control characters: {text[:200]!r}"
    if found := LIBRARY.search(text.replace(str(folder), "")):
        return f"words of a library ({found.group()}): {text[:300]}"
    return None


def _used() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _packed_result(result: Result) -> bytes:
    return json.dumps(result.__dict__).encode()


def forked(number: int, valid: Valid, folder: Path, *, seed: int) -> Result:
    """``try_case`` in a child process, which may crash or be ended without harm."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        devnull = os.open(os.devnull, os.O_WRONLY)
        log = os.open(folder / "written", os.O_WRONLY | os.O_CREAT)
        os.dup2(devnull, 1)
        os.dup2(log, 2)
        try:
            found = _packed_result(try_case(number, valid, folder, seed=seed))
        except BaseException:
            kind = list(KINDS)[number % len(KINDS)]
            text = traceback.format_exc()
            found = _packed_result(
                Result(number, kind, "the case itself", (), "traceback", text[-300:], text, 0)
            )
        with os.fdopen(write, "wb") as pipe:
            pipe.write(found)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if data:
        result = Result(**json.loads(data))
        written = (folder / "written").read_text(errors="replace").strip()
        if written and result.verdict in ("read right", "refused"):
            # Written past sys.stderr by a library in C, for the user to see.
            return Result(*[*result.__dict__.values()][:4], "wrong", f"also: {written[:200]}",
                          result.printed, result.seconds)  # fmt: skip
        return result
    kind = list(KINDS)[number % len(KINDS)]
    return Result(number, kind, "?", (), "traceback", f"the process ended: {status}", "", 60)


def make_parts(folder: Path) -> Valid:
    """A card and a run, made by this process, and every valid input."""
    from test_answers import SPLITS, write_run

    from card_cases import made_in
    from conftest import squares

    os.environ["CELLSEARCH_CACHE"] = str(folder / "cache")
    # Threads of torch do not live on in a fork, so a child trains.
    if os.fork() == 0:
        made_in(folder / "card", squares())
        os._exit(0)
    os.wait()
    return make_valid(folder / "valid", folder / "card", write_run(folder / "run", SPLITS))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--count", type=int, default=200)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--case", type=int, nargs="*", help="only these, and all that they print")
    words.add_argument("--keep", type=Path, help="folder that the inputs stay in")
    words.add_argument("--print", action="store_true", help="what each case prints")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = given.keep or Path(scratch)
        base.mkdir(parents=True, exist_ok=True)
        results = []
        valid = make_parts(base)
        for number in given.case or range(given.count):
            folder = base / f"case-{number}"
            folder.mkdir()
            result = forked(number, valid, folder, seed=given.seed)
            results.append(result)
            if given.case or given.print:
                say(f"{number} {result.kind}: {result.change} [{result.verdict}] {result.why}\n"
                      f"  {' '.join(result.words)}\n{result.printed[-3000:]}\n")  # fmt: skip
    say(table_of(results))
    for bad in results:
        if bad.verdict not in ("read right", "refused"):
            say(f"\n{bad.number} {bad.kind}: {bad.change}\n  {' '.join(bad.words)}\n  "
                  f"{bad.verdict}: {bad.why}\n  again: python tests/malformed.py "
                  f"--seed {given.seed} --case {bad.number}")  # fmt: skip
    raise SystemExit(any(each.verdict not in ("read right", "refused") for each in results))


def table_of(results: list[Result]) -> str:
    """Counts by kind and verdict."""
    counts = Counter((each.kind, each.verdict) for each in results)
    lines = [
        f"{'kind':<18}" + "".join(f"{verdict:>12}" for verdict in VERDICTS) + f"{'slowest':>10}"
    ]
    for kind in (*KINDS, "all"):
        own = [each for each in results if kind in (each.kind, "all")]
        if own:
            sums = [sum(n for (k, v), n in counts.items() if v == verdict and kind in (k, "all"))
                    for verdict in VERDICTS]  # fmt: skip
            slowest = max(each.seconds for each in own)
            lines.append(f"{kind:<18}" + "".join(f"{n:>12}" for n in sums) + f"{slowest:>8.1f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
