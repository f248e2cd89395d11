"""One optimiser step: augmentation, forward, loss, backward, update, running mean of weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from cellsearch.learn.augment import Augmenter, mixup
from cellsearch.learn.losses import ClassLoss
from cellsearch.learn.precision import Precision, autocast
from cellsearch.learn.predictor import CellModule
from cellsearch.space.recipe import Optim, Recipe

Opt = TypeVar("Opt", bound=torch.optim.Optimizer)

SHORTEST_CYCLE = 10
"""Steps below which a one-cycle schedule has no room for its two legs and is constant."""


def optimiser(module: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """The recipe's optimiser over the module's parameters, with torch's fused kernel if any.

    Weight decay is decoupled for AdamW and NAdam (Loshchilov & Hutter 2019) and an L2 penalty for
    Adam and SGD. SGD has Nesterov momentum.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    fused = parameters[0].device.type in ("cpu", "cuda")
    lr, decay = optim.lr, optim.weight_decay
    match optim.name:
        case "adam":
            return _eager(torch.optim.Adam)(parameters, lr=lr, weight_decay=decay, fused=fused)
        case "adamw":
            return _eager(torch.optim.AdamW)(parameters, lr=lr, weight_decay=decay, fused=fused)
        case "nadam":
            return _eager(torch.optim.NAdam)(
                parameters, lr=lr, weight_decay=decay, decoupled_weight_decay=True, foreach=True
            )
        case "sgd":
            return _eager(torch.optim.SGD)(
                parameters,
                lr=lr,
                weight_decay=decay,
                momentum=optim.momentum,
                nesterov=optim.momentum > 0,
                fused=fused,
            )


def _eager(kind: type[Opt]) -> type[Opt]:
    """The optimiser without its guards against torch.compile; step it under ``torch.no_grad``.

    The first call of a guarded method imports the compiler: 5 s and 90 MB that we have no use of.
    """
    plain = {
        name: inspect.unwrap(getattr(kind, name))
        for name in ("add_param_group", "zero_grad", "step")
    }
    return type(kind.__name__, (kind,), plain)


def scheduler(
    optimizer: torch.optim.Optimizer, optim: Optim, *, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate of each of ``steps`` steps."""
    schedules = torch.optim.lr_scheduler
    if optim.schedule == "cosine":
        return schedules.CosineAnnealingLR(optimizer, T_max=steps)
    if optim.schedule == "onecycle" and steps >= SHORTEST_CYCLE:
        # Momentum is the recipe's own choice and does not cycle.
        return schedules.OneCycleLR(
            optimizer, max_lr=optim.lr, total_steps=steps, cycle_momentum=False
        )
    return schedules.LambdaLR(optimizer, _constant)


def _constant(step: int) -> float:  # noqa: ARG001
    return 1.0


class RunningMean:
    """Exponential moving average of weights and batch-norm statistics.

    The decay warms up as min(decay, (1 + t) / (10 + t)) over steps t, so that a short training
    is not an average of its random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(requires_grad=False)
        self._decay = decay
        self._steps = 0
        own, live = self.module.state_dict(), module.state_dict(keep_vars=True)
        floats = [name for name, value in live.items() if value.is_floating_point()]
        self._own = [own[name] for name in floats]
        self._live = [live[name].detach() for name in floats]
        self._whole = [(own[n], live[n]) for n in live if n not in set(floats)]

    def update(self) -> None:
        """Move towards the weights as they are now."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        torch._foreach_lerp_(self._own, self._live, 1.0 - decay)
        for own, live in self._whole:
            own.copy_(live)


class TrainingStep:
    """A module in training with its optimiser, schedule and loss.

    Args:
        module: trained in place; its normalisation is fitted already.
        recipe: the recipe.
        loss: the loss with its class weights.
        precision: of the forward pass.
        device: where the module lies.
        steps: optimiser steps of the whole training.
        size: (H, W), px.
        rng: source of chance of augmentation and mixup.
    """

    def __init__(
        self,
        module: CellModule,
        recipe: Recipe,
        *,
        loss: ClassLoss,
        precision: Precision,
        device: torch.device,
        steps: int,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:
        if precision.channels_last:
            module.to(memory_format=torch.channels_last)
        self.module = module
        self._precision = precision
        self._device = device
        self._loss = loss
        self._alpha = recipe.augment.mixup
        self._rng = rng
        self._augment = Augmenter(recipe.augment, size=size, device=device, rng=rng)
        self._optimiser = optimiser(module, recipe.optim)
        self._schedule = scheduler(self._optimiser, recipe.optim, steps=steps)
        decay = recipe.train.weight_average
        self._mean = RunningMean(module, decay) if decay > 0 else None

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimiser.param_groups[0]["lr"])

    @property
    def deployed(self) -> CellModule:
        """The module to predict with: the running mean of weights where the recipe asks for it."""
        if self._mean is None:
            return self.module
        averaged = self._mean.module
        assert isinstance(averaged, CellModule)
        return averaged

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch.

        Args:
            images: (B, C, H, W) float32 raw intensities.
            labels: (B,) int64.

        Returns:
            The batch's loss, a detached scalar on the device.
        """
        extra: dict[str, Any] = {}
        with torch.no_grad():
            images = self.module.normalise(self._augment(images))
            if self._alpha > 0:
                images, other, share = mixup(images, labels, alpha=self._alpha, rng=self._rng)
                extra = {"other": other, "share": share}
        with autocast(self._precision, self._device):
            logits = self.module.network(self._precision.lay_out(images))
        loss: Tensor = self._loss(logits.float(), labels, **extra)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self._optimiser.step()
        self._schedule.step()
        if self._mean is not None:
            self._mean.update()
        return loss.detach()


def trial_steps(
    module: CellModule, images: Tensor, labels: Tensor, loss: ClassLoss, *, device: torch.device
) -> Callable[[Precision], Callable[[], None]]:
    """Forward and backward passes on a copy of a module, to time precisions.

    What is trained is not touched. The optimiser is left out: it costs the same in each.

    Args:
        module: as it will be trained.
        images: (B, C, H, W) float32, cells of the training.
        labels: (B,) int64.
        loss: its loss.
        device: where all of them lie.
    """
    network = copy.deepcopy(module.network).train()
    with torch.no_grad():
        normalised = module.normalise(images)

    def step_of(precision: Precision) -> Callable[[], None]:
        if precision.channels_last:
            network.to(memory_format=torch.channels_last)
        else:
            network.to(memory_format=torch.contiguous_format)

        def run() -> None:
            with autocast(precision, device):
                logits = network(precision.lay_out(normalised))
            loss(logits.float(), labels).backward()
            network.zero_grad(set_to_none=True)

        return run

    return step_of
