"""CardConfig: what ``config.json`` of a card holds, and how it is read with located errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cellsearch.card.abstain import Abstention
from cellsearch.card.checksums import require_plain
from cellsearch.card.conformal import PredictionSets
from cellsearch.card.prior import PriorFacts
from cellsearch.errors import CardError
from cellsearch.stats.decision import Decide, Decision, decided
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Setting

FORMAT_VERSION = 1
CONFIG = "config.json"
SEEN_CELLS = "cells.npy"
MODEL = "model.onnx"

Fit = Literal["refuse", "pad", "resize", "shrink"]
Dtype = Literal["uint8", "uint16", "float32"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ChannelRange(_Part):
    """Raw intensities of one channel over the cells the model was trained on.

    ``low`` and ``high`` are the extremes, ``typical_low`` and ``typical_high`` the 1st and 99th
    percentile of all pixels.
    """

    channel: str
    low: float
    typical_low: float
    typical_high: float
    high: float


class DatasetFacts(_Part):
    """Which cells the model comes from.

    ``citation`` is what to cite of them, ``pixel_size_um`` the side of a pixel in micrometres; both
    are empty where the data set does not say, and in older cards.
    """

    name: str
    variant: str | None = None
    title: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    pixel_size_um: float | None = Field(None, gt=0.0)
    synthetic: bool = False
    sha256: str
    cells: int = Field(ge=1)


class OnnxFacts(_Part):
    """How ``model.onnx`` is called.

    ``input`` takes the images or, of a card whose networks all take measured features, those;
    ``features`` names a second input for them, where some networks take the one and some the
    other. ``decided`` names the output that holds the class each cell is given, (N,) int64; None in
    cards of older versions, whose graph has none.
    """

    input: str = "image"
    features: str | None = None
    output: str = "probabilities"
    decided: str | None = None
    opset: int


class FeatureFacts(_Part):
    """Which features of an image enter the graph, where it does not take pixels alone.

    ``version`` is the ``FEATURES_VERSION`` of ``cellsearch.data.features`` that measured them.
    """

    version: int = Field(ge=1)
    names: tuple[str, ...] = Field(min_length=1)


class EnsembleMember(_Part):
    """A trial whose network is in the graph, joined with others.

    Attributes:
        trial: its number.
        weight: its share of the mean of probabilities.
        recipe: that it was trained by.
    """

    trial: int = Field(ge=0)
    weight: float = Field(gt=0.0, le=1.0)
    recipe: dict[str, bool | int | float | str]


class CardConfig(_Part):
    """``config.json``: everything that a program needs to use the model.

    Attributes:
        dtype: pixel type of the images the model takes; they enter the graph as float32 of the
            same values, since normalisation is part of the graph.
        dtype_range: smallest and largest value of that type; None for float32.
        fit: what is done with a crop of another size: refused, padded (or cut) about its centre,
            resized, or padded after what is larger was shrunk, its aspect kept.
        members: networks whose probabilities are averaged.
        recipe: of the winner; of an ensemble of trials, that of its heaviest member.
        ensemble: the trials whose networks are joined; empty where all are of one recipe.
        features: what is measured on each image for the graph; None where it takes the pixels.
        temperature: that is in the graph; None in cards that were made before there was any.
        abstention: confidence below which a cell is ``uncertain``; None where none was asked for.
        sets: thresholds of prediction sets; None where none were asked for.
        prevalence: what corrects the class fractions of a sample; None where it is not known.
        decision: how probabilities become classes; None where the greatest one decides, as in
            cards of older versions.
    """

    format_version: Literal[1] = 1
    cellsearch_version: str
    created: str
    classes: tuple[str, ...] = Field(min_length=2)
    channels: tuple[str, ...] = Field(min_length=1, max_length=12)
    dtype: Dtype
    dtype_range: tuple[int, int] | None
    ranges: tuple[ChannelRange, ...]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    fit: Fit = "refuse"
    members: int = Field(ge=1)
    parameters: int = Field(ge=1)
    not_estimable: tuple[str, ...] = ()
    dataset: DatasetFacts
    splits_sha256: str
    recipe: dict[str, bool | int | float | str]
    ensemble: tuple[EnsembleMember, ...] = ()
    onnx: OnnxFacts
    features: FeatureFacts | None = None
    temperature: float | None = Field(None, gt=0.0)
    abstention: Abstention | None = None
    sets: PredictionSets | None = None
    prevalence: PriorFacts | None = None
    decision: Decision | None = None

    @model_validator(mode="after")
    def _agree(self) -> CardConfig:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: every name once")
        if tuple(part.channel for part in self.ranges) != self.channels:
            raise ValueError("ranges: one entry a channel, in the order of channels")
        if self.ensemble and len(self.ensemble) != self.members:
            raise ValueError("ensemble: one entry a member")
        lengths = {}
        if self.abstention is not None:
            lengths["abstention.thresholds"] = len(self.abstention.thresholds)
        if self.sets is not None:
            lengths["sets.thresholds"] = len(self.sets.thresholds)
        if self.prevalence is not None:
            lengths["prevalence.confusion"] = len(self.prevalence.confusion)
            lengths["prevalence.bias"] = len(self.prevalence.bias)
        if self.decision is not None:
            lengths["decision.priors"] = len(self.decision.priors.natural)
        for name, length in lengths.items():
            if length != len(self.classes):
                raise ValueError(f"{name}: one entry a class")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return len(self.channels), self.height, self.width

    def require_rule(self, decide: Decide) -> None:
        """Refuse a card that cannot decide in another way than its own.

        Raises:
            CardError: it was made before cards held the prior of their training.
        """
        if self.decision is None:
            raise CardError(
                "this card does not hold the prior of its training, so the greatest probability "
                "decides; leave out ",
                Setting("decide", decide),
            )

    def decide(
        self, probabilities: NDArray[np.floating[Any]], decide: Decide | None = None
    ) -> NDArray[np.int64]:
        """(n,) positions in ``classes`` that cells are given.

        Args:
            probabilities: (n, K) as the card gives them.
            decide: ``balanced`` finds rare classes, ``natural`` makes the fewest mistakes where
                classes are as frequent as in the training; None is the card's own rule.

        Raises:
            CardError: another rule is asked for than the only one that an older card has.
        """
        if decide is not None:
            self.require_rule(decide)
        own = None if self.decision is None else self.decision.changed(decide)
        return decided(probabilities, own, temperature=self.temperature or 1.0)


def dtype_range(dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """Smallest and largest value of an integer type; None for floats."""
    if dtype.kind == "f":
        return None
    facts = np.iinfo(dtype)
    return int(facts.min), int(facts.max)


def spread_out(cells: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Evenly spaced positions in ``0 .. cells - 1``: about 5 million pixels of (N, C, H, W)."""
    most = max(1, 5_000_000 // int(np.prod(shape[1:])))
    return np.unique(np.linspace(0, cells - 1, min(cells, most)).astype(np.int64))


def channel_ranges(
    images: NDArray[Any], cells: NDArray[np.int64], channels: tuple[str, ...]
) -> tuple[ChannelRange, ...]:
    """Extremes and percentiles of each channel over ``cells`` of (N, C, H, W) images.

    Percentiles are taken over evenly spaced cells of about 5 million pixels, the extremes over
    all.
    """
    low = np.full(len(channels), np.inf)
    high = np.full(len(channels), -np.inf)
    for start in range(0, len(cells), 512):
        batch = np.asarray(images[cells[start : start + 512]])
        low = np.minimum(low, batch.min(axis=(0, 2, 3)))
        high = np.maximum(high, batch.max(axis=(0, 2, 3)))
    some = cells[spread_out(len(cells), images.shape)]
    typical = np.percentile(np.asarray(images[some]), (1, 99), axis=(0, 2, 3))
    return tuple(
        ChannelRange(
            channel=name,
            low=float(low[c]),
            typical_low=float(typical[0, c]),
            typical_high=float(typical[1, c]),
            high=float(high[c]),
        )
        for c, name in enumerate(channels)
    )


def read_config(folder: Path) -> CardConfig:
    """Read and validate ``config.json``.

    Raises:
        CardError: it is missing, from a newer cellsearch, or unfit; all problems are listed.
    """
    path = folder / CONFIG
    if os.path.lexists(path):
        require_plain(folder)
    try:
        facts = from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "holds no config.json" if folder.is_dir() else "is not a folder"
        inside = folder / "card"
        hint = f"; the card of this run is {inside}" if (inside / CONFIG).is_file() else ""
        raise CardError(f"{folder} is not a card: it {what}{hint}") from None
    except OSError as error:
        raise CardError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CardError(f"{path} is damaged: {error}") from None
    version = facts.get("format_version") if isinstance(facts, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise CardError(
            f"{folder} was made by a newer cellsearch (card format {version}; this one reads "
            f"{FORMAT_VERSION}): upgrade cellsearch to use it"
        )
    try:
        return CardConfig.model_validate(facts)
    except ValidationError as error:
        problems = "\n".join(
            f"  $.{'.'.join(map(str, p['loc']))}: {p['msg'].removeprefix('Value error, ')}"
            + ("" if p["type"] in ("missing", "value_error") else f", got {_short(p['input'])}")
            for p in error.errors()
        )
        raise CardError(f"{path} does not fit a card's schema:\n{problems}") from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
