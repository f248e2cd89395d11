"""Splits: a locked hold-out and k folds of the rest, drawn once and the same for all trials.

A fixed split has one fold, its validation part, and trains on cells that are in no fold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cellsearch.data import rare as rules
from cellsearch.data.alternatives import group_word, what_can_be_drawn
from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import DuplicatePair, find_duplicates
from cellsearch.data.placing import FREE, HOLDOUT, place
from cellsearch.data.plan import Plan, folds_of
from cellsearch.errors import MismatchError, RunError, SplitError
from cellsearch.util.atomic import write_whole_text
from cellsearch.util.html import block, note, table
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Message, Setting
from cellsearch.util.tables import Table

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset


Indices = NDArray[np.int64]


_NO_CELLS: Indices = np.empty(0, np.int64)


_NO_CELLS.flags.writeable = False


@dataclass(frozen=True, eq=False)
class DrawnFrom:
    """What splits keep of their data set, to name cells and to tell another data set.

    Attributes:
        name: name of the data set.
        ids: (N,) str.
        labels: (N,) int64.
        classes: class names.
    """

    name: str
    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Splits:
    """Who trains, who validates and who is locked away. All indices are int64 and sorted.

    Attributes:
        holdout: cells that the search never sees.
        folds: validation cells of each fold; together with ``holdout`` they are disjoint. A fixed
            split has one.
        train_only: cells never validated nor held out: those of the classes in
            ``not_estimable``, and all training cells of a fixed split.
        not_estimable: classes too small to be validated, kept for training alone.
        seed: what the splits were drawn with.
        dataset_sha256: of the data set they were drawn from.
        sha256: hex digest of all of the above; computed where it is not given.
        tied: (len(train_only),) fold that validates a duplicate or a group's member of the cell,
            whose training set leaves the cell out; -1 where there is none. Empty means all -1.
        left_out: cells of ``not_estimable`` classes with a duplicate or group in the hold-out: in
            no set at all.
        drawn_from: ids and labels; None where the splits were made by hand.

    Raises:
        SplitError: a cell in two places.
    """

    holdout: Indices
    folds: tuple[Indices, ...]
    train_only: Indices
    not_estimable: tuple[str, ...]
    seed: int
    dataset_sha256: str
    sha256: str = ""
    tied: Indices = field(default_factory=lambda: _NO_CELLS)
    left_out: Indices = field(default_factory=lambda: _NO_CELLS)
    drawn_from: DrawnFrom | None = None

    def __post_init__(self) -> None:
        cells, counts = np.unique(
            np.concatenate([*(part for _, part in self.parts())]), return_counts=True
        )
        if (counts > 1).any():
            twice = cells[counts > 1]
            where = [name for name, part in self.parts() if twice[0] in part]
            raise SplitError(
                f"{len(twice)} cells are in two places, the first is cell {twice[0]} "
                f"in {' and '.join(where)}"
            )
        if not self.sha256:
            object.__setattr__(self, "sha256", self.digest())

    def __repr__(self) -> str:
        return f"Splits({self.describe()}; seed {self.seed}, sha256 {self.sha256[:12]})"

    def _repr_html_(self) -> str:

        return splits_html(self)

    @property
    def k(self) -> int:
        """Number of folds."""
        return len(self.folds)

    def describe(self) -> str:
        """How many cells are where, in one line."""
        locked = f"hold-out {len(self.holdout):,} cells, locked; "
        if self.k > 1:
            return f"{locked}{self.k} folds of the other {len(self.development):,}"
        training, validation = len(self.training(0)), len(self.validation(0))
        return f"{locked}fixed split, {training:,} train and {validation:,} validate"

    @property
    def development(self) -> Indices:
        """All cells that may train the final model: outside the hold-out and not left out."""
        return np.sort(np.concatenate([*self.folds, self.train_only]))

    def validation(self, fold: int) -> Indices:
        """Cells that ``fold`` is judged by."""
        return self.folds[fold]

    def training(self, fold: int) -> Indices:
        """Cells that ``fold`` trains on: those of the other folds and those that only train."""
        others = [part for k, part in enumerate(self.folds) if k != fold]
        extra = self.train_only[self.tied != fold] if len(self.tied) else self.train_only
        return np.sort(np.concatenate([*others, extra]))

    def parts(self) -> Iterator[tuple[str, Indices]]:
        """Every part by the name it has in ``splits.json``."""
        yield "holdout", self.holdout
        for fold, part in enumerate(self.folds):
            yield f"folds[{fold}]", part
        yield "train_only", self.train_only
        yield "left_out", self.left_out

    def digest(self) -> str:
        """Hex sha256 over all indices, the seed, the names and the data set's own digest."""
        header = [self.seed, self.dataset_sha256, *self.not_estimable]
        hasher = hashlib.sha256(json.dumps(header).encode())
        for name, part in [*self.parts(), ("tied", self.tied)]:
            hasher.update(f"{name}:{len(part)}:".encode())
            hasher.update(np.ascontiguousarray(part, "<i8").tobytes())
        return hasher.hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write ``splits.json``, whole or not at all; see ``splits_file``.

        Raises:
            RunError: the file cannot be written.
        """

        return write_splits(self, Path(path))

    @staticmethod
    def load(path: str | Path, dataset: CellDataset) -> Splits:
        """Read what ``save`` wrote.

        Raises:
            SplitError: the file is missing or broken; every problem is located.
            MismatchError: it was drawn from another data set; says what differs.
        """

        return read_splits(Path(path), dataset)


def draw_splits(
    dataset: CellDataset,
    *,
    folds: int | None = None,
    holdout: float = 0.2,
    split: str | None = None,
    seed: int = 0,
    rare: str = "refuse",
    duplicates: Sequence[DuplicatePair] | None = None,
) -> Splits:
    """Draw a stratified hold-out and stratified folds of the rest; the same for the same seed.

    Duplicates stay together, and so do the cells of one group.
    Every fold and the hold-out hold at least one cell of each class, except for those that
    ``rare="keep"`` excuses: their cells train only.

    Args:
        dataset: labelled cells.
        folds: k, 2 or more; by default 5, or as many as leave ``HELD_GROUPS`` for the hold-out.
        holdout: share of the cells to lock away, between 0 and 1. With groups, the nearest that
            they allow; of six or more, at least three where the folds leave so many.
        split: a fixed split instead, training / validation / hold-out in percent, as
            ``70/10/20``; then ``folds`` and ``holdout`` are not looked at.
        seed: of the draw.
        rare: ``refuse`` or ``keep``; ``drop`` and ``merge=NAME`` are ``apply_rare``'s, which
            comes first.
        duplicates: as from ``find_duplicates``, which is asked where they are not given.

    Raises:
        ConfigError: an option that does not exist or lies out of bounds.
        SplitError: a class has too few cells (or groups); lists how many, and the choices.
    """
    rules.check_rare(rare)
    folds = folds_of(folds, dataset.groups)
    plan = Plan.of(folds=folds, holdout=holdout, split=split)
    if (dataset.labels < 0).any():
        raise SplitError(
            f"{(dataset.labels < 0).sum():,} of {len(dataset):,} cells have no label, and only "
            "labelled cells can be split: put the cells of a class into a folder of its name, or "
            "name a table of labels (",
            Setting("labels", "TABLE.csv", reader=True),
            "), or leave the others out",
        )
    pairs = find_duplicates(dataset.images) if duplicates is None else duplicates
    units = rules.units_of(dataset, pairs)
    counts = rules.units_per_class(dataset, units)
    small = np.flatnonzero(counts < plan.units)
    word = rules.unit_word(dataset)
    if rare == "keep" and len(counts) - len(small) < 2:
        raise SplitError(
            Setting("rare", "keep"),
            f": {plan.needs(word)} of a class, and two classes must have them; "
            f"{len(counts) - len(small)} do: {_listed(dataset, counts, np.arange(len(counts)))}; ",
            _ways_out(dataset, pairs, plan, seed, rare=False),
        )
    if len(small) and rare != "keep":
        raise SplitError(
            f"{plan.needs(word)} of each class; too few: {_listed(dataset, counts, small)}; ",
            _ways_out(dataset, pairs, plan, seed, rare=len(counts) - len(small) > 1),
        )
    estimable = np.setdiff1d(np.arange(len(counts)), small)
    part = place(dataset, units, estimable, plan=plan, seed=seed)
    if part is None:
        parts = "training, validation and hold-out"
        if plan.validation is None:
            parts = f"the hold-out and each of {folds} folds"
        raise SplitError(
            f"no split gives {parts} a cell of each class "
            f"and keeps groups and near-duplicates together; {word} of each class: "
            f"{_listed(dataset, counts, np.arange(len(counts)))}; ",
            _ways_out(dataset, pairs, plan, seed, rare=len(counts) > 2),
        )
    kept = np.isin(dataset.labels, small)
    where = part[units]
    # Cells of estimable classes are free in a fixed split alone.
    trains_only = np.where(kept, where != HOLDOUT, where == FREE)
    return Splits(
        holdout=np.flatnonzero(~kept & (where == HOLDOUT)),
        folds=tuple(np.flatnonzero(~kept & (where == fold)) for fold in range(plan.folds)),
        train_only=(train_only := np.flatnonzero(trains_only)),
        not_estimable=tuple(dataset.classes[k] for k in small),
        seed=seed,
        dataset_sha256=dataset.sha256,
        tied=np.maximum(where[train_only], -1),
        left_out=np.flatnonzero(kept & (where == HOLDOUT)),
        drawn_from=DrawnFrom(dataset.name, dataset.ids, dataset.labels, dataset.classes),
    )


def _listed(dataset: CellDataset, counts: Indices, classes: Indices) -> str:
    return ", ".join(f"{dataset.classes[k]} {counts[k]}" for k in classes)


def _ways_out(
    dataset: CellDataset, duplicates: Sequence[DuplicatePair], plan: Plan, seed: int, *, rare: bool
) -> Message:
    """What can be drawn instead, by drawing it; ``rare``: whether classes may be left out."""
    fewer = rules.most_folds(dataset, duplicates, plan, seed=seed, most=plan.folds - 1)
    asked = rules.choices(fewer, rare=rare, group=group_word(dataset))
    if dataset.groups is not None and len(np.unique(dataset.groups)) == 1:
        asked = Message.of("all cells are of one group")

    def draw(cells: CellDataset) -> tuple[Setting, ...] | None:
        folds = rules.most_folds(cells, duplicates, plan, seed=seed, most=plan.folds)
        if not folds:
            return None
        return () if folds == plan.folds else (Setting("folds", folds),)

    return Message.of(asked, what_can_be_drawn(dataset, draw))


FORMAT_VERSION = 1


_MOST_PROBLEMS = 10


Index = Annotated[int, Field(ge=0)]


Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Part(_Section):
    """Cells of one part of the splits.

    Attributes:
        cells: how many there are of each class; empty where the splits were made by hand.
        indices: their places in the data set.
        ids: their names; empty where the splits were made by hand.
    """

    cells: dict[str, int] = {}
    indices: list[Index]
    ids: list[str] = []


class TrainOnly(Part):
    """Cells that only train; ``tied`` as in ``Splits``."""

    tied: list[Annotated[int, Field(ge=-1)]] = []


class Source(_Section):
    """The data set that splits were drawn from, with the number of cells of each class."""

    name: str = ""
    sha256: str
    classes: dict[str, int] = {}


class SplitsFile(_Section):
    """``splits.json`` as it is written, for who has not the data set at hand.

    Nothing is checked but the form: ``Splits.load`` checks the numbers against the cells.
    """

    format_version: Literal[1]
    sha256: Digest
    seed: int
    dataset: Source
    not_estimable: list[str]
    holdout: Part
    folds: Annotated[list[Part], Field(min_length=1)]
    train_only: TrainOnly
    left_out: Part

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that ``Splits.save`` wrote.

        Raises:
            SplitError: it is missing or broken; every problem is located.
        """
        try:
            values = from_json(path.read_bytes())
        except OSError as error:
            raise SplitError(f"cannot read the splits {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise SplitError(f"{path} is not JSON, or cut short: {error}") from error
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_located(each) for each in error.errors()]
            raise SplitError(_with_ids(path, problems)) from error

    def parts(self) -> Mapping[str, Part]:
        """Every part by the name it has in the file."""
        folds = {f"folds[{fold}]": each for fold, each in enumerate(self.folds)}
        others = {"train_only": self.train_only, "left_out": self.left_out}
        return {"holdout": self.holdout, **folds, **others}

    @property
    def ids(self) -> frozenset[str]:
        """Names of all cells; empty where the splits were made by hand."""
        return frozenset(name for part in self.parts().values() for name in part.ids)

    def of(self, dataset: CellDataset) -> Splits:
        """The splits as the file lists them, with the digest that this list has.

        Raises:
            SplitError: a cell in two places.
        """
        return Splits(
            holdout=_array(self.holdout.indices),
            folds=tuple(_array(each.indices) for each in self.folds),
            train_only=_array(self.train_only.indices),
            not_estimable=tuple(self.not_estimable),
            seed=self.seed,
            dataset_sha256=self.dataset.sha256,
            tied=_array(self.train_only.tied),
            left_out=_array(self.left_out.indices),
            drawn_from=DrawnFrom(dataset.name, dataset.ids, dataset.labels, dataset.classes),
        )


