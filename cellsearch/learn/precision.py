"""Number format and memory layout of training, chosen by trial on the machine at hand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cellsearch.errors import ConfigError


@dataclass(frozen=True)
class Precision:
    """How numbers are held while training; weights are float32 always.

    Attributes:
        dtype: of activations inside the network; bfloat16 by autocast.
        channels_last: whether images lie as (B, H, W, C) in memory.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    def __str__(self) -> str:
        name = "fp32" if self.dtype == "float32" else "bf16"
        return f"{name}+channels_last" if self.channels_last else name

    @classmethod
    def parse(cls, text: str) -> Precision:
        """From ``fp32``, ``bf16``, ``fp32+channels_last`` or ``bf16+channels_last``.

        Raises:
            ConfigError: it is none of them.
        """
        for precision in ALL:
            if str(precision) == text:
                return precision
        raise ConfigError(f"precision: must be one of {', '.join(map(str, ALL))}; got {text!r}")

    def lay_out(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in this layout."""
        if self.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images


ALL = (
    Precision("float32", channels_last=False),
    Precision("float32", channels_last=True),
    Precision("bfloat16", channels_last=True),
    Precision("bfloat16", channels_last=False),
)


def resolve_device(device: str) -> torch.device:
    """``auto`` takes CUDA, then Apple's MPS, then the CPU; anything else as torch spells it.

    Raises:
        ConfigError: no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device: must be one that torch finds here; got {device!r} ({reason})"
        ) from error
    return found


def candidates(device: torch.device) -> tuple[Precision, ...]:
    """What is worth timing on a device.

    Alone, bfloat16 or channels-last can be slower than plain float32; the pair often wins.
    MPS knows float32 alone.
    """
    if device.type == "mps":
        return ALL[:1]
    return ALL[:3]


@contextlib.contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within it, convolutions and products compute in the precision's format."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision.dtype == "bfloat16"):
        yield


def fastest(
    step_of: Callable[[Precision], Callable[[], None]],
    among: Sequence[Precision],
    *,
    device: torch.device,
    repeats: int = 3,
) -> Precision:
    """The precision whose step takes least time.

    The candidates take turns, so that a neighbour's load hits them alike; the least time of each
    counts, as noise only adds. One that took half as long again as the best is dropped.

    Args:
        step_of: prepares, untimed, a step of training in a precision.
        among: candidates, at least one.
        device: where the steps run.
        repeats: timed steps each, after one to warm up.
    """
    best = dict.fromkeys(among, float("inf"))
    for turn in range(repeats + 1):
        if len(best) == 1:
            break
        for precision in best:
            seconds = timed(step_of(precision), device=device)
            if turn:
                best[precision] = min(best[precision], seconds)
        bound = 1.5 * min(best.values())
        best = {precision: seconds for precision, seconds in best.items() if seconds <= bound}
    return min(best, key=lambda precision: best[precision])


def timed(step: Callable[[], None], *, device: torch.device) -> float:
    """Seconds of one step, waiting for the device."""
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - started
