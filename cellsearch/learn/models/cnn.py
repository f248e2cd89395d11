"""The ``cnn`` family: convolution stages and a dense head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from cellsearch.learn.models.head import ACTIVATIONS, MONOTONE, dense_layers
from cellsearch.space.models import CnnModel


class Residual(nn.Module):
    """body(x) + skip(x), with a 1 x 1 projection where channels change (He et al. 2016)."""

    def __init__(self, body: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.skip = skip

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        total: Tensor = self.body(images) + self.skip(images)
        return total


def stage_widths(model: CnnModel) -> tuple[int, ...]:
    """Channels of each stage: ``width * growth ** i``, rounded, from 1 to ``max_width``."""
    return tuple(
        min(model.max_width, max(1, round(model.width * model.growth**stage)))
        for stage in range(model.depth)
    )


def build(model: CnnModel, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Stages of convolution [batch norm] activation [second one and skip] [pooling], then a head.

    Convolutions keep the map's size, but for the first one where ``stem`` is its stride. Pooling
    halves it, and stops when a side would fall below 1 px, so that any depth fits any crop.

    Args:
        model: depth, widths, kernels and the like.
        channels: C of the images.
        classes: K.
        size: (H, W), px.

    Returns:
        A module from (B, C, H, W) to logits (B, K).
    """
    height, width = size
    activation = ACTIVATIONS[model.activation]
    layers: list[nn.Module] = []
    before = channels
    for stage, (kernel, after) in enumerate(zip(model.kernel, stage_widths(model), strict=True)):
        stride = 1 if stage else model.stem
        layers += _stage(model, before, after, kernel, stride)
        height, width = -(-height // stride), -(-width // stride)
        pooled = model.pooling != "none" and min(height, width) >= 2
        # max(relu(x)) = relu(max(x)), and a quarter of the pixels is a quarter of the time.
        if pooled and model.pooling == "max" and model.activation in MONOTONE:
            layers += [nn.MaxPool2d(2), activation()]
        elif pooled:
            pool = nn.MaxPool2d(2) if model.pooling == "max" else nn.AvgPool2d(2)
            layers += [activation(), pool]
        else:
            layers.append(activation())
        if pooled:
            height, width = height // 2, width // 2
        before = after
    if model.reduce == "average":
        layers.append(nn.AdaptiveAvgPool2d(1))
        height = width = 1
    layers.append(nn.Flatten())
    features = before * height * width
    layers += dense_layers(model, features, classes, activation=model.activation)
    return nn.Sequential(*layers)


class Projection(nn.Conv2d):
    """A convolution of one px with a stride and no bias.

    The px between are left out first, which gives the same. With the stride in the convolution
    torch 2.15 writes beyond its memory for channels-last maps of 3 or 5 channels (seen with 24 to
    32 outputs on a CPU with AVX-512): the worker dies, or worse, does not.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__(before, after, 1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, before, H, W) to (B, after, ceil(H / stride), ceil(W / stride))."""
        down, across = self.stride
        return functional.conv2d(maps[:, :, ::down, ::across], self.weight)


def _stage(model: CnnModel, before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    """A stage up to its last activation, which the caller sets."""
    first = _convolution(model, before, after, kernel, stride)
    if not model.residual:
        return first
    body = nn.Sequential(
        *first, ACTIVATIONS[model.activation](), *_convolution(model, after, after, kernel)
    )
    skip: nn.Module = nn.Identity()
    if before != after or stride > 1:
        # The body has a bias already.
        projection: list[nn.Module] = [Projection(before, after, stride)]
        if model.batch_norm:
            projection.append(nn.BatchNorm2d(after))
        skip = nn.Sequential(*projection)
    return [Residual(body, skip)]


def _convolution(
    model: CnnModel, before: int, after: int, kernel: int, stride: int = 1
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    padding = (kernel - 1) // 2
    if kernel % 2 == 0:
        # torch pads evenly only; an even kernel needs one px more at the far sides.
        layers.append(nn.ZeroPad2d((padding, padding + 1, padding, padding + 1)))
        padding = 0
    layers.append(
        nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=not model.batch_norm)
    )
    if model.batch_norm:
        layers.append(nn.BatchNorm2d(after))
    return layers
