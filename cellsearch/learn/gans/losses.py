"""What keeps a critic smooth, and so its scores a distance: two penalties, by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""Cells (B, C, H, W) to scores (B,)."""

LAMBDA = 10.0
"""Weight of the gradient penalty (Gulrajani et al. 2017, section 4)."""

K, P = 2.0, 6.0
"""Weight and power of the Wasserstein divergence (Wu et al. 2018, section 4.1)."""


def gradient_penalty(critic: Score, between: Tensor) -> Tensor:
    """The last term of WGAN-GP: 10 E[(|grad D(x)| - 1)^2].

    Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville 2017, "Improved training of Wasserstein GANs"
    (arXiv 1704.00028), equation 3.

    Args:
        critic: the critic D.
        between: (B, C, H, W) points x on lines from real to generated cells.
    """
    # The root of zero has no derivative.
    norm = (_squared_gradient(critic, between) + 1e-12).sqrt()
    return LAMBDA * (norm - 1.0).square().mean()


def divergence_penalty(critic: Score, between: Tensor) -> Tensor:
    """The last term of WGAN-div: 2 E[|grad D(x)|^6].

    Wu, Huang, Thoma, Acharya & Van Gool 2018, "Wasserstein divergence for GANs"
    (arXiv 1712.01026), algorithm 1.

    Args:
        critic: the critic D.
        between: (B, C, H, W) points x on lines from real to generated cells.
    """
    return K * (_squared_gradient(critic, between) ** (P / 2)).mean()


PENALTIES: Mapping[str, Callable[[Score, Tensor], Tensor]] = MappingProxyType(
    {"wgan-gp": gradient_penalty, "wgan-div": divergence_penalty}
)
"""By ``gan.kind``."""


def _squared_gradient(critic: Score, between: Tensor) -> Tensor:
    """(B,) |grad D|^2 at each point, itself differentiable in the critic's weights."""
    points = between.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))
