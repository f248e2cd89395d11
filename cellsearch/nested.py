"""A search repeated: inside each of K outer folds, or on R hold-outs drawn anew.

runs/jurkat-2026-11-21-1/
  nested.json    what was asked, and which kind of repetition
  outer-1/       a run like any other, whose hold-out is the first outer fold (or repeat-1/)
  summary.json   the estimate, written when all of them are done

An outer fold's cells have no part in choosing or training the model that predicts them, so the
pooled figures are of the whole procedure, search included (Varma & Simon 2006, BMC Bioinformatics
7:91; Cawley & Talbot 2010, JMLR 11:2079). They are not of one model, and no verdict is given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cellsearch.errors import MismatchError, RunError
from cellsearch.run import SearchResult, start
from cellsearch.run_check import Checked, check_cells, drawn_soundly
from cellsearch.run_folder import IDENTITY, RunConfig, new_folder, read_record, replace_text
from cellsearch.run_inputs import cells_and_twins
from cellsearch.util.messages import Message, Setting, joined

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.nested_summary import NestedSummary
    from cellsearch.progress import RunObserver
    from cellsearch.space.search_space import SearchSpace

REQUEST = "nested.json"
SUMMARY = "summary.json"
Kind = Literal["outer", "repeats"]
_PREFIX: dict[Kind, str] = {"outer": "outer", "repeats": "repeat"}


class NestedRequest(BaseModel):
    """``nested.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    kind: Kind
    times: int = Field(ge=2, le=100)
    config: RunConfig

    @classmethod
    def of(cls, config: RunConfig, *, outer: int | None, repeats: int | None) -> Self:
        """Check what was asked.

        Raises:
            RunError: both or neither, fewer than 2, or with an option that does not go with it.
        """
        if (outer is None) == (repeats is None):
            raise RunError("give one of ", Setting("outer"), " and ", Setting("repeats"))
        kind: Kind = "repeats" if outer is None else "outer"
        times = repeats if outer is None else outer
        if times is None or not 2 <= times <= 100:
            raise RunError(Setting(kind), f": expected 2 to 100, got {times}")
        if config.storage is not None:
            raise RunError(
                Setting(kind), ": each search keeps its own study, leave out ", Setting("storage")
            )
        if kind == "outer" and config.split is not None:
            raise RunError(
                Setting("outer"),
                ": every cell is held out once, which a fixed split does not allow; leave out ",
                Setting("split"),
            )
        if kind == "outer":
            config = config.changed(holdout=1.0 / times)
        return cls(kind=kind, times=times, config=config)

    def folder(self, parent: Path, number: int) -> Path:
        """``outer-1`` or ``repeat-1``; ``number`` from 0."""
        return parent / f"{_PREFIX[self.kind]}-{number + 1}"

    def config_of(self, number: int) -> RunConfig:
        """Of one of the searches: a repeated hold-out has a seed of its own."""
        seed = self.config.seed + (number if self.kind == "repeats" else 0)
        return self.config.changed(seed=seed)


@dataclass(frozen=True)
class NestedResult:
    """What repeated searches found.

    Attributes:
        folder: of all of them.
        runs: folders of the finished ones, in order.
        summary: None while some are missing.
        interrupted: ``resume(folder)`` goes on.
    """

    folder: Path
    runs: tuple[Path, ...]
    summary: NestedSummary | None
    interrupted: bool


