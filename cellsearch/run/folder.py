"""The folder of a run: what it was asked, on which cells, splits and space, and how far it came.

runs/jurkat-2026-11-21-1/
  run.json       the request and the digests that a resumed run must meet again
  space.yaml     the search space, expanded
  splits.json    hold-out and folds
  study.db       Optuna's study and our tables (unless --storage names another place)
  trials/0007/   the recipe and the finished folds of trial 7, and from which cells each was made
  final/         from which cells the refitted networks were made
  holdout.json   when the hold-out was scored, for which trial, and how often its cells were before
  card/          what is handed over
"""

from __future__ import annotations

import difflib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    field_validator,
)

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import MismatchError, RunError
from cellsearch.run.config import IDENTITY, NestedRequest, RunConfig
from cellsearch.space.search_space import SearchSpace
from cellsearch.tune.job import FOLD_FILE
from cellsearch.util.atomic import sync_folder, write_whole_text
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Setting
from cellsearch.util.named_path import require_nameable
from cellsearch.util.passwords import without_password

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.space.search_space import SearchSpace


REQUEST = "nested.json"


SUMMARY = "summary.json"


def is_nested(folder: Path) -> bool:
    """Whether the folder is of repeated searches."""
    return (folder / REQUEST).is_file()


def read_request(folder: Path) -> NestedRequest:
    """Read ``nested.json``.

    Raises:
        RunError: it is missing or damaged.
    """
    path = folder / REQUEST
    try:
        return NestedRequest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def nested_runs(folder: Path) -> list[Path]:
    """Folders of its searches, those begun, in order."""
    request = read_request(folder)
    folders = [request.folder(folder, number) for number in range(request.times)]
    return [each for each in folders if (each / "run.json").is_file()]


FORMAT_VERSION = 1


class Accepted(BaseModel):
    """A finding of the check that a run was asked to go on with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    message: str


class RunRecord(BaseModel):
    """``run.json``.

    ``built`` tells what was handed over from Python rather than named: ``cells``, ``space``.
    ``accepted`` are the errors of the check that the run was asked to go on with. ``id`` is the
    run's wherever its folder is moved or copied to; empty in runs of older versions.
    """

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    id: str = ""
    config: RunConfig
    dataset_folder: Path
    dataset_sha256: str
    space_sha256: str
    splits_sha256: str
    created: str
    command: str
    study: str | None = None
    built: tuple[Literal["cells", "space"], ...] = ()
    accepted: tuple[Accepted, ...] = ()
    state: Literal["searching", "finished"] = "searching"

    @field_validator("command")
    @classmethod
    def _without_password(cls, value: str) -> str:
        return without_password(value)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write ``run.json`` so that a crash leaves the old one or the new one."""
    replace_text(folder / "run.json", record.model_dump_json(indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read ``run.json``.

    Raises:
        RunError: not the folder of a run, or made by a newer cellsearch.
        ReadError: no folder can have such a name.
    """
    path = folder / "run.json"
    require_nameable(folder)
    if not path.is_file():
        raise RunError(_no_run(folder))
    try:
        facts = from_json(path.read_text())
        if isinstance(facts, dict) and facts.get("format_version", 0) > FORMAT_VERSION:
            raise RunError(
                f"{path} was written by a newer cellsearch; upgrade cellsearch to resume it"
            )
        return RunRecord.model_validate(facts)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def _no_run(folder: Path) -> str:
    if not folder.exists():
        return f"{folder}: no such folder; `cellsearch runs` lists the runs in this folder"
    if (folder.parent / "run.json").is_file():
        return f"{folder} is not the folder of a run but is inside one: give {folder.parent}"
    return f"{folder} is not the folder of a run: it holds no run.json"


def replace_text(path: Path, text: str) -> None:
    """Write a small file durably and at once."""
    try:
        write_whole_text(path, text)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None


def new_folder(config: RunConfig, parent: Path) -> Path:
    """The next free ``runs/<dataset>-<date>-<n>``; not made yet."""
    stem = Path(config.dataset).stem or "cells"
    prefix = f"{stem}-{datetime.now(UTC).date().isoformat()}"
    number = 1
    while (parent / f"{prefix}-{number}").exists():
        number += 1
    return parent / f"{prefix}-{number}"


def storage_url(config: RunConfig, folder: Path) -> str:
    """Where the study lies: SQLite in the run's folder unless another place was named."""
    return config.storage or f"sqlite:///{folder.resolve() / 'study.db'}"


def study_name(record: RunRecord, folder: Path) -> str:
    """Of the study; runs made before the name was written down had their folder's."""
    return record.study or folder.resolve().name


def require_same(old: RunRecord, new: RunRecord, *, old_space: str, new_space: str) -> None:
    """Refuse to go on with another request, space, or splits (which refuse other cells).

    Raises:
        MismatchError: with every difference.
    """
    differences = [
        f"{name}: was {getattr(old.config, name)!r}, is {getattr(new.config, name)!r}"
        for name in IDENTITY
        if getattr(old.config, name) != getattr(new.config, name)
    ]
    if old.space_sha256 != new.space_sha256:
        changed = [
            line
            for line in difflib.ndiff(old_space.splitlines(), new_space.splitlines())
            if line[:2] in ("- ", "+ ")
        ]
        differences.append("the search space:\n    " + "\n    ".join(changed[:20]))
    if old.splits_sha256 != new.splits_sha256:
        differences.append(
            f"the splits: sha256 was {old.splits_sha256[:12]}, is {new.splits_sha256[:12]}"
        )
    if differences:
        raise MismatchError(
            "this run was started with other settings; name another folder with ",
            Setting("out", "FOLDER"),
            ", or undo:\n  " + "\n  ".join(differences),
        )


def require_same_storage(config: RunConfig, storage: object) -> None:
    """Refuse a storage that is given anew and is another one: a run has one study.

    Raises:
        MismatchError: they differ by more than the password.
    """
    if storage is not None and without_password(str(storage)) != config.shown_storage:
        raise MismatchError(
            f"the study of this run lies in {config.shown_storage or 'its own folder'}; give that "
            "with its password, or leave out ",
            Setting("storage"),
        )


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
        same = (
            same
            and record.config.shown_storage == config.shown_storage
            and record.state != "finished"
        )
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
        sync_folder(place.parent)
    except FileExistsError:
        if folder is None:
            return make_folder(None, config, runs, was_there=False)
        raise RunError(
            f"{place} was just created by another search; name another folder: ", ANOTHER
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
    fold = FOLD_FILE.format("*")
    if not any(any(trials.glob(f"*/{name}")) for name in (fold, f"rung-*/{fold}", "error.txt")):
        shutil.rmtree(folder, ignore_errors=True)
        if keep:
            folder.mkdir(parents=True, exist_ok=True)
