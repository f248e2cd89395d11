"""The formats by name, and one function that writes cells in any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cellsearch.data.dataset import CellDataset
from cellsearch.data.writers import folder, hdf5, npz, ome_tiff, ome_zarr, table
from cellsearch.data.writers.place import placed, refuse_taken
from cellsearch.errors import ConfigError, DataError
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

Format = Literal["folder", "table", "npz", "zarr", "hdf5", "tiff"]


@dataclass(frozen=True)
class Writer:
    """How cells are written in one format.

    Attributes:
        write: the cells, the path (which does not exist), and where progress is reported.
        suffix: that the path ends in; empty for a folder.
        refusals: what of these cells the format cannot hold at all.
        losses: what is left out of the file.
    """

    write: Callable[[CellDataset, Path, Progress | None], None]
    suffix: str
    refusals: Callable[[CellDataset], list[Message]] = lambda _: []
    losses: Callable[[CellDataset], list[str]] = lambda _: []


WRITERS: dict[Format, Writer] = {
    "folder": Writer(folder.write, "", folder.refusals, folder.losses),
    "table": Writer(table.write, "", table.refusals),
    "npz": Writer(npz.write, ".npz"),
    "zarr": Writer(ome_zarr.write, ".zarr"),
    "hdf5": Writer(hdf5.write, ".h5"),
    "tiff": Writer(ome_tiff.write, ".ome.tif"),
}
BY_SUFFIX: Mapping[str, Format] = {
    ".npz": "npz",
    ".zarr": "zarr",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".tif": "tiff",
    ".tiff": "tiff",
}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: the file or folder; what ``--dataset`` and ``predict`` take (``predict_path``).
        format: one of ``Format``.
        cells: how many.
        losses: what the format cannot hold of these cells; empty where they are read as they were.
        labelled: whether labels are known.
    """

    path: Path
    format: Format
    cells: int
    losses: tuple[str, ...]
    labelled: bool

    @property
    def readable(self) -> Path:
        """What is given to ``--dataset``, or to ``predict`` where there are no labels."""
        if self.format == "table" and not self.labelled:
            return self.path / table.TABLE
        return self.path


def format_of(out: Path, asked: str | None, *, labelled: bool = True) -> Format:
    """The format asked for, or that of the file's suffix; else a folder (a table if unlabelled).

    Raises:
        ConfigError: no such format, or a suffix that belongs to another.
    """
    by_suffix = BY_SUFFIX.get(out.suffix.lower())
    if asked is None:
        if by_suffix is None and out.suffix and not out.is_dir():
            raise ConfigError(
                Setting("out", str(out)),
                f": no format has the suffix {out.suffix}{near_miss(out.suffix, BY_SUFFIX)}; "
                f"suffixes: {', '.join(BY_SUFFIX)}; a name without one makes a folder, ",
                Setting("to", "table"),
                " one with a table of labels",
            )
        return by_suffix or ("folder" if labelled else "table")
    for name in get_args(Format):
        if name == asked:
            suffix = WRITERS[name].suffix
            if by_suffix != (name if suffix else None):
                wanted = f"a name that ends in {suffix}" if suffix else "a folder's name"
                raise ConfigError(
                    Setting("out", str(out)), ": ", Setting("to", asked), f" needs {wanted}"
                )
            found: Format = name
            return found
    raise ConfigError(
        Setting("to", asked),
        f": no such format{near_miss(asked, WRITERS)}; formats: {', '.join(WRITERS)}",
    )


def write_cells(
    cells: CellDataset,
    out: str | Path,
    *,
    to: str | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Written:
    """Write cells in another format, whole or not at all.

    Args:
        cells: any data set.
        out: file or folder to write.
        to: ``folder``, ``table``, ``npz``, ``zarr``, ``hdf5`` or ``tiff``; by default what the
            suffix of ``out`` says, else ``folder``, or ``table`` where no label is known.
        force: replace a file, or a folder that cellsearch wrote.
        on_progress: told what is being done, how many are done, how many there are.

    Raises:
        ConfigError: no such format, or ``out`` exists.
        DataError: what the format cannot hold, all at once; an extra that is not installed; a
            full disk.

    Example:
        >>> write_cells(load_dataset("demo"), "demo.npz")
    """
    path = Path(out).expanduser()
    labelled = bool((cells.labels >= 0).any())
    chosen = format_of(path, to, labelled=labelled)
    refuse_taken(path, force=force)
    writer = WRITERS[chosen]
    found = writer.refusals(cells)
    if found:
        raise DataError(Setting("to", chosen), f" cannot hold {cells.name}: ", joined(found, "; "))
    with placed(path) as temporary:
        writer.write(cells, temporary, on_progress)
    return Written(path, chosen, len(cells), tuple(writer.losses(cells)), labelled)
