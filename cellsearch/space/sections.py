"""The sections of a recipe other than ``model``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cellsearch.space.section import Section

LossName = Literal["cross_entropy", "focal"]
"""Losses, each by the name of its file in ``cellsearch/learn/losses/``."""


class Loss(Section):
    """What is minimised, and how classes are weighted in it."""

    kind: LossName = "cross_entropy"
    gamma: float = Field(2.0, ge=0.0, le=10.0, description="focusing parameter of the focal loss")
    weighting: Literal["none", "sqrt", "inv", "effective"] = Field(
        "none", description="class weights from training counts"
    )
    beta: float = Field(
        0.999, ge=0.0, lt=1.0, description="beta of the effective number of samples"
    )
    label_smoothing: float = Field(0.0, ge=0.0, le=0.5)


class Augment(Section):
    """Label-preserving transforms, newly drawn for each cell and epoch."""

    flip: bool = Field(False, description="horizontal and vertical flips")
    rotate90: bool = Field(False, description="rotations by right angles")
    rotate: float = Field(0.0, ge=0.0, le=180.0, description="largest rotation, degrees")
    zoom: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="largest change of scale; the size of a cell often tells "
        "its class, so none by default",
    )
    shift: int = Field(0, ge=0, le=16, description="largest shift, px")
    blur: float = Field(0.0, ge=0.0, le=5.0, description="largest Gaussian sigma, px")
    sharpen: float = Field(0.0, ge=0.0, le=3.0, description="largest amount of unsharp masking")
    brightness: float = Field(0.0, ge=0.0, le=1.0, description="largest relative gain")
    colour: float = Field(0.0, ge=0.0, le=1.0, description="largest gain of each channel alone")
    grey: float = Field(0.0, ge=0.0, le=1.0, description="share of cells made grey")
    noise: float = Field(
        0.0, ge=0.0, le=1.0, description="largest Gaussian noise, in standard deviations of a cell"
    )
    mixup: float = Field(0.0, ge=0.0, le=2.0, description="alpha of the Beta law; 0 is off")
    cutmix: float = Field(0.0, ge=0.0, le=2.0, description="alpha of the Beta law; 0 is off")


class Balance(Section):
    """Resampling of training indices."""

    method: Literal["none", "over", "under", "mixed"] = "none"
    strength: float = Field(
        1.0, gt=0.0, le=1.0, description="0 leaves the counts, 1 makes classes equal"
    )


class Gan(Section):
    """Generated cells of rare classes, in place of the copies that ``balance`` would make."""

    kind: Literal["none", "wgan-gp", "wgan-div"] = "none"
    below: float = Field(
        0.15,
        gt=0.0,
        le=1.0,
        description="a class with fewer cells than this share of the largest "
        "class's has a generator of its own",
    )
    share: float = Field(
        1.0, gt=0.0, le=1.0, description="share of generated cells among the cells added to a class"
    )
    mixup: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="share of the generated cells that are mixed with another of the class",
    )
    steps: int = Field(300, ge=1, le=200_000, description="training steps of the generator")
    critic_steps: int = Field(5, ge=1, le=20, description="steps of the critic to one of those")
    batch: int = Field(
        16, ge=2, le=256, description="cells in a batch; at most a third of the class"
    )
    width: int = Field(64, ge=8, le=128, description="channels of the widest maps")
    lr: float = Field(1e-3, gt=0.0, le=0.1, description="learning rate of both networks")
    beta1: float = Field(0.01, ge=0.0, lt=1.0, description="of Adam, for both networks")


OptimiserName = Literal[
    "adam",
    "adamw",
    "nadam",
    "sgd",
    "momentum",
    "nadamw",
    "radam",
    "adamax",
    "adabelief",
    "adafactor",
    "adagrad",
    "adadelta",
    "adamp",
    "adan",
    "lamb",
    "lion",
    "rmsprop",
    "rmsproptf",
    "sgdp",
    "lars",
    "novograd",
    "madgrad",
]
"""As timm spells them."""


class Optim(Section):
    """Optimiser and learning-rate schedule."""

    name: OptimiserName = "adam"
    lr: float = Field(1e-3, gt=0.0, le=1.0)
    weight_decay: float = Field(0.0, ge=0.0, le=1.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="of SGD")
    schedule: Literal["constant", "cosine", "onecycle", "step", "plateau", "poly", "tanh"] = (
        "constant"
    )
    decay: float = Field(0.1, gt=0.0, lt=1.0, description="factor of each fall of the rate")
    decay_epochs: int = Field(
        10, ge=1, le=200, description="epochs between falls; of plateau, epochs without gain"
    )


class Train(Section):
    """How long, in which batches, and what is kept."""

    batch_size: int = Field(64, ge=2, le=1024)
    epochs: int = Field(15, ge=1, le=500, description="passes over the training cells")
    patience: int = Field(
        0, ge=0, le=100, description="epochs without gain on an inner split; 0 never stops early"
    )
    weight_average: float = Field(
        0.0, ge=0.0, lt=1.0, description="decay of the running mean of weights; 0 is off"
    )
    pretrain: str = Field(
        "", description="a class: first train it against all others, on the same training cells"
    )
    pretrain_epochs: int = Field(10, ge=1, le=500, description="epochs of that first training")


class Input(Section):
    """What the network sees of a cell, at training and at prediction."""

    normalise: Literal["channel", "image"] = Field(
        "channel", description="zero mean, unit variance: per channel of the data, or per image"
    )
    crop: float = Field(
        1.0,
        ge=0.25,
        le=1.0,
        description="share of each side that is kept: at a random place in training, in the "
        "centre at prediction",
    )
    size: int = Field(0, ge=0, le=1024, description="side after resizing, px; 0 leaves the size")
    most: int = Field(
        0,
        ge=0,
        le=1024,
        description="largest side, px: larger views are scaled down to it, smaller ones are left; "
        "0 leaves all",
    )
    test_flips: bool = Field(False, description="mean of 4 flips at prediction")