def nested_search(
    config: RunConfig,
    *,
    outer: int | None = None,
    repeats: int | None = None,
    out: Path | None = None,
    runs: Path = Path("runs"),
    cells: CellDataset | None = None,
    space: SearchSpace | None = None,
    observer: RunObserver | None = None,
    command: str | None = None,
) -> NestedResult:
    """Repeat a whole search; caches of cells, features and generators are shared.

    Args:
        config: of each search; ``outer`` sets its hold-out.
        outer: K outer folds, each of them the hold-out of one search.
        repeats: R searches, each on a hold-out drawn by the next seed.
        out: folder; one that holds an unfinished request like this is gone on with.
        runs: where a new folder is made when ``out`` is not given.
        cells: in place of those that ``config.dataset`` names.
        space: in place of the one that ``config.space`` names.
        observer: who watches.
        command: what was typed.

    Raises:
        RunError: options that do not go together.
        MismatchError: ``out`` holds another request.
        SplitError: a class has too few cells for the outer folds.
    """
    from cellsearch.nested_summary import summarise
    from cellsearch.progress import Silent

    observer = observer or Silent()
    request = NestedRequest.of(config, outer=outer, repeats=repeats)
    folder = out or new_folder(config, runs)
    begun = (folder / REQUEST).exists()
    if begun:
        old = read_request(folder)
        _require_same(old, request, folder)
        config = request.config.changed(accept=(*old.config.accept, *request.config.accept))
        request = request.model_copy(update={"config": config})
    elif folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} holds other files; name a new folder: ", Setting("out", "FOLDER"))
    checked, splits = _sound(request, folder, cells, observer, begun=begun)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / REQUEST, request.model_dump_json(indent=2) + "\n")
    done: list[Path] = []
    for number in range(request.times):
        own = request.folder(folder, number)
        if not _finished(own):
            observer.message(f"{own.name} of {request.times}")
            result = start(
                request.config_of(number),
                out=own,
                cells=cells,
                space=space,
                splits=splits[number] if splits else None,
                checked=checked,
                observer=observer,
                command=command,
            )
            if result.interrupted:
                return NestedResult(folder, tuple(done), None, interrupted=True)
            _require_card(result)
        done.append(own)
    summary = summarise(done, request)
    replace_text(folder / SUMMARY, json.dumps(summary.to_dict(), indent=2) + "\n")
    return NestedResult(folder, tuple(done), summary, interrupted=False)


def resume_nested(
    folder: Path, *, observer: RunObserver | None = None, **changes: Any
) -> NestedResult:
    """Go on with interrupted searches; ``changes`` as for ``run.resume``."""
    request = read_request(folder)
    config = request.config.changed(**changes)
    outer = request.times if request.kind == "outer" else None
    repeats = request.times if request.kind == "repeats" else None
    return nested_search(config, outer=outer, repeats=repeats, out=folder, observer=observer)


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


def _sound(
    request: NestedRequest,
    folder: Path,
    cells: CellDataset | None,
    observer: RunObserver,
    *,
    begun: bool,
) -> tuple[Checked, Sequence[Splits]]:
    """The check of the cells, made once for all searches, and the splits of the outer folds.

    The splits are drawn alike each time; none where each search draws its own. Searches that were
    ``begun`` are not stopped by what the check finds.
    """
    from cellsearch.data.outer_splits import draw_outer_splits

    config = request.config
    drawn_from, twins = cells_and_twins(config, request.folder(folder, 0), cells, observer)
    checked = check_cells(config, drawn_from, observer, named=cells is None, twins=twins)
    if begun:
        checked = replace(checked, errors=())

    def draw() -> Sequence[Splits]:
        if request.kind == "repeats":
            return ()
        return draw_outer_splits(
            drawn_from,
            outer=request.times,
            folds=config.folds,
            seed=config.seed,
            rare="keep" if config.rare == "keep" else "refuse",
            twins=checked.twins,
        )

    return checked, drawn_soundly(drawn_from.name, checked, config.accept, draw)


def _finished(folder: Path) -> bool:
    return (folder / "run.json").is_file() and read_record(folder).state == "finished"


def _require_card(result: SearchResult) -> None:
    if result.card is None:
        raise RunError(f"{result.folder} ended without a card")


def _require_same(old: NestedRequest, new: NestedRequest, folder: Path) -> None:
    differences = [
        Message.of(f"{name}: was {getattr(old.config, name)!r}, is {getattr(new.config, name)!r}")
        for name in IDENTITY
        if getattr(old.config, name) != getattr(new.config, name)
    ]
    if (old.kind, old.times) != (new.kind, new.times):
        was, now = Setting(old.kind, old.times), Setting(new.kind, new.times)
        differences.append(Message.of("was ", was, ", is ", now))
    if differences:
        raise MismatchError(
            f"{folder} was begun with something else; name another folder with ",
            Setting("out", "FOLDER"),
            ", or undo: ",
            joined(differences, "; "),
        )
