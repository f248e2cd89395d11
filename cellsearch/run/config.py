"""What was asked of a run, and of repeated searches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args
from uuid import uuid4

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from cellsearch.data.findings import Kind as Finding
from cellsearch.data.findings import present_kind, unknown_kind
from cellsearch.data.plan import Plan
from cellsearch.errors import ConfigError, RunError
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.passwords import without_password
from cellsearch.util.validation import near_miss, problems

Kind = Literal["outer", "repeats"]


METRIC_NAMES = (
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "worst_recall",
    "accuracy",
)
"""Keys of ``stats.metrics.METRICS``, without its numpy: the command line shows them in no time."""
OLDER_FINALS = {"refit": "single", "ensemble": "folds"}
"""What ``final`` was called in older versions, whose runs are still read."""
_PREFIX: dict[Kind, str] = {"outer": "outer", "repeats": "repeat"}


class NestedRequest(BaseModel):
    """``nested.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    id: str = ""
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
                Setting(kind), ": each search keeps its own study; leave out ", Setting("storage")
            )
        if kind == "outer" and config.split is not None:
            raise RunError(
                Setting("outer"),
                ": every cell is held out once, and a fixed split does not allow that; leave out ",
                Setting("split"),
            )
        if kind == "outer":
            config = config.changed(holdout=1.0 / times)
        return cls(id=uuid4().hex, kind=kind, times=times, config=config)

    def folder(self, parent: Path, number: int) -> Path:
        """``outer-1`` or ``repeat-1``; ``number`` from 0."""
        return parent / f"{_PREFIX[self.kind]}-{number + 1}"

    def config_of(self, number: int) -> RunConfig:
        """Of one of the searches: a repeated hold-out has a seed of its own."""
        seed = self.config.seed + (number if self.kind == "repeats" else 0)
        return self.config.changed(seed=seed)


_SPELT: Mapping[str, str] = {"prediction_sets": "sets", "max_concurrent_trials": "slots"}
"""Keywords that are spelt as the options are, and the fields they fill."""


