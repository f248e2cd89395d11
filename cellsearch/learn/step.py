"""One optimiser step: augmentation, forward, loss, backward, update, running mean of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from cellsearch.learn.augment import Augmenter, mix
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.losses import ClassLoss
from cellsearch.learn.optimise import epoch_scheduler, optimiser, scheduler
from cellsearch.learn.precision import Precision, autocast
from cellsearch.space.recipe import Recipe


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
        epochs: of the whole training; None: those of the recipe.
        size: (H, W), px.
        rng: source of chance of augmentation and mixtures.
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
        epochs: int | None = None,
    ) -> None:
        if precision.channels_last:
            module.to(memory_format=torch.channels_last)
        self.module = module
        self._precision = precision
        self._device = device
        self._loss = loss
        self._mixing = recipe.augment
        self._rng = rng
        self._augment = Augmenter(recipe.augment, size=size, device=device, rng=rng)
        self._optimiser = optimiser(module, recipe.optim)
        self._after_epoch = epoch_scheduler(
            self._optimiser, recipe.optim, epochs=epochs or recipe.train.epochs
        )
        self._after_step = (
            scheduler(self._optimiser, recipe.optim, steps=steps)
            if self._after_epoch is None
            else None
        )
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
        with torch.no_grad():
            seen = self.module.view.draw(self._augment(images), self._rng)
            images = self.module.normalise(seen)
            images, other, share = mix(images, labels, self._mixing, rng=self._rng)
        with autocast(self._precision, self._device):
            logits = self.module.network(self._precision.lay_out(images))
        loss: Tensor = self._loss(logits.float(), labels, other, share)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self._optimiser.step()
        if self._after_step is not None:
            self._after_step.step()
        if self._mean is not None:
            self._mean.update()
        return loss.detach()

    def epoch_ends(self, epoch: int, loss: float, watched: float | None) -> None:
        """Move the learning rate where its schedule moves after epochs; otherwise nothing.

        Args:
            epoch: how many are done.
            loss: mean of the training loss over the last one.
            watched: the score that early stopping watches, higher is better; None without one.
        """
        if self._after_epoch is not None:
            self._after_epoch(epoch, loss, watched)


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
        normalised = module.normalise(module.view(images))

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
