"""Optimisers and schedules of the learning rate, by the names that a recipe gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

import torch
from torch import nn

from cellsearch.space.sections import Optim

Opt = TypeVar("Opt", bound=torch.optim.Optimizer)

EpochEnds = Callable[[int, float, float | None], None]

SHORTEST_CYCLE = 10
"""Steps below which a one-cycle schedule has no room for its two legs and is constant."""

POLY_POWER = 0.9
"""As in DeepLab (Chen et al. 2018), where this schedule became known."""


def optimiser(module: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """The recipe's optimiser over the module's trainable parameters.

    Adam, AdamW, NAdam and SGD are torch's own, with its fused kernel if any; all others are as
    timm builds them, with timm's defaults for what a recipe does not name. Weight decay acts on
    all parameters. It is decoupled for AdamW and NAdam (Loshchilov & Hutter 2019) and an L2
    penalty for Adam and SGD. SGD has Nesterov momentum. Step it under ``torch.no_grad``.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    fused = parameters[0].device.type in ("cpu", "cuda")
    lr, decay = optim.lr, optim.weight_decay
    match optim.name:
        case "adam":
            return eager(torch.optim.Adam)(parameters, lr=lr, weight_decay=decay, fused=fused)
        case "adamw":
            return eager(torch.optim.AdamW)(parameters, lr=lr, weight_decay=decay, fused=fused)
        case "nadam":
            return eager(torch.optim.NAdam)(
                parameters, lr=lr, weight_decay=decay, decoupled_weight_decay=True, foreach=True
            )
        case "sgd":
            return eager(torch.optim.SGD)(
                parameters,
                lr=lr,
                weight_decay=decay,
                momentum=optim.momentum,
                nesterov=optim.momentum > 0,
                fused=fused,
            )
        case name:
            # 5 s and 190 MB, which the four above do without.
            create = import_module("timm.optim").create_optimizer_v2
            found: torch.optim.Optimizer = create(
                parameters, opt=name, lr=lr, weight_decay=decay, momentum=optim.momentum
            )
            return found


def eager(kind: type[Opt]) -> type[Opt]:
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
    """The learning rate of each of ``steps`` steps: constant, cosine or one cycle.

    Schedules that move after epochs are those of ``epoch_scheduler``; use one or the other.
    """
    schedules = torch.optim.lr_scheduler
    if optim.schedule == "cosine":
        return schedules.CosineAnnealingLR(optimizer, T_max=steps)
    if optim.schedule == "onecycle" and steps >= SHORTEST_CYCLE:
        # Momentum is the recipe's own choice and does not cycle.
        return schedules.OneCycleLR(
            optimizer, max_lr=optim.lr, total_steps=steps, cycle_momentum=False
        )
    return schedules.LambdaLR(optimizer, _constant)


def epoch_scheduler(
    optimizer: torch.optim.Optimizer, optim: Optim, *, epochs: int
) -> EpochEnds | None:
    """What sets the learning rate after an epoch, None where the schedule moves after steps.

    With lr the recipe's rate and t of T epochs done:

    - step: lr decay^(t // decay_epochs);
    - poly: lr (1 - t / T)^0.9;
    - tanh: lr (1 - tanh(10 t / T - 7)) / 2 (Hsueh et al. 2019, "Stochastic gradient descent with
      hyperbolic-tangent decay");
    - plateau: times decay after each ``decay_epochs`` epochs without gain, of the watched score
      where there is one, else of the training loss.

    Returns:
        A function of the number of epochs done, the mean loss of the last and the watched score
        (higher is better) or None.
    """
    if optim.schedule == "plateau":
        return _plateau(optimizer, optim)
    if optim.schedule not in ("step", "poly", "tanh"):
        return None
    from timm.scheduler.poly_lr import PolyLRScheduler
    from timm.scheduler.scheduler import Scheduler
    from timm.scheduler.step_lr import StepLRScheduler
    from timm.scheduler.tanh_lr import TanhLRScheduler

    rates: Scheduler
    match optim.schedule:
        case "step":
            rates = StepLRScheduler(optimizer, decay_t=optim.decay_epochs, decay_rate=optim.decay)
        case "poly":
            rates = PolyLRScheduler(optimizer, t_initial=epochs, power=POLY_POWER)
        case "tanh":
            rates = TanhLRScheduler(optimizer, t_initial=epochs)

    def epoch_ends(epoch: int, loss: float, watched: float | None) -> None:  # noqa: ARG001
        rates.step(epoch)

    return epoch_ends


def _plateau(optimizer: torch.optim.Optimizer, optim: Optim) -> EpochEnds:
    # timm's own wraps this one and is announced to go.
    rates = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min",
        factor=optim.decay,
        # Torch falls one epoch after its patience is over.
        patience=optim.decay_epochs - 1,
        # Any gain counts, as in early stopping; a relative one has no sense below zero.
        threshold=0.0,
        threshold_mode="abs",
    )

    def epoch_ends(epoch: int, loss: float, watched: float | None) -> None:  # noqa: ARG001
        rates.step(loss if watched is None else -watched)

    return epoch_ends


def _constant(step: int) -> float:  # noqa: ARG001
    return 1.0
