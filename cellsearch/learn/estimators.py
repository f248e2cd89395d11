"""fitted: a network of each classical family, as its library fits it."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cellsearch.learn.cell_table import CellTable
from cellsearch.learn.models.trees import (
    ABSENT,
    TreeEnsemble,
    centre_thresholds,
    from_hist_gbdt,
    from_xgboost,
    softened,
)
from cellsearch.space.models import (
    ClassicalModel,
    DenseModel,
    HistGbdtModel,
    LogregModel,
    XgboostModel,
)

ITERATIONS = 300
"""Of L-BFGS, at most."""

BINS = 255
"""Of each feature, as many as scikit-learn's own histograms have."""

BATCH = 64
"""Cells in a step of a dense head."""


def fitted(model: ClassicalModel, network: nn.Module, table: CellTable, seed: int) -> nn.Module:
    """Fit a family.

    Libraries use as many threads as torch does. A class without cells gets the logit ``ABSENT``,
    and with a single class nothing is fitted.

    Args:
        model: family and settings.
        network: of ``build_classical``; filled in, or replaced by what is returned.
        table: the cells.
        seed: of the library.
    """
    if len(table.columns) == 1:
        return _only(network, table.columns[0])
    with warnings.catch_warnings(), _threads():
        match model:
            case LogregModel():
                return _logreg(model, network, table, seed)
            case DenseModel():
                return _dense_head(model, network, table, seed)
            case XgboostModel():
                trees = _xgboost(model, table, seed)
            case HistGbdtModel():
                trees = _hist_gbdt(model, table, seed)
    centre_thresholds(trees, table.values)
    return softened(trees) if model.features == "backbone" else trees


def _threads() -> AbstractContextManager[object]:
    """As many threads for the libraries' own pools as torch has."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(torch.get_num_threads())
    return limits


def _only(network: nn.Module, column: int) -> nn.Module:
    """All probability to the one class that has cells."""
    bias = network.base if isinstance(network, TreeEnsemble) else _dense(network).bias
    with torch.no_grad():
        bias.fill_(ABSENT)
        bias[column] = 0.0
    return network


def _logreg(model: LogregModel, network: nn.Module, table: CellTable, seed: int) -> nn.Module:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # 300 iterations are a bound, not a failure.
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = LogisticRegression(
        C=1.0 / model.l2, solver="lbfgs", max_iter=ITERATIONS, random_state=seed
    ).fit(table.values, table.positions, sample_weight=table.weights)
    # Of two classes it keeps the second one's row alone: logits (0, raw).
    rows = table.columns[-len(found.coef_) :]
    dense = _dense(network)
    with torch.no_grad():
        dense.bias.fill_(ABSENT)
        dense.bias[table.columns] = 0.0
        dense.bias[rows] = torch.from_numpy(found.intercept_).float()
        dense.weight[rows] = torch.from_numpy(found.coef_).float()
    return network


def _dense_head(model: DenseModel, network: nn.Module, table: CellTable, seed: int) -> nn.Module:
    """AdamW under one cycle of the learning rate, batches of 64; the last weights are kept."""
    values, positions = torch.from_numpy(table.values), torch.from_numpy(table.positions)
    weights = torch.from_numpy(table.weights).float()
    dense = _dense(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        steps = -(-len(values) // BATCH)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=model.lr, weight_decay=model.decay, foreach=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=model.lr, total_steps=model.passes * steps
        )
        network.train()
        for _ in range(model.passes):
            for chosen in torch.split(torch.randperm(len(values)), BATCH):
                logits = network(values[chosen])[:, table.columns]
                losses = nn.functional.cross_entropy(logits, positions[chosen], reduction="none")
                loss = (losses * weights[chosen]).mean()
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
        network.eval()
    absent = [column for column in range(table.classes) if column not in table.columns]
    with torch.no_grad():
        dense.weight[absent] = 0.0
        dense.bias[absent] = ABSENT
    return network


def _xgboost(model: XgboostModel, table: CellTable, seed: int) -> TreeEnsemble:
    import xgboost

    threads = torch.get_num_threads()
    settings = {
        "objective": "multi:softprob",
        "num_class": len(table.columns),
        "tree_method": "hist",
        "max_depth": model.max_depth,
        "eta": model.shrinkage,
        "subsample": model.subsample,
        "colsample_bytree": model.columns,
        "lambda": model.l2,
        "seed": seed,
        "nthread": threads,
        "verbosity": 0,
    }
    cells = xgboost.QuantileDMatrix(
        table.values, label=table.positions, weight=table.weights, nthread=threads
    )
    booster = xgboost.train(settings, cells, num_boost_round=model.rounds)
    return from_xgboost(
        booster,
        rounds=model.rounds,
        depth=model.max_depth,
        classes=table.classes,
        columns=table.columns,
    )


def _hist_gbdt(model: HistGbdtModel, table: CellTable, seed: int) -> TreeEnsemble:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # With weights, scikit-learn looks for each of 255 quantiles of each feature anew: minutes
    # where there are thousands of cells. Of numbers of bins, 255 at most, it asks no quantile.
    edges = [_edges(column) for column in table.values.T]
    bins = np.stack(
        [np.searchsorted(e, c) for e, c in zip(edges, table.values.T, strict=True)], axis=1
    )
    even = np.ptp(table.weights) == 0

    found = HistGradientBoostingClassifier(
        max_iter=model.rounds,
        learning_rate=model.shrinkage,
        max_depth=model.max_depth,
        # The depth alone bounds a tree, as it does XGBoost's.
        max_leaf_nodes=None,
        min_samples_leaf=model.min_leaf,
        l2_regularization=model.l2,
        early_stopping=False,
        random_state=seed,
    ).fit(bins, table.positions, sample_weight=None if even else table.weights)
    return from_hist_gbdt(
        found,
        edges,
        rounds=model.rounds,
        depth=model.max_depth,
        classes=table.classes,
        columns=table.columns,
    )


def _edges(column: NDArray[np.float32]) -> NDArray[np.float64]:
    """At most 254 numbers, ascending, that part a feature's cells evenly; none lies on a value."""
    distinct, counts = np.unique(column, return_counts=True)
    middle: NDArray[np.float64] = (distinct[:-1].astype(np.float64) + distinct[1:]) / 2
    if len(middle) < BINS:
        return middle
    below = np.cumsum(counts)[:-1]
    wanted = len(column) * np.arange(1, BINS) / BINS
    chosen: NDArray[np.float64] = middle[
        np.unique(np.searchsorted(below, wanted).clip(max=len(middle) - 1))
    ]
    return chosen


def _dense(network: nn.Module) -> nn.Linear:
    assert isinstance(network, nn.Sequential)
    dense = network[-1]
    assert isinstance(dense, nn.Linear)
    return dense
