"""Generated cells of rare classes: from the cache, else of a generator trained now."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import TrialError
from cellsearch.learn.gans import store
from cellsearch.learn.gans.eligible import FEWEST, rare_classes, too_few, unfit_size
from cellsearch.learn.gans.quality import judge
from cellsearch.learn.gans.training import make, train
from cellsearch.space.sections import Gan

POOL = 1000
"""Cells that each generator makes; who needs more of a class shows them again."""

OnStep = Callable[[str, int, int], object]
"""(class name, step of the generator from 1, steps)."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Generated:
    """Cells of one class that a generator made, and what it learnt from.

    Attributes:
        label: the class.
        class_name: its name.
        kind: ``wgan-gp`` or ``wgan-div``.
        images: (1000, C, H, W) of the data set's dtype, within the range of the cells learnt
            from, channel by channel; read-only.
        learnt_from: (n,) sorted indices of the real cells that it learnt from.
        indices_sha256: of ``learnt_from``; kept with the generator and checked on every read.
        critic: (steps,) float32, the critic's estimate of the Wasserstein distance at each step
            of the generator.
        nearest_ratio: median distance from a generated cell to the nearest real one, over that
            from a real cell to the nearest other (``quality``).
        notes: plain sentences of what is amiss; empty when all is well.
        cached: read from the cache rather than trained now.
    """

    label: int
    class_name: str
    kind: str
    images: NDArray[Any]
    learnt_from: Indices
    indices_sha256: str
    critic: NDArray[np.float32]
    nearest_ratio: float
    notes: tuple[str, ...]
    cached: bool


def generated_cells(
    dataset: CellDataset,
    indices: Indices,
    gan: Gan,
    *,
    seed: int,
    device: torch.device,
    classes: Sequence[int] | None = None,
    on_step: OnStep | None = None,
) -> tuple[Generated, ...]:
    """Cells of each rare class, by a generator of its own.

    Of the data set's images only those at ``indices`` are read, and of these only the rare
    classes'. What comes out depends on them, on ``gan`` and on ``seed`` alone: hand in the
    search's seed and not a trial's, so that trials that differ elsewhere share generators.
    ``share``, ``mixup`` and ``below`` ask for no other generator; ``mixup`` is applied to what
    is handed out.

    Args:
        dataset: the cells.
        indices: (n,) int64 training cells.
        gan: the recipe's section; with ``kind`` none nothing is made.
        seed: of weights, latent vectors, batches and mixup.
        device: where to train.
        classes: labels to make; None for ``rare_classes`` of the cells at ``indices``.
        on_step: called at each step of a generator that has to be trained.

    Raises:
        TrialError: too few cells of a class, crops of a size that none can make, or a training
            that diverged.
        DataError: the cache cannot be written.
    """
    if gan.kind == "none":
        return ()
    indices = np.unique(np.asarray(indices, dtype=np.int64))
    labels = dataset.labels[indices]
    if classes is None:
        counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
        classes = rare_classes(counts.astype(np.int64), gan)
    problem = unfit_size((int(dataset.images.shape[2]), int(dataset.images.shape[3])))
    if problem:
        raise TrialError(problem)
    return tuple(
        _of_class(dataset, indices[labels == label], int(label), gan, seed, device, on_step)
        for label in classes
    )


def _of_class(
    dataset: CellDataset,
    own: Indices,
    label: int,
    gan: Gan,
    seed: int,
    device: torch.device,
    on_step: OnStep | None,
) -> Generated:
    name = dataset.classes[label]
    if len(own) < FEWEST:
        raise TrialError(
            f"gan.kind: {too_few(name, len(own))}: merge or drop the class, or take gan out of "
            "the space"
        )
    digest = hashlib.sha256(np.ascontiguousarray(own, dtype="<i8").tobytes()).hexdigest()
    facts = {
        "dataset_sha256": dataset.sha256,
        "indices_sha256": digest,
        "label": label,
        "settings": gan.model_dump(exclude={"below", "share", "mixup"}),
        "seed": seed,
    }
    # Not of the data set's digest, which also tells of cells that are none of our business.
    chances = [int(n) for n in np.random.SeedSequence([seed, label]).generate_state(3)]

    def build() -> store.Entry:
        def told(step: int) -> None:
            if on_step is not None:
                on_step(name, step, gan.steps)

        return _trained(dataset.images.view(np.ndarray)[own], name, gan, chances, device, told)

    shape = (POOL, *dataset.images.shape[1:])
    entry, cached = store.kept(facts, shape, dataset.images.dtype, build)
    return Generated(
        label=label,
        class_name=name,
        kind=gan.kind,
        images=mixed(entry.images, gan.mixup, seed=chances[2]),
        learnt_from=own,
        indices_sha256=digest,
        critic=entry.critic,
        nearest_ratio=float(entry.more["nearest_ratio"]),
        notes=tuple(entry.more["notes"]),
        cached=cached,
    )


def _trained(
    cells: NDArray[Any],
    name: str,
    gan: Gan,
    chances: Sequence[int],
    device: torch.device,
    on_step: Callable[[int], None],
) -> store.Entry:
    began = time.monotonic()
    trained = train(cells, gan, seed=chances[0], device=device, on_step=on_step)
    images = make(trained, POOL, seed=chances[1], device=device, dtype=cells.dtype)
    quality = judge(cells, images)
    weights = {
        key: value.detach().cpu().contiguous()
        for key, value in trained.generator.state_dict().items()
    }
    return store.Entry(
        images=images,
        critic=trained.distances,
        weights=save(weights, metadata={"format": "pt"}),
        more={
            "class": name,
            "cells": len(cells),
            "nearest_ratio": quality.nearest_ratio,
            "notes": list(quality.notes),
            "scaling": asdict(trained.scaling),
            "seconds": round(time.monotonic() - began, 2),
            "torch": torch.__version__,
            "device": device.type,
        },
    )


def mixed(images: NDArray[Any], share: float, *, seed: int) -> NDArray[Any]:
    """Some of the cells each blended with another one: t a + (1 - t) b, t uniform.

    Mixup (Zhang, Cisse, Dauphin & Lopez-Paz 2018, arXiv 1710.09412) within one class, as
    Duque-Vazquez et al. 2023 (section 3.4) do to half of their generated cells.

    Args:
        images: (m, C, H, W), m >= 2; not changed.
        share: of the cells to blend.
        seed: of which, with which and how much.
    """
    count = round(share * len(images))
    if count == 0:
        return images
    chance = np.random.default_rng(seed)
    blended = np.array(images)
    for cell in chance.permutation(len(images))[:count]:
        other = (cell + chance.integers(1, len(images))) % len(images)
        part = np.float32(chance.beta(1.0, 1.0))
        values = part * images[cell] + (np.float32(1.0) - part) * images[other]
        blended[cell] = np.rint(values) if images.dtype.kind in "ui" else values
    blended.flags.writeable = False
    return blended
