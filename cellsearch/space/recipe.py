"""Recipe: the typed hyper-parameters of one trial, and their flat dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cellsearch import catalog
from cellsearch.errors import SpaceError
from cellsearch.space.parameters import ACTIVE_WHEN, ParamValue, parameters

__all__ = [
    "BASELINE",
    "Augment",
    "Balance",
    "CnnModel",
    "Input",
    "Loss",
    "Optim",
    "ParamValue",
    "Recipe",
    "Train",
    "parameter_names",
    "split_name",
]

Kernel = Annotated[int, Field(ge=2, le=10)]
Units = Annotated[int, Field(ge=2, le=2048)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class CnnModel(_Section):
    """A stack of convolution stages and a dense head."""

    family: Literal["cnn"] = "cnn"
    depth: int = Field(2, ge=1, le=6, description="convolution stages")
    width: int = Field(16, ge=8, le=256, description="channels of the first stage")
    growth: float = Field(2.0, ge=1.0, le=2.0, description="channels gained from stage to stage")
    max_width: int = Field(256, ge=8, le=512, description="channels no stage goes beyond")
    kernel: tuple[Kernel, ...] = Field((3, 3), description="kernel side of each stage, px")
    pooling: Literal["none", "max", "avg"] = Field("max", description="2 x 2 after each stage")
    batch_norm: bool = Field(False, description="batch normalisation after each convolution")
    residual: bool = Field(False, description="a second convolution and a skip in each stage")
    reduce: Literal["flatten", "average"] = Field(
        "flatten", description="how the last feature map enters the head"
    )
    head_layers: int = Field(1, ge=0, le=3, description="dense layers before the output")
    head: tuple[Units, ...] = Field((32,), description="units of each dense layer")
    dropout: float = Field(0.0, ge=0.0, le=0.9, description="dropout in the head")

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.kernel) != self.depth:
            raise ValueError(f"depth is {self.depth} but {len(self.kernel)} kernels are given")
        if len(self.head) != self.head_layers:
            raise ValueError(f"head_layers is {self.head_layers} but {len(self.head)} are given")
        return self


class Loss(_Section):
    """What is minimised, and how classes count in it."""

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = Field(2.0, ge=0.0, le=10.0, description="focusing of the focal loss")
    weighting: Literal["none", "sqrt", "inv", "effective"] = Field(
        "none", description="class weights from training counts"
    )
    beta: float = Field(0.999, ge=0.0, lt=1.0, description="of the effective number of samples")
    label_smoothing: float = Field(0.0, ge=0.0, le=0.5)


class Augment(_Section):
    """Label-preserving transforms, drawn anew for each cell and epoch."""

    flip: bool = Field(False, description="horizontal and vertical flips")
    rotate90: bool = Field(False, description="rotations by right angles")
    shift: int = Field(0, ge=0, le=16, description="largest shift, px")
    brightness: float = Field(0.0, ge=0.0, le=1.0, description="largest relative gain")
    blur: float = Field(0.0, ge=0.0, le=5.0, description="largest Gaussian sigma, px")
    mixup: float = Field(0.0, ge=0.0, le=2.0, description="alpha of the Beta law; 0 is off")


class Balance(_Section):
    """Resampling of training indices."""

    method: Literal["none", "over", "under", "mixed"] = "none"
    strength: float = Field(
        1.0, gt=0.0, le=1.0, description="0 leaves the counts, 1 makes classes equal"
    )


class Optim(_Section):
    """Optimiser and learning-rate schedule."""

    name: Literal["adam", "adamw", "nadam", "sgd"] = "adam"
    lr: float = Field(1e-3, gt=0.0, le=1.0)
    weight_decay: float = Field(0.0, ge=0.0, le=1.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="of SGD")
    schedule: Literal["constant", "cosine", "onecycle"] = "constant"


class Train(_Section):
    """How long, in which batches, and what is kept."""

    batch_size: int = Field(64, ge=2, le=1024)
    epochs: int = Field(15, ge=1, le=500, description="passes over the training cells")
    patience: int = Field(
        0, ge=0, le=100, description="epochs without gain on an inner split; 0 never stops early"
    )
    weight_average: float = Field(
        0.0, ge=0.0, lt=1.0, description="decay of the running mean of weights; 0 is off"
    )


class Input(_Section):
    """What the network sees of a cell, at training and at prediction."""

    normalise: Literal["channel", "image"] = Field(
        "channel", description="zero mean, unit variance: per channel of the data, or per image"
    )
    test_flips: bool = Field(False, description="mean of 4 flips at prediction")


class Recipe(_Section):
    """Everything that one trial needs to know, apart from cells, folds and seed.

    Flat names are dotted paths (``loss.weighting``); a tuple is numbered from 1
    (``model.kernel.1``).
    """

    model: CnnModel = CnnModel()
    loss: Loss = Loss()
    augment: Augment = Augment()
    balance: Balance = Balance()
    optim: Optim = Optim()
    train: Train = Train()
    input: Input = Input()

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> Self:
        """Build from flat dotted names; what is absent keeps its default.

        A tuple's name without a number sets all its entries (``model.kernel: 3``). Where
        ``model.depth`` is given without any kernel, all kernels are 3; where
        ``model.head_layers`` is given without any head, all heads have 32 units.

        Raises:
            SpaceError: a name is not known or a value is out of bounds; all are listed.
        """
        nested: dict[str, dict[str, Any]] = {}
        tuples: dict[str, dict[int, ParamValue]] = {}
        found: list[str] = []
        known = parameters(cls)
        for name, value in params.items():
            base, number = split_name(name)
            if base not in known or (number is not None and not known[base].counter):
                hint = catalog.near_miss(name, parameter_names(cls))
                found.append(f"{name}: no such parameter{hint}")
            elif known[base].counter:
                tuples.setdefault(base, {})[number or 0] = value
            else:
                section, key = name.split(".")
                nested.setdefault(section, {})[key] = value
        for base, entries in tuples.items():
            if 0 in entries and len(entries) > 1:
                found.append(f"{base}: give one value for all, or {base}.1, .2, ..., not both")
            elif 0 not in entries and sorted(entries) != list(range(1, len(entries) + 1)):
                missing = min(set(range(1, max(entries))) - set(entries))
                found.append(f"{base}.{missing}: missing, but {base}.{max(entries)} is given")
        if not found:
            for base, parameter in known.items():
                if parameter.counter:
                    _fill(nested, base, parameter.counter, tuples.get(base), parameter.default)
            try:
                return cls.model_validate(nested)
            except ValidationError as failure:
                found += [_said(p) for p in catalog.problems(cls, failure, nested)]
        raise SpaceError("\n".join(found))

    def to_params(self) -> dict[str, ParamValue]:
        """Flat dotted names and plain values; ``from_params`` is its inverse.

        A parameter that has no effect (``loss.gamma`` without focal loss) is absent, and so
        comes back as its default.
        """
        flat: dict[str, ParamValue] = {}
        for section, fields in self.model_dump().items():
            for key, value in fields.items():
                name = f"{section}.{key}"
                if isinstance(value, tuple):
                    flat |= {f"{name}.{i}": entry for i, entry in enumerate(value, 1)}
                else:
                    flat[name] = value
        for name, (other, values) in ACTIVE_WHEN.items():
            if flat[other] not in values:
                del flat[name]
        return flat


def split_name(name: str) -> tuple[str, int | None]:
    """``model.kernel.2`` -> (``model.kernel``, 2); (name, None) where there is no number."""
    base, _, last = name.rpartition(".")
    if base.count(".") and last.isascii() and last.isdigit() and not last.startswith("0"):
        return base, int(last)
    return name, None


def parameter_names(recipe: type[BaseModel] = Recipe) -> list[str]:
    """Every name that ``from_params`` takes, tuples with the numbers they can reach."""
    names: list[str] = []
    known = parameters(recipe)
    for name, parameter in known.items():
        names.append(name)
        if parameter.counter:
            reach = int(known[parameter.counter].high or 0)
            names += [f"{name}.{i}" for i in range(1, reach + 1)]
    return names


def _fill(
    nested: dict[str, dict[str, Any]],
    base: str,
    counter: str,
    entries: Mapping[int, ParamValue] | None,
    default: tuple[ParamValue, ...],
) -> None:
    section, key = base.split(".")
    fields = nested.setdefault(section, {})
    count = fields.get(counter.split(".")[1])
    if entries and 0 not in entries:
        fields[key] = tuple(entries[i] for i in sorted(entries))
        return
    if count is None and not entries:
        return
    value = entries[0] if entries else default[0]
    try:
        length = len(default) if count is None else int(count)
    except (TypeError, ValueError, OverflowError):
        length = len(default)
    # A count that is far out of bounds is told by its own field; it must not fill memory.
    fields[key] = (value,) * max(0, min(length, 64))


def _said(problem: catalog.Problem) -> str:
    parts = [p + 1 if isinstance(p, int) else p for p in problem.path]
    return f"{'.'.join(map(str, parts)) or 'recipe'}: {problem.text}"


BASELINE = Recipe()
"""Trial 0 of every search: two plain convolutions, no weights, no augmentation."""
