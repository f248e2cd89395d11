"""TIFF files of many cells: axes, channel names and pixel size from OME (or ImageJ) metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, tiff_lost, tiff_pages
from cellsearch.data.readers.cell_table import (
    LabelOptions,
    by_folder,
    labelled_by,
    many_celled,
    table_of,
)
from cellsearch.data.readers.images import TIFF_SUFFIXES, in_plain_words
from cellsearch.data.readers.ome_companions import companions, once_each, require_companions
from cellsearch.data.readers.self_described import KEY, Described, parted
from cellsearch.data.readers.stack import find_groups, name_channels, relative, stack, unreadable
from cellsearch.data.readers.tiff_facts import in_ome, ome_of, several
from cellsearch.errors import DataError, ReadError
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Setting
from cellsearch.util.progress import Progress

NAMESPACE = f"{KEY}/cells"
UNNAMED = "IQ"


class Options(LabelOptions):
    """Options of TIFF files of many cells."""

    axes: str | None = Field(
        None,
        description="a letter an axis, such as TCYX: C channels, Y, X, the others count cells",
    )


@dataclass(frozen=True, eq=False)
class _File:
    """What one file holds: crops (C, h, w), and what its metadata say."""

    crops: Sequence[NDArray[Any]]
    channels: tuple[str, ...] | None
    pixel_size_um: float | None
    described: Described | None


def files(root: Path, options: Options) -> list[Path]:
    """The files, those that their metadata name, and the table of labels."""
    found = [path for path, _ in many_celled(root, tuple(TIFF_SUFFIXES), options)]
    named = {each.resolve() for path in found for each in companions(path) if each.is_file()}
    found += sorted(named - {path.resolve() for path in found})
    table = table_of(root, options)
    return [*found, table] if table else found


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read a file, a folder of files, or a folder of files a class.

    Labels are those that ``cellsearch convert`` wrote into a file; else a table; else the folder.
    Object numbers are positions in the file, from 0.

    Raises:
        ReadError: files that are no TIFF or truncated, or whose axes are not named; all at once.
        DataError: channels, sizes or dtypes that differ.
    """
    found = once_each(many_celled(root, tuple(TIFF_SUFFIXES), options))
    held: list[_File] = []
    bad: list[tuple[str, ReadError]] = []
    base = root if root.is_dir() else root.parent
    for done, (path, _) in enumerate(found):
        if on_progress:
            on_progress("reading files", done, len(found))
        try:
            require_companions(path)
            held.append(read_file(path, options.axes))
        except ReadError as error:
            bad.append((relative(path, base), error))
    if bad:
        raise unreadable(bad)
    if on_progress:
        on_progress("reading files", len(found), len(found))
    if len(held) == 1 and held[0].described is not None:
        pixels, fitting = stack(held[0].crops, options, [root.name] * len(held[0].crops))
        return held[0].described.raw(
            pixels,
            file=relative(found[0][0], base),
            stem=found[0][0].name.split(".")[0],
            channels=options.channels,
            class_names=options.class_names,
            labelled=options.labelled,
            fitting=fitting,
        )
    sources = [
        relative(path, base)
        for (path, _), file in zip(found, held, strict=True)
        for _ in file.crops
    ]
    pixels, fitting = stack([crop for file in held for crop in file.crops], options, sources)
    numbers = [number for file in held for number in range(len(file.crops))]
    names = {file.channels for file in held if file.channels}
    if len(names) > 1 and options.channels is None:
        raise DataError(
            f"{root.name}: files of {len(names)} lists of channels: "
            f"{'; '.join(', '.join(each) for each in sorted(names))}; give option channels"
        )
    sizes = {file.pixel_size_um for file in held}
    raw = RawCells(
        images=pixels,
        labels=[""] * len(sources),
        ids=[f"{_stem(source)}/{n:06d}" for source, n in zip(sources, numbers, strict=True)],
        sources=sources,
        object_numbers=numbers,
        channels=name_channels(
            options.channels or next(iter(names), None), pixels.shape[1], colour=False
        ),
        groups=find_groups(options.group_pattern, sources),
        name=_stem(root.resolve().name),
        provenance=Provenance(pixel_size_um=sizes.pop()) if len(sizes) == 1 else None,
        fitting=fitting,
    )
    labels = [label for (_, label), file in zip(found, held, strict=True) for _ in file.crops]
    return labelled_by(table_of(root, options), by_folder(root, raw, labels, options), options)


