"""Wasserstein GANs: cells of one rare class, made from the training cells of one fold alone.

``eligible`` says which classes, ``networks``, ``losses`` and ``training`` how, ``quality`` how
well, ``store`` keeps each generator for whoever asks next. torch is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellsearch.learn.gans.eligible import FEWEST, impossible, rare_classes

if TYPE_CHECKING:
    from cellsearch.learn.gans.generated import POOL, Generated, generated_cells

__all__ = ["FEWEST", "POOL", "Generated", "generated_cells", "impossible", "rare_classes"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("cellsearch.learn.gans.generated"), name)
    raise AttributeError(f"module 'cellsearch.learn.gans' has no attribute {name!r}")
