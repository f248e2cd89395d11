"""The folder of a run: what it was asked, on which cells, splits and space, and how far it came.

runs/jurkat-2026-11-21-1/
  run.json       the request and the digests that a resumed run must meet again
  space.yaml     the search space, expanded
  splits.json    hold-out and folds
  study.db       Optuna's study and our tables (unless --storage names another place)
  trials/0007/   the recipe and the finished folds of trial 7, and from which cells each was made
  final/         from which cells the refitted networks were made
  holdout.json   when the hold-out was scored, and for which trial
  card/          what is handed over
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from cellsearch.data.findings import unknown_kind
from cellsearch.data.plan import Plan
from cellsearch.errors import ConfigError, MismatchError, RunError
from cellsearch.located import near_miss, problems
from cellsearch.util.messages import Message, Setting, joined

FORMAT_VERSION = 1


class Accepted(BaseModel):
    """A finding of the check that a run was asked to go on with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    message: str


class RunConfig(BaseModel):
    """What a run was asked to do; every field is an option of ``cellsearch run``.

    ``typed`` holds channels, merges and choices as they were typed, whose names are told apart by
    those of the cells; see ``task_of``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    variant: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    channels: tuple[str, ...] = ()
    merge: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    only: tuple[str, ...] = ()
    one_vs_rest: str | None = None
    typed: dict[Literal["channels", "merge", "only"], tuple[str, ...]] = Field(default_factory=dict)
    mirror: Path | None = None
    space: str = "default"
    init_from: Path | None = None
    metric: str = "balanced_accuracy"
    split: str | None = None
    folds: int = Field(default_factory=lambda known: _plan(known).folds, le=50)
    holdout: float = Field(default_factory=lambda known: _plan(known).holdout, gt=0.0)
    rare: str = "refuse"
    accept: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0, lt=2**31)
    budget: int | None = Field(default=50, ge=1)
    seconds: float | None = Field(default=None, gt=0.0)
    race: bool = True
    final: Literal["refit", "ensemble"] = "refit"
    abstain: str | None = None
    sets: float | None = Field(default=None, gt=0.0, lt=1.0)
    backend: Literal["ray", "local"] = "ray"
    slots: int | None = Field(default=None, ge=1, le=1024)
    threads: int | None = Field(default=None, ge=1, le=1024)
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp32+channels_last", "bf16+channels_last"] = "auto"
    storage: str | None = None
    address: str | None = None

    @field_validator("channels", "only", mode="before")
    @classmethod
    def _a_text_is_one_name(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("split")
    @classmethod
    def _a_split(cls, value: str | None) -> str | None:
        try:
            return value if value is None else Plan.fixed(value).split
        except ConfigError as error:
            what = str(error).partition(": ")[2].removesuffix(f", got {value!r}")
            raise ValueError(what) from None

    @field_validator("folds", "holdout")
    @classmethod
    def _of_the_split(cls, value: float, info: ValidationInfo) -> float:
        name, split = info.field_name, info.data.get("split")
        if split is not None and value != getattr(_plan(info.data), str(name)):
            raise ValueError(f"leave it out, since the split {split} says it already")
        if split is None and name == "folds" and value < 2:
            raise ValueError("expected 2 or more (one fixed split: give split, such as 70/10/20)")
        if split is None and name == "holdout" and value > 0.5:
            raise ValueError("expected at most 0.5")
        return value

    @field_validator("final")
    @classmethod
    def _an_ensemble_of_folds(cls, value: str, info: ValidationInfo) -> str:
        if value == "ensemble" and info.data.get("split") is not None:
            raise ValueError(
                "an ensemble is of the networks of several folds, a fixed split has one"
            )
        return value

    @field_validator("abstain")
    @classmethod
    def _a_requirement(cls, value: str | None) -> str | None:
        from cellsearch.card.abstain import requirement

        if value is not None:
            requirement(value)
        return value

    @field_validator("accept")
    @classmethod
    def _known_findings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if found := [text for each in value if (text := unknown_kind(each))]:
            raise ValueError("; ".join(found))
        return tuple(dict.fromkeys(value))

    @field_validator("init_from")
    @classmethod
    def _wherever_it_is_resumed(cls, value: Path | None) -> Path | None:
        return None if value is None else value.resolve()

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        from cellsearch.learn.metrics import METRICS

        if value not in METRICS:
            raise ValueError(f"expected one of {', '.join(METRICS)}{near_miss(value, METRICS)}")
        return value

    @property
    def task(self) -> dict[str, Any]:
        """Arguments of ``apply_task``."""
        names = ("channels", "merge", "only", "one_vs_rest", "typed")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, **values: object) -> RunConfig:
        """Build from plain values.

        Raises:
            RunError: values out of bounds, all of them in one message.
        """
        said: list[Message] = []
        if values.get("backend") == "local" and values.get("address") is not None:
            why = ": only Ray has clusters; leave it out, or run with "
            said.append(Message.of(Setting("address"), why, Setting("backend", "ray")))
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            said += [
                Message.of(Setting(".".join(map(str, found.path))), f": {found.text}")
                for found in problems(cls, error, values)
                # A default that waits for a field which is wrong has no place of its own.
                if found.path
            ]
        if said:
            raise RunError(joined(said, "; "))
        return config

    def changed(self, **changes: object) -> RunConfig:
        """The same with other values; who goes on without Ray needs the cluster's address no more.

        Raises:
            RunError: values out of bounds, all of them in one message.
        """
        values = {name: getattr(self, name) for name in RunConfig.model_fields} | changes
        if values["backend"] == "local" and "address" not in changes:
            values["address"] = None
        return RunConfig.of(**values)


def _plan(known: Mapping[str, Any]) -> Plan:
    """Folds and hold-out of the fields before them."""
    split = known.get("split")
    return Plan(folds=5, holdout=0.2) if split is None else Plan.fixed(split)


IDENTITY = (
    "dataset",
    "variant",
    "options",
    "channels",
    "merge",
    "only",
    "one_vs_rest",
    "typed",
    "space",
    "init_from",
    "metric",
    "split",
    "folds",
    "holdout",
    "rare",
    "seed",
    "precision",
)
"""Fields a resumed run may not change; budget, time, slots and the like it may."""


class RunRecord(BaseModel):
    """``run.json``.

    ``built`` tells what was handed over from Python rather than named: ``cells``, ``space``.
    ``accepted`` are the errors of the check that the run was asked to go on with.
    """

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
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


def write_record(folder: Path, record: RunRecord) -> None:
    """Write ``run.json`` so that a crash leaves the old one or the new one."""
    replace_text(folder / "run.json", record.model_dump_json(indent=2) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read ``run.json``.

    Raises:
        RunError: not the folder of a run, or made by a newer cellsearch.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise RunError(_no_run(folder))
    try:
        facts = json.loads(path.read_text())
        if isinstance(facts, dict) and facts.get("format_version", 0) > FORMAT_VERSION:
            raise RunError(f"{path} was written by a newer cellsearch; upgrade to go on with it")
        return RunRecord.model_validate(facts)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def _no_run(folder: Path) -> str:
    if not folder.exists():
        return f"{folder}: no such folder; `cellsearch runs` lists the runs that lie here"
    if (folder.parent / "run.json").is_file():
        return f"{folder} is not the folder of a run but lies in one: give {folder.parent}"
    return f"{folder} is not the folder of a run: it holds no run.json"


def replace_text(path: Path, text: str) -> None:
    """Write a small file durably and at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
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
            "this run was begun with something else; name another folder with ",
            Setting("out", "FOLDER"),
            ", or undo:\n  " + "\n  ".join(differences),
        )
