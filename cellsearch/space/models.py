"""The ``model`` section of a recipe: one class of settings for each family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from cellsearch.space.section import Section

Kernel = Annotated[int, Field(ge=2, le=10)]


Units = Annotated[int, Field(ge=2, le=2048)]


Activation = Literal["relu", "leaky_relu", "elu", "gelu", "tanh"]


Features = Literal["pixels", "measured", "backbone"]


class Family(Section, ABC):
    """Settings of one family of models; each class of them names its family."""

    @abstractmethod
    def brief(self) -> str:
        """The model in a few words, as a line of a terminal shows it: ``ResNet-14, 16 wide``."""


class Headed(Family):
    """A family with dense layers before its output."""

    head_layers: int = Field(1, ge=0, le=4, description="dense layers before the output")
    head: tuple[Units, ...] = Field((32,), description="units of each dense layer")
    dropout: float = Field(0.0, ge=0.0, le=0.9, description="dropout in the head")

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if len(self.head) != self.head_layers:
            raise ValueError(f"head_layers is {self.head_layers} but {len(self.head)} are given")
        return self


class CnnModel(Headed):
    """A stack of convolution stages and a dense head."""

    family: Literal["cnn"] = "cnn"
    depth: int = Field(2, ge=1, le=6, description="convolution stages")
    width: int = Field(16, ge=8, le=256, description="channels of the first stage")
    growth: float = Field(2.0, ge=0.5, le=4.0, description="channels gained from stage to stage")
    max_width: int = Field(256, ge=8, le=512, description="channels no stage goes beyond")
    kernel: tuple[Kernel, ...] = Field((3, 3), description="kernel side of each stage, px")
    pooling: Literal["none", "max", "avg"] = Field("max", description="2 x 2 after each stage")
    batch_norm: bool = Field(False, description="batch normalisation after each layer")
    residual: bool = Field(False, description="skip connections")
    activation: Activation = Field("relu", description="between layers")
    reduce: Literal["flatten", "average"] = Field(
        "flatten", description="how the last feature map enters the head"
    )
    stem: Literal[1, 2, 4] = Field(
        1,
        description="stride of the first convolution, so that all that follows is 4 or 16 times "
        "cheaper",
    )

    @model_validator(mode="after")
    def _kernels(self) -> Self:
        if len(self.kernel) != self.depth:
            raise ValueError(f"depth is {self.depth} but {len(self.kernel)} kernels are given")
        return self

    def brief(self) -> str:
        return f"cnn {self.depth}x{self.width}{', residual' if self.residual else ''}"


class MlpModel(Headed):
    """Dense layers on all pixels; without a layer it is a softmax regression."""

    family: Literal["mlp"] = "mlp"
    head_layers: int = Field(2, ge=0, le=4, description="dense layers before the output")
    head: tuple[Units, ...] = Field((100, 50), description="units of each dense layer")
    batch_norm: bool = Field(False, description="batch normalisation after each layer")
    activation: Activation = Field("relu", description="between layers")

    def brief(self) -> str:
        units = "-".join(map(str, self.head))
        return f"mlp {units}" if units else "softmax regression on pixels"


class ResnetModel(Family):
    """The small residual networks of He et al. (2016, section 4.2): 6 blocks + 2 layers."""

    family: Literal["resnet"] = "resnet"
    blocks: int = Field(
        1,
        ge=1,
        le=12,
        description="blocks: of each of the 3 stages of a ResNet "
        "(1, 2, 3 make ResNet-8, -14, -20), of the whole of a ViT",
    )
    width: int = Field(16, ge=8, le=256, description="channels of the first stage")
    residual: bool = Field(True, description="skip connections")
    dropout: float = Field(0.0, ge=0.0, le=0.9, description="dropout in the head")

    def brief(self) -> str:
        name = "ResNet" if self.residual else "plain net"
        return f"{name}-{6 * self.blocks + 2}, {self.width} wide"


class NagaoModel(Headed):
    """Convolution + max-pool stages and a dense head (after Nagao et al. 2020)."""

    family: Literal["nagao"] = "nagao"
    depth: int = Field(2, ge=1, le=6, description="convolution stages")
    width: int = Field(16, ge=8, le=256, description="channels of the first stage")
    head: tuple[Units, ...] = Field((128,), description="units of each dense layer")
    dropout: float = Field(0.5, ge=0.0, le=0.9, description="dropout in the head")

    def brief(self) -> str:
        return f"nagao {self.depth}x{self.width}"


class VitModel(Family):
    """Simple ViT (Beyer et al. 2022): sine-cosine positions, mean of the tokens."""

    family: Literal["vit"] = "vit"
    patch: int = Field(8, ge=2, le=64, description="side of a patch, px")
    dim: int = Field(32, ge=8, le=768, multiple_of=4, description="size of the vector of a patch")
    heads: int = Field(8, ge=1, le=16, description="attention heads")
    head_dim: int = Field(
        64, ge=1, le=128, description="size of the vector of a patch in an attention head"
    )
    blocks: int = Field(2, ge=1, le=12, description="transformer blocks")
    mlp: int = Field(64, ge=8, le=3072, description="units of the dense layer of a block")
    dropout: float = Field(0.0, ge=0.0, le=0.9, description="dropout in the head")

    def brief(self) -> str:
        return f"ViT, {self.blocks} blocks of {self.dim}, patch {self.patch}"


class TimmModel(Family):
    """Any image network of timm."""

    family: Literal["timm"] = "timm"
    name: str = Field("resnet18", min_length=1, description="as timm spells it")
    pretrained: bool = Field(False, description="start from weights trained on other images")
    weights: str = Field("", description="file of those weights; empty for timm's own, cached")
    trainable: Literal["all", "last", "head"] = Field(
        "all", description="what is trained: all, the last stage and the head, or the head alone"
    )
    dropout: float = Field(0.0, ge=0.0, le=0.9, description="dropout in the head")

    def brief(self) -> str:
        how = "pretrained" if self.pretrained else ""
        part = "" if self.trainable == "all" else f"{self.trainable} trained"
        return f"{self.name} ({', '.join(word for word in ('timm', how, part) if word)})"


class _Classical(Family):
    features: Features = Field(
        "pixels",
        description="input of the model: pixels; shape, intensity, texture and radial profile "
        "measured on them; or the features of a frozen pretrained network",
    )
    backbone: str = Field(
        "tf_efficientnet_lite0", min_length=1, description="frozen network, as timm spells it"
    )
    side: int = Field(112, ge=32, le=384, description="side of the frozen network's input, px")
    scaling: Literal["auto", "cell", "dtype"] = Field(
        "auto",
        description="limits of the intensities in the frozen network's input: each cell's own, or "
        "those of the image type; auto takes the type's for 8 bits",
    )
    colour: Literal["auto", "grey", "rgb"] = Field(
        "auto",
        description="input of the frozen network: each channel by itself in grey, or three at "
        "once as red, green and blue; auto takes rgb for three channels",
    )
    copies: int = Field(0, ge=0, le=16, description="augmented copies of each training cell")

    @property
    def input(self) -> str:
        """What the model is fitted to, in a few words."""
        if self.features != "backbone":
            return self.features
        return f"{self.backbone} at {self.side} px"


class LogregModel(_Classical):
    """Multinomial logistic regression with an L2 penalty, by L-BFGS."""

    family: Literal["logreg"] = "logreg"
    l2: float = Field(1.0, ge=1e-6, le=1e6, description="L2 penalty")

    def brief(self) -> str:
        return f"logistic regression, L2 {self.l2:g}, {self.input}"


class XgboostModel(_Classical):
    """Gradient-boosted trees by XGBoost (Chen and Guestrin 2016)."""

    family: Literal["xgboost"] = "xgboost"
    rounds: int = Field(100, ge=1, le=2000, description="trees of each class")
    max_depth: int = Field(6, ge=1, le=10, description="depth of a tree")
    shrinkage: float = Field(0.1, gt=0.0, le=1.0, description="weight of each tree")
    subsample: float = Field(1.0, gt=0.0, le=1.0, description="share of cells seen by a tree")
    columns: float = Field(1.0, gt=0.0, le=1.0, description="share of features seen by a tree")
    l2: float = Field(1.0, ge=1e-6, le=1e6, description="L2 penalty")

    def brief(self) -> str:
        return f"XGBoost, {self.rounds} rounds, {self.input}"


class HistGbdtModel(_Classical):
    """Histogram gradient boosting by scikit-learn."""

    family: Literal["hist-gbdt"] = "hist-gbdt"
    rounds: int = Field(100, ge=1, le=2000, description="trees of each class")
    max_depth: int = Field(6, ge=1, le=10, description="depth of a tree")
    shrinkage: float = Field(0.1, gt=0.0, le=1.0, description="weight of each tree")
    min_leaf: int = Field(20, ge=1, le=1000, description="fewest cells of a leaf")
    l2: float = Field(1.0, ge=1e-6, le=1e6, description="L2 penalty")

    def brief(self) -> str:
        return f"hist-GBDT, {self.rounds} rounds, {self.input}"


class DenseModel(_Classical):
    """A small dense network on a table of values, by AdamW: for features more than for pixels."""

    family: Literal["dense"] = "dense"
    units: int = Field(64, ge=2, le=2048, description="units of the hidden layer")
    drop: float = Field(
        0.3, ge=0.0, le=0.9, description="dropout before and after the hidden layer"
    )
    decay: float = Field(1e-2, ge=0.0, le=10.0, description="decoupled weight decay")
    lr: float = Field(2e-3, ge=1e-6, le=1.0, description="peak of the one-cycle learning rate")
    passes: int = Field(40, ge=1, le=500, description="times that each cell is seen")

    def brief(self) -> str:
        return f"dense head of {self.units}, {self.input}"


NetworkModel = CnnModel | MlpModel | ResnetModel | NagaoModel | VitModel | TimmModel


ClassicalModel = LogregModel | XgboostModel | HistGbdtModel | DenseModel


Model = NetworkModel | ClassicalModel


def unpretrained(model: Model) -> Model:
    """The same network, begun with random weights in place of timm's."""
    if not isinstance(model, TimmModel):
        return model
    return model.model_copy(update={"pretrained": False, "weights": ""})


MODELS: Mapping[str, type[Model]] = MappingProxyType(
    {kind.model_fields["family"].default: kind for kind in get_args(Model)}
)
"""Settings of each family, by the name that ``model.family`` takes."""

NETWORKS: tuple[str, ...] = tuple(
    kind.model_fields["family"].default for kind in get_args(NetworkModel)
)
"""Families of networks, each by the name of its file in ``cellsearch/learn/models/``."""
