"""cross_validate: out-of-fold predictions of a recipe, one fold at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import RunError, TimeUpError
from cellsearch.learn.fit import fit
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.memory import release_memory
from cellsearch.learn.precision import Precision
from cellsearch.learn.threads import torch_threads
from cellsearch.learn.transfer import Backbone
from cellsearch.space.recipe import Recipe
from cellsearch.stats.decision import Decision, decided
from cellsearch.stats.metrics import confusion

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits

__all__ = ["FoldResult", "cross_validate", "fold_seed", "pooled"]


def cross_validate(
    recipe: Recipe,
    dataset: CellDataset,
    splits: Splits,
    *,
    seed: int,
    folds: Iterable[int] | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
    backbone: Backbone | None = None,
    training: Mapping[int, NDArray[np.int64]] | None = None,
    estimate_priors: bool = False,
    deadline: float | None = None,
) -> Iterator[FoldResult]:
    """Train on each fold's training cells and predict its validation cells.

    A fold's result depends on the fold, the seed and the precision, not on the folds before it,
    so a caller may stop between folds and ask for the rest later.

    Args:
        recipe: what to train.
        dataset: the cells.
        splits: the folds of this data set.
        seed: fold f trains with a seed drawn from (seed, f).
        folds: which of them, in this order; None for all.
        device: ``auto`` or a torch device.
        threads: of torch while a fold is trained; None leaves them.
        precision: None takes the fastest at the first fold and keeps it for the others.
        backbone: weights to begin with; they must not have seen any of these cells.
        training: cells of each fold to train on, some of its training cells; None takes all.
        estimate_priors: as for ``fit``.
        deadline: seconds since the epoch, after which a training stops at the end of an epoch.

    Yields:
        A FoldResult as soon as its fold is done.

    Raises:
        TrialError: the recipe diverges or does not fit in memory.
        TimeUpError: the deadline came amid a fold.
    """

    def check_epoch(_: int, __: dict[str, float]) -> None:
        _require_time(deadline)

    def check_stage(_: str, __: int, ___: int) -> None:
        _require_time(deadline)

    for fold in range(splits.k) if folds is None else folds:
        validation = np.asarray(splits.validation(fold), dtype=np.int64)
        started = time.perf_counter()
        with torch_threads(threads):
            predictor = fit(
                recipe,
                dataset,
                splits.training(fold) if training is None else training[fold],
                seed=fold_seed(seed, fold),
                device=device,
                precision=precision,
                backbone=backbone,
                on_epoch=check_epoch,
                on_stage=check_stage,
                estimate_priors=estimate_priors,
            )
            precision = predictor.precision
            probabilities = predictor.predict_proba(dataset, validation)
        result = FoldResult(
            fold=fold,
            cells=validation,
            probabilities=probabilities,
            seconds=time.perf_counter() - started,
            images_per_second=predictor.images_per_second,
            epochs=predictor.epochs,
            history=predictor.history,
            precision=str(precision),
            provenance=predictor.provenance,
            priors=predictor.priors,
        )
        del predictor
        release_memory()
        yield result


def _require_time(deadline: float | None) -> None:
    if deadline is not None and time.time() > deadline:
        raise TimeUpError("the time is up")


def fold_seed(seed: int, fold: int) -> int:
    """A seed for one fold, unrelated to those of other folds and seeds."""
    return int(np.random.SeedSequence([seed, fold]).generate_state(1, np.uint32)[0])


def pooled(
    results: Sequence[FoldResult], labels: NDArray[np.int64], k: int, *, tau: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Out-of-fold predictions of several folds as one.

    Args:
        results: of different folds.
        labels: (N,) int64 of the whole data set.
        k: number of classes.
        tau: of the decision, 1 for balanced classes; results without priors are given their
            greatest probability.

    Returns:
        Cells (n,) int64 in ascending order, their predicted classes (n,) int64, and the
        confusion matrix (K, K) int64.

    Raises:
        RunError: two results predict the same cell.
    """
    cells = np.concatenate([np.empty(0, dtype=np.int64), *(r.cells for r in results)])
    called = (
        decided(each.probabilities, None if each.priors is None else Decision(tau, each.priors))
        for each in results
    )
    predicted = np.concatenate([np.empty(0, dtype=np.int64), *called])
    order = np.argsort(cells, kind="stable")
    cells, predicted = cells[order], predicted[order]
    if (np.diff(cells) == 0).any():
        raise RunError("pooled: two folds predict the same cell; give each fold once")
    return cells, predicted, confusion(labels[cells], predicted, k)