def _stem(name: str) -> str:
    stem = name
    for suffix in (*sorted(TIFF_SUFFIXES), ".ome"):
        stem = stem.removesuffix(suffix)
    return stem


def holds_many(path: Path) -> bool:
    """Whether a TIFF's metadata say that it holds more than one cell."""
    return sum(int(np.prod(list(series.values()))) for series in _long_axes(path)) > 1


def refuse_slices(path: Path) -> None:
    """Ask what slices are, of a file that nobody called one of many cells.

    Raises:
        DataError: metadata name several slices (Z) in an image.
    """
    slices = max((series.get("Z", 1) for series in _long_axes(path)), default=1)
    if slices > 1:
        raise DataError(
            f"{path}: {slices} slices (Z) in one file, which may be planes of one cell or cells: "
            "of planes save one, or a projection of them (ImageJ: Image > Stacks > Z Project); "
            "where each slice is a cell, give ",
            Setting("layout", "ome_tiff", reader=True),
        )


def _long_axes(path: Path) -> list[dict[str, int]]:
    """Of each image that OME or ImageJ metadata tell of, its axes that count cells."""
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return []
    try:
        with tiff_pages.opened_alone(path) as tiff:
            if not (tiff.is_ome or tiff.is_imagej):
                return []
            pairs = [zip(series.axes, series.shape, strict=True) for series in tiff.series]
            return [{axis: int(n) for axis, n in pair if axis not in "CSYX"} for pair in pairs]
    except Exception:  # whatever is wrong is said when it is read
        return []


def read_file(path: Path, axes: str | None) -> _File:
    """Crops of every image (series) of a file; pyramids give their largest level.

    Raises:
        ReadError: not a TIFF, truncated, or axes that are not named; the message names no file.
    """
    with in_plain_words(), tiff_pages.opened(path) as tiff:
        crops = [crop for series in tiff.series for crop in _crops(tiff, series, axes)]
        if not crops:
            raise ReadError("a TIFF without an image")
        return replace(_metadata(tiff.ome_metadata), crops=crops)


def _crops(tiff: Any, series: Any, axes: str | None) -> list[NDArray[Any]]:
    letters = (axes or series.axes).upper()
    shape = tuple(series.shape)
    if len(letters) != len(shape):
        raise ReadError(f"axes={letters}, but an image of shape {shape} (axes {series.axes})")
    if axes is None and set(letters) & set(UNNAMED):
        raise ReadError(
            f"axes {letters} of shape {shape} have no names in the file; "
            "give option axes=TYX (cells), CYX (channels) or TCYX"
        )
    if letters.count("Y") != 1 or letters.count("X") != 1 or letters.count("C") > 1:
        raise ReadError(f"axes {letters}: expected one Y, one X and at most one C")
    if any(page is None for page in series.pages):
        raise ReadError("truncated: an image of it is missing")
    letters, array = _shown(tiff, series, letters)
    cells = [k for k, letter in enumerate(letters) if letter not in "CSYX"]
    planes = [k for letter in "CS" for k, found in enumerate(letters) if found == letter]
    depth = int(np.prod([array.shape[k] for k in planes]))
    array = array.transpose(*cells, *planes, letters.index("Y"), letters.index("X"))
    return list(array.reshape(-1, depth, *array.shape[-2:]))


def _shown(tiff: Any, series: Any, letters: str) -> tuple[str, NDArray[Any]]:
    """The pixels as a viewer shows them, and the letters of their axes; samples before Y and X."""
    page = series.keyframe
    tiff_lost.refuse_gaps(tiff, series.pages)
    tiff_pages.require_known(page)
    for each in series.pages:
        tiff_lost.refuse_unsound(each)
    outer = len(series.shape) - len(page.shape)
    pages = series.asarray().reshape(-1, *page.shape)
    array = tiff_pages.calibrated(tiff_pages.shown(pages, page), tiff)
    of_page = dict(zip(page.axes, letters[outer:], strict=True))
    named = letters[:outer] + of_page.get("S", "S") + of_page["Y"] + of_page["X"]
    return named, array.reshape(*series.shape[:outer], *array.shape[1:])


def _metadata(xml: str | None) -> _File:
    ome = ome_of(xml)
    facts = in_ome(ome)
    found = _File((), facts.channels, facts.pixel_size_um, None)
    for note in several((ome.get("StructuredAnnotations") or {}).get("CommentAnnotation")):
        if note.get("Namespace") == NAMESPACE:
            told = from_json(str(note["Value"]))
            found = replace(found, described=parted(told, "the file"))
    return found
