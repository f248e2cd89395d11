"""The ``resnet`` family: small residual networks, and the same layers without skips."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from cellsearch.space.models import ResnetModel


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm, and a skip that has no weights.

    Where channels grow, the skip takes each ``stride``-th pixel and adds channels of zeros (He et
    al. 2016, option A): with or without it a network has the same parameters.

    Args:
        before: channels that enter.
        after: channels that leave.
        stride: of the first convolution.
        residual: False leaves the skip out.
    """

    def __init__(self, before: int, after: int, stride: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(before, after, stride)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = _convolution(after, after, 1)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride = stride
        self.added = after - before
        self.residual = residual

    def forward(self, maps: Tensor) -> Tensor:
        """(B, before, H, W) to (B, after, ceil(H / stride), ceil(W / stride))."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        if not self.residual:
            return functional.relu(inner)
        skip = maps[:, :, :: self.stride, :: self.stride] if self.stride > 1 else maps
        if self.added:
            skip = functional.pad(skip, (0, 0, 0, 0, 0, self.added))
        return functional.relu(inner + skip)


def build(
    model: ResnetModel,
    channels: int,
    classes: int,
    size: tuple[int, int],
) -> nn.Module:
    """Three stages of ``blocks`` blocks at full, half and quarter size, then the mean of the map.

    He, Zhang, Ren and Sun, Deep residual learning for image recognition (CVPR 2016), section 4.2:
    6 blocks + 2 layers, widths w, 2 w and 4 w.

    Args:
        model: blocks of a stage, width of the first, with or without skips.
        channels: C of the images.
        classes: K.
        size: (H, W); any crop of at least 1 px fits, since every convolution pads.

    Returns:
        A module from (B, C, H, W) to logits (B, K).
    """
    layers: list[nn.Module] = [
        _convolution(channels, model.width, 1),
        nn.BatchNorm2d(model.width),
        nn.ReLU(),
    ]
    before = model.width
    for stage in range(3):
        after = model.width * 2**stage
        for block in range(model.blocks):
            stride = 2 if stage and not block else 1
            layers.append(Block(before, after, stride, residual=model.residual))
            before = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if model.dropout > 0:
        layers.append(nn.Dropout(model.dropout))
    layers.append(nn.Linear(before, classes))
    return nn.Sequential(*layers)


def _convolution(before: int, after: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    # The variance of He et al. 2015; their normal law would cost 4 s where only shapes are asked
    # for (``learn/cost.py``).
    nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
