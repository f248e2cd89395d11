"""The readers by name, and which of them a path calls for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.arrays import FILL, check_finite
from cellsearch.data.crop_sizes import Fitting, size_notes
from cellsearch.data.folder_walk import images_below, visible
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.channel_files import split_name
from cellsearch.data.readers.options import ImageOptions, ReaderOptions, parse_options
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.util.messages import Message, Setting
from cellsearch.util.named_path import require_no_pipe, taken_for
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

ACCEPTED = (
    "a folder with a folder per class, a .csv or .tsv table of paths and labels, an .npz or .h5 of "
    "images and labels, an OME-TIFF of many cells, an OME-Zarr, a .cif, a .rtdc, or a .yaml "
    "manifest"
)
VERSIONS: Mapping[str, int] = {
    "folders": 4,
    "table": 8,
    "channel_files": 4,
    "montage": 3,
    "npz": 8,
    "hdf5": 7,
    "ome_tiff": 6,
    "ome_zarr": 6,
    "cif": 6,
    "rtdc": 2,
    "synthetic": 1,
}
"""Every reader by the name of its file in this folder, and its version.

A version is raised when a reader starts to read the same files differently: cells in caches are
then read again.
"""


BY_SUFFIX: Mapping[str, str] = {
    ".csv": "table",
    ".tsv": "table",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".tif": "ome_tiff",
    ".tiff": "ome_tiff",
    ".cif": "cif",
    ".rtdc": "rtdc",
}


MANY_CELLED = frozenset({".cif", ".rtdc"})
"""Suffixes of files of many cells that may lie in a folder for each class."""


@dataclass(frozen=True)
class Layout:
    """A reader bound to its options."""

    reader: str
    options: ReaderOptions

    def files(self, root: Path) -> list[Path]:
        """Every file that ``read`` would open."""
        found: list[Path] = _module(self.reader).files(root, self.options)
        return found

    def read(self, root: Path, on_progress: Progress | None = None) -> RawCells:
        """Read every cell below ``root``."""
        read: Callable[..., RawCells] = _module(self.reader).read
        raw = read(root, self.options, on_progress)
        if raw.fitting is None and isinstance(self.options, ImageOptions):
            raw = replace(raw, fitting=_asked(self.options))
        if isinstance(self.options, ImageOptions) and isinstance(raw.images, np.ndarray):
            check_finite(raw.images, np.array(raw.ids), remedy=_FILLED)
        return with_fitting(raw)

    def facts(self) -> dict[str, Any]:
        """What the result depends on besides the files, as plain values."""
        options = self.options.model_dump(mode="json")
        return {"reader": self.reader, "version": VERSIONS[self.reader], "options": options}


_FILLED = Message.of(
    FILL, "; or have it filled by ", Setting("nan", "lowest", reader=True), " or a number"
)
"""What readers that take the option ``nan`` offer."""


def _asked(options: ImageOptions) -> Fitting | None:
    """What is done to new crops, where all that were read have the size asked for."""
    if options.size is None or options.fit == "refuse":
        return None
    return Fitting(options.size, options.fit or "pad", options.cut)


def with_fitting(raw: RawCells) -> RawCells:
    """Cells whose provenance says how crops of several sizes were brought to one."""
    if raw.fitting is None:
        return raw
    origin = replace(raw.provenance or Provenance(), fit=raw.fitting.fit)
    return replace(raw, provenance=origin.with_notes(*size_notes(raw.fitting, raw.labels)))


def _module(reader: str) -> Any:
    """The file of a reader, which is imported when it is first needed."""
    return import_module(f"{__package__}.{reader}")


def layout(reader: str, options: Mapping[str, Any]) -> Layout:
    """Bind options, given as texts or values, to a reader.

    Raises:
        ConfigError: no such reader or option; the nearest name is offered.
    """
    return Layout(reader, parse_options(options_of(reader), options, reader=f"reader {reader}"))


def options_of(reader: str) -> type[ReaderOptions]:
    """The schema of a reader's options.

    Raises:
        ConfigError: no such reader; the nearest name is offered.
    """
    if reader not in VERSIONS:
        raise ConfigError(
            f"no reader {reader!r}{near_miss(reader, VERSIONS)}; readers: {', '.join(VERSIONS)}"
        )
    schema: type[ReaderOptions] = _module(reader).Options
    return schema


def option_names(reader: str) -> set[str]:
    """Names of the options that a reader takes."""
    return set(options_of(reader).model_fields)


def chosen(path: Path, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The reader of a path, by the option ``layout`` or by the path, and the other options.

    Raises:
        ReadError: there is nothing at the path.
        DataError: it is none of the accepted layouts, or a TIFF whose slices may be cells or not.
    """
    rest = dict(options)
    reader = rest.pop("layout", None)
    if reader is not None:
        return str(reader), rest
    reader = detect(path)
    if reader == "ome_tiff" and "axes" not in rest:
        _module(reader).refuse_slices(path)
    return reader, rest


