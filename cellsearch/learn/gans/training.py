"""Training of one generator against its critic, on the cells of one class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.errors import TrialError
from cellsearch.learn.gans.losses import PENALTIES
from cellsearch.learn.gans.networks import LATENT, Critic, Generator
from cellsearch.learn.gans.scaling import Scaling
from cellsearch.learn.optimise import eager
from cellsearch.space.sections import Gan

Network = TypeVar("Network", bound=nn.Module)

BETA2 = 0.999
"""Of Adam, as in Duque-Vazquez et al. 2023, section 3.4."""

AT_ONCE = 100
"""Cells made at a time."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A generator after its training.

    Attributes:
        generator: in eval mode.
        scaling: from its [-1, 1] to raw intensities.
        distances: (steps,) float32, at each of the generator's steps the critic's mean score of
            real cells less that of generated ones: an estimate of the Wasserstein distance (for
            wgan-div of the divergence, without its penalty).
    """

    generator: Generator
    scaling: Scaling
    distances: NDArray[np.float32]


def train(
    cells: NDArray[Any],
    gan: Gan,
    *,
    seed: int,
    device: torch.device,
    on_step: Callable[[int], object] | None = None,
) -> Trained:
    """Train a WGAN with a gradient penalty or a WGAN-div (``losses``) by Adam.

    Cells are shown as they are: the recipe that this follows (Duque-Vazquez et al. 2023, section
    3.4) has no flips or rotations here, and augmentation of the classifier comes later and is the
    same for real and generated cells. torch's own random state is left as it was.

    Args:
        cells: (n, C, H, W) raw, n >= 2.
        gan: the recipe's section; the batch is at most a third of the cells.
        seed: of weights, latent vectors and batches.
        device: where to train, in float32.
        on_step: called with the number of each step of the generator, from 1.

    Raises:
        TrialError: a score is not finite.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        size, channels = (int(cells.shape[2]), int(cells.shape[3])), int(cells.shape[1])
        generator = _placed(Generator(channels, size, width=gan.width), device)
        critic = _placed(Critic(channels, size, width=gan.width), device)
    scaling = Scaling.of(cells)
    chance = torch.Generator().manual_seed(seed)
    batch = min(gan.batch, max(2, len(cells) // 3))
    penalty = PENALTIES[gan.kind]
    makes, judges = (_adam(network, gan) for network in (generator, critic))
    distances = np.empty(gan.steps, dtype=np.float32)

    for step in range(gan.steps):
        with torch.no_grad():
            latent = torch.randn(gan.critic_steps * batch, LATENT, generator=chance)
            made = generator(latent.to(device)).split(batch)
        for generated in made:
            chosen = torch.randperm(len(cells), generator=chance)[:batch]
            real = scaling.scaled(cells[chosen.numpy()], device)
            share = torch.rand(batch, 1, 1, 1, generator=chance).to(device)
            scores = critic(torch.cat([real, generated]))
            distance = scores[:batch].mean() - scores[batch:].mean()
            smooth = penalty(critic, torch.lerp(real, generated, share))
            _update(judges, smooth - distance)
        critic.requires_grad_(requires_grad=False)
        latent = torch.randn(batch, LATENT, generator=chance)
        fooled = critic(generator(latent.to(device))).mean()
        _update(makes, -fooled)
        critic.requires_grad_(requires_grad=True)
        distances[step] = float(distance.detach())
        if not np.isfinite(distances[step] + float(fooled.detach())):
            raise TrialError(
                f"gan.lr: the {gan.kind} diverged at step {step + 1} of {gan.steps} with a "
                f"learning rate of {gan.lr:g}: lower gan.lr"
            )
        if on_step is not None:
            on_step(step + 1)
    return Trained(generator.eval(), scaling, distances)


def make(
    trained: Trained, count: int, *, seed: int, device: torch.device, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """(count, C, H, W) ``dtype`` raw cells, the same for the same seed."""
    chance = torch.Generator().manual_seed(seed)
    parts: list[NDArray[Any]] = []
    with torch.inference_mode():
        latent = torch.randn(count, LATENT, generator=chance).to(device)
        for start in range(0, count, AT_ONCE):
            cells = trained.generator(latent[start : start + AT_ONCE])
            parts.append(trained.scaling.raw(cells, dtype))
    return np.concatenate(parts)


def _placed(network: Network, device: torch.device) -> Network:
    # An eighth faster on a CPU than the other layout, and never slower.
    return network.to(device).to(memory_format=torch.channels_last).train()


def _adam(network: nn.Module, gan: Gan) -> torch.optim.Optimizer:
    device = next(network.parameters()).device
    return eager(torch.optim.Adam)(
        network.parameters(),
        lr=gan.lr,
        betas=(gan.beta1, BETA2),
        fused=device.type in ("cpu", "cuda"),
    )


def _update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        optimiser.step()
