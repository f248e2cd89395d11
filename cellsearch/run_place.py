"""Where a run goes: a new folder that is its own, one given, or an unfinished run's like it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import RunError
from cellsearch.run_folder import (
    IDENTITY,
    RunConfig,
    RunRecord,
    new_folder,
    read_record,
)
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.job import FOLD_FILE
from cellsearch.util.messages import Setting

ANOTHER = Setting("out", "FOLDER")


def unfinished(
    config: RunConfig,
    parent: Path,
    *,
    cells: CellDataset | None = None,
    space: SearchSpace | None = None,
) -> Path | None:
    """The newest run below ``parent`` that was asked the same and did not end.

    Args:
        config: the request, which has names alone.
        parent: folder of runs.
        cells: built in Python; a run of others by the same name is another run.
        space: likewise.
    """
    found = []
    for path in parent.glob("*/run.json"):
        try:
            record = read_record(path.parent)
        except RunError:
            continue
        same = all(getattr(record.config, name) == getattr(config, name) for name in IDENTITY)
        same = same and record.config.storage == config.storage and record.state != "finished"
        if same and _of_these(record, cells, space):
            found.append((record.created, path.parent))
    return max(found)[1] if found else None


def _of_these(record: RunRecord, cells: CellDataset | None, space: SearchSpace | None) -> bool:
    for what, built, kept in (
        ("cells", cells, record.dataset_sha256),
        ("space", space, record.space_sha256),
    ):
        if (built is None) == (what in record.built):
            return False
        # With --init-from the space that is kept is what a card made of the one given.
        given = built if what == "cells" or record.config.init_from is None else None
        if given is not None and given.sha256 != kept:
            return False
    return True


def require_free(folder: Path) -> bool:
    """Refuse a place at which no run can be begun; whether it is there, and empty.

    Raises:
        RunError: it is a file, or a folder of other things.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; name a new folder: ", ANOTHER)
    try:
        taken = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise RunError(f"cannot read {folder}: {error.strerror}") from None
    if taken:
        raise RunError(f"{folder} holds other files; name a new folder: ", ANOTHER)
    return folder.is_dir()


def make_folder(
    folder: Path | None, config: RunConfig, runs: Path, *, was_there: bool
) -> tuple[Path, bool]:
    """Make the folder of a new run, and say whether it was made here.

    Args:
        folder: asked for; None takes the next ``runs/<dataset>-<date>-<n>``.
        config: of the run.
        runs: parent of folders that are not asked for.
        was_there: the folder asked for was there, and empty, when the run was asked for.

    Raises:
        RunError: another search made it a moment ago, or it cannot be made.
    """
    place = folder or new_folder(config, runs)
    try:
        place.mkdir(parents=True, exist_ok=was_there)
    except FileExistsError:
        if folder is None:
            return make_folder(None, config, runs, was_there=False)
        raise RunError(
            f"{place} was made by another search a moment ago; name another folder: ", ANOTHER
        ) from None
    except OSError as error:
        raise RunError(
            f"cannot make {place}: {error.strerror}; name a folder that can be written: ", ANOTHER
        ) from None
    return place, not was_there


def clear(folder: Path, *, keep: bool) -> None:
    """Take away a run that was refused at its start.

    One in which a fold was trained, or a trial left its traceback, stays. ``keep`` leaves the
    folder itself, which was there before, empty again.
    """
    trials = folder / "trials"
    if not any(any(trials.glob(f"*/{name}")) for name in (FOLD_FILE.format("*"), "error.txt")):
        shutil.rmtree(folder, ignore_errors=True)
        if keep:
            folder.mkdir(parents=True, exist_ok=True)