def detect(path: Path) -> str:
    """Name of the reader that a path calls for.

    Raises:
        ReadError: there is nothing at the path.
        DataError: it is none of the accepted layouts.
    """
    if not path.exists():
        raise ReadError(f"{path}: no such file or folder{taken_for(path)}")
    require_no_pipe(path)
    if path.is_file():
        if path.suffix.lower() not in BY_SUFFIX:
            raise DataError(f"{path}: ", _not_read(path))
        return BY_SUFFIX[path.suffix.lower()]
    if is_zarr(path):
        return "ome_zarr"
    tables = [file for file in visible(path) if file.suffix.lower() in (".csv", ".tsv")]
    if tables:
        raise DataError(
            f"{path} holds a table and may be read by it or by its folders: give the table itself, "
            f"{tables[0]}, or option layout=folders"
        )
    return folder_reader(path)


_SHEETS: Mapping[str, str] = {
    ".xlsx": "an Excel workbook",
    ".xlsm": "an Excel workbook",
    ".xls": "an Excel workbook",
    ".ods": "a spreadsheet",
    ".numbers": "a spreadsheet",
}


def _not_read(path: Path) -> Message:
    """Why a file is no data set, and what to do."""
    suffix = path.suffix.lower()
    if suffix in _SHEETS:
        return Message.of(
            f"{_SHEETS[suffix]}, which is not read: save the sheet as CSV UTF-8, and give that"
        )
    inner = Path(path.stem).suffix.lower()
    if suffix in (".gz", ".zip", ".bz2", ".xz") and inner in BY_SUFFIX:
        return Message.of(f"compressed: unpack it first, and give {path.stem}")
    if suffix in (".txt", ".dat", ".tab"):
        return Message.of(
            f"not a data set; expected {ACCEPTED}; where it is a table, give ",
            Setting("layout", "table", reader=True),
        )
    return Message.of(f"not a data set; expected {ACCEPTED}")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, by its name or by what lies in it."""
    marks = ("zarr.json", ".zattrs", ".zgroup")
    return path.suffix.lower() == ".zarr" or any((path / mark).is_file() for mark in marks)


def many_celled_in(*folders: Path) -> str | None:
    """The reader of files of many cells that lie directly in one of some folders."""
    there = {file.suffix.lower() for folder in folders for file in visible(folder)}
    return next((BY_SUFFIX[suffix] for suffix in sorted(there & MANY_CELLED)), None)


def folder_reader(path: Path) -> str:
    """``folders`` or ``channel_files``, by the names of the images in a folder's class folders.

    Raises:
        DataError: no folders in it, or no images in them.
    """
    folders_within = [folder for folder in visible(path) if folder.is_dir()]
    if not folders_within:
        if direct := many_celled_in(path):
            return direct
        raise DataError(
            f"{path}: no class folders in it; expected {ACCEPTED}; of images that lie loose, "
            f"`cellsearch init {shlex.quote(str(path))} -o labels.csv` writes a table to fill in"
        )
    # The first folder with images tells; listing all of a large set takes seconds.
    images = next(filter(None, map(images_below, folders_within)), None)
    if images is None:
        if many := many_celled_in(path, *folders_within):
            return many
        raise DataError(f"{path}: no images in the folders below it; expected {ACCEPTED}")
    named = sum(split_name(image) is not None for image in images)
    # IDEAS also writes merged pictures beside the channels.
    return "channel_files" if 2 * named > len(images) else "folders"
