"""FrozenBackbone: a network of timm that is never trained, as a maker of features."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cellsearch.errors import TrialError
from cellsearch.learn.models.backbone_weights import backbone_weights
from cellsearch.learn.models.timm_net import first_line


class FrozenBackbone(nn.Module):
    """Images of one or three channels in 0 .. 1 to features of a frozen network.

    Of two stages in its middle the mean and the maximum of each map are taken (texture that the
    last one has lost), and of the last what the network itself would decide by.

    Attributes:
        net: of timm, without its output layer.
        stages: of which the maps are pooled, by timm's numbers.
        mean, std: (3, 1, 1) buffers, of the images that the network was trained on.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        last = len(net.feature_info) - 1
        self.stages = sorted({max(0, last // 2), max(0, last - 1)})
        config = net.pretrained_cfg
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name]).float().reshape(3, 1, 1))
        for parameter in self.parameters():
            parameter.requires_grad = False

    def forward(self, views: Tensor) -> Tensor:
        """(B, 1 or 3, S, S) float32 to (B, F)."""
        images = (views - self.mean) / self.std
        last, maps = self.net.forward_intermediates(images, indices=self.stages)
        pooled = [self.net.forward_head(last, pre_logits=True).flatten(1)]
        for each in maps:
            pooled += [each.mean(dim=(2, 3)), each.amax(dim=(2, 3))]
        return torch.cat(pooled, dim=1)


def build_backbone(name: str, side: int) -> FrozenBackbone:
    """A frozen backbone in evaluation mode, with random weights for a card or a fit to fill.

    Args:
        name: as timm spells it.
        side: of the images that it sees, px.

    Raises:
        TrialError: timm does not know the network or it gives no maps.
    """
    # Every fold of every trial asks for the same one; a copy takes a tenth of the time.
    return copy.deepcopy(_built(name, side, None))


def pretrained_state(name: str, side: int) -> Mapping[str, Tensor]:
    """The state of the same backbone with the weights that are on this machine; not to be changed.

    Raises:
        TrialError: as ``build_backbone``, or there are no weights; nothing is downloaded.
    """
    return _built(name, side, backbone_weights(name)).state_dict()


@cache
def _built(name: str, side: int, file: Path | None) -> FrozenBackbone:
    import timm

    given: dict[str, Any] = {"num_classes": 0}
    config = timm.get_pretrained_cfg(name)
    if file is not None:
        # timm takes a file for one of its own format; some of those it downloads are another's.
        foreign = config is not None and file.suffix in (".npz", ".npy")
        overlay = {"file": str(file), "custom_load": config.custom_load if foreign else False}
        given |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        if config is not None and config.fixed_input_size:
            given["img_size"] = side
        with torch.random.fork_rng(devices=[]):
            return FrozenBackbone(timm.create_model(name, **given)).eval()
    except Exception as error:
        # What timm's networks raise shares no base below Exception.
        raise TrialError(f"model.backbone {name}: {first_line(error)}") from error


@cache
def features_of_view(name: str, side: int) -> int:
    """F of one view.

    Raises:
        TrialError: the network cannot take images of that side.
    """
    network = _built(name, side, None)
    try:
        with torch.inference_mode():
            return int(network(torch.zeros(1, 3, side, side)).shape[1])
    except Exception as error:
        # As above.
        raise TrialError(
            f"model.backbone {name}: takes no images of {side} x {side} px ({first_line(error)})"
        ) from error
