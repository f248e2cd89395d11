"""Which sample each cell is of: by a column of its table, its file, or its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import listed
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.column_texts import is_missing
from cellsearch.data.readers.table import read_rows
from cellsearch.errors import ConfigError, DataError
from cellsearch.util.messages import Setting
from cellsearch.util.yaml_files import near_miss

FOLDER, SOURCE, GROUP = "folder", "source", "group"
TABLES = (".csv", ".tsv")


def samples_of(cells: CellDataset, what: str, path: Path) -> NDArray[np.str_]:
    """(N,) sample of each cell.

    Args:
        cells: that were read from ``path``.
        what: a column of the table; or ``source``, the file a cell was cut from, ``folder``, the
            folder that its file lies in below ``path``, or ``group``, its group.
        path: table, folder or file.

    Raises:
        ConfigError: no such column, or cells that have no folder or group.
        DataError: cells without a value, or a table of which not every row was read.
    """
    columns = {each.name: each.texts.tolist() for each in cells.columns.others}
    there = list(columns)
    if path.suffix.lower() in TABLES and path.is_file():
        header, rows = read_rows(path)
        if what in header:
            if len(rows) != len(cells):
                raise DataError(
                    f"{path}: {len(rows)} rows, but {len(cells)} cells were read, so it is not "
                    f"known which {what} is whose: leave other rows out of the table"
                )
            return _whole([row.values.get(what, "") for row in rows], what, path)
        there = header
    if what in columns:
        return _whole(columns[what], what, path)
    if what in (GROUP, cells.columns.group) and cells.groups is not None:
        return cells.groups
    if what == SOURCE:
        return _whole(cells.sources.tolist(), what, path)
    if what == FOLDER:
        return _folders(cells.sources.tolist(), path)
    known = [*there, SOURCE, FOLDER, *([GROUP] * (cells.groups is not None))]
    raise ConfigError(
        Setting("samples", what),
        f": {path.name} has no such column{near_miss(what, known)}; there are {listed(known)}",
    )


def _whole(texts: Sequence[str], what: str, path: Path) -> NDArray[np.str_]:
    missing = [str(k + 1) for k, text in enumerate(texts) if not text or is_missing(text)]
    if missing:
        raise DataError(f"{path}: no {what} of cell {listed(missing)}")
    return np.array(texts, np.str_)


def _folders(sources: Sequence[str], path: Path) -> NDArray[np.str_]:
    loose = [source for source in sources if "/" not in source]
    if loose:
        raise ConfigError(
            Setting("samples", FOLDER), f": no folder below {path} holds {listed(loose, most=3)}"
        )
    return np.array([source.rpartition("/")[0] for source in sources], np.str_)
