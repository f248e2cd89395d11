"""TreeEnsemble: boosted trees as tensors, so that they export and load as any network does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ABSENT = -50.0
"""Logit of a class without training cells: its probability is below 1e-20."""


BAND = 0.01
"""Half the width of a soft tree's ramp, in standard deviations of a feature."""


class Tree(NamedTuple):
    """One full binary tree: node i has the children 2 i + 1 and 2 i + 2.

    Attributes:
        feature: (2^D - 1,) int64, what each node looks at.
        threshold: (2^D - 1,) float32; a cell goes right where its value is at least that.
        leaf: (2^D,) float32, from left to right.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.float32]


class TreeEnsemble(nn.Module):
    """A sum of trees of the same depth for each class.

    Shapes follow from rounds, depth and classes alone; trees that were never grown have leaves of
    0. Tree r K + k is that of round r for class k.

    Attributes:
        differentiable: False, logits are steps.
        feature: (R K, 2^D - 1) int64 buffer.
        threshold: (R K, 2^D - 1) float32 buffer.
        leaf: (R K, 2^D) float32; a parameter that no optimiser trains.
        base: (K,) float32 buffer, logits before the first tree.
    """

    differentiable = False
    feature: Tensor
    threshold: Tensor
    base: Tensor

    def __init__(self, *, rounds: int, depth: int, classes: int) -> None:
        super().__init__()
        self.depth = depth
        trees, inner = rounds * classes, 2**depth - 1
        self.register_buffer("feature", torch.zeros(trees, inner, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(trees, inner))
        self.register_buffer("base", torch.zeros(classes))
        self.leaf = nn.Parameter(torch.zeros(trees, inner + 1), requires_grad=False)

    def forward(self, values: Tensor) -> Tensor:
        """(B, ...) float32, flattened to (B, F), to (B, K) logits."""
        values = values.flatten(1)
        trees, inner = self.feature.shape
        first = torch.arange(trees, device=values.device) * inner
        node = torch.zeros_like(first).expand(values.shape[0], trees)
        for _ in range(self.depth):
            here = node + first
            found = values.gather(1, self.feature.flatten()[here])
            right = found >= self.threshold.flatten()[here]
            node = 2 * node + 1 + right.to(torch.int64)
        # Beyond the inner nodes the numbers go on with the leaves.
        place = node - inner + torch.arange(trees, device=values.device) * (inner + 1)
        leaves = self.leaf.flatten()[place].reshape(values.shape[0], -1, self.base.shape[0])
        return leaves.sum(dim=1) + self.base

    def put(self, at: int, tree: Tree) -> None:
        """Set one tree."""
        self.feature[at] = torch.from_numpy(tree.feature)
        self.threshold[at] = torch.from_numpy(tree.threshold)
        self.leaf.data[at] = torch.from_numpy(tree.leaf)


class SoftTreeEnsemble(TreeEnsemble):
    """The same trees with narrow ramps in place of steps.

    A network's features are sums of thousands of products in float32, and their last digits differ
    from one library or processor to another. At a step such a digit decides, so that of some
    thousand comparisons a cell now and then one goes the other way. Within ``BAND`` of a threshold
    a cell goes both ways, in proportion: probabilities then differ as little as features do.
    """

    def forward(self, values: Tensor) -> Tensor:
        """(B, ...) float32 with a spread near 1, flattened to (B, F), to (B, K) logits."""
        trees, inner = self.feature.shape
        found = values.flatten(1).index_select(1, self.feature.flatten())
        ramp = ((found - self.threshold.flatten()) / (2 * BAND) + 0.5).clamp(0.0, 1.0)
        right = ramp.reshape(-1, trees, inner)
        share = torch.ones_like(right[:, :, :1])
        for level in range(self.depth):
            here = right[:, :, 2**level - 1 : 2 ** (level + 1) - 1]
            share = torch.stack((share * (1 - here), share * here), dim=3).flatten(2)
        leaves = (share * self.leaf).sum(dim=2)
        return leaves.reshape(leaves.shape[0], -1, self.base.shape[0]).sum(dim=1) + self.base


def softened(ensemble: TreeEnsemble) -> SoftTreeEnsemble:
    """The same trees with ramps."""
    trees, classes = ensemble.feature.shape[0], ensemble.base.shape[0]
    soft = SoftTreeEnsemble(rounds=trees // classes, depth=ensemble.depth, classes=classes)
    soft.load_state_dict(ensemble.state_dict())
    return soft


def from_xgboost(
    booster: Any, *, rounds: int, depth: int, classes: int, columns: Sequence[int]
) -> TreeEnsemble:
    """The trees of an ``xgboost.Booster`` of objective ``multi:softprob``.

    XGBoost sends x < t to the left, in float32, as here.

    Args:
        booster: trained on float32 features without missing values.
        rounds: of the recipe, at least those of the booster.
        depth: at least that of the deepest tree.
        classes: K.
        columns: class of each of the booster's groups; other classes get no probability.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    model = learner["gradient_booster"]["model"]
    # One number for all groups in older releases, one for each since 3.1.
    base = np.broadcast_to(json.loads(learner["learner_model_param"]["base_score"]), len(columns))
    ensemble = _empty(rounds, depth, classes, columns, np.asarray(base, dtype=np.float64))
    seen = np.zeros(len(columns), dtype=np.int64)
    for group, nodes in zip(model["tree_info"], model["trees"], strict=True):
        tree = _grow(
            depth,
            left=nodes["left_children"],
            right=nodes["right_children"],
            feature=nodes["split_indices"],
            # At a leaf the same field holds its value.
            threshold=np.asarray(nodes["split_conditions"], dtype=np.float32),
            value=np.asarray(nodes["split_conditions"], dtype=np.float32),
            is_leaf=np.asarray(nodes["left_children"]) < 0,
        )
        ensemble.put(int(seen[group]) * classes + columns[group], tree)
        seen[group] += 1
    return ensemble


