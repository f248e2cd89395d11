"""What torch finds on this machine, and which precision is fastest here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cellsearch.data.dataset import CellDataset
from cellsearch.learn.losses import ClassLoss, class_weights
from cellsearch.learn.precision import resolve_device
from cellsearch.learn.predictor import build_module
from cellsearch.learn.training import choose_precision
from cellsearch.space.recipe import BASELINE


@dataclass(frozen=True)
class Devices:
    """What torch can train on.

    Attributes:
        chosen: what ``--device auto`` takes.
        cuda: name and memory (bytes) of each CUDA device.
        mps: whether Apple's is there.
        threads: that torch takes by itself.
        built_for_cuda: whether this torch could use CUDA at all.
    """

    chosen: str
    cuda: tuple[tuple[str, int], ...]
    mps: bool
    threads: int
    built_for_cuda: bool


def devices() -> Devices:
    """What torch finds."""
    cuda = tuple(
        (torch.cuda.get_device_name(k), int(torch.cuda.get_device_properties(k).total_memory))
        for k in range(torch.cuda.device_count())
    )
    return Devices(
        chosen=resolve_device("auto").type,
        cuda=cuda,
        mps=bool(torch.backends.mps.is_available()),
        threads=torch.get_num_threads(),
        built_for_cuda=bool(torch.version.cuda),
    )


def fastest_precision(device: str = "auto") -> str:
    """``fp32``, ``bf16+channels_last`` ...: the fastest for the baseline's network on noise.

    Each recipe of a search is timed anew, as the answer differs between networks.
    """
    place = resolve_device(device)
    rng = np.random.default_rng(0)
    cells = CellDataset.from_arrays(
        rng.integers(0, 256, (64, 2, 40, 40)).astype(np.uint8), np.arange(64) % 4
    )
    some = np.arange(64)
    module = build_module(BASELINE, channels=2, classes=4, size=(40, 40))
    module.normalise.fit(cells.images, some)
    module.to(place).train()
    weights = class_weights(np.full(4, 16), BASELINE.loss)
    loss = ClassLoss(weights, BASELINE.loss).to(place)
    return str(choose_precision(module, loss, cells, some, device=place))
