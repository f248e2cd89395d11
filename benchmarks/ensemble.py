"""What joining trials gains, and how often it is taken where it gains nothing.

    python benchmarks/ensemble.py runs RUN [RUN ...]
    python benchmarks/ensemble.py simulate --repeats 200

``runs`` looks at the complete trials of finished runs: the score of the best trial on the cells
that it was chosen by, of the best trial chosen on the other folds, and of the ensemble picked on
the other folds, with what a run would decide. No hold-out is read.

``simulate`` draws trials whose true worth is known: 12 trials, imbalanced classes, 5 folds, and
20,000 more cells to say what was truly gained. ``copies``: all trials are one model with a little
noise, so nothing is to be gained. ``followers``: one good trial and eleven that are that trial with
mistakes of their own added. ``different``: equally good trials that err on other cells. An ensemble
that was taken though it is truly no better is taken falsely; at most 5 in 100 of ``copies`` and
``followers`` may be.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.run.folder import read_record, storage_url, study_name
from cellsearch.stats.decision import Decision, Priors
from cellsearch.stats.log_loss import class_shares
from cellsearch.stats.metrics import confusion, metric_named, score
from cellsearch.tune.ensemble import Candidates, Ensemble, candidates, join_run, join_trials
from cellsearch.tune.study import leaderboard, read_study

FOLDS = 5
TRIALS = 12
FRESH = 20_000
PRIOR = np.array([0.62, 0.22, 0.12, 0.04])
CLASSES = ("a", "b", "c", "d")
KNOWN = np.ones(len(CLASSES), bool)
WORLDS = ("copies", "followers", "different")
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def reached(labels: Labels, called: Labels) -> float:
    return float(score("balanced_accuracy", confusion(labels, called, len(CLASSES))))


@dataclass(frozen=True, eq=False)
class World:
    """Labels of n cells and what each trial gives for them."""

    labels: Labels
    aimed: NDArray[np.float32]


def drawn(world: str, count: int, rng: np.random.Generator) -> World:
    """Softmax outputs of trials under an even mix of classes."""
    k = len(CLASSES)
    labels = rng.choice(k, count, p=PRIOR)
    truth = np.eye(k)[labels]
    shared = 1.5 * truth + rng.normal(0.0, 1.0, (count, k))
    logits = np.empty((TRIALS, count, k))
    for trial in range(TRIALS):
        own = rng.normal(0.0, 1.0, (count, k))
        if world == "copies":
            logits[trial] = shared + 0.05 * own
        elif world == "followers":
            logits[trial] = shared + (0.0 if trial == 0 else 0.6) * own
        else:
            logits[trial] = 1.5 * truth + 0.6 * (shared - 1.5 * truth) + 0.8 * own
    values = np.exp(logits - logits.max(axis=2, keepdims=True))
    return World(labels, (values / values.sum(axis=2, keepdims=True)).astype(np.float32))


def pool_of(world: World) -> Candidates:
    """The trials as a run would see them, best first."""
    scores = [reached(world.labels, each.argmax(axis=1)) for each in world.aimed]
    order = np.argsort(-np.array(scores), kind="stable")
    share = tuple(PRIOR)
    cells = np.arange(len(world.labels))
    return Candidates(
        numbers=tuple(int(at) for at in order),
        labels=world.labels,
        cells=cells,
        fold=cells % FOLDS,
        aimed=world.aimed[order],
        decisions=(Decision(1.0, Priors(share, share)),) * FOLDS,
        shares=class_shares(world.labels, KNOWN),
    )


def true_gain(found: Ensemble, pool: Candidates, fresh: World) -> float:
    """Of the ensemble over the trial that would be taken without it, on cells nobody saw."""
    weights = {each.trial: each.weight for each in found.members}
    mean = sum(weight * fresh.aimed[trial] for trial, weight in weights.items())
    alone = fresh.aimed[pool.numbers[0]].argmax(axis=1)
    joined = np.asarray(mean).argmax(axis=1)
    return reached(fresh.labels, joined) - reached(fresh.labels, alone)


def simulate(repeats: int) -> None:
    print(f"{repeats} repeats a row; accepted: of all; falsely: accepted and truly no better")
    print("world      cells  accepted  falsely  true gain  cross-fitted gain  optimism")
    for world in WORLDS:
        for cells in (300, 1500, 6000):
            accepted, falsely, gains, crossed, optimism = 0, 0, [], [], []
            for repeat in range(repeats):
                rng = np.random.default_rng([repeat, cells, WORLDS.index(world)])
                pool = pool_of(drawn(world, cells, rng))
                found = join_trials(
                    pool, "balanced_accuracy", CLASSES, estimable=KNOWN, seed=repeat
                )
                gain = true_gain(found, pool, drawn(world, FRESH, rng))
                gains.append(gain)
                crossed.append(found.gain.estimate.value)
                optimism.append(found.optimism)
                accepted += found.accepted
                falsely += found.accepted and gain <= 0.0
            print(
                f"{world:<10} {cells:5}  {accepted / repeats:8.3f}  {falsely / repeats:7.3f}  "
                f"{np.mean(gains):+9.4f}  {np.mean(crossed):+17.4f}  {np.mean(optimism):+8.4f}",
                flush=True,
            )


def look(folder: Path) -> None:
    record = read_record(folder)
    cells = CellDataset.open(record.dataset_folder)
    splits = Splits.load(folder / "splits.json", cells)
    study = read_study(storage_url(record.config, folder), study_name(record, folder))
    rows = leaderboard(study)
    metric = metric_named(record.config.metric)
    found = join_run(folder, rows, cells, splits, metric, seed=record.config.seed)
    pool = candidates(folder, rows, cells, splits)
    if found is None or pool is None:
        print(f"{folder.name}: fewer than two trials")
        return

    def of(called: Labels) -> float:
        counts = confusion(pool.labels, called, len(cells.classes))
        return float(score(metric, counts, classes=found.predictions.estimable))

    best = of(pool.aimed[0].argmax(axis=1))
    joined = of(found.predictions.predicted)
    gain = found.gain.estimate
    members = ", ".join(f"{each.trial}: {each.weight:.2f}" for each in found.members)
    print(
        f"{folder.name:<10} {len(pool.numbers):6}  {best:.3f}  {joined - gain.value:15.3f}  "
        f"{joined:8.3f}  {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})  "
        f"{found.gain.chance:.2f}  {found.optimism:+.3f}  {'taken' if found.accepted else 'left'}"
        f"  [{members}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("runs", "simulate"))
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    if options.what == "simulate":
        simulate(options.repeats)
        return
    print("set        trials  best  best, other folds  ensemble  gain  chance  optimism")
    for folder in options.runs:
        look(folder)


if __name__ == "__main__":
    main()
