"""What a card's graph is made of: networks, their joint probabilities, temperature and decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.stats.decision import FLOOR, Decision


def measures(module: nn.Module) -> bool:
    """Whether a module takes features measured on the images, (B, F), in place of the images."""
    return bool(getattr(module, "measures", False))


def takes_both(module: nn.Module) -> bool:
    """Whether a module takes images and the features measured on them."""
    return bool(getattr(module, "takes_both", False))


class FoldEnsemble(nn.Module):
    """Mean of the probabilities of one recipe's networks, one of each fold.

    Args:
        members: each (B, C, H, W) float32 to (B, K), or each (B, F).
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.member = nn.ModuleList(members)
        self.measures = measures(members[0])

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float32 raw intensities, or (B, F) features, to (B, K) probabilities."""
        total = self.member[0](image)
        for member in list(self.member)[1:]:
            total = total + member(image)
        return torch.as_tensor(total / len(self.member))


@dataclass(frozen=True, eq=False)
class Part:
    """A network of a trial ensemble.

    Attributes:
        module: (B, C, H, W) float32 or (B, F) to (B, K).
        weight: its share of the mean.
        decision: of the network, which holds the prior of its training.
    """

    module: nn.Module
    weight: float
    decision: Decision


class TrialEnsemble(nn.Module):
    """Networks of different recipes, joined as ``tune.ensemble`` joins their trials.

    The probabilities of each are brought to the mix of classes that decisions aim at, averaged,
    and brought back to the natural mix.

    Attributes:
        measures: whether all members take measured features, so that no image is needed.
        takes_both: whether some take images and some measured features.

    Args:
        parts: at least one.
        decision: of the whole, whose prior is the natural one.
    """

    bias: Tensor
    share: Tensor
    natural: Tensor

    def __init__(self, parts: Sequence[Part], decision: Decision) -> None:
        super().__init__()
        self.member = nn.ModuleList(part.module for part in parts)
        kinds = {measures(part.module) for part in parts}
        self.measures = kinds == {True}
        self.takes_both = len(kinds) == 2
        self.register_buffer("bias", _float([part.decision.bias() for part in parts]))
        self.register_buffer("share", _float([part.weight for part in parts]))
        self.register_buffer("natural", _float(decision.bias()))

    def forward(self, image: Tensor, features: Tensor | None = None) -> Tensor:
        """(B, C, H, W) raw intensities, with (B, F) features where both are taken, to (B, K).

        Where all members take features, these are the first argument.
        """
        total = torch.zeros(1)
        for at, member in enumerate(self.member):
            own = features if features is not None and measures(member) else image
            logs = member(own).clamp(min=FLOOR).log() + self.bias[at]
            total = total + self.share[at] * logs.softmax(dim=1)
        return torch.softmax(total.clamp(min=FLOOR).log() - self.natural, dim=1)


class Calibrated(nn.Module):
    """A network whose probabilities are brought to a temperature: softmax(log(p) / T).

    Args:
        module: float32 to probabilities (B, K); an ensemble's are means already.
        temperature: T, above 0.
    """

    def __init__(self, module: nn.Module, temperature: float) -> None:
        super().__init__()
        self.module = module
        self.temperature = temperature

    def forward(self, image: Tensor, features: Tensor | None = None) -> Tensor:
        """What the module takes to (B, K) probabilities."""
        given = self.module(image) if features is None else self.module(image, features)
        return torch.softmax(given.clamp(min=FLOOR).log() / self.temperature, dim=1)


class Decided(nn.Module):
    """A network that also gives each cell a class: the two outputs of the graph.

    Args:
        module: float32 to probabilities (B, K), as they are served.
        bias: (K,) what is added to their logarithms; None takes the greatest probability.
    """

    bias: Tensor

    def __init__(self, module: nn.Module, bias: NDArray[np.float64] | None) -> None:
        super().__init__()
        self.module = module
        self.moved = bias is not None
        self.register_buffer("bias", _float(np.zeros(1) if bias is None else bias))

    def forward(self, image: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, K) float32 probabilities and (B,) int64 classes."""
        given = self.module(image) if features is None else self.module(image, features)
        if not self.moved:
            return given, given.argmax(dim=1)
        return given, (given.clamp(min=FLOOR).log() + self.bias).argmax(dim=1)


def _float(values: Sequence[float] | Sequence[NDArray[np.float64]] | NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
