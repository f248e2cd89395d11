"""fitted: a network of each classical family, as its library fits it."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager

import torch
from torch import nn

from cellsearch.learn.cell_table import CellTable
from cellsearch.learn.models.trees import (
    ABSENT,
    TreeEnsemble,
    centre_thresholds,
    from_hist_gbdt,
    from_xgboost,
)
from cellsearch.space.models import ClassicalModel, HistGbdtModel, LogregModel, XgboostModel

ITERATIONS = 300
"""Of L-BFGS, at most."""


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
            case XgboostModel():
                trees = _xgboost(model, table, seed)
            case HistGbdtModel():
                trees = _hist_gbdt(model, table, seed)
    centre_thresholds(trees, table.values)
    return trees


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
    ).fit(table.values, table.positions, sample_weight=table.weights)
    return from_hist_gbdt(
        found,
        rounds=model.rounds,
        depth=model.max_depth,
        classes=table.classes,
        columns=table.columns,
    )


def _dense(network: nn.Module) -> nn.Linear:
    assert isinstance(network, nn.Sequential)
    dense = network[-1]
    assert isinstance(dense, nn.Linear)
    return dense
