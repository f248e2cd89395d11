"""What repeated searches say together: figures with intervals, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.figures import Estimate, Evaluation, as_json, as_plain, evaluate
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import RunError
from cellsearch.learn.clusters import group_codes
from cellsearch.learn.metrics import METRICS, Metric
from cellsearch.predictions import Predictions, predictions_of
from cellsearch.run_folder import read_record

if TYPE_CHECKING:
    from cellsearch.nested import NestedRequest


@dataclass(frozen=True)
class OneSearch:
    """One of the searches on its hold-out.

    Attributes:
        name: of its folder.
        trial: the winner.
        cells: of the hold-out.
        winner: each metric of the winner.
        baseline: each metric of trial 0; empty where it has none.
        development: cells that its final model was trained on.
    """

    name: str
    trial: int
    cells: int
    winner: dict[str, float]
    baseline: dict[str, float]
    development: int


@dataclass(frozen=True, eq=False)
class NestedSummary:
    """The estimate of the whole procedure.

    Attributes:
        kind: ``outer`` or ``repeats``.
        metric: that the searches maximised.
        searches: one line for each.
        pooled: figures of all cells, each predicted once, with intervals by cells (by groups
            where there are groups); None for repeated hold-outs, which overlap.
        means: mean of the searches with its interval; empty for outer folds.
        groups: whether intervals are by groups.
    """

    kind: str
    metric: str
    searches: tuple[OneSearch, ...]
    pooled: Evaluation | None
    means: dict[str, Estimate]
    groups: bool

    def headline(self) -> str:
        """The estimate in one sentence, without a verdict."""
        named = self.metric.replace("_", " ")
        if self.pooled is not None:
            figure = self.pooled.metrics[_metric(self.metric)]
            what = (
                f"{self.pooled.cells:,} cells, each predicted once by a search that never saw it "
                f"({len(self.searches)} outer folds)"
            )
            how = "bootstrap of groups" if self.groups else "bootstrap of cells"
        else:
            figure = self.means[self.metric]
            what = f"mean of {len(self.searches)} hold-outs drawn anew"
            how = "corrected resampled t"
        return (
            f"{named} {figure.value:.3f} (95 % interval {figure.low:.3f} to {figure.high:.3f}, "
            f"{how}): {what}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``summary.json``."""
        return {
            "format_version": 1,
            "kind": self.kind,
            "metric": self.metric,
            "headline": self.headline(),
            "intervals_by": "group" if self.groups else "cell",
            "pooled": None if self.pooled is None else as_json(self.pooled),
            "means": {name: as_plain(each) for name, each in self.means.items()},
            "searches": [vars(each) for each in self.searches],
        }


def summarise(runs: Sequence[Path], request: NestedRequest) -> NestedSummary:
    """Read the cards of finished runs.

    Raises:
        RunError: a cell is predicted twice by outer folds, or not all cells are there.
    """
    searches = tuple(_one(run) for run in runs)
    metric = request.config.metric
    dataset = CellDataset.open(read_record(runs[0]).dataset_folder)
    grouped = dataset.groups is not None
    if request.kind == "repeats":
        means: dict[str, Estimate] = {
            name: _mean([each.winner[name] for each in searches], searches) for name in METRICS
        }
        return NestedSummary("repeats", metric, searches, None, means, groups=False)
    parts = [predictions_of(run, "holdout") for run in runs]
    pooled = _pooled(parts, dataset, seed=request.config.seed)
    return NestedSummary("outer", metric, searches, pooled, {}, groups=grouped)


def _one(run: Path) -> OneSearch:
    card = ModelCard.load(run / "card")
    holdout = card.metrics["hold_out"]

    def figures(who: str) -> dict[str, float]:
        facts = holdout[who]
        return {name: facts["metrics"][name]["value"] for name in METRICS} if facts else {}

    return OneSearch(
        name=run.name,
        trial=int(card.metrics["search"]["winner"]),
        cells=int(holdout["winner"]["cells"]),
        winner=figures("winner"),
        baseline=figures("baseline"),
        development=int(card.config.dataset.cells) - int(holdout["winner"]["cells"]),
    )


def _pooled(parts: Sequence[Predictions], dataset: CellDataset, *, seed: int) -> Evaluation:
    ids = [name for part in parts for name in part.ids]
    if len(set(ids)) < len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise RunError(f"{len(twice)} cells are in two outer folds, such as {twice[0]}")
    not_estimable = parts[0].not_estimable
    asked = [name for name in dataset.classes if name not in not_estimable]
    wanted = int(np.isin(dataset.labels, [dataset.classes.index(name) for name in asked]).sum())
    if len(ids) != wanted:
        raise RunError(f"the outer folds hold {len(ids):,} cells, expected {wanted:,}")
    groups: NDArray[np.int64] | None = None
    if dataset.groups is not None:
        place = {name: n for n, name in enumerate(dataset.ids.tolist())}
        groups = group_codes(dataset.groups[[place[name] for name in ids]])
    return evaluate(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        dataset.classes,
        not_estimable=not_estimable,
        groups=groups,
        seed=seed,
    )


def _mean(values: Sequence[float], searches: Sequence[OneSearch]) -> Estimate:
    """Mean over overlapping hold-outs, by the corrected resampled t interval.

    Nadeau & Bengio 2003 (Machine Learning 52:239), equation 13 and section 4: the variance of the
    mean is (1/R + n_test / n_train) s^2, since the training cells of two repeats overlap.
    """
    from scipy.stats import t

    found = np.array(values)
    share = float(np.mean([each.cells / max(1, each.development) for each in searches]))
    spread = float(found.std(ddof=1)) * float(np.sqrt(1.0 / len(found) + share))
    half = float(t.ppf(0.975, len(found) - 1)) * spread
    mean = float(found.mean())
    return Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half))


def _metric(name: str) -> Metric:
    return next(each for each in METRICS if each == name)