def write_splits(splits: Splits, path: Path) -> Path:
    """Write one line a part; replaces ``path`` only when all of it is on disk.

    Raises:
        RunError: the file cannot be written.
    """
    origin = splits.drawn_from

    def part(indices: NDArray[np.int64]) -> dict[str, Any]:
        if origin is None:
            return {"indices": indices.tolist()}
        return {
            "cells": _counts(origin.classes, origin.labels[indices]),
            "indices": indices.tolist(),
            "ids": origin.ids[indices].tolist(),
        }

    source: dict[str, Any] = {"sha256": splits.dataset_sha256}
    if origin is not None:
        source |= {"name": origin.name, "classes": _counts(origin.classes, origin.labels)}
    folds = [part(each) for each in splits.folds]
    values = {
        "format_version": FORMAT_VERSION,
        "sha256": splits.sha256,
        "seed": splits.seed,
        "dataset": source,
        "not_estimable": list(splits.not_estimable),
        "holdout": part(splits.holdout),
        "folds": folds,
        "train_only": part(splits.train_only) | {"tied": splits.tied.tolist()},
        "left_out": part(splits.left_out),
    }
    lines = []
    for key, value in values.items():
        text = json.dumps(value, ensure_ascii=False)
        if key == "folds":
            inner = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in folds)
            text = f"[\n  {inner}\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    try:
        write_whole_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def read_splits(path: Path, dataset: CellDataset) -> Splits:
    """Splits, checked against themselves and against ``dataset``.

    Raises:
        SplitError: the file is missing or broken; every problem is located.
        MismatchError: it was drawn from another data set; says what differs.
    """
    file = SplitsFile.read(path)
    _refuse_other(path, file, dataset)
    problems = _overlaps(file.parts()) + _misplaced(file.parts(), file, dataset)
    if problems:
        raise SplitError(_with_ids(path, problems))
    splits = file.of(dataset)
    if splits.sha256 != file.sha256:
        raise SplitError(
            f"$.sha256: {file.sha256[:12]} does not fit the cells listed ({splits.sha256[:12]}), "
            f"so the file was changed after it was drawn ({path}); restore it, or start a new run"
        )
    return splits


