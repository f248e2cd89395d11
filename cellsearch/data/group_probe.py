"""The group probe: how well donor, plate or montage can be read off an image (batch effect)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.features import measure
from cellsearch.data.suggested_groups import suggest_groups
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting
from cellsearch.util.progress import Progress

MOST_CELLS = 2000
MOST_GROUPS = 20
FEWEST = 5
"""Cells of a group in a class, and folds of the cross-validation."""

PERMUTATIONS = 39
"""So that the smallest p is 0.025."""

_SAMPLES = 2000

Strings = NDArray[np.str_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class GroupProbe:
    """How well the group of a cell is told from measured features of its image.

    Attributes:
        what: what a group is.
        groups: how many were told apart.
        cells: on how many cells.
        balanced_accuracy: mean recall of the groups, out-of-fold.
        low: lower end of its 95 % interval.
        high: upper end.
        chance: the same figure where groups are shuffled within each class.
        p: share of shuffles that reach the figure.
    """

    what: str
    groups: int
    cells: int
    balanced_accuracy: float
    low: float
    high: float
    chance: float
    p: float

    @property
    def told_apart(self) -> bool:
        """Whether images give the group away."""
        return self.p <= 0.05 and self.low > self.chance

    def describe(self) -> str:
        """One plain sentence."""
        figures = (
            f"balanced accuracy {self.balanced_accuracy:.2f} ({self.low:.2f} to {self.high:.2f}), "
            f"chance {self.chance:.2f}, on {self.cells:,} cells of {self.groups} groups"
        )
        if self.told_apart:
            return (
                f"the {self.what} can be recognised from the image: {figures}; this is a batch "
                "effect, "
                f"keep each {self.what} on one side of the splits"
            )
        return f"no evidence that the {self.what} can be recognised from the image: {figures}"


def probe_groups(
    dataset: CellDataset,
    groups: Strings,
    *,
    what: str = "group",
    seed: int = 0,
    most_cells: int = MOST_CELLS,
    permutations: int = PERMUTATIONS,
    on_progress: Progress | None = None,
) -> GroupProbe:
    """Predict the group of each cell by logistic regression on measured features.

    Classes that only one group holds are left out, and chance is what is reached where groups are
    shuffled within each class, so that a group is not told by the classes that it holds. The
    interval is a bootstrap of cells within each group (Efron 1979); p is (b + 1) / (m + 1) for b
    of m shuffles that reach the figure (Ojala & Garriga 2010, JMLR 11:1833, definition 1).

    Args:
        dataset: cells of at least 8 x 8 px.
        groups: (N,) str.
        what: what a group is, for the sentence.
        seed: of the choice of cells, folds, shuffles and bootstrap.
        most_cells: cells that are measured.
        permutations: m.
        on_progress: told how many of the shuffles are done.

    Raises:
        DataError: fewer than two groups share a class with enough cells, or crops below 8 px.
    """
    rng = np.random.default_rng(seed)
    chosen = _chosen(dataset.labels, groups, most_cells, rng)
    names, group = np.unique(groups[chosen], return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"no class has {FEWEST} cells in each of two values of {what}: images cannot be asked "
            "about it apart from their class"
        )
    labels = dataset.labels[chosen]

    def told(done: int) -> None:
        if on_progress:
            on_progress(f"probing {what}", done, permutations + 2)

    told(0)
    values = measure(np.ascontiguousarray(dataset.images[chosen])).astype(np.float64)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    told(1)
    recalls = _recalls(values, group, seed)
    found = float(recalls.mean())
    shuffled = np.empty(permutations)
    for shuffle in range(permutations):
        told(shuffle + 2)
        shuffled[shuffle] = _recalls(values, _within(group, labels, rng), seed).mean()
    told(permutations + 2)
    cells = np.bincount(group)
    draws = rng.binomial(cells, recalls, size=(_SAMPLES, len(names))) / cells
    low, high = np.quantile(draws.mean(axis=1), (0.025, 0.975))
    return GroupProbe(
        what=what,
        groups=len(names),
        cells=len(chosen),
        balanced_accuracy=found,
        low=float(low),
        high=float(high),
        chance=float(shuffled.mean()),
        p=float(((shuffled >= found).sum() + 1) / (permutations + 1)),
    )


def group_lines(dataset: CellDataset, *, on_progress: Progress | None = None) -> list[Message]:
    """A sentence for the declared groups, or for each that names suggest."""
    asked: list[tuple[str, Strings]] = [(each.what, each.names) for each in suggest_groups(dataset)]
    if dataset.groups is not None:
        asked = [("group", dataset.groups)]
    if not asked:
        return [
            Message.of(
                "groups: none are declared, and names suggest none; where cells come from several "
                "donors or plates, declare them with ",
                Setting("group_column", "NAME", reader=True),
                " (tables) or ",
                Setting("group_pattern", "REGEX", reader=True),
                " (folders)",
            )
        ]
    lines = []
    for what, names in asked:
        try:
            probe = probe_groups(dataset, names, what=what, on_progress=on_progress)
            lines.append(Message.of(f"groups: {probe.describe()}"))
        except DataError as error:
            lines.append(Message.of(f"groups: {what} was not probed: ", error.message))
    return lines


def _chosen(labels: Integers, groups: Strings, most: int, rng: np.random.Generator) -> Integers:
    """Sorted cells of the largest groups, in classes that two of them hold, as many of each."""
    names, group = np.unique(groups, return_inverse=True)
    largest = np.argsort(-np.bincount(group), kind="stable")[:MOST_GROUPS]
    kept = np.isin(group, largest) & (labels >= 0)
    counts = np.zeros((len(names), int(labels.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (group[kept], labels[kept]), 1)
    enough = counts >= FEWEST
    enough &= enough.sum(axis=0) >= 2
    cells = np.flatnonzero(kept & enough[group, np.maximum(labels, 0)])
    order = rng.permutation(cells)
    # The same number of each group, as far as they go.
    rank = np.empty(len(order), np.int64)
    for each in np.unique(group[order]):
        own = np.flatnonzero(group[order] == each)
        rank[own] = np.arange(len(own))
    return np.sort(order[np.argsort(rank, kind="stable")[:most]])


def _within(group: Integers, labels: Integers, rng: np.random.Generator) -> Integers:
    shuffled = group.copy()
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        shuffled[own] = group[rng.permutation(own)]
    return shuffled


def _recalls(values: NDArray[np.float64], group: Integers, seed: int) -> NDArray[np.float64]:
    """(G,) out-of-fold recall of each group."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=50)
    folds = StratifiedKFold(FEWEST, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Fifty steps are enough for a probe, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted = cross_val_predict(model, values, group, cv=folds)
    cells = np.bincount(group)
    return np.bincount(group, weights=predicted == group, minlength=len(cells)) / cells
