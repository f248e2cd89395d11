"""splits.json: the splits as a file that a human can read and a program checks."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import MismatchError, RunError, SplitError

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits

FORMAT_VERSION = 1
_MOST_PROBLEMS = 10

Index = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Part(_Section):
    cells: dict[str, int] = {}
    indices: list[Index]
    ids: list[str] = []


class _TrainOnly(_Part):
    tied: list[Annotated[int, Field(ge=-1)]] = []


class _Source(_Section):
    name: str = ""
    sha256: str
    classes: dict[str, int] = {}


class _File(_Section):
    format_version: Literal[1]
    sha256: Digest
    seed: int
    dataset: _Source
    not_estimable: list[str]
    holdout: _Part
    folds: Annotated[list[_Part], Field(min_length=1)]
    train_only: _TrainOnly
    left_out: _Part


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write("{\n" + ",\n".join(lines) + "\n}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def read_splits(path: Path, dataset: CellDataset) -> dict[str, Any]:
    """The arguments of ``Splits``, checked against themselves and against ``dataset``.

    Raises:
        SplitError: the file is missing or broken; every problem is located.
        MismatchError: it was drawn from another data set; says what differs.
    """
    from cellsearch.data.splits import DrawnFrom, Splits

    file = _parse(path)
    _refuse_other(path, file, dataset)
    parts: dict[str, _Part] = {"holdout": file.holdout}
    parts |= {f"folds[{fold}]": each for fold, each in enumerate(file.folds)}
    parts |= {"train_only": file.train_only, "left_out": file.left_out}
    problems = _overlaps(parts) + _misplaced(parts, file, dataset)
    if problems:
        raise SplitError(_listed(path, problems))
    arguments: dict[str, Any] = {
        "holdout": _array(file.holdout.indices),
        "folds": tuple(_array(each.indices) for each in file.folds),
        "train_only": _array(file.train_only.indices),
        "not_estimable": tuple(file.not_estimable),
        "seed": file.seed,
        "dataset_sha256": file.dataset.sha256,
        "tied": _array(file.train_only.tied),
        "left_out": _array(file.left_out.indices),
        "drawn_from": DrawnFrom(dataset.name, dataset.ids, dataset.labels, dataset.classes),
    }
    found = Splits(**arguments).sha256
    if found != file.sha256:
        raise SplitError(
            f"$.sha256: {file.sha256[:12]} does not fit the cells listed ({found[:12]}), so the "
            f"file was changed after it was drawn ({path}); restore it, or start a new run"
        )
    return arguments


def _parse(path: Path) -> _File:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise SplitError(f"cannot read the splits {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SplitError(f"{path} is not JSON, or cut short: {error}") from error
    try:
        return _File.model_validate(values)
    except ValidationError as error:
        raise SplitError(_listed(path, [_located(each) for each in error.errors()])) from error


def _located(problem: Mapping[str, Any]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"]]
    got = "" if problem["type"] == "missing" else f", got {str(problem['input'])[:40]!r}"
    return f"${''.join(steps)}: {problem['msg'].lower()}{got}"


def _listed(path: Path, problems: list[str]) -> str:
    shown = "; ".join(problems[:_MOST_PROBLEMS])
    more = len(problems) - _MOST_PROBLEMS
    return f"{shown}{f'; and {more} more' if more > 0 else ''} ({path})"


def _array(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _counts(classes: tuple[str, ...], labels: NDArray[np.int64]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))


def _overlaps(parts: Mapping[str, _Part]) -> list[str]:
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


def _misplaced(parts: Mapping[str, _Part], file: _File, dataset: CellDataset) -> list[str]:
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


def _refuse_other(path: Path, file: _File, dataset: CellDataset) -> None:
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
