"""Planted label errors: how many of them the ranking of ``cellsearch labels`` finds.

Labels of real cells are changed (1, 5, 10 %; to any other class, or to a neighbour in the order of
classes, for Jurkat the phases of the cycle), a regression on measured features is cross-validated
on the changed labels, and cells are ranked by its out-of-fold predictions. Precision at as many
cells as were changed, mean of some draws; beside it how many unchanged cells of rare classes (below
200 cells) are among those. A set's own errors count against every ranking.

    python benchmarks/label_errors.py ../shared/data --cleanlab /tmp/cleanlab

cleanlab is read from the folder named, as made by ``pip install --target``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np

from cellsearch.data.dataset import CellDataset
from cellsearch.data.features import measured
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import draw_splits
from cellsearch.label.confident import expected, judged
from cellsearch.learn.evaluate import cross_validate
from cellsearch.space.recipe import Recipe
from cellsearch.stats.calibration import fit_temperature, scaled
from cellsearch.stats.decision import Decision, Priors, aimed_at

RARE = 200
MOST = 1500
"""Cells of a class that are kept."""
RECIPE = Recipe.from_params({"model.family": "logreg", "model.features": "measured"})


def cells_of(name: str, root: Path, kept: Path) -> CellDataset:
    folder = kept / name
    if not folder.is_dir():
        if name == "jurkat":
            cells = load_dataset("jurkat", mirror=root / "mlcp")
        else:
            cells = CellDataset.from_table(root / "hep2-icpr2014" / "labels.csv")
        rng = np.random.default_rng(0)
        some = [
            rng.permutation(np.flatnonzero(cells.labels == k))[:MOST]
            for k in range(len(cells.classes))
        ]
        cells.subset(np.sort(np.concatenate(some))).save(folder)
    cells = CellDataset.open(folder)
    measured(cells)
    return cells


def planted(labels: np.ndarray, k: int, share: float, kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    changed = labels.copy()
    count = round(share * len(labels))
    who = rng.choice(len(labels), count, replace=False)
    if kind == "uniform":
        changed[who] = (labels[who] + rng.integers(1, k, count)) % k
    else:
        beside = labels[who] + rng.choice([-1, 1], count)
        beside = np.where(beside < 0, 1, beside)
        changed[who] = np.where(beside >= k, k - 2, beside)
    return changed


def out_of_fold(cells: CellDataset, seed: int) -> tuple[np.ndarray, np.ndarray, Priors]:
    splits = draw_splits(cells, folds=5, seed=seed, duplicates=())
    places, values, priors = [], [], []
    for found in cross_validate(RECIPE, cells, splits, seed=seed, device="cpu", threads=1):
        places.append(found.cells)
        values.append(found.probabilities)
        priors.append(found.priors)
    return np.concatenate(places), np.concatenate(values), Priors.mean(priors)


def rankings(labels: np.ndarray, p: np.ndarray, priors: Priors, *, of_cleanlab: bool) -> Mapping:
    """Name of a ranking to a score, the smaller the more suspect."""
    own = judged(labels, p)
    even = judged(labels, aimed_at(p, Decision(1.0, priors)))
    given = np.arange(len(labels)), labels
    found = {
        "cellsearch": own.scores,
        "the joint's first": np.where(in_joint(labels, p, own.thresholds), -1e6, 0) + own.scores,
        "even mix": even.scores,
        "plain loss": p[given],
    }
    if of_cleanlab:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        scores = get_label_quality_scores(labels, p, method="self_confidence")
        issues = find_label_issues(labels, p, n_jobs=1)
        found |= {
            "cleanlab self-confidence": scores,
            "cleanlab margin": get_label_quality_scores(labels, p, method="normalized_margin"),
            "cleanlab margin, adjusted": get_label_quality_scores(
                labels, p, method="normalized_margin", adjust_pred_probs=True
            ),
            "cleanlab issues first": np.where(issues, scores - 1e6, scores),
        }
    return found


def in_joint(labels: np.ndarray, p: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Cells off the diagonal of the confident joint."""
    likeliest = np.where(p >= thresholds, p, -1.0).argmax(axis=1)
    return (p >= thresholds).any(axis=1) & (likeliest != labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--cleanlab", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--kept", type=Path, default=Path("/tmp/cellsearch-label-errors"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.cleanlab is not None:
        sys.path.append(str(options.cleanlab))
    for name in ("jurkat", "hep2"):
        cells = cells_of(name, options.root, options.kept)
        truth, k = np.array(cells.labels), len(cells.classes)
        rare = np.flatnonzero(np.bincount(truth, minlength=k) < RARE)
        counts = ", ".join(map(str, np.bincount(truth).tolist()))
        print(f"\n{name}: {len(cells):,} cells ({counts}), {options.draws} draws", flush=True)
        plans = [(share, kind) for share in (0.01, 0.05, 0.1) for kind in ("uniform", "neighbours")]
        for share, kind in [(0.0, "uniform"), *plans]:
            hits: dict[str, list[float]] = {}
            spared: dict[str, list[float]] = {}
            told, right, wrong, listed = [], [], [], []
            for draw in range(options.draws):
                labels = planted(truth, k, share, kind, draw)
                places, p, priors = out_of_fold(replace(cells, labels=labels), draw)
                was, now = truth[places], labels[places]
                p = np.asarray(scaled(p, fit_temperature(now, p).value), np.float64)
                bad = was != now
                wrong.append(int(bad.sum()))
                share_of = expected(now, p)
                told.append((share_of.disagreements, share_of.surprises))
                for title, scores in rankings(
                    now, p, priors, of_cleanlab=options.cleanlab is not None
                ).items():
                    first = np.argsort(scores, kind="stable")[: bad.sum()]
                    if len(first):
                        hits.setdefault(title, []).append(float(bad[first].mean()))
                        clean = ~bad[first] & np.isin(now[first], rare)
                        spared.setdefault(title, []).append(float(clean.sum()))
                own = judged(now, p)
                listed.append((len(own.ranked), int(bad[own.ranked].sum())))
                if bad.any():
                    right.append(float((own.suggested == was)[own.ranked][bad[own.ranked]].mean()))
            print(f"  {100 * share:g} % {kind}, {mean(wrong):.0f} changed and judged")
            for title in hits:
                print(
                    f"    {title:26} precision {mean(hits[title]):.2f}   "
                    f"unchanged cells of rare classes {mean(spared[title]):5.1f}"
                )
            suspects, found = (mean(pair[at] for pair in listed) for at in (0, 1))
            print(f"    suspects                   {suspects:.0f}, of them changed {found:.0f}")
            for at, what in enumerate(("disagreements", "surprises")):
                each = [pair[at] for pair in told]
                print(
                    f"    {what:26} {mean(e.value for e in each):.0f} "
                    f"({mean(e.low for e in each):.0f} to {mean(e.high for e in each):.0f})"
                )
            if right:
                print(f"    suggested class is the true one: {mean(right):.2f}", flush=True)


if __name__ == "__main__":
    main()
