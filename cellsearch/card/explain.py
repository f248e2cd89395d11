"""What a network looks at, and what it makes of a cell before it decides."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor, nn

MOST_STEPS = 32
FEWEST_STEPS = 8
MULTIPLY_ADDS = 1.2e11
"""Of all maps of a card, forward and backward: some 10 s on one core."""

VALUES_AT_ONCE = 4_000_000
"""Values that one layer may hold for a batch: 16 MB of float32, and as many again for each layer
that the gradient passes."""

MOST_FEATURES = 16_384


class NotExplained(Exception):  # noqa: N818
    """This network cannot be looked into; the text says why."""


def saliency(
    module: object, images: NDArray[Any], targets: NDArray[np.int64]
) -> tuple[NDArray[np.float32], int]:
    """Share of each pixel in the log-probability of a class, by integrated gradients.

    The path runs from a flat crop of the training cells' mean intensity to the cell (Sundararajan
    et al. 2017, eq. 1); test flips are off. A map adds up to the difference in log-probability
    between the two.

    Args:
        module: (B, C, H, W) float32 raw intensities to probabilities (B, K).
        images: (n, C, H, W) raw cells.
        targets: (n,) the class explained for each cell.

    Returns:
        (n, C, H, W) float32 attributions in nats, and the steps of each path.

    Raises:
        NotExplained: the network has no gradient; the text says why.
    """
    network = getattr(module, "network", module)
    if getattr(network, "differentiable", True) is False:
        raise NotExplained("this kind of model has no gradient")
    forward = _LogProbabilities(_frozen(module))
    cells = _batch(images)
    flat = _flat(module, cells)
    classes = torch.from_numpy(targets.astype(np.int64))
    try:
        multiply_adds, values = _price(forward.module, cells[:1])
        # A backward pass costs about two forward ones.
        steps = int(MULTIPLY_ADDS / (3 * max(1, multiply_adds) * len(cells)))
        steps = max(FEWEST_STEPS, min(MOST_STEPS, steps))
        method = IntegratedGradients(forward)
        maps = np.empty(cells.shape, np.float32)
        for cell in range(len(cells)):
            one = slice(cell, cell + 1)
            with warnings.catch_warnings():
                # captum tells what it does to tensors that are ours and thrown away.
                warnings.simplefilter("ignore")
                found = method.attribute(
                    cells[one],
                    baselines=flat[one],
                    target=classes[one],
                    n_steps=steps,
                    internal_batch_size=max(1, min(steps, VALUES_AT_ONCE // max(1, values))),
                )
            maps[one] = found.detach().numpy()
    except OSError:
        raise
    except Exception as error:
        # What torch and captum raise where a gradient is missing shares no base below Exception.
        raise NotExplained(f"no gradient could be taken ({_first_line(error)})") from error
    if not np.isfinite(maps).any() or not np.nan_to_num(maps, posinf=0.0, neginf=0.0).any():
        raise NotExplained("the gradient vanishes or is not finite in every pixel")
    # An empty channel that is normalised by its own spread has no gradient, and no say either.
    return np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0), steps


def features(module: object, images: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """What enters the last dense layer, the one that gives the K logits; test flips are off.

    Args:
        module: (B, C, H, W) float32 raw intensities to probabilities (B, K).
        images: (n, C, H, W) raw cells.
        classes: K.

    Returns:
        (n, D) float32, D at most ``MOST_FEATURES``.

    Raises:
        NotExplained: there is no such layer; the text says why.
    """
    frozen = _frozen(module)
    dense = [layer for layer in frozen.modules() if isinstance(layer, nn.Linear)]
    last = dense[-1] if dense else None
    if last is None or last.out_features != classes:
        raise NotExplained("no dense layer gives the logits")
    if last.in_features > MOST_FEATURES:
        raise NotExplained(f"the last dense layer takes {last.in_features:,} values")
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())

    handle = last.register_forward_pre_hook(keep)
    rows = []
    try:
        with torch.inference_mode():
            values = _price(frozen, _batch(images[:1]))[1]
            at_once = max(1, min(256, VALUES_AT_ONCE // max(1, values)))
            for start in range(0, len(images), at_once):
                seen.clear()
                batch = _batch(images[start : start + at_once])
                frozen(batch)
                if len(seen) != 1 or seen[0].shape != (len(batch), last.in_features):
                    raise NotExplained("the last dense layer is not met once a cell")
                rows.append(seen[0].float().numpy().copy())
    except (NotExplained, OSError):
        raise
    except Exception as error:
        raise NotExplained(f"its features cannot be read ({_first_line(error)})") from error
    finally:
        handle.remove()
    found = np.concatenate(rows)
    if not np.isfinite(found).all():
        raise NotExplained("its features are not finite")
    return found


class _LogProbabilities:
    """Raw intensities to log-probabilities, from the logits where a module has them."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._logits: list[Tensor] = []
        network = getattr(module, "network", None)
        if isinstance(network, nn.Module):
            network.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: object, output: Tensor) -> None:
        self._logits.append(output)

    def __call__(self, images: Tensor) -> Tensor:
        self._logits.clear()
        probabilities: Tensor = self.module(images)
        if len(self._logits) == 1 and self._logits[0].shape == probabilities.shape:
            # A probability that rounds to 1 has lost its gradient; its logits have not.
            return self._logits[0].float().log_softmax(dim=1)
        return probabilities.clamp_min(1e-12).log()


def _frozen(module: object) -> nn.Module:
    """A copy on the CPU, in float32 and evaluation mode, test flips off."""
    if not isinstance(module, nn.Module):
        raise NotExplained("this kind of model is not a network")
    frozen = copy.deepcopy(module).to(device="cpu", dtype=torch.float32).eval()
    frozen = frozen.to(memory_format=torch.contiguous_format)
    if getattr(frozen, "test_flips", False) is True:
        frozen.test_flips = False  # type: ignore[assignment]
    return frozen


def _flat(module: object, cells: Tensor) -> Tensor:
    """(n, C, H, W): every pixel at its channel's mean over the training cells."""
    mean = getattr(getattr(module, "normalise", None), "mean", None)
    if not isinstance(mean, Tensor) or mean.numel() != cells.shape[1]:
        mean = cells.mean(dim=(0, 2, 3))
    return mean.detach().cpu().float().reshape(1, -1, 1, 1).expand_as(cells).clone()


def _price(module: nn.Module, cell: Tensor) -> tuple[int, int]:
    """Multiply-adds of one cell in layers with weights, and values of the largest of them."""
    multiply_adds, values = 0, math.prod(cell.shape)

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal multiply_adds, values
        weight = layer.weight
        assert isinstance(weight, Tensor)
        multiply_adds += output.numel() * weight[0].numel()
        values = max(values, output.numel())

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            module(cell)
    finally:
        for handle in handles:
            handle.remove()
    return multiply_adds, values


def _batch(images: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