def _located(problem: Mapping[str, Any]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"]]
    got = "" if problem["type"] == "missing" else f", got {str(problem['input'])[:40]!r}"
    return f"${''.join(steps)}: {problem['msg'].lower()}{got}"


def _with_ids(path: Path, problems: list[str]) -> str:
    shown = "; ".join(problems[:_MOST_PROBLEMS])
    more = len(problems) - _MOST_PROBLEMS
    return f"{shown}{f'; and {more} more' if more > 0 else ''} ({path})"


def _array(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _counts(classes: tuple[str, ...], labels: NDArray[np.int64]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))


def _overlaps(parts: Mapping[str, Part]) -> list[str]:
    place: dict[int, str] = {}
    problems = []
    for name, part in parts.items():
        for position, cell in enumerate(part.indices):
            if cell in place:
                problems.append(
                    f"$.{name}.indices[{position}]: cell {cell} is in $.{place[cell]} already"
                )
            place.setdefault(cell, name)
    return problems


def _misplaced(parts: Mapping[str, Part], file: SplitsFile, dataset: CellDataset) -> list[str]:
    problems = []
    listed = 0
    for name, part in parts.items():
        listed += len(part.indices)
        beyond = [cell for cell in part.indices if cell >= len(dataset)]
        if beyond:
            problems.append(
                f"$.{name}.indices: cells are numbered 0 to {len(dataset) - 1}, got {beyond[0]}"
            )
        elif part.ids and part.ids != dataset.ids[_array(part.indices)].tolist():
            problems.append(f"$.{name}.ids: not the ids of the cells in $.{name}.indices")
        if not part.indices and name not in ("train_only", "left_out"):
            problems.append(f"$.{name}.indices: expected at least one cell, got none")
    if len(file.folds) == 1 and not file.train_only.indices:
        problems.append("$.train_only.indices: one fold needs cells that only train, got none")
    tied = file.train_only.tied
    if tied and (len(tied) != len(file.train_only.indices) or max(tied) >= len(file.folds)):
        problems.append("$.train_only.tied: expected a fold or -1 for each of its indices")
    unknown = [name for name in file.not_estimable if name not in dataset.classes]
    if unknown:
        problems.append(f"$.not_estimable: {unknown[0]!r} is not a class of the data set")
    if not problems and listed != len(dataset):
        problems.append(f"$: {listed} cells are listed, the data set has {len(dataset)}")
    return problems


def _refuse_other(path: Path, file: SplitsFile, dataset: CellDataset) -> None:
    if file.dataset.sha256 == dataset.sha256:
        return
    then, now = file.dataset.classes, _counts(dataset.classes, dataset.labels[dataset.labels >= 0])
    changes = [
        f"{name} {then.get(name, 0)} cells then, {now.get(name, 0)} now"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]
    if file.dataset.name != dataset.name:
        changes.insert(0, f"{file.dataset.name!r} then, {dataset.name!r} now")
    raise MismatchError(
        f"{path} was drawn from another data set: "
        f"{'; '.join(changes) or 'the same counts, but other pixels, channels or ids'} "
        f"(sha256 {file.dataset.sha256[:12]} then, {dataset.sha256[:12]} now); "
        "use the data set of that run, or start a new run"
    )


def splits_html(splits: Splits) -> str:
    """How many cells of each class are in each part."""
    parts = [(_named(name, splits.k), part) for name, part in splits.parts() if len(part)]
    title = f"Splits: {splits.describe()}"
    about = note(f"seed {splits.seed}, sha256 {splits.sha256[:12]}")
    rows: list[list[str]] = []
    if splits.drawn_from is not None:
        origin = splits.drawn_from
        for k, name in enumerate(origin.classes):
            found = [int((origin.labels[part] == k).sum()) for _, part in parts]
            shown = name + (" (not estimable)" if name in splits.not_estimable else "")
            rows.append([shown, *(f"{count:,}" for count in found)])
    heads = ["class", *(name for name, _ in parts)]
    rows.append(["all", *(f"{len(part):,}" for _, part in parts)])
    return block(title, table(Table.of(heads, rows)), about)


def _named(part: str, folds: int) -> str:
    if part.startswith("folds"):
        return (
            f"fold {part.removeprefix('folds[').removesuffix(']')}" if folds > 1 else "validation"
        )
    return {"holdout": "hold-out", "train_only": "train only", "left_out": "left out"}[part]
