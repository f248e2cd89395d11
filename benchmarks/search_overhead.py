"""What a search costs beyond training, and how long it takes from the command to the first batch.

    python benchmarks/search_overhead.py --dataset jurkat --from ../shared/data/mlcp

Twelve trials of equal cost (the baseline's network; only the learning rate is searched), 3 folds.
Overhead is the wall time from the first batch to the last fold, times the slots, over the sum of
the folds' own seconds (training and prediction), less 1. Start-up is from the start of the
process to the first batch, with the cells in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SPACE = {
    "name": "equal",
    "parameters": {"optim.lr": {"float": [3e-4, 3e-3], "log": True}},
}


def measured(options: argparse.Namespace) -> None:
    """In a fresh process: one search, its times as JSON on standard output."""
    from cellsearch.data.source import load_dataset
    from cellsearch.data.splits import draw_splits
    from cellsearch.run.config import RunConfig
    from cellsearch.run.observer import Silent
    from cellsearch.run.search import _searched
    from cellsearch.space.search_space import SearchSpace
    from cellsearch.tune.job import finished_folds

    class Clock(Silent):
        def __init__(self) -> None:
            self.folds: list[tuple[int, int, float]] = []

        def fold_done(self, task: object, fold: int, score: float) -> None:  # noqa: ARG002
            self.folds.append((task.number, fold, time.time()))

    cells = load_dataset(options.dataset, mirror=options.mirror)
    splits = draw_splits(cells, folds=3)
    config = RunConfig.of(
        dataset=options.dataset,
        budget=options.trials,
        folds=3,
        backend=options.backend,
        race=False,
    )
    clock = Clock()
    with TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        splits.save(folder / "splits.json")
        space = SearchSpace.from_dict(SPACE)
        _searched(config, folder, cells, splits, space, clock)
        spent = {
            (number, fold): finished_folds(folder, number, [fold])[0].seconds
            for number, fold, _ in clock.folds
        }
    first = min(when - spent[number, fold] for number, fold, when in clock.folds[:4])
    facts = {
        "startup": first - options.launched,
        "wall": max(when for *_, when in clock.folds) - first,
        "training": sum(spent.values()),
        "folds": len(spent),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="jurkat")
    parser.add_argument("--from", dest="mirror", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--backend", choices=["ray", "local"])
    parser.add_argument("--launched", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.launched is not None:
        measured(options)
        return
    for backend in [options.backend] if options.backend else ["ray", "local"]:
        slots = (os.cpu_count() or 1) if backend == "ray" else 1
        command = [sys.executable, __file__, *sys.argv[1:], "--backend", backend]
        command += ["--launched", repr(time.time())]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        facts = json.loads(done.stdout.splitlines()[-1])
        overhead = facts["wall"] * slots / facts["training"] - 1
        print(
            f"{backend}: {options.dataset}, {options.trials} trials, {facts['folds']} folds, "
            f"{slots} slots: first batch after {facts['startup']:.1f} s; then "
            f"{facts['wall']:.1f} s of wall time for {facts['training']:.1f} s of training and "
            f"prediction, overhead {100 * overhead:.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
