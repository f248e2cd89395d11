"""The ``timm`` family: any image network of timm, from scratch or from pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellsearch.errors import TrialError
from cellsearch.learn.models.timm_weights import cached_weights, fetching
from cellsearch.space.models import TimmModel


class TimmNet(nn.Module):
    """A network of timm of which some parameters may be frozen.

    Frozen layers stay in evaluation mode, so that their batch-norm statistics stay as they were
    learnt, and their dropout is off.

    Args:
        net: normalised (B, C, H, W) to logits (B, K).
        padding: (right, down), px of zeros that make whole patches of a crop.
    """

    def __init__(self, net: nn.Module, padding: tuple[int, int]) -> None:
        super().__init__()
        self.net = net
        self.padding = (0, padding[0], 0, padding[1])

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K)."""
        if any(self.padding):
            images = functional.pad(images, self.padding)
        logits: Tensor = self.net(images)
        return logits

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  (torch's signature)
        """Training mode for what is trained; evaluation mode for the rest."""
        super().train(mode)
        for module in self.net.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()
        return self


def build(model: TimmModel, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """``timm.create_model`` with a fresh output layer.

    Networks that are made for one size of image are made for this one; where they cut it into
    patches, crops are padded with zeros at the right and the bottom to whole patches. Pretrained
    weights of 3 channels are spread over C by timm, those of positions are resized.

    Args:
        model: the network, its weights, and what of it is trained: with ``last`` the last stage
            and all that follows it, with ``head`` the output layer alone.
        channels: C of the images.
        classes: K.
        size: (H, W), px; the smallest is each network's own (``feasible.problem``).

    Returns:
        A module from (B, C, H, W) to logits (B, K).

    Raises:
        TrialError: timm does not know the network, cannot make it for such images, or pretrained
            weights are not on this machine. Nothing is downloaded.
    """
    # Some seconds that only this family shall cost.
    import timm

    given: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    if model.dropout > 0:
        given["drop_rate"] = model.dropout
    if model.pretrained:
        given |= {"pretrained": True, "pretrained_cfg_overlay": _overlay(model)}
    try:
        config = timm.get_pretrained_cfg(model.name)
        fixed = config is not None and config.fixed_input_size
        padding = (0, 0)
        if fixed:
            given["img_size"] = size
        net = timm.create_model(model.name, **given)
        if fixed and any(over := _beyond_patches(net, size)):
            given["img_size"] = (size[0] + over[0], size[1] + over[1])
            net = timm.create_model(model.name, **given)
            padding = (over[1], over[0])
    except Exception as error:
        # What timm's networks raise shares no base below Exception.
        raise TrialError(f"model.name {model.name}: {first_line(error)}") from error
    for parameter in frozen_parameters(net, model):
        parameter.requires_grad = False
    return TimmNet(net, padding)


def head_parameters(net: Any) -> dict[str, nn.Parameter]:
    """Parameters of the output layer, or of both where a network has two, by name."""
    found = net.get_classifier()
    layers = found if isinstance(found, tuple | list) else (found,)
    own = {id(p) for layer in layers for p in layer.parameters()}
    return {name: p for name, p in net.named_parameters() if id(p) in own}


def last_stage_parameters(net: Any) -> dict[str, nn.Parameter]:
    """Parameters of the last stage and all that follows it, by name.

    Stages are those that timm itself sets learning rates by; what is in none of them follows the
    last.
    """
    from timm.models import group_parameters

    groups = group_parameters(net, net.group_matcher(coarse=True))
    head = head_parameters(net)
    chosen = set(head)
    for group in sorted(groups, reverse=True):
        chosen.update(groups[group])
        if group < max(groups):
            break
    return {name: p for name, p in net.named_parameters() if name in chosen}


def frozen_parameters(net: nn.Module, model: TimmModel) -> list[nn.Parameter]:
    """Parameters that ``model.trainable`` leaves as they are."""
    if model.trainable == "all":
        return []
    chosen = head_parameters if model.trainable == "head" else last_stage_parameters
    try:
        trained = {id(parameter) for parameter in chosen(net).values()}
    except (AttributeError, NotImplementedError):
        trained = set()
    if not trained:
        raise TrialError(
            f"model.trainable: timm does not say where the {model.trainable} of {model.name} "
            "begins; it can be trained with 'all' only"
        )
    return [parameter for parameter in net.parameters() if id(parameter) not in trained]


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    said = str(error).strip().splitlines()
    return said[0] if said else type(error).__name__


def _overlay(model: TimmModel) -> dict[str, Any]:
    """What makes timm read a file of weights, and never look elsewhere."""
    import timm

    if model.weights:
        path = Path(model.weights).expanduser()
        if not path.is_file():
            raise TrialError(f"model.weights: no file {str(path)!r}")
        return {"file": str(path)}
    found = cached_weights(model.name) if timm.is_model(model.name) else None
    if found is None:
        raise TrialError(
            f"model.pretrained: no weights of {model.name!r} on this machine and nothing is "
            f"downloaded during a search; fetch them once with `{fetching(model.name)}`"
        )
    # timm takes a file for one of its own format; some of those it downloads are another's.
    config = timm.get_pretrained_cfg(model.name)
    foreign = found.suffix in (".npz", ".npy")
    return {"file": str(found), "custom_load": config.custom_load if foreign else False}


def _beyond_patches(net: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Px that are missing to whole patches, down and across; 0 where a network has none."""
    sizes = (getattr(layer, "patch_size", None) for layer in net.modules())
    patch = next((found for found in sizes if found), 1)
    down, across = (patch, patch) if isinstance(patch, int) else patch
    return -size[0] % down, -size[1] % across


def fits(net: nn.Module, channels: int, size: tuple[int, int]) -> str:
    """Why a training pass of 2 cells fails, or "".

    Args:
        net: of ``build``; left in training mode.
        channels: C.
        size: (H, W), px.
    """
    try:
        with torch.no_grad():
            net.train()(torch.zeros(2, channels, *size))
    except Exception as error:
        return first_line(error)
    return ""
