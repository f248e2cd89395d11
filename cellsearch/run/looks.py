"""Which look at the cells of its hold-out a run takes, by the ledger and before it takes it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cellsearch.data.digests import channel_digests
from cellsearch.errors import StorageError
from cellsearch.run.folder import (
    RunRecord,
    is_nested,
    read_request,
    replace_text,
    study_name,
)
from cellsearch.tune.ledger import (
    EarlierLook,
    Look,
    count_looks,
    earlier_looks,
    own_ledger,
    record_look,
)
from cellsearch.tune.looks import Looks, looked
from cellsearch.util.json_text import facts_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cellsearch.data.dataset import CellDataset
    from cellsearch.run.observer import RunObserver


def take_look(
    record: RunRecord,
    folder: Path,
    trial: int,
    cells: CellDataset,
    holdout: NDArray[np.int64],
    observer: RunObserver,
) -> Looks:
    """Write in the ledger that a trial's hold-out is scored now; which look it is.

    It is also written into ``holdout.json``, and read from there when a run goes on, wherever its
    folder was moved or copied to. A ledger that fails is told of and does not stop the run.
    """
    if (known := looks_of(folder)) is not None and known.number is not None:
        return known
    look = _look(record, folder, trial, cells)
    digests = channel_digests(cells.images, holdout)
    answers: list[list[EarlierLook]] = []
    try:
        answers.append(record_look(own_ledger(), look, digests, shared=False))
    except StorageError as error:
        observer.message(
            f"the ledger of looks at hold-outs does not work ({error}); name another folder with "
            "CELLSEARCH_LEDGER"
        )
    if (url := record.config.storage) is not None:
        try:
            answers.append(record_look(url, look, digests, shared=True))
        except StorageError as error:
            observer.message(f"the ledger of looks at hold-outs is not shared: {error}")
    looks, runs = (
        count_looks(digests, [each for answer in answers for each in answer])
        if answers
        else (Looks(), ())
    )
    path = folder / "holdout.json"
    facts = (facts_in(path) or {}) | {
        "scored_before": list(looks.times),
        "scored_before_by": [str(run) for run in runs],
    }
    replace_text(path, json.dumps(facts) + "\n")
    return looks


def warn_of_looks(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    holdout: NDArray[np.int64],
    observer: RunObserver,
) -> None:
    """Say before a search that the cells of its hold-out were scored before, where they were.

    A ledger that fails is told of when the hold-out is scored.
    """
    look, found = _look(record, folder, None, cells), []
    with suppress(StorageError):
        found += earlier_looks(own_ledger(), look, shared=False)
    if (url := record.config.storage) is not None:
        with suppress(StorageError):
            found += earlier_looks(url, look, shared=True)
    if not found:
        return
    looks, _ = count_looks(channel_digests(cells.images, holdout), found)
    if looks.number is not None and looks.number > 1:
        observer.message(
            f"other runs have scored these hold-out cells: this will be {looked(looks)}; a fresh "
            "hold-out takes new cells"
        )


def _look(record: RunRecord, folder: Path, trial: int | None, cells: CellDataset) -> Look:
    """Of a trial, or of one that is not known yet."""
    return Look(
        id=_digest(_run_id(record, folder), str(trial)),
        family=_family(record, folder, trial),
        dataset=cells.name,
        folder=str(folder.resolve()),
    )


def looks_of(folder: Path) -> Looks | None:
    """Which look a run took, as ``holdout.json`` has it; None where it was not asked."""
    facts = facts_in(folder / "holdout.json") or {}
    times = facts.get("scored_before")
    if not isinstance(times, list) or not all(isinstance(each, int) for each in times):
        return None
    return Looks(tuple(times))


def _run_id(record: RunRecord, folder: Path) -> str:
    """The same wherever the folder lies; runs of older versions are known by what they were."""
    return record.id or _digest(record.created, study_name(record, folder), record.command)


def _family(record: RunRecord, folder: Path, trial: int | None) -> str:
    """Repeated searches are one estimate; any other run is by itself."""
    if is_nested(folder.parent):
        request = read_request(folder.parent)
        return request.id or _digest("nested", request.model_dump_json())
    return _digest(_run_id(record, folder), str(trial))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