def from_hist_gbdt(
    model: Any,
    edges: Sequence[NDArray[np.float64]],
    *,
    rounds: int,
    depth: int,
    classes: int,
    columns: Sequence[int],
) -> TreeEnsemble:
    """The trees of a fitted ``HistGradientBoostingClassifier``.

    It was fitted on numbers of bins: a cell of bin b or a lower one goes left, so its feature lies
    at or below edge b; for float32 x that is x < t', with t' the least float32 above the edge. Of
    two classes it grows one tree a round: logits (0, raw).

    Args:
        model: fitted on bins 0, 1, ... of each feature.
        edges: of each feature, ascending; bin b holds what lies above edge b - 1 and not above b.
        rounds: of the recipe, at least those of the model.
        depth: at least that of the deepest tree.
        classes: K.
        columns: class of each of the model's, in its order.
    """
    grown = columns if len(columns) > 2 else columns[1:]
    base = np.zeros(len(columns))
    base[-len(grown) :] = np.ravel(model._baseline_prediction)
    ensemble = _empty(rounds, depth, classes, columns, base)
    for number, trees in enumerate(model._predictors):
        for column, predictor in zip(grown, trees, strict=True):
            nodes = predictor.nodes
            tree = _grow(
                depth,
                left=nodes["left"],
                right=nodes["right"],
                feature=nodes["feature_idx"],
                threshold=above(_at_edges(nodes, edges)),
                value=nodes["value"].astype(np.float32),
                is_leaf=nodes["is_leaf"].astype(bool),
            )
            ensemble.put(number * classes + column, tree)
    return ensemble


def _at_edges(nodes: Any, edges: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(nodes,) the edge that each threshold between two bins stands for; 0 at a leaf."""
    found = np.zeros(len(nodes))
    for at in np.flatnonzero(~nodes["is_leaf"].astype(bool)):
        found[at] = edges[nodes["feature_idx"][at]][int(nodes["num_threshold"][at])]
    return found


def above(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The least float32 greater than each float64."""
    rounded = thresholds.astype(np.float32)
    following = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded.astype(np.float64) > thresholds, rounded, following)


def centre_thresholds(ensemble: TreeEnsemble, values: NDArray[np.float32]) -> None:
    """Move each threshold midway between the training values on its two sides, in place.

    XGBoost takes a training value itself as threshold. A last bit that another machine computes
    otherwise would send that very cell the other way; midway it does not, and all cells of the
    training go where they went.

    Args:
        ensemble: trained on ``values``.
        values: (n, F) float32.
    """
    features = ensemble.feature.numpy()
    thresholds = ensemble.threshold.numpy()
    flat_features, flat = features.reshape(-1), thresholds.reshape(-1)
    order = np.argsort(flat_features, kind="stable")
    used, starts = np.unique(flat_features[order], return_index=True)
    for feature, places in zip(used, np.split(order, starts[1:]), strict=True):
        column = np.sort(values[:, feature])
        right = np.searchsorted(column, flat[places], side="left")
        inside = (right > 0) & (right < len(column))
        places, right = places[inside], right[inside]
        low, high = column[right - 1], column[right]
        middle = (0.5 * (low.astype(np.float64) + high)).astype(np.float32)
        flat[places] = np.where(middle > low, middle, high)


def _empty(
    rounds: int, depth: int, classes: int, columns: Sequence[int], base: NDArray[np.float64]
) -> TreeEnsemble:
    ensemble = TreeEnsemble(rounds=rounds, depth=depth, classes=classes)
    logits = np.full(classes, ABSENT)
    logits[list(columns)] = base
    ensemble.base.copy_(torch.from_numpy(logits))
    return ensemble


def _grow(
    depth: int,
    *,
    left: Sequence[int],
    right: Sequence[int],
    feature: Sequence[int],
    threshold: NDArray[np.float32],
    value: NDArray[np.float32],
    is_leaf: NDArray[np.bool_],
) -> Tree:
    """A tree of linked nodes as a full one; below an early leaf all leaves are the same."""
    tree = Tree(
        np.zeros(2**depth - 1, dtype=np.int64),
        np.zeros(2**depth - 1, dtype=np.float32),
        np.empty(2**depth, dtype=np.float32),
    )
    waiting = [(0, 0, 0)]
    while waiting:
        node, place, level = waiting.pop()
        if is_leaf[node]:
            width = 2 ** (depth - level)
            start = (place - (2**level - 1)) * width
            tree.leaf[start : start + width] = value[node]
            continue
        tree.feature[place] = feature[node]
        tree.threshold[place] = threshold[node]
        waiting.append((left[node], 2 * place + 1, level + 1))
        waiting.append((right[node], 2 * place + 2, level + 1))
    return tree