class RunConfig(BaseModel):
    """What a run was asked to do; every field is an option of ``cellsearch run``.

    Descriptions are the help of the options, fields in backticks being other options; examples
    and literals are what a shell completes.

    ``typed`` holds channels, merges and choices as they were typed, whose names are told apart by
    those of the cells; see ``task_of``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(
        description="A built-in name, a manifest, or a folder, table or file of cells."
    )
    variant: str | None = Field(
        default=None, description="A named variant: a choice of channels, or merged classes."
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="How to read the files, as name=value; may be given several times.",
    )
    channels: tuple[str, ...] = Field(
        default=(),
        description="Channels to use, in this order; may be given several times, or as a JSON "
        "list.",
    )
    merge: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Classes to merge into one; may be given several times, or as a JSON object.",
    )
    only: tuple[str, ...] = Field(
        default=(),
        description="Classes to keep, after `merge`; may be given several times, or as a JSON "
        "list.",
    )
    one_vs_rest: str | None = Field(
        default=None, description="Train one class against all the others."
    )
    typed: dict[Literal["channels", "merge", "only"], tuple[str, ...]] = Field(default_factory=dict)
    mirror: Path | None = Field(
        default=None, description="Folder that holds the files, instead of downloading them."
    )
    space: str = Field(default="default", description="A built-in search space, or a YAML file.")
    init_from: Path | None = Field(
        default=None, description="Warm start: a card whose weights the networks start from."
    )
    metric: str = Field(
        default="balanced_accuracy",
        description=f"{', '.join(METRIC_NAMES[:-1])} or {METRIC_NAMES[-1]}.",
        examples=list(METRIC_NAMES),
    )
    split: str | None = Field(
        default=None,
        description="One fixed split instead of folds: training/validation/hold-out in percent.",
    )
    folds: int | None = Field(
        default_factory=lambda known: None if known.get("split") is None else 1,
        le=50,
        description="Folds of the cross-validation (default 5; of 6 or 7 donors fewer, so that 3 "
        "can be held out).",
    )
    holdout: float = Field(
        default_factory=lambda known: _plan(known).holdout,
        gt=0.0,
        description="Share of cells the search never sees (default 0.2; three donors at least "
        "where there are six).",
    )
    rare: str = Field(
        default="refuse",
        description="Classes too small for the folds: keep, drop or merge=NAME.",
        examples=["keep", "drop", "merge="],
    )
    accept: tuple[str, ...] = Field(
        default=(),
        description="Run although `datasets check` finds this kind of error; may be given several "
        "times.",
        examples=list(get_args(Finding)),
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of splits, draws and training.")
    budget: int | None = Field(
        default=50, ge=1, description="Trials to complete, the baseline included."
    )
    seconds: float | None = Field(
        default=None,
        gt=0.0,
        description="Time limit of the run, final model and card included, such as 30m.",
    )
    race: bool = Field(default=True, description="Stop trials early that are very probably worse.")
    ladder: bool = Field(
        default=True,
        description="Train networks briefly first, and only the best of them in full.",
    )
    final: Literal["best", "single", "folds"] = Field(
        default="best",
        description="The card's model: single (the best trial, trained again on all folds), folds "
        "(the mean of its folds' networks) or best (single, or up to three trials joined, where "
        "out-of-fold predictions say that this is better).",
    )
    abstain: str | None = Field(
        default=None,
        description="When to call a cell uncertain: coverage=0.9 (the least certain tenth of each "
        "class) or precision=0.95 (cells that would be right less often). Thresholds come from "
        "out-of-fold cells.",
    )
    sets: float | None = Field(
        default=None,
        gt=0.0,
        lt=1.0,
        description="Also give each cell a set of classes that contains the true one this often, "
        "such as 0.9.",
    )
    backend: Literal["ray", "local"] = Field(
        default="ray", description="What runs the trials: ray or local."
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="How many trials may run at the same time; default: one per core.",
    )
    threads: int | None = Field(default=None, ge=1, le=1024, description="Threads per trial.")
    device: str = Field(
        default="auto",
        description="auto, cpu, cuda or mps.",
        examples=["auto", "cpu", "cuda", "mps"],
    )
    precision: Literal["auto", "fp32", "bf16", "fp32+channels_last", "bf16+channels_last"] = Field(
        default="auto",
        description="Number format of training: auto takes the fastest for each trial; fp32 with "
        "`slots` 1 is reproducible on a CPU; also bf16, each with +channels_last.",
    )
    storage: str | None = Field(
        default=None, description="Database of the study (default SQLite in the run folder)."
    )
    address: str | None = Field(default=None, description="An existing Ray cluster.")

    @field_serializer("storage")
    def _kept_without_password(self, value: str | None) -> str | None:
        """What is written down may be handed on; the password stays with who typed it."""
        return None if value is None else without_password(value)

    @model_validator(mode="before")
    @classmethod
    def _as_options_are_spelt(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        return {_SPELT.get(str(name), name): value for name, value in values.items()}

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
    def _of_the_split(cls, value: float | None, info: ValidationInfo) -> float | None:
        name, split = info.field_name, info.data.get("split")
        if split is None and value is None:
            return value
        if split is not None and value != getattr(_plan(info.data), str(name)):
            raise ValueError(f"leave it out, because the split {split} already sets it")
        if split is None and name == "folds" and (value or 0) < 2:
            raise ValueError("expected 2 or more (one fixed split: give split, such as 70/10/20)")
        if split is None and name == "holdout" and (value or 0) > 0.5:
            raise ValueError("expected at most 0.5")
        return value

    @field_validator("final", mode="before")
    @classmethod
    def _by_its_older_names(cls, value: object) -> object:
        return OLDER_FINALS.get(value, value) if isinstance(value, str) else value

    @field_validator("final")
    @classmethod
    def _of_several_folds(cls, value: str, info: ValidationInfo) -> str:
        if value == "folds" and info.data.get("split") is not None:
            raise ValueError(
                "folds needs the networks of several folds, and a fixed split has only one"
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
        return tuple(dict.fromkeys(map(present_kind, value)))

    @field_validator("init_from")
    @classmethod
    def _wherever_it_is_resumed(cls, value: Path | None) -> Path | None:
        return None if value is None else value.resolve()

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        from cellsearch.stats.metrics import METRICS

        if value not in METRICS:
            raise ValueError(f"expected one of {', '.join(METRICS)}{near_miss(value, METRICS)}")
        return value

    @property
    def shown_storage(self) -> str | None:
        """``storage`` without its password."""
        return None if self.storage is None else without_password(self.storage)

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
            why = ": only Ray runs on clusters; leave it out, or run with "
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
